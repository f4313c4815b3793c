/* Noise against torch, NumPy and k-diffusion (tests/golden/sample/own.py). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/sample/brownian.h"
#include "src/sample/noise.h"
#include "src/sample/torch_random.h"
#include "tests/support/golden.h"
#include "tests/support/model.h"

static const uint64_t seeds[] = {0, 42, 3966759607};

static void check_near(const char *what, const float *a, const float *b, size_t n,
                       double limit)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)a[i] - (double)b[i]) <= limit))
            fail_msg("%s[%zu]: %.9g, torch has %.9g", what, i, (double)a[i],
                     (double)b[i]);
}

/* To the bit; own.py ran on a processor with AVX-512. */
static void test_sample_noise__torch_randn(void **state)
{
    static const size_t sizes[] = {16, 64, 468};
    lx_tensor_file *golden = lx_golden_open("sample/own.safetensors");

    for (size_t s = 0; s < 3; s++)
        for (size_t k = 0; k < 3; k++) {
            float *want = lx_golden_f32(NULL, golden, "randn.%llu.%zu",
                                        (unsigned long long)seeds[s], sizes[k]);
            float *next = lx_golden_f32(NULL, golden, "randn.%llu.%zu.next",
                                        (unsigned long long)seeds[s], sizes[k]);
            float got[468];
            lx_torch_random random;

            lx_torch_seed(&random, seeds[s]);
            lx_torch_normal(got, sizes[k], &random);
            check_near("randn", got, want, sizes[k], 0);
            lx_torch_normal(got, sizes[k], &random);
            check_near("next", got, next, 16, 0);
            free(want);
            free(next);
        }
    lx_tensor_file_close(golden);
}

static void test_sample_noise__numpy_seed_sequence(void **state)
{
    static const struct {
        uint64_t entropy, key[2];
        int n_key;
    } cases[] = {{42, {0, 0}, 0},
                 {42, {0, 0}, 2},
                 {3966759607, {5, 3}, 2},
                 {7, {(1ull << 40) + 1, 41}, 2}};
    lx_tensor_file *golden = lx_golden_open("sample/own.safetensors");

    for (size_t i = 0; i < 4; i++) {
        int64_t *want = lx_golden_i64(NULL, golden, "seeds.%zu", i);
        uint32_t got[4];

        lx_seed_sequence(got, 4, cases[i].entropy, cases[i].key, cases[i].n_key);
        for (int k = 0; k < 4; k++)
            assert_int_equal(got[k], want[k]);
        free(want);
    }
    lx_tensor_file_close(golden);
}

static void test_sample_noise__brownian_path_of_k_diffusion(void **state)
{
    lx_tensor_file *golden = lx_golden_open("sample/own.safetensors");
    float *pairs = lx_golden_f32(NULL, golden, "brownian.pairs");

    for (size_t s = 1; s < 3; s++) {
        lx_noise *noise;
        lx_error err = {0};

        lx_assert_ok(lx_noise_new(&noise, LX_NOISE_TORCH, seeds[s], 0, 64, &err), &err);
        for (int i = 0; i < 5; i++) {
            float got[64];
            float *want = lx_golden_f32(NULL, golden, "brownian.%llu.%d",
                                        (unsigned long long)seeds[s], i);
            lx_assert_ok(lx_noise_between(got, noise, (double)pairs[2 * i],
                                          (double)pairs[2 * i + 1],
                                          (double)0.029167519882321358f,
                                          (double)14.614643096923828f, &err),
                         &err);
            lx_assert_close("brownian", got, want, 64, 2e-6);
            free(want);
        }
        lx_noise_free(noise);
    }
    free(pairs);
    lx_tensor_file_close(golden);
}

/* ENSD moves the fresh noise to another seed and leaves the start alone. */
static void test_sample_noise__ensd_reseeds_what_follows_the_start(void **state)
{
    for (int kind = LX_NOISE_TORCH; kind <= LX_NOISE_LX; kind++) {
        float start[64], again[64], fresh[64], other[64];
        lx_noise *plain, *moved, *far;
        lx_error err = {0};

        lx_assert_ok(lx_noise_new(&plain, (lx_noise_kind)kind, 42, 0, 64, &err), &err);
        lx_assert_ok(lx_noise_new(&moved, (lx_noise_kind)kind, 42, 31337, 64, &err),
                     &err);
        lx_assert_ok(lx_noise_new(&far, (lx_noise_kind)kind, 42 + 31337, 0, 64, &err),
                     &err);
        lx_noise_start(start, plain);
        lx_noise_start(again, moved);
        assert_memory_equal(start, again, sizeof start);
        lx_noise_fresh(fresh, moved);
        lx_noise_start(other, far);
        assert_memory_equal(fresh, other, sizeof fresh);
        lx_noise_fresh(other, plain);
        assert_memory_not_equal(fresh, other, sizeof fresh);
        lx_noise_free(plain);
        lx_noise_free(moved);
        lx_noise_free(far);
    }
}

/* What a card gives for torch.randn((3, 4)) and seed 0, as the web UI's own generator
 * documents it. */
static void test_sample_noise__cuda_philox(void **state)
{
    static const float want[12] = {-0.92466259f, -0.42534415f, -2.6438457f,  0.14518388f,
                                   -0.12086647f, -0.57972564f, -0.62285122f, -0.32838709f,
                                   -1.07454231f, -0.36314407f, -1.67105067f, 2.26550497f};
    float got[4096], next[12];
    double mean = 0, square = 0;

    lx_cuda_normal(got, 4096, 0, 0);
    check_near("card", got, want, 12, 1e-6);
    for (size_t i = 0; i < 4096; i++) {
        mean += (double)got[i] / 4096;
        square += (double)got[i] * (double)got[i] / 4096;
    }
    assert_true(fabs(mean) < 0.06 && fabs(square - 1) < 0.08);
    lx_cuda_normal(next, 12, 0, 1);
    assert_memory_not_equal(next, got, sizeof next);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sample_noise__torch_randn),
        cmocka_unit_test(test_sample_noise__numpy_seed_sequence),
        cmocka_unit_test(test_sample_noise__brownian_path_of_k_diffusion),
        cmocka_unit_test(test_sample_noise__ensd_reseeds_what_follows_the_start),
        cmocka_unit_test(test_sample_noise__cuda_philox),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
