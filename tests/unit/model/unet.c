/* The UNet against sd-scripts' original_unet. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/str.h"
#include "tests/support/golden.h"
#include "tests/support/model.h"
#include "tests/support/synth.h"

static const double limit = 2e-5;

static void test_model_unet__forward_of_every_golden_shape(void **state)
{
    lx_tensor_file *golden = lx_golden_open("unet/forward.safetensors");
    lx_model_fixture f;
    int n = 0;

    lx_model_fixture_open(&f, lx_synth_checkpoint("tiny"), 4);
    for (;; n++) {
        char prefix[32], expected[40];
        lx_eval *eval;

        snprintf(prefix, sizeof(prefix), "case%d.", n);
        snprintf(expected, sizeof(expected), "%sout", prefix);
        if (!lx_tensor_file_find(golden, expected))
            break;
        eval = lx_run_golden(&f, LX_EVAL_UNET, golden, prefix, 0, false);
        lx_check_output(eval, "out", golden, expected, limit);
        lx_eval_free(eval);
    }
    assert_true(n > 0);
    lx_model_fixture_close(&f);
    lx_tensor_file_close(golden);
}

/* Ours comes with the SiLU that follows in it. */
static void check_norm_out(lx_eval *eval, const lx_tensor_file *golden)
{
    static const char name[] = "trace.conv_norm_out";
    lx_tensor_view view;
    lx_error err = {0};
    size_t n;
    float *x = lx_golden_f32(&n, golden, "%s", name);

    for (size_t i = 0; i < n; i++)
        x[i] = (float)(x[i] / (1.0 + exp(-(double)x[i])));
    lx_assert_ok(lx_eval_get(&view, eval, name, &err), &err);
    lx_assert_close(name, view.data, x, n, limit);
    free(x);
}

/* In the order of computing, so that the block that differs first is the one reported. */
static void test_model_unet__output_of_every_named_block(void **state)
{
    lx_tensor_file *golden = lx_golden_open("unet/trace.safetensors");
    lx_model_fixture f;
    lx_eval *eval;
    size_t n = 0, n_golden = 0;

    lx_model_fixture_open(&f, lx_synth_checkpoint("tiny"), 4);
    eval = lx_run_golden(&f, LX_EVAL_UNET, golden, "", 0, true);
    for (size_t i = 1; i < lx_eval_count(eval); i++) {
        const char *name = lx_eval_name(eval, i);

        if (!lx_tensor_file_find(golden, name))
            continue;
        if (strcmp(name, "trace.conv_norm_out") == 0)
            check_norm_out(eval, golden);
        else
            lx_check_output(eval, name, golden, name, limit);
        n++;
    }
    for (size_t i = 0; i < lx_tensor_file_count(golden); i++) {
        const char *name = lx_tensor_file_at(golden, i)->name;

        n_golden += lx_starts_with(name, "trace.") && strcmp(name, "trace.out") != 0;
    }
    assert_int_equal(n, n_golden);
    lx_check_output(eval, "out", golden, "trace.out", limit);
    lx_eval_free(eval);
    lx_model_fixture_close(&f);
    lx_tensor_file_close(golden);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_unet__output_of_every_named_block),
        cmocka_unit_test(test_model_unet__forward_of_every_golden_shape),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
