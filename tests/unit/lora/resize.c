/* Other ranks: the peer's ranks and alphas, the best error there is, and what cannot be cut. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/rng.h"
#include "src/base/str.h"
#include "src/lora/resize.h"
#include "src/lora/svd.h"
#include "tests/support/golden.h"
#include "tests/support/model.h"

/* ---- files -------------------------------------------------------------------------------- */

enum { OUT = 24, IN = 18, RANK = 6 };
#define MODULE "lora_unet_mid_block_attentions_0_proj_in"

typedef struct made {
    char path[512];
    float up[OUT * RANK], down[RANK * IN];
    lx_lora_file *file;
    lx_merge *merge;
} made;

static void open_merge(made *m)
{
    const lx_merge_source source = {NULL, "a file", 1, 1, NULL};
    lx_merge_source s = source;
    lx_error err;

    lx_assert_ok(lx_lora_file_open(&m->file, m->path, &err), &err);
    lx_assert_ok(lx_merge_new(&m->merge, &err), &err);
    s.file = m->file;
    lx_assert_ok(lx_merge_add(m->merge, &s, &err), &err);
}

/* One linear of rank 6 whose singular values fall; factor 0: it changes nothing. */
static void make(made *m, float alpha, float factor)
{
    lx_tensor_view views[3] = {
        {MODULE ".lora_down.weight",
         LX_F32,
         2,
         {RANK, IN},
         RANK * IN,
         m->down,
         sizeof m->down,
         NULL},
        {MODULE ".lora_up.weight",
         LX_F32,
         2,
         {OUT, RANK},
         OUT * RANK,
         m->up,
         sizeof m->up,
         NULL},
        {MODULE ".alpha", LX_F32, 0, {0}, 1, &alpha, sizeof alpha, NULL}};
    lx_rng rng = lx_rng_stream(7, LX_RNG_TEST, 0, 0);
    lx_error err;
    int fd;

    for (int i = 0; i < OUT * RANK; i++)
        m->up[i] = factor * (float)(lx_rng_uniform(&rng) - 0.5) / (float)(1 + i % RANK);
    for (int i = 0; i < RANK * IN; i++)
        m->down[i] = (float)(lx_rng_uniform(&rng) - 0.5);
    strcpy(m->path, "/tmp/lx-resize-XXXXXX");
    fd = mkstemp(m->path);
    close(fd);
    lx_assert_ok(lx_safetensors_write(m->path, views, 3, NULL, 0, &err), &err);
    open_merge(m);
}

static void drop(made *m)
{
    lx_merge_free(m->merge);
    lx_lora_file_close(m->file);
    unlink(m->path);
}

static const lx_tensor_view *find(const lx_resize_result *r, const char *module,
                                  const char *suffix)
{
    for (size_t i = 0; i < r->merge.n_tensors; i++) {
        const char *name = r->merge.tensors[i].name;
        if (lx_starts_with(name, module) && strcmp(name + strlen(module), suffix) == 0)
            return &r->merge.tensors[i];
    }
    return NULL;
}

/* |the change of the result - wanted| / |wanted|, dense in f64. */
static double distance(const lx_resize_result *r, const char *module,
                       const double *wanted, size_t out, size_t in)
{
    const lx_tensor_view *up = find(r, module, ".lora_up.weight"),
                         *down = find(r, module, ".lora_down.weight"),
                         *alpha = find(r, module, ".alpha");
    const size_t rank = (size_t)down->shape[0];
    double *u = malloc(out * rank * sizeof *u), *d = malloc(rank * in * sizeof *d), a;
    double lost = 0, all = 0;

    assert_int_equal(lx_to_f64(u, up->data, up->dtype, out * rank), 0);
    assert_int_equal(lx_to_f64(d, down->data, down->dtype, rank * in), 0);
    assert_int_equal(lx_to_f64(&a, alpha->data, alpha->dtype, 1), 0);
    for (size_t o = 0; o < out; o++)
        for (size_t i = 0; i < in; i++) {
            double sum = 0;
            for (size_t k = 0; k < rank; k++)
                sum += a / (double)rank * u[o * rank + k] * d[k * in + i];
            lost += (sum - wanted[o * in + i]) * (sum - wanted[o * in + i]);
            all += wanted[o * in + i] * wanted[o * in + i];
        }
    free(u);
    free(d);
    return all > 0 ? sqrt(lost / all) : sqrt(lost);
}

static void delta_of(double *delta, const made *m, double scale)
{
    for (int o = 0; o < OUT; o++)
        for (int i = 0; i < IN; i++) {
            double sum = 0;
            for (int k = 0; k < RANK; k++)
                sum += (double)m->up[o * RANK + k] * (double)m->down[k * IN + i];
            delta[o * IN + i] = scale * sum;
        }
}

/* ---- by hand ------------------------------------------------------------------------------ */

static void test_resize__error_is_that_of_the_best(void **state)
{
    static const float alphas[] = {6, 1.5f, -3};
    double delta[OUT * IN];

    (void)state;
    for (int a = 0; a < 3; a++)
        for (size_t rank = 1; rank <= 10; rank++) {
            const lx_resize_options o = {.rank = rank, .dtype = LX_F32};
            lx_resize_result r;
            lx_svd svd;
            lx_error err;
            made m;
            make(&m, alphas[a], 1);
            delta_of(delta, &m, (double)alphas[a] / RANK);
            lx_assert_ok(lx_lora_resize(&r, m.merge, &o, &err), &err);
            assert_int_equal(r.merge.modules[0].rank, rank);
            assert_true(fabs(r.rows[0].alpha - (double)alphas[a] / RANK * (double)rank) <
                        1e-6);
            lx_assert_ok(lx_svd_dense(&svd, delta, OUT, IN, IN, 0, "", &err), &err);
            assert_true(fabs(r.merge.error - lx_svd_error(&svd, rank)) < 1e-9);
            assert_true(fabs(r.merge.modules[0].norm - lx_svd_norm(&svd)) < 1e-9);
            assert_true(fabs(distance(&r, MODULE, delta, OUT, IN) - r.merge.error) <
                        1e-6);
            assert_int_equal(r.n_padded, rank > RANK);
            lx_svd_release(&svd);
            drop(&m);
        }
}

static void test_resize__never_more_than_the_layer_has(void **state)
{
    const lx_resize_options o = {.rank = 1000, .dtype = LX_F16};
    lx_resize_result r;
    lx_error err;
    made m;

    (void)state;
    make(&m, 6, 1);
    lx_assert_ok(lx_lora_resize(&r, m.merge, &o, &err), &err);
    assert_int_equal(r.merge.modules[0].rank, IN);
    assert_int_equal(r.n_bounded, 1);
    drop(&m);
}

static void test_resize__rules_of_nothing_keep_rank_1(void **state)
{
    (void)state;
    for (int rule = LX_RESIZE_ERROR; rule < LX_RESIZE_RULES; rule++) {
        const lx_resize_options o = {.rule = (lx_resize_rule)rule,
                                     .x = rule == LX_RESIZE_RATIO ? 5 : 0.5,
                                     .dtype = LX_F32};
        const double nothing[OUT * IN] = {0};
        lx_resize_result r;
        lx_error err;
        made m;
        make(&m, 3, 0);
        lx_assert_ok(lx_lora_resize(&r, m.merge, &o, &err), &err);
        assert_int_equal(r.merge.modules[0].rank, 1);
        assert_true(distance(&r, MODULE, nothing, OUT, IN) == 0);
        drop(&m);
    }
}

static void test_resize__too_large_for_f16(void **state)
{
    const lx_resize_options o = {.rank = 2, .dtype = LX_F16};
    lx_resize_result r;
    lx_error err;
    made m;

    (void)state;
    make(&m, 6, 1e12f);
    assert_int_equal(lx_lora_resize(&r, m.merge, &o, &err), LX_ELIMIT);
    assert_non_null(strstr(err.text, MODULE));
    drop(&m);
}

/* ---- the peer's --------------------------------------------------------------------------- */

static const char *word_after(const cJSON *argv, const char *flag)
{
    for (const cJSON *w = argv->child; w && w->next; w = w->next)
        if (strcmp(w->valuestring, flag) == 0)
            return w->next->valuestring;
    return NULL;
}

static void read_case(lx_resize_options *o, const cJSON *argv)
{
    const char *method = word_after(argv, "--dynamic_method"),
               *conv = word_after(argv, "--new_conv_rank");

    *o = (lx_resize_options){.dtype = LX_F32, .counts_1x1 = true};
    o->rank = (size_t)atoi(word_after(argv, "--new_rank"));
    o->conv_rank = conv ? (size_t)atoi(conv) : 0;
    for (int i = 0; method && i < LX_RESIZE_RULES; i++)
        if (strcmp(method, lx_resize_rule_names[i]) == 0)
            o->rule = (lx_resize_rule)i;
    if (method)
        o->x = atof(word_after(argv, "--dynamic_param"));
}

/* Ranks and alphas of every module; the change itself where the peer's file is kept. */
static int compare_module(const lx_resize_result *r, const cJSON *m,
                          const lx_tensor_file *wanted)
{
    const char *name = cJSON_GetObjectItem(m, "module")->valuestring;
    const lx_tensor_view *up, *down, *alpha;
    size_t i = 0, out, in;
    double *delta, *u, *d, a;

    while (i < r->merge.n_modules && strcmp(r->merge.modules[i].name, name) != 0)
        i++;
    assert_true(i < r->merge.n_modules);
    assert_int_equal(r->merge.modules[i].rank,
                     cJSON_GetObjectItem(m, "new_rank")->valueint);
    assert_true(
        fabs(r->rows[i].alpha - cJSON_GetObjectItem(m, "new_alpha")->valuedouble) < 1e-6);
    if (!wanted)
        return 1;
    up = lx_golden_find(wanted, "%s.lora_up.weight", name);
    down = lx_golden_find(wanted, "%s.lora_down.weight", name);
    alpha = lx_golden_find(wanted, "%s.alpha", name);
    const size_t rank = (size_t)down->shape[0];
    out = (size_t)up->shape[0];
    in = down->n_elements / rank;
    u = malloc(up->n_elements * sizeof *u);
    d = malloc(down->n_elements * sizeof *d);
    delta = calloc(out * in, sizeof *delta);
    lx_to_f64(u, up->data, up->dtype, up->n_elements);
    lx_to_f64(d, down->data, down->dtype, down->n_elements);
    lx_to_f64(&a, alpha->data, alpha->dtype, 1);
    for (size_t o = 0; o < out; o++)
        for (size_t k = 0; k < rank; k++)
            for (size_t l = 0; l < in; l++)
                delta[o * in + l] += a / (double)rank * u[o * rank + k] * d[k * in + l];
    /* In f16 the peer's own rounding. */
    assert_true(distance(r, name, delta, out, in) < (up->dtype == LX_F32 ? 1e-5 : 1e-3));
    free(delta);
    free(d);
    free(u);
    return 1;
}

static void test_resize__as_resize_lora(void **state)
{
    cJSON *cases = lx_golden_json("lora/resize/cases.json");
    const cJSON *c, *m;
    int n = 0;

    (void)state;
    cJSON_ArrayForEach(c, cases)
    {
        const cJSON *argv = cJSON_GetObjectItem(c, "argv"),
                    *known = cJSON_GetObjectItem(c, "modules");
        lx_resize_options o;
        lx_resize_result r;
        lx_tensor_file *wanted = NULL;
        lx_error err;
        made x;
        char path[256];
        if (!cJSON_GetArraySize(known))
            continue;
        read_case(&o, argv);
        snprintf(path, sizeof path, "lora/files/%s", word_after(argv, "--model"));
        snprintf(x.path, sizeof x.path, "%s", lx_golden_need(path));
        open_merge(&x);
        lx_assert_ok(lx_lora_resize(&r, x.merge, &o, &err), &err);
        snprintf(path, sizeof path, "lora/resize/%s.safetensors",
                 cJSON_GetObjectItem(c, "case")->valuestring);
        if (lx_golden(path))
            wanted = lx_golden_open(path);
        cJSON_ArrayForEach(m, known) n += compare_module(&r, m, wanted);
        lx_tensor_file_close(wanted);
        lx_merge_free(x.merge);
        lx_lora_file_close(x.file);
    }
    assert_int_equal(n, 490);
    cJSON_Delete(cases);
}

/* ---- other kinds -------------------------------------------------------------------------- */

static int resize_golden(made *x, lx_resize_result *r, const char *name,
                         const lx_resize_options *o, lx_error *err)
{
    char path[128];

    snprintf(path, sizeof path, "lora/files/%s.safetensors", name);
    snprintf(x->path, sizeof x->path, "%s", lx_golden_need(path));
    open_merge(x);
    return lx_lora_resize(r, x->merge, o, err);
}

static void close_golden(made *x)
{
    lx_merge_free(x->merge);
    lx_lora_file_close(x->file);
}

static void test_resize__other_kinds_become_lora(void **state)
{
    static const char *const names[] = {"lycoris_loha", "lycoris_lokr",
                                        "lycoris_lokr_full", "lycoris_full"};
    const lx_resize_options o = {.rule = LX_RESIZE_ERROR, .x = 0.05, .dtype = LX_F32};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        lx_resize_result r;
        lx_error err;
        made x;
        lx_assert_ok(resize_golden(&x, &r, names[i], &o, &err), &err);
        assert_true(r.n_converted + r.n_kept == r.merge.n_modules);
        assert_true(r.merge.error <= 0.05);
        close_golden(&x);
    }
}

static void test_resize__what_needs_the_base_is_refused(void **state)
{
    static const char *const names[] = {"lycoris_dora", "lycoris_glora"};
    const lx_resize_options o = {.rank = 2, .dtype = LX_F32};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        lx_resize_result r;
        lx_error err;
        made x;
        assert_int_equal(resize_golden(&x, &r, names[i], &o, &err), LX_EUNSUPPORTED);
        close_golden(&x);
    }
}

/* A difference too large for all of its values at once: sketches find the ranks that all values give. */
static void test_resize__rules_of_large_differences(void **state)
{
    enum { ROWS = 300, COLUMNS = 270, HIDDEN = 40 };
    static const struct {
        lx_resize_rule rule;
        double x;
    } cases[] = {{LX_RESIZE_RATIO, 10},
                 {LX_RESIZE_RATIO, 1e5},
                 {LX_RESIZE_FRO, 0.9},
                 {LX_RESIZE_FRO, 0.999}};
    float *values = calloc(ROWS * COLUMNS, sizeof *values), *u = malloc(ROWS * sizeof *u),
          *v = malloc(COLUMNS * sizeof *v);
    double *exact = malloc(ROWS * COLUMNS * sizeof *exact);
    const lx_tensor_view view = {MODULE ".diff",
                                 LX_F32,
                                 2,
                                 {ROWS, COLUMNS},
                                 ROWS * COLUMNS,
                                 values,
                                 ROWS * COLUMNS * sizeof *values,
                                 NULL};
    lx_rng rng = lx_rng_stream(3, LX_RNG_TEST, 0, 0);
    lx_error err;
    lx_svd svd;
    made m;

    (void)state;
    for (int k = 0; k < HIDDEN; k++) {
        for (int i = 0; i < ROWS; i++)
            u[i] = (float)(lx_rng_uniform(&rng) - 0.5) * powf(0.8f, (float)k);
        for (int i = 0; i < COLUMNS; i++)
            v[i] = (float)(lx_rng_uniform(&rng) - 0.5);
        for (int i = 0; i < ROWS * COLUMNS; i++)
            values[i] += u[i / COLUMNS] * v[i % COLUMNS];
    }
    for (int i = 0; i < ROWS * COLUMNS; i++)
        exact[i] = (double)values[i];
    lx_assert_ok(lx_svd_dense(&svd, exact, ROWS, COLUMNS, COLUMNS, 0, "", &err), &err);
    strcpy(m.path, "/tmp/lx-resize-large.safetensors");
    lx_assert_ok(lx_safetensors_write(m.path, &view, 1, NULL, 0, &err), &err);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const lx_resize_options o = {
            .rule = cases[i].rule, .x = cases[i].x, .dtype = LX_F32};
        lx_resize_result r;
        size_t wanted = 0;
        open_merge(&m);
        lx_assert_ok(lx_lora_resize(&r, m.merge, &o, &err), &err);
        if (o.rule == LX_RESIZE_RATIO)
            while (svd.sigma[wanted] > svd.sigma[0] / o.x)
                wanted++;
        else
            while (lx_svd_error(&svd, wanted) > sqrt(1 - o.x * o.x))
                wanted++;
        assert_int_equal(r.merge.modules[0].rank, wanted + 1);
        assert_true(fabs(r.merge.error - lx_svd_error(&svd, wanted + 1)) < 1e-3);
        lx_merge_free(m.merge);
        lx_lora_file_close(m.file);
    }
    unlink(m.path);
    lx_svd_release(&svd);
    free(exact);
    free(v);
    free(u);
    free(values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resize__error_is_that_of_the_best),
        cmocka_unit_test(test_resize__never_more_than_the_layer_has),
        cmocka_unit_test(test_resize__rules_of_nothing_keep_rank_1),
        cmocka_unit_test(test_resize__too_large_for_f16),
        cmocka_unit_test(test_resize__as_resize_lora),
        cmocka_unit_test(test_resize__other_kinds_become_lora),
        cmocka_unit_test(test_resize__what_needs_the_base_is_refused),
        cmocka_unit_test(test_resize__rules_of_large_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
