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
#include "src/format/safetensors.h"
#include "src/lora/kinship.h"

enum { OUT = 12, IN = 20, MOST = 6 };

/* One module of a file. */
typedef struct factors {
    float up[OUT * MOST], down[MOST * IN], alpha;
    int64_t rank;
} factors;

static factors draw(uint64_t seed, int64_t rank)
{
    factors f = {.rank = rank, .alpha = 3};
    lx_rng rng = lx_rng_stream(5, LX_RNG_TEST, seed, 0);

    lx_rng_normal(f.up, OUT * (size_t)rank, 0, &rng);
    rng = lx_rng_stream(5, LX_RNG_TEST, seed, 1);
    lx_rng_normal(f.down, (size_t)rank * IN, 0, &rng);
    return f;
}

static lx_lora_file *open_file(const factors *f, const char *module)
{
    char path[] = "/tmp/lx-kinship-XXXXXX", names[3][64];
    lx_tensor_view views[3] = {
        {.dtype = LX_F32, .n_dims = 2, .shape = {f->rank, IN}, .data = f->down},
        {.dtype = LX_F32, .n_dims = 2, .shape = {OUT, f->rank}, .data = f->up},
        {.dtype = LX_F32, .n_dims = 0, .data = &f->alpha}};
    static const char *const roles[] = {"lora_down.weight", "lora_up.weight", "alpha"};
    lx_lora_file *file;
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    close(fd);
    for (int i = 0; i < 3; i++) {
        snprintf(names[i], sizeof names[i], "%s.%s", module, roles[i]);
        views[i].name = names[i];
        views[i].n_elements =
            i == 2 ? 1 : (size_t)(views[i].shape[0] * views[i].shape[1]);
        views[i].bytes = views[i].n_elements * sizeof(float);
    }
    assert_int_equal(lx_safetensors_write(path, views, 3, NULL, 0, NULL), 0);
    assert_int_equal(lx_lora_file_open(&file, path, NULL), 0);
    unlink(path);
    return file;
}

static double delta(const factors *f, size_t i, size_t j)
{
    double sum = 0;

    for (size_t k = 0; k < (size_t)f->rank; k++)
        sum += (double)f->up[i * (size_t)f->rank + k] * f->down[k * IN + j];
    return sum * f->alpha / (double)f->rank;
}

static lx_kinship compare(const factors *a, const factors *b)
{
    lx_lora_file *x = open_file(a, "lora_unet_m"), *y = open_file(b, "lora_unet_m");
    lx_kinship k;

    assert_int_equal(lx_lora_kinship(&k, x, y, NULL), 0);
    lx_lora_file_close(x);
    lx_lora_file_close(y);
    return k;
}

/* Cosine and step are those of the dense updates, whatever the ranks. */
static void test_kinship__as_the_dense_updates(void **state)
{
    factors a = draw(1, 4), b = draw(2, 6);
    double aa = 0, bb = 0, ab = 0, gap = 0;
    lx_kinship k = compare(&a, &b);

    (void)state;
    for (size_t i = 0; i < OUT; i++)
        for (size_t j = 0; j < IN; j++) {
            double x = delta(&a, i, j), y = delta(&b, i, j);
            aa += x * x;
            bb += y * y;
            ab += x * y;
            gap += (x - y) * (x - y);
        }
    assert_int_equal(k.n_common, 1);
    assert_true(fabs(k.cosine - ab / sqrt(aa * bb)) < 1e-9);
    assert_true(fabs(k.step - sqrt(gap / bb)) < 1e-9);
    assert_true(k.common_down > 0 && k.common_down < 1);
    assert_true(fabs(k.chance_down - 6.0 / IN) < 1e-12);
}

static void test_kinship__a_file_and_itself(void **state)
{
    factors a = draw(3, 4);
    lx_kinship k = compare(&a, &a);

    (void)state;
    assert_true(fabs(k.cosine - 1) < 1e-12 && k.step < 1e-6);
    assert_true(fabs(k.common_down - 1) < 1e-12 && fabs(k.common_up - 1) < 1e-12);
}

/* Another up over the same down: one start, two contents. */
static void test_kinship__same_start(void **state)
{
    factors a = draw(4, 4), b = draw(5, 4);
    lx_kinship k;

    (void)state;
    memcpy(b.down, a.down, sizeof b.down);
    k = compare(&a, &b);
    assert_true(fabs(k.common_down - 1) < 1e-12);
    assert_true(k.common_up < 0.9 && fabs(k.cosine) < 0.9);
}

static void test_kinship__nothing_in_common(void **state)
{
    factors a = draw(6, 4);
    lx_lora_file *x = open_file(&a, "lora_unet_m"), *y = open_file(&a, "lora_unet_n");
    lx_kinship k;

    (void)state;
    assert_int_equal(lx_lora_kinship(&k, x, y, NULL), 0);
    assert_int_equal(k.n_common, 0);
    assert_true(isnan(k.cosine) && isnan(k.step) && isnan(k.common_down));
    lx_lora_file_close(x);
    lx_lora_file_close(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinship__as_the_dense_updates),
        cmocka_unit_test(test_kinship__a_file_and_itself),
        cmocka_unit_test(test_kinship__same_start),
        cmocka_unit_test(test_kinship__nothing_in_common),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
