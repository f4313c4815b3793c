/* Which modules a LoRA has, how they begin, and what is written of them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/lora/module.h"
#include "tests/support/golden.h"
#include "tests/support/model.h"
#include "tests/support/synth.h"

/* The golden's true SD 1.5 widths against a narrow model: names and order must be equal, each
 * shape must have as many dimensions, with the rank where the golden has it. */
static void check_list(const char *golden, const lx_lora_spec *spec, int golden_rank,
                       size_t n_text)
{
    lx_str text = LX_STR_INIT;
    cJSON *list = NULL;
    const cJSON *item;
    lx_model_fixture f;
    lx_error err = {0};
    size_t i = 0, skipped = 0;

    lx_assert_ok(lx_file_read(&text, lx_golden_need(golden), 1 << 24, &err), &err);
    lx_assert_ok(lx_json_parse(&list, text.data, text.len, &err), &err);
    lx_model_fixture_open(&f, lx_synth_checkpoint("tiny"), 4);
    lx_assert_ok(lx_lora_create(&f.lora, f.dev, f.checkpoint, &f.config, spec, 1, &err),
                 &err);
    cJSON_ArrayForEach(item, list)
    {
        const char *name = lx_json_text(item, "name");
        const cJSON *down = cJSON_GetObjectItem(item, "down");
        const lx_lora_module *module = &f.lora->modules[i];
        int layer;

        /* The narrow text encoder has 3 layers, the true one 12. */
        if (sscanf(name, "lora_te_text_model_encoder_layers_%d_", &layer) == 1 &&
            layer >= 3) {
            skipped++;
            continue;
        }
        assert_true(i < f.lora->count);
        assert_string_equal(module->name, name);
        assert_int_equal(module->down.n_dims, cJSON_GetArraySize(down));
        assert_int_equal(cJSON_GetArrayItem(down, 0)->valueint, golden_rank);
        assert_int_equal(module->down.shape[0], module->rank);
        assert_int_equal(module->up.shape[1], module->rank);
        if (module->down.n_dims == 4)
            assert_int_equal(module->down.shape[3],
                             cJSON_GetArrayItem(down, 3)->valueint);
        i++;
    }
    assert_int_equal(i, f.lora->count);
    assert_int_equal(skipped, n_text);
    lx_model_fixture_close(&f);
    cJSON_Delete(list);
    lx_str_release(&text);
}

static void test_lora_create__modules_are_the_peers(void **state)
{
    lx_lora_spec spec = {.rank = 4, .has_unet = true, .has_text_encoder = true};

    check_list("lora/modules_sd15.json", &spec, 1, 54);
    spec.conv_rank = 2;
    check_list("lora/modules_sd15_conv.json", &spec, 4, 54);
}

/* conv_dim=0 leaves out the 3x3 convolutions alone: the linears and 1x1 ones of resnets are targets. */
static void test_lora_create__convolutions_of_rank_zero(void **state)
{
    static const struct {
        bool has_conv;
        int rank;
    } rows[] = {{false, 0}, {true, 2}, {true, 0}};
    size_t n[3], n_conv[3] = {0};

    for (int k = 0; k < 3; k++) {
        const lx_lora_spec spec = {
            .rank = 4, .has_conv = rows[k].has_conv, .conv_rank = rows[k].rank, .has_unet = true};
        lx_model_fixture f;
        lx_error err = {0};

        lx_model_fixture_open(&f, lx_synth_checkpoint("nano"), 2);
        lx_assert_ok(lx_lora_create(&f.lora, f.dev, f.checkpoint, &f.config, &spec, 7, &err), &err);
        n[k] = f.lora->count;
        for (size_t i = 0; i < n[k]; i++)
            n_conv[k] += f.lora->modules[i].is_conv;
        lx_model_fixture_close(&f);
    }
    assert_int_equal(n_conv[0] + n_conv[2], 0);
    assert_int_equal(n[2], n[1] - n_conv[1]);
    assert_true(n[2] > n[0]);
}

static void test_lora_create__down_is_uniform_up_is_zero(void **state)
{
    const lx_lora_spec spec = {
        .rank = 8, .alpha = 4, .has_unet = true, .has_text_encoder = true};
    lx_model_fixture f;
    lx_error err = {0};

    lx_model_fixture_open(&f, lx_synth_checkpoint("tiny"), 4);
    lx_assert_ok(lx_lora_create(&f.lora, f.dev, f.checkpoint, &f.config, &spec, 7, &err),
                 &err);
    assert_int_equal(f.lora->count, 18 + 192);
    for (size_t i = 0; i < f.lora->count; i++) {
        const lx_lora_module *module = &f.lora->modules[i];
        const float *down = module->down.value, *up = module->up.value;
        size_t n = lx_lora__size(&module->down);
        double bound = 1.0 / sqrt((double)n / module->rank), sum = 0, largest = 0;

        for (size_t k = 0; k < n; k++) {
            sum += down[k];
            largest = fabs(down[k]) > largest ? fabs(down[k]) : largest;
        }
        assert_true(largest <= bound && largest > 0.9 * bound);
        assert_true(fabs(sum / (double)n) < 0.2 * bound);
        for (size_t k = 0; k < lx_lora__size(&module->up); k++)
            assert_true(up[k] == 0);
        assert_true(module->alpha == 4);
    }
    lx_model_fixture_close(&f);
}

/* The same seed gives the same module, whichever other modules there are. */
static void test_lora_create__a_module_begins_by_its_name(void **state)
{
    lx_lora_spec spec = {.rank = 4, .has_unet = true, .has_text_encoder = true};
    lx_model_fixture f;
    lx_lora *unet = NULL;
    lx_error err = {0};

    lx_model_fixture_open(&f, lx_synth_checkpoint("nano"), 2);
    lx_assert_ok(lx_lora_create(&f.lora, f.dev, f.checkpoint, &f.config, &spec, 42, &err),
                 &err);
    spec.has_text_encoder = false;
    lx_assert_ok(lx_lora_create(&unet, f.dev, f.checkpoint, &f.config, &spec, 42, &err),
                 &err);
    assert_int_equal(unet->count, 192);
    assert_int_equal(f.lora->count, 192 + 12);
    for (size_t i = 0; i < unet->count; i++)
        assert_memory_equal(unet->modules[i].down.value,
                            f.lora->modules[12 + i].down.value,
                            lx_lora__size(&unet->modules[i].down) * sizeof(float));
    lx_lora_free(unet);
    lx_model_fixture_close(&f);
}

/* ---- files -------------------------------------------------------------------------------- */

static void check_reopened(lx_model_fixture *f, const char *path, lx_dtype dtype)
{
    lx_lora *again = NULL;
    lx_error err = {0};

    lx_assert_ok(lx_lora_save(path, f->lora, dtype, false, NULL, 0, &err), &err);
    lx_assert_ok(
        lx_lora_open(&again, f->dev, f->checkpoint, &f->config, path, true, &err), &err);
    assert_int_equal(again->count, f->lora->count);
    assert_int_equal(again->n_values, f->lora->n_values);
    for (size_t i = 0; i < again->count; i++) {
        assert_string_equal(again->modules[i].name, f->lora->modules[i].name);
        assert_int_equal(again->modules[i].rank, f->lora->modules[i].rank);
        assert_true(again->modules[i].alpha == f->lora->modules[i].alpha);
        assert_int_equal(again->modules[i].is_conv, f->lora->modules[i].is_conv);
    }
    if (dtype == LX_F32)
        assert_memory_equal(again->values, f->lora->values,
                            again->n_values * sizeof(float));
    lx_lora_free(again);
}

static void test_lora_create__saved_and_opened_again_is_equal(void **state)
{
    const lx_lora_spec spec = {.rank = 4,
                               .alpha = 1,
                               .conv_rank = 2,
                               .conv_alpha = 1,
                               .has_unet = true,
                               .has_text_encoder = true};
    lx_model_fixture f;
    lx_tensor_file *file;
    const lx_tensor_view *alpha;
    int64_t one;
    char path[600];
    lx_error err = {0};

    lx_model_fixture_open(&f, lx_synth_checkpoint("nano"), 2);
    lx_assert_ok(lx_lora_create(&f.lora, f.dev, f.checkpoint, &f.config, &spec, 42, &err),
                 &err);
    snprintf(path, sizeof(path), "%s.lora.safetensors", lx_synth_checkpoint("nano"));
    check_reopened(&f, path, LX_F32);
    check_reopened(&f, path, LX_F16);
    check_reopened(&f, path, LX_BF16);
    lx_assert_ok(lx_lora_save(path, f.lora, LX_F32, true, NULL, 0, &err), &err);
    file = lx_open_tensors(path);
    assert_int_equal(lx_tensor_file_count(file), 3 * f.lora->count);
    alpha = lx_tensor_file_find(file, "lora_unet_mid_block_attentions_0_proj_in.alpha");
    assert_non_null(alpha);
    assert_int_equal(alpha->dtype, LX_I64);
    assert_int_equal(alpha->n_dims, 0);
    memcpy(&one, alpha->data, sizeof(one));
    assert_int_equal(one, 1);
    lx_tensor_file_close(file);
    remove(path);
    lx_model_fixture_close(&f);
}

/* networks/lora.py: "alpha is None or alpha == 0" is the rank. */
static void test_lora_create__a_stored_alpha_of_0_is_the_rank(void **state)
{
    const lx_lora_spec spec = {.rank = 4, .alpha = 1, .has_unet = true, .has_text_encoder = true};
    lx_model_fixture f;
    lx_lora *again = NULL;
    char path[600];
    lx_error err = {0};

    lx_model_fixture_open(&f, lx_synth_checkpoint("nano"), 2);
    lx_assert_ok(lx_lora_create(&f.lora, f.dev, f.checkpoint, &f.config, &spec, 42, &err), &err);
    f.lora->modules[0].alpha = 0;
    snprintf(path, sizeof(path), "%s.alpha0.safetensors", lx_synth_checkpoint("nano"));
    lx_assert_ok(lx_lora_save(path, f.lora, LX_F32, false, NULL, 0, &err), &err);
    lx_assert_ok(lx_lora_open(&again, f.dev, f.checkpoint, &f.config, path, true, &err), &err);
    assert_true(again->modules[0].alpha == 4);
    assert_true(again->modules[1].alpha == 1);
    lx_lora_free(again);
    remove(path);
    lx_model_fixture_close(&f);
}

static void test_lora_create__golden_files_open(void **state)
{
    static const struct {
        const char *name;
        size_t count;
        int rank;
        double alpha;
    } files[] = {{"train/lora_init_a.safetensors", 210, 4, 1},
                 {"train/lora_init_b.safetensors", 210, 8, 4},
                 {"train/lora_init_conv.safetensors", 296, 4, 1}};
    lx_model_fixture f;
    lx_error err = {0};

    lx_golden_need(files[0].name);
    lx_model_fixture_open(&f, lx_synth_checkpoint("tiny"), 4);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        const char *path = lx_golden(files[i].name);

        if (!path)
            continue;
        lx_assert_ok(
            lx_lora_open(&f.lora, f.dev, f.checkpoint, &f.config, path, true, &err),
            &err);
        assert_int_equal(f.lora->count, files[i].count);
        assert_int_equal(f.lora->modules[0].rank, files[i].rank);
        assert_true(f.lora->modules[0].alpha == files[i].alpha);
        lx_lora_free(f.lora);
        f.lora = NULL;
    }
    lx_model_fixture_close(&f);
}

/* ---- what is refused ---------------------------------------------------------------------- */

typedef struct odd_tensor {
    const char *name;
    int64_t rows, columns;
} odd_tensor;

static void check_refused(lx_model_fixture *f, const odd_tensor *odd, size_t n, int code,
                          const char *word)
{
    static const float zeros[4096];
    lx_tensor_view views[4];
    lx_lora *lora = NULL;
    lx_error err = {0};
    char path[600];

    for (size_t i = 0; i < n; i++)
        views[i] = (lx_tensor_view){.name = odd[i].name,
                                    .dtype = LX_F32,
                                    .n_dims = 2,
                                    .shape = {odd[i].rows, odd[i].columns},
                                    .n_elements = (size_t)(odd[i].rows * odd[i].columns),
                                    .data = zeros,
                                    .bytes = (size_t)(odd[i].rows * odd[i].columns) *
                                             sizeof(float)};
    snprintf(path, sizeof(path), "%s.odd_lora.safetensors", lx_synth_checkpoint("nano"));
    lx_assert_ok(lx_safetensors_write(path, views, n, NULL, 0, &err), &err);
    assert_int_equal(
        lx_lora_open(&lora, f->dev, f->checkpoint, &f->config, path, false, &err), code);
    assert_null(lora);
    if (!strstr(err.text, word) || !strstr(err.text, path))
        fail_msg("\"%s\" says neither %s nor %s", err.text, word, path);
    remove(path);
}

static void test_lora_create__files_that_do_not_fit_are_refused(void **state)
{
#define KEY "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    static const odd_tensor ranks[] = {{KEY ".lora_down.weight", 4, 32},
                                       {KEY ".lora_up.weight", 32, 8}};
    static const odd_tensor width[] = {{KEY ".lora_down.weight", 4, 31},
                                       {KEY ".lora_up.weight", 32, 4}};
    static const odd_tensor half[] = {{KEY ".lora_down.weight", 4, 32}};
    static const odd_tensor stranger[] = {
        {"lora_unet_input_blocks_4_x.lora_down.weight", 4, 32}};
    static const odd_tensor dora[] = {{KEY ".dora_scale", 4, 32}};
    static const odd_tensor loha[] = {{KEY ".hada_w1_a", 32, 4},
                                      {KEY ".hada_w1_b", 4, 32},
                                      {KEY ".hada_w2_a", 32, 4},
                                      {KEY ".hada_w2_b", 4, 31}};
    static const odd_tensor quarter[] = {{KEY ".hada_w1_a", 4, 32}};
    static const odd_tensor lokr[] = {{KEY ".lokr_w1", 4, 4}, {KEY ".lokr_w2", 8, 4}};
    static const odd_tensor halves[] = {
        {KEY ".lokr_w1", 4, 4}, {KEY ".lokr_w2_a", 8, 2}, {KEY ".lokr_w2_b", 3, 8}};
    static const odd_tensor other[] = {{"unet.mid_block.lora_A.weight", 4, 32}};
    lx_model_fixture f;

    lx_model_fixture_open(&f, lx_synth_checkpoint("nano"), 2);
    check_refused(&f, ranks, 2, LX_EMISMATCH, "up has rank 8, down has rank 4");
    check_refused(&f, width, 2, LX_EMISMATCH, "31");
    check_refused(&f, half, 1, LX_EFORMAT, "no lora_up.weight");
    check_refused(&f, stranger, 1, LX_EMISMATCH, "input_blocks_4");
    check_refused(&f, dora, 1, LX_EUNSUPPORTED, "LoHa");
    check_refused(&f, loha, 4, LX_EFORMAT, "32 x 31");
    check_refused(&f, quarter, 1, LX_EFORMAT, "hada_w1_b");
    check_refused(&f, lokr, 2, LX_EMISMATCH, "32 x 16");
    check_refused(&f, halves, 3, LX_EFORMAT, "do not fit");
    check_refused(&f, other, 1, LX_EUNSUPPORTED, "kohya");
    lx_model_fixture_close(&f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lora_create__modules_are_the_peers),
        cmocka_unit_test(test_lora_create__convolutions_of_rank_zero),
        cmocka_unit_test(test_lora_create__down_is_uniform_up_is_zero),
        cmocka_unit_test(test_lora_create__a_module_begins_by_its_name),
        cmocka_unit_test(test_lora_create__saved_and_opened_again_is_equal),
        cmocka_unit_test(test_lora_create__a_stored_alpha_of_0_is_the_rank),
        cmocka_unit_test(test_lora_create__golden_files_open),
        cmocka_unit_test(test_lora_create__files_that_do_not_fit_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
