/* Spellings there and back to the bit, the peers' own key maps, alphas, precision and drops. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/str.h"
#include "src/lora/layer.h"
#include "tests/support/convert.h"
#include "tests/support/golden.h"
#include "tests/support/model.h"

/* ---- there and back ------------------------------------------------------------------------------ */

static void go_there_and_back(const char *name, lx_spelling to)
{
    const lx_convert_options there = {.to = to}, back = {.to = LX_SPELL_KOHYA};
    char paths[LX_CONVERT_PARTS][400], folder[64], what[128];
    lx_conversion a, b, c = {0};
    lx_error err;

    snprintf(what, sizeof what, "%s by %s", name, lx_spelling_names[to]);
    lx_assert_ok(lx_conversion_run(&a, lx_golden_need(name), &back, &err), &err);
    lx_assert_ok(lx_conversion_run(&b, lx_golden_need(name), &there, &err), &err);
    assert_int_equal(b.r.n_inexact, 0);
    lx_conversion_save(paths, &b, folder);
    if (b.r.n_parts == 1) {
        lx_assert_ok(lx_conversion_run(&c, paths[0], &back, &err), &err);
        lx_conversion_assert_same(&a.r, &c.r, what);
        lx_conversion_drop(&c);
    } else { /* PEFT's folders: as lx convert reads them */
        lx_lora_file *files[LX_CONVERT_PARTS];
        lx_convert_result r;
        lx_convert *all;
        lx_assert_ok(lx_convert_new(&all, &err), &err);
        for (size_t p = 0; p < b.r.n_parts; p++) {
            lx_assert_ok(lx_lora_file_open(&files[p], paths[p], &err), &err);
            lx_assert_ok(lx_convert_add(all, files[p],
                                        p == 0   ? LX_LORA_UNET
                                        : p == 1 ? LX_LORA_TEXT_ENCODER
                                                 : LX_LORA_TEXT_ENCODER_2,
                                        &err),
                         &err);
        }
        lx_assert_ok(lx_convert_run(&r, all, &back, &err), &err);
        lx_conversion_assert_same(&a.r, &r, what);
        lx_convert_free(all);
        for (size_t p = 0; p < b.r.n_parts; p++)
            lx_lora_file_close(files[p]);
    }
    lx_conversion_clean(paths, b.r.n_parts, folder);
    lx_conversion_drop(&a);
    lx_conversion_drop(&b);
}

static void test_convert__there_and_back(void **state)
{
    static const char *const loras[] = {"mini_a_r4_a4_fp32.safetensors",
                                        "mini_c_r4_a1_fp32.safetensors",
                                        "mini_d_r8_a4_fp16.safetensors",
                                        "mini_e_r4_a2_bf16.safetensors",
                                        "mini_g_locon_r8_c4_fp32.safetensors",
                                        "mini_j_r4_a1_fp16.pt",
                                        "mini_l_legacy_pickle.pt",
                                        "full_blockdims_fp16.safetensors",
                                        "full_locon_r8_c4_fp16.safetensors",
                                        "full_r32_a16_fp16.safetensors",
                                        "sdxl_names_r4_fp16.safetensors",
                                        "peft_r4.safetensors",
                                        "diffusers_r4.safetensors",
                                        "diffusers_convert_to_kohya.safetensors",
                                        "mini_i_noalpha_nometa_fp32.safetensors"};
    static const char *const others[] = {
        "lycoris_loha.safetensors",      "lycoris_lokr.safetensors",
        "lycoris_lokr_full.safetensors", "lycoris_full.safetensors",
        "lycoris_glora.safetensors",     "lycoris_dora.safetensors"};
    char path[128];

    (void)state;
    for (size_t i = 0; i < sizeof loras / sizeof *loras; i++) {
        snprintf(path, sizeof path, "lora/files/%s", loras[i]);
        go_there_and_back(path, LX_SPELL_DIFFUSERS);
        go_there_and_back(path, LX_SPELL_PEFT);
        go_there_and_back(path, LX_SPELL_COMFYUI);
        if (strstr(loras[i], "peft") || strstr(loras[i], "diffusers"))
            go_there_and_back(path, LX_SPELL_DIFFUSERS_OLD);
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        snprintf(path, sizeof path, "lora/files/%s", others[i]);
        go_there_and_back(path, LX_SPELL_COMFYUI);
    }
}

/* ---- the peers' maps -------------------------------------------------------------------------------- */

static const char *from_of(const lx_convert_result *r, const char *to)
{
    for (size_t p = 0; p < r->n_parts; p++)
        for (size_t i = 0; i < r->parts[p].n_keys; i++)
            if (strcmp(r->parts[p].keys[i].to.name, to) == 0)
                return r->parts[p].keys[i].from;
    return NULL;
}

/* diffusers' own functions; the one encoder of SD 1.x it numbers, which sd-scripts does not. */
static void check_map(const char *key, lx_spelling to)
{
    const lx_convert_options o = {.to = to};
    cJSON *maps = lx_golden_json("lora/convert/keys.json");
    const cJSON *pair;
    lx_error err;
    lx_conversion d;
    int n = 0;

    lx_assert_ok(
        lx_conversion_run(&d, lx_golden_need("lora/files/peft_r4.safetensors"), &o, &err),
        &err);
    cJSON_ArrayForEach(pair, cJSON_GetObjectItem(maps, key))
    {
        const char *wanted = pair->valuestring, *from;
        char name[256];
        snprintf(name, sizeof name, "%s%s",
                 lx_starts_with(wanted, "lora_te1_") ? "lora_te_" : "",
                 wanted +
                     (lx_starts_with(wanted, "lora_te1_") ? strlen("lora_te1_") : 0));
        from = from_of(&d.r, name);
        if (!from || strcmp(from, pair->string) != 0)
            fail_msg("%s comes from %s, the peer's from %s", name,
                     from ? from : "nothing", pair->string);
        n++;
    }
    assert_int_equal(n, 352);
    lx_conversion_drop(&d);
    cJSON_Delete(maps);
}

static void test_convert__maps_of_diffusers(void **state)
{
    (void)state;
    check_map("peft_to_diffusers", LX_SPELL_DIFFUSERS);
    check_map("peft_to_kohya", LX_SPELL_KOHYA);
}

/* What diffusers itself wrote of the same LoRA. */
static void test_convert__file_of_diffusers(void **state)
{
    const lx_convert_options o = {.to = LX_SPELL_DIFFUSERS};
    lx_tensor_file *wanted = lx_golden_open("lora/files/diffusers_r4.safetensors");
    lx_error err;
    lx_conversion d;

    (void)state;
    lx_assert_ok(
        lx_conversion_run(&d, lx_golden_need("lora/files/peft_r4.safetensors"), &o, &err),
        &err);
    assert_int_equal(d.r.parts[0].n_keys, lx_tensor_file_count(wanted));
    for (size_t i = 0; i < lx_tensor_file_count(wanted); i++) {
        const lx_tensor_view *t = lx_tensor_file_at(wanted, i),
                             *x = lx_conversion_find(&d.r, t->name);
        assert_non_null(x);
        assert_memory_equal(x->data, t->data, t->bytes);
    }
    lx_conversion_drop(&d);
    lx_tensor_file_close(wanted);
}

/* ComfyUI matches names with the model's own keys: every module has one in the checkpoint. */
static void test_convert__comfyui_finds_the_weights(void **state)
{
    static const struct {
        const char *from, *to;
    } prefixes[] = {
        {"diffusion_model.", "model.diffusion_model."},
        {"text_encoders.clip_l.transformer.", "cond_stage_model.transformer."},
    };
    const lx_convert_options o = {.to = LX_SPELL_COMFYUI};
    lx_tensor_file *model = lx_golden_open("lora/checkpoint/tiny_sd15_fp16.safetensors");
    lx_error err;
    lx_conversion d;

    (void)state;
    lx_assert_ok(
        lx_conversion_run(
            &d, lx_golden_need("lora/files/full_locon_r8_c4_fp16.safetensors"), &o, &err),
        &err);
    for (size_t i = 0; i < d.r.parts[0].n_keys; i++) {
        const char *key = d.r.parts[0].keys[i].to.name;
        const int p = lx_starts_with(key, prefixes[0].from) ? 0 : 1;
        char name[256];
        if (!lx_ends_with(key, ".lora_A.weight"))
            continue;
        snprintf(name, sizeof name, "%s%.*s.weight", prefixes[p].to,
                 (int)(strlen(key) - strlen(prefixes[p].from) - strlen(".lora_A.weight")),
                 key + strlen(prefixes[p].from));
        if (!lx_tensor_file_find(model, name))
            fail_msg("%s: the model has no %s", key, name);
    }
    lx_conversion_drop(&d);
    lx_tensor_file_close(model);
}

/* ---- alphas ------------------------------------------------------------------------------------------ */

/* A third has no exact product in halves: up is F32 then, unless halves are asked for. */
static void test_convert__scale_goes_into_up(void **state)
{
    const lx_small_tensor tensors[] = {
        {LX_SMALL_STEM ".lora_down.weight", LX_F16, {2, 2}, 2, {1, 2, 3, 4}},
        {LX_SMALL_STEM ".lora_up.weight", LX_F16, {2, 2}, 2, {1.5f, -2, 0.1f, 7}},
        {LX_SMALL_STEM ".alpha", LX_F16, {0}, 0, {0.7f}},
    };
    const double alpha = (double)lx_f32_from_f16(lx_f16_from_f32(0.7f));
    const lx_convert_options o = {.to = LX_SPELL_DIFFUSERS},
                             half = {.to = LX_SPELL_DIFFUSERS,
                                     .has_dtype = true,
                                     .dtype = LX_F16};
    const lx_tensor_view *up;
    lx_error err;
    lx_conversion d;

    (void)state;
    lx_assert_ok(lx_conversion_of(&d, tensors, 3, &o, &err), &err);
    up = lx_conversion_find(&d.r, "unet.mid_block.attentions.0.proj_in.lora.up.weight");
    assert_non_null(up);
    assert_int_equal(up->dtype, LX_F32);
    assert_true(fabs((double)((const float *)up->data)[0] - 1.5 * alpha / 2) < 1e-7);
    assert_int_equal(d.r.n_folded, 1);
    assert_int_equal(d.r.n_widened, 1);
    assert_int_equal(d.r.n_inexact, 0);
    assert_null(lx_conversion_find(&d.r, "unet.mid_block.attentions.0.proj_in.alpha"));
    lx_conversion_drop(&d);

    lx_assert_ok(lx_conversion_of(&d, tensors, 3, &half, &err), &err);
    up = lx_conversion_find(&d.r, "unet.mid_block.attentions.0.proj_in.lora.up.weight");
    assert_int_equal(up->dtype, LX_F16);
    assert_int_equal(d.r.n_inexact, 1);
    lx_conversion_drop(&d);
}

/* What goes into up goes into the bias behind it. */
static void test_convert__scale_goes_into_the_bias(void **state)
{
#define LAYER "transformer.some_new.thing_0.to_q"
    const lx_small_tensor tensors[] = {
        {LAYER ".lora_A.weight", LX_F16, {2, 2}, 2, {1, 2, 3, 4}},
        {LAYER ".lora_B.weight", LX_F16, {2, 2}, 2, {1, 2, 3, 4}},
        {LAYER ".lora_B.bias", LX_F16, {2}, 1, {3, 0.1f}},
        {LAYER ".alpha", LX_F32, {0}, 0, {6}},
    };
    const lx_convert_options o = {.to = LX_SPELL_DIFFUSERS};
    const double tenth = (double)lx_f32_from_f16(lx_f16_from_f32(0.1f));
    const lx_tensor_view *bias;
    double values[2];
    lx_error err;
    lx_conversion d;

    (void)state;
    lx_assert_ok(lx_conversion_of(&d, tensors, 4, &o, &err), &err);
    assert_non_null(bias = lx_conversion_find(&d.r, LAYER ".lora_B.bias"));
    assert_int_equal(lx_to_f64(values, bias->data, bias->dtype, 2), 0);
    assert_true(values[0] == 9);
    assert_true(fabs(values[1] - 3 * tenth) < 1e-7); /* no half has it */
    lx_conversion_drop(&d);
#undef LAYER
}

/* DoRA of a convolution that has as many inputs as outputs: whose magnitudes are by rows is told by their name. */
static void test_convert__magnitudes_of_a_convolution(void **state)
{
#define LAYER "lora_unet_mid_block_resnets_0_conv1"
#define PEFT_LAYER "base_model.model.mid_block.resnets.0.conv1"
    const lx_small_tensor peft[] = {
        {PEFT_LAYER ".lora_A.weight", LX_F16, {1, 2, 1, 1}, 4, {1, 2}},
        {PEFT_LAYER ".lora_B.weight", LX_F16, {2, 1, 1, 1}, 4, {1, 2}},
        {PEFT_LAYER ".lora_magnitude_vector", LX_F16, {1, 2, 1, 1}, 4, {5, 6}},
    };
    lx_small_tensor kohya[] = {
        {LAYER ".lora_down.weight", LX_F16, {1, 2, 1, 1}, 4, {1, 2}},
        {LAYER ".lora_up.weight", LX_F16, {2, 1, 1, 1}, 4, {1, 2}},
        {LAYER ".dora_scale", LX_F16, {2, 1, 1, 1}, 4, {5, 6}},
    };
    const lx_convert_options to_kohya = {.to = LX_SPELL_KOHYA},
                             to_peft = {.to = LX_SPELL_PEFT};
    const lx_tensor_view *t;
    lx_error err;
    lx_conversion d;

    (void)state;
    lx_assert_ok(lx_conversion_of(&d, peft, 3, &to_kohya, &err), &err);
    assert_non_null(t = lx_conversion_find(&d.r, LAYER ".dora_scale"));
    assert_int_equal(t->shape[0], 2);
    assert_int_equal(t->shape[1], 1);
    lx_conversion_drop(&d);
    lx_assert_ok(lx_conversion_of(&d, kohya, 3, &to_peft, &err), &err);
    assert_non_null(t = lx_conversion_find(&d.r, PEFT_LAYER ".lora_magnitude_vector"));
    assert_int_equal(t->n_dims, 4);
    assert_int_equal(t->shape[0], 1);
    assert_int_equal(t->shape[1], 2);
    lx_conversion_drop(&d);
    kohya[2].shape[0] = 1; /* LyCORIS' by input channels, which PEFT does not have */
    kohya[2].shape[1] = 2;
    assert_int_equal(lx_conversion_of(&d, kohya, 3, &to_peft, &err), LX_EUNSUPPORTED);
    lx_conversion_drop(&d);
    lx_assert_ok(lx_conversion_of(&d, kohya, 3, &to_kohya, &err), &err);
    assert_non_null(t = lx_conversion_find(&d.r, LAYER ".dora_scale"));
    assert_int_equal(t->shape[0], 1);
    lx_conversion_drop(&d);
#undef LAYER
#undef PEFT_LAYER
}

static void test_convert__alphas_that_are_not_there_or_0(void **state)
{
    const lx_small_tensor tensors[] = {
        {LX_SMALL_STEM ".lora_down.weight", LX_F16, {2, 2}, 2, {1, 2, 3, 4}},
        {LX_SMALL_STEM ".lora_up.weight", LX_F16, {2, 2}, 2, {1, 2, 3, 4}},
        {LX_SMALL_STEM ".alpha", LX_F32, {0}, 0, {0}},
    };
    const lx_convert_options o = {.to = LX_SPELL_KOHYA};

    (void)state;
    for (size_t n = 2; n <= 3; n++) {
        const lx_tensor_view *alpha;
        double value;
        lx_error err;
        lx_conversion d;
        lx_assert_ok(lx_conversion_of(&d, tensors, n, &o, &err), &err);
        alpha = lx_conversion_find(&d.r, LX_SMALL_STEM ".alpha");
        assert_non_null(alpha);
        assert_int_equal(lx_to_f64(&value, alpha->data, alpha->dtype, 1), 0);
        assert_true(value == 2);
        assert_int_equal(d.r.n_zero_alphas, n == 3);
        lx_conversion_drop(&d);
    }
}

static void test_convert__config_of_peft(void **state)
{
    const lx_convert_options o = {.to = LX_SPELL_PEFT};
    lx_error err;
    lx_conversion d;

    (void)state;
    lx_assert_ok(
        lx_conversion_run(
            &d, lx_golden_need("lora/files/full_blockdims_fp16.safetensors"), &o, &err),
        &err);
    assert_int_equal(d.r.n_parts, 2);
    for (size_t p = 0; p < 2; p++) {
        const lx_convert_part *part = &d.r.parts[p];
        cJSON *config;
        const cJSON *ranks, *target;
        int n = 0;
        lx_assert_ok(lx_json_parse(&config, part->config, strlen(part->config), &err),
                     &err);
        ranks = cJSON_GetObjectItem(config, "rank_pattern");
        cJSON_ArrayForEach(target, cJSON_GetObjectItem(config, "target_modules"))
        {
            const cJSON *own =
                cJSON_GetObjectItemCaseSensitive(ranks, target->valuestring);
            const lx_tensor_view *down;
            char name[256];
            snprintf(name, sizeof name, "base_model.model.%s.lora_A.weight",
                     target->valuestring);
            down = lx_conversion_find(&d.r, name);
            assert_non_null(down);
            assert_int_equal(down->shape[0],
                             own ? own->valuedouble : lx_json_number(config, "r", 0));
            n++;
        }
        assert_int_equal(n, part->n_keys / 2);
        cJSON_Delete(config);
    }
    lx_conversion_drop(&d);
}

/* ---- repair, precision, drops ------------------------------------------------------------------------- */

static void test_convert__damaged_names_are_repaired(void **state)
{
    const lx_small_tensor tensors[] = {
        {"lora_unet_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_k_lora_"
         "down.weight",
         LX_F32,
         {1, 2},
         2,
         {1, 2}},
        {"lora_unet_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_k_lora_"
         "up.weight",
         LX_F32,
         {2, 1},
         2,
         {1, 2}},
    };
    const lx_convert_options o = {.to = LX_SPELL_KOHYA};
    lx_error err;
    lx_conversion d;

    (void)state;
    lx_assert_ok(lx_conversion_of(&d, tensors, 2, &o, &err), &err);
    assert_int_equal(d.r.n_repaired, 1);
    assert_non_null(lx_conversion_find(
        &d.r, "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_k"
              ".lora_down.weight"));
    lx_conversion_drop(&d);
}

static void test_convert__precision(void **state)
{
    static const lx_dtype dtypes[] = {LX_F32, LX_F16, LX_BF16, LX_F8_E4M3, LX_F8_E5M2};
    static const double limits[] = {0, 5e-4, 4e-3, 7e-2, 0.13};

    (void)state;
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        const lx_convert_options o = {
            .to = LX_SPELL_KOHYA, .has_dtype = true, .dtype = dtypes[i]};
        lx_error err;
        lx_conversion d;
        lx_assert_ok(
            lx_conversion_run(
                &d, lx_golden_need("lora/files/mini_a_r4_a4_fp32.safetensors"), &o, &err),
            &err);
        for (size_t k = 0; k < d.r.parts[0].n_keys; k++) {
            const lx_tensor_view *t = &d.r.parts[0].keys[k].to;
            assert_int_equal(t->dtype, t->n_dims ? dtypes[i] : LX_F32);
        }
        assert_true(d.r.rounding <= limits[i] && (d.r.rounding > 0) == (i > 0));
        lx_conversion_drop(&d);
    }
}

static void test_convert__drops(void **state)
{
    const char *const patterns[] = {"*.diff_b", "lora_te_*"};
    const lx_convert_options o = {.to = LX_SPELL_KOHYA, .drops = patterns, .n_drops = 2};
    lx_error err;
    lx_conversion d;

    (void)state;
    lx_assert_ok(lx_conversion_run(
                     &d, lx_golden_need("lora/files/lycoris_full.safetensors"), &o, &err),
                 &err);
    assert_int_equal(d.r.n_dropped + d.r.parts[0].n_keys,
                     lx_tensor_file_count(d.file->file));
    for (size_t i = 0; i < d.r.parts[0].n_keys; i++)
        assert_true(!lx_ends_with(d.r.parts[0].keys[i].to.name, ".diff_b") &&
                    !lx_starts_with(d.r.parts[0].keys[i].to.name, "lora_te_"));
    lx_conversion_drop(&d);
}

/* ---- names ------------------------------------------------------------------------------------------------- */

static void test_convert__places_of_names(void **state)
{
    static const struct {
        const char *name, *path;
    } cases[] = {
        {"lora_unet_up_blocks_3_attentions_2_transformer_blocks_0_ff_net_0_proj",
         "up_blocks.3.attentions.2.transformer_blocks.0.ff.net.0.proj"},
        {"lora_unet_input_blocks_4_1_transformer_blocks_1_attn2_to_out_0",
         "down_blocks.1.attentions.0.transformer_blocks.1.attn2.to_out.0"},
        {"lora_unet_output_blocks_2_2_conv", "up_blocks.0.upsamplers.0.conv"},
        {"lora_te2_text_model_encoder_layers_31_self_attn_out_proj",
         "text_model.encoder.layers.31.self_attn.out_proj"},
        {"lora_unet_double_blocks_18_img_attn_qkv", "double_blocks.18.img_attn.qkv"},
        {"lora_unet_single_blocks_37_linear1", "single_blocks.37.linear1"},
        {"lora_unet_joint_blocks_0_context_block_attn_qkv",
         "joint_blocks.0.context_block.attn.qkv"},
        {"lora_unet_blocks_0_self_attn_k_img", "blocks.0.self_attn.k_img"},
        {"lora_unet_transformer_blocks_59_attn_add_k_proj",
         "transformer_blocks.59.attn.add_k_proj"},
        {"lora_te3_encoder_block_0_layer_0_SelfAttention_q",
         "encoder.block.0.layer.0.SelfAttention.q"},
        {"transformer.some_new.thing_0.to_q", "some_new.thing_0.to_q"},
        {"down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_out",
         "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0"},
        {"double_blocks.4.processor.proj_lora2", "double_blocks.4.txt_attn.proj"},
        {"unet:5", "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_q"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lx_module_place place;
        lx_error err;
        lx_assert_ok(lx_module_place_of(&place, cases[i].name, &err), &err);
        assert_string_equal(lx_str_text(&place.path), cases[i].path);
        lx_str_release(&place.path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_convert__there_and_back),
        cmocka_unit_test(test_convert__maps_of_diffusers),
        cmocka_unit_test(test_convert__file_of_diffusers),
        cmocka_unit_test(test_convert__comfyui_finds_the_weights),
        cmocka_unit_test(test_convert__scale_goes_into_up),
        cmocka_unit_test(test_convert__scale_goes_into_the_bias),
        cmocka_unit_test(test_convert__magnitudes_of_a_convolution),
        cmocka_unit_test(test_convert__alphas_that_are_not_there_or_0),
        cmocka_unit_test(test_convert__config_of_peft),
        cmocka_unit_test(test_convert__damaged_names_are_repaired),
        cmocka_unit_test(test_convert__precision),
        cmocka_unit_test(test_convert__drops),
        cmocka_unit_test(test_convert__places_of_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
