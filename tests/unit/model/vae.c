/* The autoencoder against diffusers' AutoencoderKL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/str.h"
#include "tests/support/golden.h"
#include "tests/support/model.h"
#include "tests/support/synth.h"

static const double limit = 4e-5;

static void test_model_vae__encode_and_decode_every_golden_image(void **state)
{
    lx_tensor_file *golden = lx_golden_open("vae/vae.safetensors");
    lx_model_fixture f;
    int n = 0;

    lx_model_fixture_open(&f, lx_synth_checkpoint("tiny"), 4);
    for (;; n++) {
        char prefix[32], name[64];
        lx_eval *eval;

        snprintf(prefix, sizeof(prefix), "img%d.", n);
        snprintf(name, sizeof(name), "%smean", prefix);
        if (!lx_tensor_file_find(golden, name))
            break;
        eval = lx_run_golden(&f, LX_EVAL_VAE_ENCODE, golden, prefix, 0, false);
        lx_check_output(eval, "mean", golden, name, limit);
        snprintf(name, sizeof(name), "%slogvar", prefix);
        lx_check_output(eval, "logvar", golden, name, limit);
        lx_eval_free(eval);
        eval = lx_run_golden(&f, LX_EVAL_VAE_DECODE, golden, prefix, 0, false);
        snprintf(name, sizeof(name), "%sdecoded_z", prefix);
        lx_check_output(eval, "x", golden, name, limit);
        lx_eval_free(eval);
    }
    assert_true(n > 0);
    lx_model_fixture_close(&f);
    lx_tensor_file_close(golden);
}

/* The golden's names of the encoder and quant_conv. */
static bool is_traced_here(const lx_tensor_file *golden, const char *name)
{
    return lx_tensor_file_find(golden, name) &&
           (lx_starts_with(name, "trace.encoder.") || strcmp(name, "trace.quant_conv") == 0);
}

static void test_model_vae__output_of_every_block_of_the_encoder(void **state)
{
    lx_tensor_file *golden = lx_golden_open("vae/trace.safetensors");
    lx_model_fixture f;
    lx_eval *eval;
    size_t n = 0;

    lx_model_fixture_open(&f, lx_synth_checkpoint("tiny"), 4);
    eval = lx_run_golden(&f, LX_EVAL_VAE_ENCODE, golden, "trace.", 0, true);
    for (size_t i = 2; i < lx_eval_count(eval); i++) {
        const char *name = lx_eval_name(eval, i);

        if (!is_traced_here(golden, name))
            continue;
        lx_check_output(eval, name, golden, name, limit);
        n++;
    }
    assert_true(n > 10);
    lx_eval_free(eval);
    lx_model_fixture_close(&f);
    lx_tensor_file_close(golden);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_vae__output_of_every_block_of_the_encoder),
        cmocka_unit_test(test_model_vae__encode_and_decode_every_golden_image),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
