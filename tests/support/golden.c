#include "tests/support/golden.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/file.h"
#include "src/base/json.h"

static const char *find_file(const char *variable, const char *otherwise, const char *sub_path)
{
    static char paths[8][1024];
    static unsigned turn;
    const char *folders[2] = {getenv(variable), otherwise};

    for (int i = 0; i < 2; i++) {
        char *path = paths[turn % 8];

        if (!folders[i] || !folders[i][0])
            continue;
        snprintf(path, sizeof(paths[0]), "%s/%s", folders[i], sub_path);
        if (access(path, R_OK) == 0) {
            turn++;
            return path;
        }
    }
    return NULL;
}

const char *lx_golden(const char *sub_path)
{
    return find_file("LX_GOLDENS", LX_GOLDEN_DIR, sub_path);
}

const char *lx_badfile(const char *name)
{
    return find_file("LX_BADFILES", LX_BADFILE_DIR, name);
}

const char *lx_golden_need(const char *sub_path)
{
    const char *path = lx_golden(sub_path);

    if (!path) {
        print_message("golden %s: not here, set LX_GOLDENS\n", sub_path);
        skip();
    }
    return path;
}

const char *lx_badfile_need(const char *name)
{
    const char *path = lx_badfile(name);

    if (!path) {
        print_message("bad file %s: not here, set LX_BADFILES\n", name);
        skip();
    }
    return path;
}

lx_tensor_file *lx_golden_open(const char *sub_path)
{
    const char *path = lx_golden_need(sub_path);
    lx_tensor_file *file = NULL;
    lx_error err = {0};

    if (lx_tensor_file_open(&file, path, &err) < 0)
        fail_msg("%s: %s", path, err.text);
    return file;
}

cJSON *lx_golden_json(const char *sub_path)
{
    const char *path = lx_golden_need(sub_path);
    cJSON *tree = NULL;
    lx_error err = {0};
    lx_str text;

    if (lx_file_read(&text, path, (size_t)1 << 30, &err) < 0 ||
        lx_json_parse(&tree, text.data, text.len, &err) < 0)
        fail_msg("%s: %s", path, err.text);
    lx_str_release(&text);
    return tree;
}

static const lx_tensor_view *find_tensor(const lx_tensor_file *file, const char *fmt, va_list args)
{
    const lx_tensor_view *view;
    char name[1024];

    vsnprintf(name, sizeof name, fmt, args);
    view = lx_tensor_file_find(file, name);
    if (!view)
        fail_msg("the golden has no tensor \"%s\"", name);
    return view;
}

const lx_tensor_view *lx_golden_find(const lx_tensor_file *file, const char *fmt, ...)
{
    const lx_tensor_view *view;
    va_list args;

    va_start(args, fmt);
    view = find_tensor(file, fmt, args);
    va_end(args);
    return view;
}

static void *allocate(size_t n, size_t item)
{
    void *memory = calloc(n ? n : 1, item);
    if (!memory)
        fail_msg("out of memory for %zu elements", n);
    return memory;
}

float *lx_golden_f32(size_t *n, const lx_tensor_file *file, const char *fmt, ...)
{
    const lx_tensor_view *view;
    va_list args;
    float *out;

    va_start(args, fmt);
    view = find_tensor(file, fmt, args);
    va_end(args);
    out = allocate(view->n_elements, sizeof *out);
    assert_int_equal(lx_to_f32(out, view->data, view->dtype, view->n_elements), LX_OK);
    if (n)
        *n = view->n_elements;
    return out;
}

double *lx_golden_f64(size_t *n, const lx_tensor_file *file, const char *fmt, ...)
{
    const lx_tensor_view *view;
    va_list args;
    double *out;

    va_start(args, fmt);
    view = find_tensor(file, fmt, args);
    va_end(args);
    out = allocate(view->n_elements, sizeof *out);
    assert_int_equal(lx_to_f64(out, view->data, view->dtype, view->n_elements), LX_OK);
    if (n)
        *n = view->n_elements;
    return out;
}

int64_t *lx_golden_i64(size_t *n, const lx_tensor_file *file, const char *fmt, ...)
{
    const lx_tensor_view *view;
    va_list args;
    int64_t *out;

    va_start(args, fmt);
    view = find_tensor(file, fmt, args);
    va_end(args);
    out = allocate(view->n_elements, sizeof *out);
    for (size_t i = 0; i < view->n_elements; i++) {
        const unsigned char *at = (const unsigned char *)view->data +
                                  i * (size_t)(lx_dtype_bits(view->dtype) / 8);
        double x;
        if (view->dtype == LX_I64 || view->dtype == LX_U64) {
            memcpy(&out[i], at, sizeof out[i]);
            continue;
        }
        assert_int_equal(lx_to_f64(&x, at, view->dtype, 1), LX_OK);
        if (x != rint(x))
            fail_msg("%s[%zu] is %.17g, an integer was wanted", view->name, i, x);
        out[i] = (int64_t)x;
    }
    if (n)
        *n = view->n_elements;
    return out;
}

double lx_relative_error(const float *a, const float *b, size_t n)
{
    double difference = 0, size = 0;

    for (size_t i = 0; i < n; i++) {
        double d = (double)a[i] - b[i];

        difference += d * d;
        size += (double)b[i] * b[i];
    }
    if (!isfinite(difference) || !isfinite(size))
        return INFINITY;
    if (size == 0)
        return difference == 0 ? 0 : INFINITY;
    return sqrt(difference / size);
}

void lx_assert_close(const char *what, const float *a, const float *b, size_t n, double limit)
{
    double error = lx_relative_error(a, b, n);
    size_t worst = 0;

    if (error <= limit)
        return;
    for (size_t i = 1; i < n; i++)
        if (fabs((double)a[i] - b[i]) > fabs((double)a[worst] - b[worst]))
            worst = i;
    fail_msg("%s: relative error %.3g above %.3g; worst at %zu of %zu: %.9g, expected %.9g", what,
             error, limit, worst, n, (double)a[worst], (double)b[worst]);
}
