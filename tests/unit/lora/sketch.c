/* Cosines of sketches estimate those of the updates, whatever the rank and the scale. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "src/format/safetensors.h"
#include "src/lora/kinship.h"
#include "src/lora/sketch.h"

enum { N = 12, OUT = 40, IN = 24, RANK = 4 };

/* A file of N modules: share * common + (1 - share) * own values, times scale. */
static void write_file(const char *path, uint64_t seed, float share, float scale)
{
    static float values[N][2][OUT * RANK];
    static char names[2 * N][64];
    lx_tensor_view views[2 * N];

    for (int m = 0; m < N; m++)
        for (int r = 0; r < 2; r++) {
            const int64_t rows = r ? OUT : RANK, columns = r ? RANK : IN;
            lx_tensor_view *v = &views[2 * m + r];
            srand((unsigned)(m * 2 + r));
            for (int64_t i = 0; i < rows * columns; i++) {
                float common = (float)rand() / (float)RAND_MAX - 0.5f, own;
                uint64_t h = (seed * 7919 + (uint64_t)(m * 2 + r)) * 0x9E3779B97F4A7C15u +
                             (uint64_t)i * 0xD1B54A32D192ED03u;
                h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9u;
                h = (h ^ (h >> 27)) * 0x94D049BB133111EBu;
                own = (float)(h >> 40) / (float)(1 << 24) - 0.5f;
                values[m][r][i] =
                    (share * common + (1 - share) * own) * (r ? scale : 1.0f);
            }
            snprintf(names[2 * m + r], 64, "block_%d.lora_%s.weight", m,
                     r ? "up" : "down");
            *v = (lx_tensor_view){.name = names[2 * m + r],
                                  .dtype = LX_F32,
                                  .n_dims = 2,
                                  .shape = {rows, columns},
                                  .n_elements = (size_t)(rows * columns),
                                  .data = values[m][r],
                                  .bytes = (size_t)(rows * columns) * 4};
        }
    assert_int_equal(lx_safetensors_write(path, views, 2 * N, NULL, 0, NULL), 0);
}

static double estimate(double *exact, const char *a, const char *b)
{
    static lx_sketch x, y;
    lx_lora_file *fa, *fb;
    lx_kinship kinship;

    assert_int_equal(lx_lora_file_open(&fa, a, NULL), 0);
    assert_int_equal(lx_lora_file_open(&fb, b, NULL), 0);
    assert_int_equal(lx_lora_sketch(&x, fa, NULL), 0);
    assert_int_equal(lx_lora_sketch(&y, fb, NULL), 0);
    assert_int_equal(x.n_modules, N);
    assert_int_equal(lx_lora_kinship(&kinship, fa, fb, NULL), 0);
    *exact = kinship.cosine;
    lx_lora_file_close(fa);
    lx_lora_file_close(fb);
    return lx_sketch_cosine(&x, &y);
}

static void test_lora_sketch__estimates_the_cosine(void **state)
{
    char a[] = "/tmp/lx-sketch-a-XXXXXX", b[] = "/tmp/lx-sketch-b-XXXXXX";
    double exact, about;

    close(mkstemp(a));
    close(mkstemp(b));
    write_file(a, 1, 0.7f, 1);
    about = estimate(&exact, a, a);
    assert_true(fabs(about - 1) < 1e-6 && fabs(exact - 1) < 1e-6);
    write_file(b, 1, 0.7f, -3);
    about = estimate(&exact, a, b);
    assert_true(fabs(about + 1) < 1e-6 && fabs(exact + 1) < 1e-6);
    for (int i = 0; i < 4; i++) {
        write_file(b, 2 + (uint64_t)i, 0.25f * (float)i, 2);
        about = estimate(&exact, a, b);
        if (fabs(about - exact) > 0.12)
            fail_msg("share %g: %g for %g", 0.25 * i, about, exact);
    }
    unlink(a);
    unlink(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lora_sketch__estimates_the_cosine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
