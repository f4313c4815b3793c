#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/rng.h"
#include "src/format/safetensors.h"
#include "src/lora/spectrum.h"
#include "src/lora/weights.h"

/* |up down|_F by the definition. */
static double dense_norm(const float *up, const float *down, size_t out, size_t rank,
                         size_t in)
{
    double square = 0;

    for (size_t i = 0; i < out; i++)
        for (size_t j = 0; j < in; j++) {
            double sum = 0;
            for (size_t k = 0; k < rank; k++)
                sum += (double)up[i * rank + k] * down[k * in + j];
            square += sum * sum;
        }
    return sqrt(square);
}

/* With orthogonal factors the singular values are the products of their lengths. */
static void test_spectrum__known_values(void **state)
{
    const float up[3 * 2] = {3, 0, 0, 2, 0, 0}, down[2 * 4] = {0, 0, 5, 0, 1, 0, 0, 0};
    double sigma[2], right[2 * 4];

    (void)state;
    assert_int_equal(lx_spectrum(sigma, right, up, down, 3, 2, 4, NULL), 0);
    assert_true(fabs(sigma[0] - 15) < 1e-12 && fabs(sigma[1] - 2) < 1e-12);
    assert_true(fabs(fabs(right[2]) - 1) < 1e-12 && fabs(fabs(right[4]) - 1) < 1e-12);
}

/* Shapes of every kind: tall, flat, a rank above the sides, dependent columns. */
static void test_spectrum__norm_and_vectors(void **state)
{
    static const size_t shapes[][3] = {
        {20, 4, 30}, {3, 8, 5}, {64, 16, 9}, {1, 1, 1}, {5, 3, 40}};
    static float up[2048], down[2048];
    static double sigma[64], right[2048];

    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const size_t out = shapes[s][0], rank = shapes[s][1], in = shapes[s][2];
        lx_rng rng = lx_rng_stream(2, LX_RNG_TEST, s, 0);
        double square = 0;

        lx_rng_normal(up, out * rank, 0, &rng);
        rng = lx_rng_stream(2, LX_RNG_TEST, s, 1);
        lx_rng_normal(down, rank * in, 0, &rng);
        if (s == 4) /* two equal rows: one singular value is zero */
            memcpy(down + in, down, in * sizeof *down);
        assert_int_equal(lx_spectrum(sigma, right, up, down, out, rank, in, NULL), 0);
        for (size_t i = 0; i < rank; i++) {
            double length = 0;
            square += sigma[i] * sigma[i];
            assert_true(i == 0 || sigma[i] <= sigma[i - 1] + 1e-12);
            for (size_t l = 0; l < in; l++)
                length += right[i * in + l] * right[i * in + l];
            if (sigma[i] > 1e-9 * sigma[0])
                assert_true(fabs(length - 1) < 1e-9);
        }
        assert_true(fabs(sqrt(square) / dense_norm(up, down, out, rank, in) - 1) < 1e-10);
        if (s == 4)
            assert_true(sigma[2] < 1e-9 * sigma[0]);
    }
}

/* Singular values far apart keep their digits: the Gram matrices' eigenvalues would lose
 * the small. */
static void test_spectrum__small_values_survive(void **state)
{
    const float up[2 * 2] = {1e4f, 0, 0, 1e-4f}, down[2 * 2] = {1, 0, 0, 1e-4f};
    double sigma[2];

    (void)state;
    assert_int_equal(lx_spectrum(sigma, NULL, up, down, 2, 2, 2, NULL), 0);
    assert_true(fabs(sigma[1] / ((double)1e-4f * (double)1e-4f) - 1) < 1e-9);
}

static void test_weights__of_a_file(void **state)
{
    char path[] = "/tmp/lx_weights_XXXXXX";
    float down[2 * 8], up[4 * 2] = {0}, live[4 * 2] = {2, 0, 0, 1, 0, 0, 0, 0};
    const float alpha = 1;
    lx_tensor_view t[6] = {
        {"lora_unet_a_attn2_to_k.lora_down.weight",
         LX_F32,
         2,
         {2, 8},
         16,
         down,
         sizeof down,
         NULL},
        {"lora_unet_a_attn2_to_k.lora_up.weight",
         LX_F32,
         2,
         {4, 2},
         8,
         live,
         sizeof live,
         NULL},
        {"lora_unet_a_attn2_to_k.alpha", LX_F32, 0, {0}, 1, &alpha, sizeof alpha, NULL},
        {"lora_unet_b.lora_down.weight", LX_F32, 2, {2, 8}, 16, down, sizeof down, NULL},
        {"lora_unet_b.lora_up.weight", LX_F32, 2, {4, 2}, 8, up, sizeof up, NULL},
        {"lora_unet_b.alpha", LX_F32, 0, {0}, 1, &alpha, sizeof alpha, NULL},
    };
    lx_arena *arena = lx_arena_new();
    lx_lora_file *file;
    lx_lora_weights w;
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0 && arena);
    close(fd);
    for (int i = 0; i < 16; i++) /* rows of one length, orthogonal */
        down[i] = i < 8 ? 0.25f : i % 2 ? 0.25f : -0.25f;
    assert_int_equal(lx_safetensors_write(path, t, 6, NULL, 0, NULL), 0);
    assert_int_equal(lx_lora_file_open(&file, path, NULL), 0);
    assert_int_equal(lx_lora_weigh(&w, file, arena, NULL), 0);
    assert_int_equal(w.n_spectra, 2);
    assert_int_equal(w.n_dead, 1);
    /* scale 1/2, rows of length 1/sqrt 2: singular values 2 and 1 times that */
    assert_true(fabs(w.frobenius - 0.5 * sqrt(0.5) * sqrt(5)) < 1e-6);
    assert_true(fabs(w.stable_rank - 1.25) < 1e-6);
    assert_true(fabs(w.effective_rank -
                     exp(-(2. / 3) * log(2. / 3) - (1. / 3) * log(1. / 3))) < 1e-6);
    assert_true(fabs(lx_text_path_share(&w) - 1) < 1e-12);
    lx_lora_file_close(file);
    lx_arena_free(arena);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spectrum__known_values),
        cmocka_unit_test(test_spectrum__norm_and_vectors),
        cmocka_unit_test(test_spectrum__small_values_survive),
        cmocka_unit_test(test_weights__of_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
