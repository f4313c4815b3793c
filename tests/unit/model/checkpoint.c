#include "src/model/checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "tests/support/golden.h"
#include "tests/support/model.h"
#include "tests/support/synth.h"

static const double limit = 2e-5;

/* A path beside the fixtures. */
static const char *scratch(const char *suffix)
{
    static char paths[4][512];
    static unsigned turn;
    char *path = paths[turn++ % 4];

    snprintf(path, sizeof(paths[0]), "%s.%s", lx_synth_checkpoint("nano"), suffix);
    return path;
}

/* ---- the nano model in its three forms ---------------------------------------------------- */

/* The golden's tensors under the names that lx_eval_run looks for. */
static lx_tensor_file *nano_inputs(const lx_tensor_file *golden)
{
    static const char *const names[][2] = {{"x", "latents"},
                                           {"z", "latents"},
                                           {"t", "timestep"},
                                           {"context", "text_hidden"},
                                           {"input_ids", "input_ids"}};
    lx_tensor_view views[5];
    const char *path = scratch("inputs");
    lx_tensor_file *file;
    lx_error err = {0};

    for (int i = 0; i < 5; i++) {
        const lx_tensor_view *view = lx_tensor_file_find(golden, names[i][1]);

        assert_non_null(view);
        views[i] = *view;
        views[i].name = names[i][0];
    }
    lx_assert_ok(lx_safetensors_write(path, views, 5, NULL, 0, &err), &err);
    file = lx_open_tensors(path);
    remove(path);
    return file;
}

static void check_nano(const char *path, int text_heads)
{
    static const struct {
        lx_eval_kind kind;
        const char *output, *expected;
    } checks[] = {{LX_EVAL_TEXT, "context", "text_hidden"},
                  {LX_EVAL_UNET, "out", "unet_out"},
                  {LX_EVAL_VAE_DECODE, "x", "vae_decoded"}};
    lx_tensor_file *golden = lx_golden_open("model/nano_forward.safetensors");
    lx_tensor_file *inputs = nano_inputs(golden);
    lx_model_fixture f;

    lx_model_fixture_open(&f, path, text_heads);
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        lx_eval *eval = lx_run_golden(&f, checks[i].kind, inputs, "", 0, false);

        lx_check_output(eval, checks[i].output, golden, checks[i].expected, limit);
        lx_eval_free(eval);
    }
    lx_model_fixture_close(&f);
    lx_tensor_file_close(inputs);
    lx_tensor_file_close(golden);
}

static void test_model_checkpoint__nano_from_safetensors(void **state)
{
    check_nano(lx_synth_checkpoint("nano"), 2);
}

static void test_model_checkpoint__nano_from_ckpt(void **state)
{
    check_nano(lx_golden_need("model/nano.ckpt"), 2);
}

static void test_model_checkpoint__nano_from_diffusers_folder(void **state)
{
    lx_golden_need("model/nano-diffusers/unet/diffusion_pytorch_model.safetensors");
    check_nano(lx_golden_need("model/nano-diffusers"), 0); /* heads from its config.json */
}

/* ---- folders that the test makes ---------------------------------------------------------- */

/* The weights [begin, end) of a part under diffusers' names, or `rename`d. */
static void write_part(const lx_checkpoint *ckpt, lx_part part, const char *path, size_t begin,
                       size_t end)
{
    lx_tensor_view *views = calloc(end - begin + 1, sizeof(*views));
    lx_error err = {0};

    assert_non_null(views);
    for (size_t i = begin; i < end; i++) {
        const char *name;

        views[i - begin] = *lx_checkpoint_at(ckpt, part, i, &name);
        views[i - begin].name = name;
    }
    lx_assert_ok(lx_safetensors_write(path, views, end - begin, NULL, 0, &err), &err);
    free(views);
}

static void write_index(const lx_checkpoint *ckpt, const char *path, size_t half)
{
    lx_str text = LX_STR_INIT;
    lx_error err = {0};

    lx_str_puts(&text, "{\"metadata\":{},\"weight_map\":{");
    for (size_t i = 0; i < lx_checkpoint_count(ckpt, LX_UNET); i++) {
        const char *name;

        lx_checkpoint_at(ckpt, LX_UNET, i, &name);
        lx_str_printf(&text, "%s\"%s\":\"%s.safetensors\"", i ? "," : "", name,
                      i < half ? "one" : "two");
    }
    lx_str_puts(&text, "}}");
    lx_assert_ok(lx_file_write(path, text.data, text.len, &err), &err);
    lx_str_release(&text);
}

static void test_model_checkpoint__sharded_folder(void **state)
{
    lx_checkpoint *ckpt = NULL;
    const char *folder = scratch("folder");
    char path[640];
    size_t n;
    lx_error err = {0};

    lx_assert_ok(lx_checkpoint_open(&ckpt, lx_synth_checkpoint("nano"), NULL, &err), &err);
    n = lx_checkpoint_count(ckpt, LX_UNET);
    assert_int_equal(n, 682);
    assert_int_equal(lx_checkpoint_count(ckpt, LX_VAE), 240);
    assert_int_equal(lx_checkpoint_count(ckpt, LX_TEXT_ENCODER), 36); /* no position_ids */
    static const char *const sub[] = {"unet", "vae", "text_encoder"};
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, sub[i]);
        lx_assert_ok(lx_make_dirs(path, &err), &err);
    }
    snprintf(path, sizeof(path), "%s/unet/one.safetensors", folder);
    write_part(ckpt, LX_UNET, path, 0, n / 2);
    snprintf(path, sizeof(path), "%s/unet/two.safetensors", folder);
    write_part(ckpt, LX_UNET, path, n / 2, n);
    snprintf(path, sizeof(path), "%s/unet/diffusion_pytorch_model.safetensors.index.json", folder);
    write_index(ckpt, path, n / 2);
    snprintf(path, sizeof(path), "%s/vae/diffusion_pytorch_model.safetensors", folder);
    write_part(ckpt, LX_VAE, path, 0, lx_checkpoint_count(ckpt, LX_VAE));
    snprintf(path, sizeof(path), "%s/text_encoder/model.safetensors", folder);
    write_part(ckpt, LX_TEXT_ENCODER, path, 0, lx_checkpoint_count(ckpt, LX_TEXT_ENCODER));
    lx_checkpoint_close(ckpt);
    check_nano(folder, 2);
}

static void test_model_checkpoint__vae_is_replaced(void **state)
{
    lx_checkpoint *ckpt = NULL;
    const char *vae_only = scratch("vae.safetensors");
    const lx_tensor_view *view;
    lx_error err = {0};

    lx_assert_ok(lx_checkpoint_open(&ckpt, lx_synth_checkpoint("tiny"), NULL, &err), &err);
    write_part(ckpt, LX_VAE, vae_only, 0, lx_checkpoint_count(ckpt, LX_VAE));
    lx_checkpoint_close(ckpt);
    lx_assert_ok(lx_checkpoint_open(&ckpt, lx_synth_checkpoint("nano"), vae_only, &err), &err);
    view = lx_checkpoint_find(ckpt, LX_VAE, "encoder.down_blocks.3.resnets.0.conv1.weight");
    assert_int_equal(view->shape[0], 96);
    lx_checkpoint_close(ckpt);
    /* The VAE of a whole model. */
    lx_assert_ok(lx_checkpoint_open(&ckpt, lx_synth_checkpoint("nano"),
                                    lx_synth_checkpoint("tiny"), &err), &err);
    assert_int_equal(lx_checkpoint_count(ckpt, LX_VAE), 248);
    lx_checkpoint_close(ckpt);
}

/* ---- facts -------------------------------------------------------------------------------- */

static void test_model_checkpoint__sizes_come_from_shapes(void **state)
{
    static const int unet[4] = {32, 64, 96, 96};
    lx_checkpoint *ckpt = NULL;
    lx_sd_config config;
    lx_error err = {0};

    lx_assert_ok(lx_checkpoint_open(&ckpt, lx_synth_checkpoint("tiny"), NULL, &err), &err);
    assert_int_equal(lx_checkpoint_config(&config, ckpt, 0, &err), LX_EUSAGE);
    assert_non_null(strstr(err.text, "--text_encoder_heads"));
    assert_int_equal(lx_checkpoint_config(&config, ckpt, 3, &err), LX_EUSAGE); /* 40 / 3 */
    lx_assert_ok(lx_checkpoint_config(&config, ckpt, 4, &err), &err);
    assert_memory_equal(config.unet_channels, unet, sizeof(unet));
    assert_memory_equal(config.vae_channels, unet, sizeof(unet));
    assert_int_equal(config.context_size, 40);
    assert_int_equal(config.text_width, 40);
    assert_int_equal(config.text_layers, 3);
    assert_int_equal(config.vocab_size, 49408);
    assert_int_equal(config.text_positions, 77);
    assert_int_equal(config.unet_heads, 8);
    lx_checkpoint_close(ckpt);
}

static void test_model_checkpoint__hashes_are_kohyas(void **state)
{
    char old_hash[9], sha256[65];
    lx_error err = {0};

    lx_assert_ok(lx_checkpoint_hashes(old_hash, sha256, lx_synth_checkpoint("tiny"), &err), &err);
    assert_string_equal(old_hash, "252b0dea");
    assert_string_equal(sha256, lx_synth_profile_find("tiny")->sha256);
    lx_assert_ok(lx_checkpoint_hashes(old_hash, sha256, "/tmp", &err), &err);
    assert_string_equal(old_hash, "");
    assert_string_equal(sha256, "");
    assert_int_equal(lx_checkpoint_hashes(old_hash, sha256, "/nonexistent", &err), LX_ENOTFOUND);
}

static void test_model_checkpoint__parameters_are_converted_once(void **state)
{
    lx_model_fixture f;
    lx_param *first = NULL, *second = NULL;
    const lx_tensor_view *view;
    float expected, found;
    lx_error err = {0};

    lx_model_fixture_open(&f, lx_synth_checkpoint("nano"), 2);
    lx_assert_ok(lx_checkpoint_param(&first, f.checkpoint, f.dev, LX_UNET, "conv_in.weight",
                                     LX_F32, &err), &err);
    lx_assert_ok(lx_checkpoint_param(&second, f.checkpoint, f.dev, LX_UNET, "conv_in.weight",
                                     LX_F32, &err), &err);
    assert_ptr_equal(first, second);
    view = lx_checkpoint_find(f.checkpoint, LX_UNET, "conv_in.weight");
    lx_to_f32(&expected, view->data, view->dtype, 1);
    lx_assert_ok(f.dev->download(f.dev, &found, first->value, sizeof(found), &err), &err);
    assert_true(found == expected);
    assert_null(first->gradient);
    assert_int_equal(lx_checkpoint_param(&first, f.checkpoint, f.dev, LX_UNET, "no.weight",
                                         LX_F32, &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "no.weight"));
    lx_checkpoint_unload(f.checkpoint, f.dev, LX_UNET);
    lx_model_fixture_close(&f);
}

/* ---- what is no model --------------------------------------------------------------------- */

static void check_refused(const char *key, int code, const char *word)
{
    static const float value[2] = {1, 2};
    lx_tensor_view view = {.name = key, .dtype = LX_F32, .n_dims = 1, .shape = {2},
                           .n_elements = 2, .data = value, .bytes = sizeof(value)};
    const char *path = scratch("odd.safetensors");
    lx_checkpoint *ckpt = NULL;
    lx_error err = {0};

    lx_assert_ok(lx_safetensors_write(path, &view, 1, NULL, 0, &err), &err);
    assert_int_equal(lx_checkpoint_open(&ckpt, path, NULL, &err), code);
    assert_null(ckpt);
    if (!strstr(err.text, word) || !strstr(err.text, path))
        fail_msg("\"%s\" says neither %s nor %s", err.text, word, path);
    remove(path);
}

static void test_model_checkpoint__other_files_are_named(void **state)
{
    check_refused("conditioner.embedders.0.transformer.x", LX_EUNSUPPORTED, "SDXL");
    check_refused("cond_stage_model.model.ln_final.weight", LX_EUNSUPPORTED, "2.x");
    check_refused("lora_unet_mid_block_x.alpha", LX_EFORMAT, "LoRA");
    check_refused("something", LX_EFORMAT, "model.diffusion_model");
}

static void test_model_checkpoint__missing_weight_names_the_key(void **state)
{
    const char *path = scratch("cut.safetensors");
    lx_tensor_file *whole = lx_open_tensors(lx_synth_checkpoint("nano"));
    lx_tensor_view *views = calloc(lx_tensor_file_count(whole), sizeof(*views));
    lx_tensor_file *inputs = lx_golden_open("model/nano_forward.safetensors");
    lx_model_fixture f;
    lx_eval_model model;
    lx_eval *eval = NULL;
    size_t n = 0;
    lx_error err = {0};

    for (size_t i = 0; i < lx_tensor_file_count(whole); i++)
        if (!strstr(lx_tensor_file_at(whole, i)->name, "layers.1.mlp.fc1.bias"))
            views[n++] = *lx_tensor_file_at(whole, i);
    lx_assert_ok(lx_safetensors_write(path, views, n, NULL, 0, &err), &err);
    lx_model_fixture_open(&f, path, 2);
    model = (lx_eval_model){.checkpoint = f.checkpoint, .config = &f.config, .dev = f.dev};
    assert_int_equal(lx_eval_run(&eval, &model, LX_EVAL_TEXT, inputs, "", &err), LX_EFORMAT);
    if (!strstr(err.text, "text_model.encoder.layers.1.mlp.fc1.bias"))
        fail_msg("\"%s\" does not name the key", err.text);
    lx_model_fixture_close(&f);
    lx_tensor_file_close(inputs);
    lx_tensor_file_close(whole);
    free(views);
    remove(path);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_checkpoint__nano_from_safetensors),
        cmocka_unit_test(test_model_checkpoint__nano_from_ckpt),
        cmocka_unit_test(test_model_checkpoint__nano_from_diffusers_folder),
        cmocka_unit_test(test_model_checkpoint__sharded_folder),
        cmocka_unit_test(test_model_checkpoint__vae_is_replaced),
        cmocka_unit_test(test_model_checkpoint__sizes_come_from_shapes),
        cmocka_unit_test(test_model_checkpoint__hashes_are_kohyas),
        cmocka_unit_test(test_model_checkpoint__parameters_are_converted_once),
        cmocka_unit_test(test_model_checkpoint__other_files_are_named),
        cmocka_unit_test(test_model_checkpoint__missing_weight_names_the_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
