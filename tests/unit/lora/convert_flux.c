/* Transformers whose layers are fused or named otherwise: apart, together and renamed, to the bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/rng.h"
#include "tests/support/convert.h"
#include "tests/support/model.h"

enum { HIDDEN = 3072 };

/* One module of rank 2 in F16, from a seed: made of tensors that the caller frees. */
static size_t put_module(lx_tensor_view *views, const char *name, bool has_alpha,
                         int64_t out, int64_t in, uint64_t seed)
{
    static const float one = 1;
    const int64_t shapes[2][2] = {{2, in}, {out, 2}};
    size_t n = 0;

    for (int k = 0; k < 2; k++) {
        lx_tensor_view *v = &views[n++];
        lx_rng rng = lx_rng_stream(seed, LX_RNG_TEST, (uint64_t)k, 0);
        char *text = malloc(200);
        uint16_t *values;
        snprintf(text, 200, "%s%s", name,
                 has_alpha ? (k ? ".lora_up.weight" : ".lora_down.weight")
                           : (k ? ".lora_B.weight" : ".lora_A.weight"));
        *v = (lx_tensor_view){.name = text,
                              .dtype = LX_F16,
                              .n_dims = 2,
                              .shape = {shapes[k][0], shapes[k][1]},
                              .n_elements = (size_t)(shapes[k][0] * shapes[k][1])};
        v->bytes = 2 * v->n_elements;
        v->data = values = malloc(v->bytes);
        for (size_t i = 0; i < v->n_elements; i++)
            values[i] = lx_f16_from_f32((float)(lx_rng_uniform(&rng) - 0.5));
    }
    if (has_alpha) {
        char *text = malloc(200);
        float *value = malloc(sizeof one);
        snprintf(text, 200, "%s.alpha", name);
        *value = one;
        views[n++] = (lx_tensor_view){
            .name = text, .dtype = LX_F32, .n_elements = 1, .bytes = 4, .data = value};
    }
    return n;
}

static void write_modules(const char *path, lx_tensor_view *views, size_t n)
{
    lx_error err;

    lx_assert_ok(lx_safetensors_write(path, views, n, NULL, 0, &err), &err);
    for (size_t i = 0; i < n; i++) {
        free((void *)views[i].name);
        free((void *)views[i].data);
    }
}

/* SD 3 and HunyuanVideo by the names of sd-scripts and by diffusers', there and back to the bit. */
typedef struct renamed_layer {
    const char *kohya, *diffusers; /* one of diffusers' */
    int64_t out, in, rows;         /* rows: of that one */
} renamed_layer;

static void check_renamed(const renamed_layer *layers, size_t n_layers, size_t n_split)
{
    static const lx_spelling by[] = {LX_SPELL_DIFFUSERS, LX_SPELL_PEFT};
    const lx_convert_options back = {.to = LX_SPELL_KOHYA};
    const char *path = "/tmp/lx-convert-renamed.safetensors";
    lx_tensor_view views[64];
    lx_error err;
    size_t n = 0;
    lx_conversion a;

    for (size_t i = 0; i < n_layers; i++)
        n += put_module(views + n, layers[i].kohya, true, layers[i].out, layers[i].in, i);
    write_modules(path, views, n);
    lx_assert_ok(lx_conversion_run(&a, path, &back, &err), &err);
    for (int i = 0; i < 2; i++) {
        const lx_convert_options there = {.to = by[i]};
        char paths[LX_CONVERT_PARTS][400], folder[64], name[200];
        lx_conversion b, c;
        lx_assert_ok(lx_conversion_run(&b, path, &there, &err), &err);
        assert_int_equal(b.r.n_split, n_split);
        for (size_t k = 0; k < n_layers; k++) {
            const lx_tensor_view *up;
            snprintf(name, sizeof name, "%s%s.lora_B.weight",
                     i ? "base_model.model." : "transformer.", layers[k].diffusers);
            if (!(up = lx_conversion_find(&b.r, name)))
                fail_msg("%s: not there", name);
            assert_int_equal(up->shape[0], layers[k].rows);
        }
        lx_conversion_save(paths, &b, folder);
        lx_assert_ok(lx_conversion_run(&c, paths[0], &back, &err), &err);
        lx_conversion_assert_same(&a.r, &c.r, lx_spelling_names[by[i]]);
        lx_conversion_drop(&c);
        lx_conversion_clean(paths, b.r.n_parts, folder);
        lx_conversion_drop(&b);
    }
    lx_conversion_drop(&a);
    unlink(path);
}

static void test_convert__sd3_there_and_back(void **state)
{
    enum { H = 1536 };
    static const renamed_layer layers[] = {
        {"lora_unet_joint_blocks_0_x_block_attn_qkv", "transformer_blocks.0.attn.to_v",
         3 * H, H, H},
        {"lora_unet_joint_blocks_0_context_block_attn_qkv",
         "transformer_blocks.0.attn.add_q_proj", 3 * H, H, H},
        {"lora_unet_joint_blocks_3_x_block_attn2_qkv", "transformer_blocks.3.attn2.to_k",
         3 * H, H, H},
        {"lora_unet_joint_blocks_23_x_block_attn_proj",
         "transformer_blocks.23.attn.to_out.0", H, H, H},
        {"lora_unet_joint_blocks_3_x_block_attn2_proj",
         "transformer_blocks.3.attn2.to_out.0", H, H, H},
        {"lora_unet_joint_blocks_1_context_block_attn_proj",
         "transformer_blocks.1.attn.to_add_out", H, H, H},
        {"lora_unet_joint_blocks_1_x_block_mlp_fc1", "transformer_blocks.1.ff.net.0.proj",
         4 * H, H, 4 * H},
        {"lora_unet_joint_blocks_1_context_block_mlp_fc2",
         "transformer_blocks.1.ff_context.net.2", H, 4 * H, H},
        {"lora_unet_joint_blocks_1_x_block_adaLN_modulation_1",
         "transformer_blocks.1.norm1.linear", 6 * H, H, 6 * H},
        {"lora_unet_joint_blocks_1_context_block_adaLN_modulation_1",
         "transformer_blocks.1.norm1_context.linear", 6 * H, H, 6 * H},
        {"lora_unet_context_embedder", "context_embedder", H, 4096, H},
        {"lora_unet_t_embedder_mlp_0", "time_text_embed.timestep_embedder.linear_1", H,
         256, H},
        {"lora_unet_y_embedder_mlp_2", "time_text_embed.text_embedder.linear_2", H, H, H},
        {"lora_unet_final_layer_linear", "proj_out", 64, H, 64},
    };

    (void)state;
    check_renamed(layers, sizeof layers / sizeof *layers, 3);
}

static void test_convert__hunyuan_video_there_and_back(void **state)
{
    static const renamed_layer layers[] = {
        {"lora_unet_double_blocks_19_img_attn_qkv", "transformer_blocks.19.attn.to_k",
         3 * HIDDEN, HIDDEN, HIDDEN},
        {"lora_unet_double_blocks_0_txt_attn_qkv", "transformer_blocks.0.attn.add_v_proj",
         3 * HIDDEN, HIDDEN, HIDDEN},
        {"lora_unet_double_blocks_0_img_attn_proj", "transformer_blocks.0.attn.to_out.0",
         HIDDEN, HIDDEN, HIDDEN},
        {"lora_unet_double_blocks_0_img_mlp_fc1", "transformer_blocks.0.ff.net.0.proj",
         4 * HIDDEN, HIDDEN, 4 * HIDDEN},
        {"lora_unet_double_blocks_0_txt_mod_linear",
         "transformer_blocks.0.norm1_context.linear", 6 * HIDDEN, HIDDEN, 6 * HIDDEN},
        {"lora_unet_single_blocks_39_linear1", "single_transformer_blocks.39.proj_mlp",
         7 * HIDDEN, HIDDEN, 4 * HIDDEN},
        {"lora_unet_single_blocks_39_linear2", "single_transformer_blocks.39.proj_out",
         HIDDEN, 5 * HIDDEN, HIDDEN},
        {"lora_unet_single_blocks_1_modulation_linear",
         "single_transformer_blocks.1.norm.linear", 3 * HIDDEN, HIDDEN, 3 * HIDDEN},
        {"lora_unet_txt_in_individual_token_refiner_blocks_1_self_attn_qkv",
         "context_embedder.token_refiner.refiner_blocks.1.attn.to_q", 3 * HIDDEN, HIDDEN,
         HIDDEN},
    };

    (void)state;
    check_renamed(layers, sizeof layers / sizeof *layers, 4);
}

/* diffusers has scale before shift where the originals have shift before scale: exchanged there and back, to the bit,
 * with what has a number a row; not between two spellings of the same side. */
static void test_convert__shift_and_scale_change_places(void **state)
{
    enum { H = 1536 };
    static const struct {
        const char *kohya, *other; /* other: of the same network, so that it is known */
        const char *diffusers;
        int64_t in;
        lx_fused network;
    } cases[] = {
        {"lora_unet_joint_blocks_23_context_block_adaLN_modulation_1",
         "lora_unet_joint_blocks_0_x_block_attn_proj",
         "transformer.transformer_blocks.23.norm1_context.linear", H, LX_FUSED_SD3},
        {"lora_unet_final_layer_adaLN_modulation_1",
         "lora_unet_joint_blocks_0_x_block_attn_proj", "transformer.norm_out.linear", H,
         LX_FUSED_SD3},
        {"lora_unet_final_layer_adaLN_modulation_1",
         "lora_unet_double_blocks_0_img_mlp_0", "transformer.norm_out.linear", HIDDEN,
         LX_FUSED_FLUX},
        {"lora_unet_final_layer_adaLN_modulation_1",
         "lora_unet_double_blocks_0_img_mlp_fc1", "transformer.norm_out.linear", HIDDEN,
         LX_FUSED_HUNYUAN_VIDEO},
    };
    const char *path = "/tmp/lx-convert-renamed.safetensors";

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int64_t in = cases[i].in;
        const lx_convert_options kohya = {
            .to = LX_SPELL_KOHYA, .has_network = true, .network = cases[i].network};
        lx_convert_options diffusers = kohya, peft = kohya;
        const size_t half = (size_t)in * 2 * 2; /* bytes of F16, rank 2 */
        char there[LX_CONVERT_PARTS][400], folder[64], name[200];
        const lx_tensor_view *before, *after;
        lx_conversion a, b, c, d;
        lx_tensor_view views[8];
        lx_error err;
        size_t n;
        diffusers.to = LX_SPELL_DIFFUSERS;
        peft.to = LX_SPELL_PEFT;
        n = put_module(views, cases[i].kohya, true, 2 * in, in, 1);
        n += put_module(views + n, cases[i].other, true, in == H ? H : 4 * in, in, 2);
        write_modules(path, views, n);
        lx_assert_ok(lx_conversion_run(&a, path, &kohya, &err), &err);
        lx_assert_ok(lx_conversion_run(&b, path, &diffusers, &err), &err);
        assert_int_equal(a.r.n_swapped, 0);
        assert_int_equal(b.r.n_swapped, 1);
        snprintf(name, sizeof name, "%s.lora_up.weight", cases[i].kohya);
        assert_non_null(before = lx_conversion_find(&a.r, name));
        snprintf(name, sizeof name, "%s.lora_B.weight", cases[i].diffusers);
        if (!(after = lx_conversion_find(&b.r, name)))
            fail_msg("%s: not there", name);
        for (size_t k = 0; k < (size_t)in * 2; k++) { /* alpha / rank is in up */
            const size_t width = (size_t)lx_dtype_bits(after->dtype) / 8;
            float x, y;
            lx_to_f32(&x, (const char *)before->data + half + 2 * k, LX_F16, 1);
            lx_to_f32(&y, (const char *)after->data + width * k, after->dtype, 1);
            if (y != x / 2)
                fail_msg("%s: value %zu is %g, not half of %g", name, k, (double)y,
                         (double)x);
        }
        lx_conversion_save(there, &b, folder);
        lx_assert_ok(lx_conversion_run(&c, there[0], &kohya, &err), &err);
        lx_conversion_assert_same(&a.r, &c.r, name);
        lx_assert_ok(lx_conversion_run(&d, there[0], &peft, &err), &err);
        assert_int_equal(d.r.n_swapped, 0);
        lx_conversion_drop(&d);
        lx_conversion_drop(&c);
        lx_conversion_clean(there, b.r.n_parts, folder);
        lx_conversion_drop(&b);
        lx_conversion_drop(&a);
        unlink(path);
    }
}

/* DoRA's magnitudes are a number a row as well, and go along. */
static void test_convert__magnitudes_change_places(void **state)
{
    static const char *const dora = "lora_unet_final_layer_adaLN_modulation_1.dora_scale";
    const lx_convert_options kohya = {.to = LX_SPELL_KOHYA},
                             diffusers = {.to = LX_SPELL_DIFFUSERS};
    const char *path = "/tmp/lx-convert-renamed.safetensors";
    char there[LX_CONVERT_PARTS][400], folder[64];
    float *magnitudes = malloc(2 * 1536 * sizeof *magnitudes);
    const lx_tensor_view *t;
    lx_tensor_view views[8];
    lx_conversion a, b, c;
    lx_error err;
    size_t n = put_module(views, "lora_unet_final_layer_adaLN_modulation_1", true,
                          2 * 1536, 1536, 1);

    (void)state;
    for (int i = 0; i < 2 * 1536; i++)
        magnitudes[i] = (float)i;
    views[n++] = (lx_tensor_view){.name = strdup(dora),
                                  .dtype = LX_F32,
                                  .n_dims = 2,
                                  .shape = {2 * 1536, 1},
                                  .n_elements = 2 * 1536,
                                  .bytes = 2 * 1536 * sizeof *magnitudes,
                                  .data = magnitudes};
    n += put_module(views + n, "lora_unet_joint_blocks_0_x_block_attn_proj", true, 1536,
                    1536, 2);
    write_modules(path, views, n);
    lx_assert_ok(lx_conversion_run(&a, path, &kohya, &err), &err);
    lx_assert_ok(lx_conversion_run(&b, path, &diffusers, &err), &err);
    assert_non_null(t = lx_conversion_find(
                        &b.r, "transformer.norm_out.linear.lora_magnitude_vector"));
    assert_true(((const float *)t->data)[0] == 1536);
    assert_true(((const float *)t->data)[1536] == 0);
    lx_conversion_save(there, &b, folder);
    lx_assert_ok(lx_conversion_run(&c, there[0], &kohya, &err), &err);
    lx_conversion_assert_same(&a.r, &c.r, "DoRA");
    lx_conversion_drop(&c);
    lx_conversion_clean(there, b.r.n_parts, folder);
    lx_conversion_drop(&b);
    lx_conversion_drop(&a);
    unlink(path);
}

/* ComfyUI reads the original names of HunyuanVideo with their points, whichever way the file has them. */
static void test_convert__hunyuan_video_for_comfyui(void **state)
{
    static const struct {
        const char *name, *wanted; /* wanted NULL: ComfyUI has another name */
        int64_t out, in;
    } cases[] = {
        {"lora_unet_double_blocks_0_img_attn_qkv",
         "diffusion_model.double_blocks.0.img_attn_qkv.lora_B.weight", 3 * HIDDEN,
         HIDDEN},
        {"lora_unet_double_blocks_0_img_mlp_fc1",
         "diffusion_model.double_blocks.0.img_mlp.fc1.lora_B.weight", 4 * HIDDEN, HIDDEN},
        {"lora_unet_txt_in_individual_token_refiner_blocks_1_self_attn_proj",
         "diffusion_model.txt_in.individual_token_refiner.blocks.1.self_attn_proj.lora_B."
         "weight",
         HIDDEN, HIDDEN},
        {"transformer.transformer_blocks.0.ff_context.net.2",
         "diffusion_model.double_blocks.0.txt_mlp.fc2.lora_B.weight", HIDDEN, 4 * HIDDEN},
        {"transformer.transformer_blocks.0.attn.to_q",
         "diffusion_model.double_blocks.0.img_attn_qkv.lora_B.weight", HIDDEN, HIDDEN},
        {"lora_unet_time_in_mlp_0", NULL, HIDDEN, 256},
        {"transformer.time_text_embed.guidance_embedder.linear_2", NULL, HIDDEN, HIDDEN},
        {"transformer.context_embedder.time_text_embed.text_embedder.linear_1", NULL,
         HIDDEN, 4096},
    };
    const lx_convert_options o = {
        .to = LX_SPELL_COMFYUI, .has_network = true, .network = LX_FUSED_HUNYUAN_VIDEO};
    const char *path = "/tmp/lx-convert-renamed.safetensors";

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lx_tensor_view views[4];
        lx_conversion a;
        lx_error err;
        const size_t n = put_module(views, cases[i].name, cases[i].name[0] == 'l',
                                    cases[i].out, cases[i].in, i);
        int rc;
        write_modules(path, views, n);
        rc = lx_conversion_run(&a, path, &o, &err);
        assert_int_equal(rc, cases[i].wanted ? LX_OK : LX_EUNSUPPORTED);
        if (cases[i].wanted && !lx_conversion_find(&a.r, cases[i].wanted))
            fail_msg("%s: no %s", cases[i].name, cases[i].wanted);
        if (!cases[i].wanted)
            assert_non_null(strstr(err.text, "ComfyUI has a name of its own"));
        lx_conversion_drop(&a);
        unlink(path);
    }
}

/* Layers beside q, k and v tell SD 3 by its widths as well; three text encoders tell it without any. */
static void test_convert__sd3_of_few_layers(void **state)
{
    static const struct {
        const char *name, *wanted;
        int64_t out, in;
    } cases[] = {
        {"transformer.transformer_blocks.0.ff.net.2",
         "lora_unet_joint_blocks_0_x_block_mlp_fc2.lora_up.weight", 1536, 4 * 1536},
        {"base_model.model.transformer_blocks.0.norm1_context.linear",
         "lora_unet_joint_blocks_0_context_block_adaLN_modulation_1.lora_up.weight",
         6 * 2432, 2432},
        {"lora_transformer_transformer_blocks_37_attn_to_add_out",
         "lora_unet_joint_blocks_37_context_block_attn_proj.lora_up.weight", 2432, 2432},
    };
    const lx_convert_options o = {.to = LX_SPELL_KOHYA};
    const char *path = "/tmp/lx-convert-renamed.safetensors";
    lx_tensor_view views[8];
    lx_conversion a;
    lx_error err;
    size_t n;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        n = put_module(views, cases[i].name, false, cases[i].out, cases[i].in, i);
        write_modules(path, views, n);
        lx_assert_ok(lx_conversion_run(&a, path, &o, &err), &err);
        if (!lx_conversion_find(&a.r, cases[i].wanted))
            fail_msg("%s: no %s", cases[i].name, cases[i].wanted);
        lx_conversion_drop(&a);
    }
    n = put_module(views, "lora_te2_text_model_encoder_layers_0_mlp_fc1", true, 5120,
                   1280, 1);
    n += put_module(views + n, "lora_te3_encoder_block_0_layer_0_SelfAttention_q", true,
                    4096, 4096, 2);
    write_modules(path, views, n);
    lx_assert_ok(lx_conversion_run(&a, path, &o, &err), &err);
    assert_string_equal(a.r.base, "SD 3");
    lx_conversion_drop(&a);
    unlink(path);
}

/* Flux.1's T5 is the second text encoder in diffusers and in OneTrainer's files, the third for sd-scripts. */
static void test_convert__t5_of_flux(void **state)
{
    const lx_convert_options kohya = {.to = LX_SPELL_KOHYA},
                             diffusers = {.to = LX_SPELL_DIFFUSERS},
                             comfyui = {.to = LX_SPELL_COMFYUI};
    const char *path = "/tmp/lx-convert-renamed.safetensors";
    lx_tensor_view views[8];
    lx_conversion a;
    lx_error err;
    size_t n = put_module(views, "lora_unet_double_blocks_0_img_mlp_0", true, 4 * HIDDEN,
                          HIDDEN, 1);

    (void)state;
    n += put_module(views + n, "lora_te2_encoder_block_0_layer_1_DenseReluDense_wi_0",
                    true, 10240, 4096, 2);
    write_modules(path, views, n);
    lx_assert_ok(lx_conversion_run(&a, path, &kohya, &err), &err);
    assert_non_null(lx_conversion_find(
        &a.r, "lora_te3_encoder_block_0_layer_1_DenseReluDense_wi_0.lora_down.weight"));
    lx_conversion_drop(&a);
    lx_assert_ok(lx_conversion_run(&a, path, &diffusers, &err), &err);
    assert_non_null(lx_conversion_find(
        &a.r, "text_encoder_2.encoder.block.0.layer.1.DenseReluDense.wi_0.lora_linear_"
              "layer.down.weight"));
    assert_int_equal(a.r.n_t5, 1);
    lx_conversion_drop(&a);
    lx_assert_ok(lx_conversion_run(&a, path, &comfyui, &err), &err);
    assert_non_null(lx_conversion_find(&a.r,
                                       "text_encoders.t5xxl.transformer.encoder.block.0."
                                       "layer.1.DenseReluDense.wi_0.lora_A.weight"));
    lx_conversion_drop(&a);
    unlink(path);
}

/* Fused layers come apart for diffusers and PEFT, with their rows of up, and together again to the bit. */
static void test_convert__flux_apart_and_together(void **state)
{
    static const lx_spelling by[] = {LX_SPELL_DIFFUSERS, LX_SPELL_COMFYUI, LX_SPELL_PEFT};
    const lx_convert_options back = {.to = LX_SPELL_KOHYA};
    const char *path = "/tmp/lx-convert-flux.safetensors";
    lx_tensor_view views[16];
    lx_error err;
    size_t n = 0;
    lx_conversion a;

    (void)state;
    n += put_module(views + n, "lora_unet_double_blocks_3_img_attn_qkv", true, 3 * HIDDEN,
                    HIDDEN, 1);
    n += put_module(views + n, "lora_unet_double_blocks_3_img_mlp_0", true, 4 * HIDDEN,
                    HIDDEN, 2);
    n += put_module(views + n, "lora_unet_single_blocks_37_linear1", true, 7 * HIDDEN,
                    HIDDEN, 3);
    write_modules(path, views, n);
    lx_assert_ok(lx_conversion_run(&a, path, &back, &err), &err);
    for (int i = 0; i < 3; i++) {
        const lx_convert_options there = {.to = by[i]};
        char paths[LX_CONVERT_PARTS][400], folder[64];
        lx_conversion b, c;
        lx_assert_ok(lx_conversion_run(&b, path, &there, &err), &err);
        assert_int_equal(b.r.n_split, i == 1 ? 0 : 2);
        if (i == 0) {
            const lx_tensor_view *up = lx_conversion_find(
                &b.r, "transformer.single_transformer_blocks.37.proj_mlp.lora_B.weight");
            assert_non_null(up);
            assert_int_equal(up->shape[0], 4 * HIDDEN);
        }
        lx_conversion_save(paths, &b, folder);
        lx_assert_ok(lx_conversion_run(&c, paths[0], &back, &err), &err);
        lx_conversion_assert_same(&a.r, &c.r, lx_spelling_names[by[i]]);
        lx_conversion_drop(&c);
        lx_conversion_clean(paths, b.r.n_parts, folder);
        lx_conversion_drop(&b);
    }
    lx_conversion_drop(&a);
    unlink(path);
}

/* Ranks add up along a diagonal, what is not there stays 0; apart again they are what they were. */
static void test_convert__flux_of_separate_modules(void **state)
{
    const lx_convert_options there = {.to = LX_SPELL_KOHYA},
                             back = {.to = LX_SPELL_DIFFUSERS};
    const char *path = "/tmp/lx-convert-flux.safetensors";
    char paths[LX_CONVERT_PARTS][400], folder[64];
    const lx_tensor_view *up, *down;
    lx_tensor_view views[16];
    lx_error err;
    size_t n = 0;
    lx_conversion a, b, c;

    (void)state;
    n += put_module(views + n, "transformer.single_transformer_blocks.0.attn.to_q", false,
                    HIDDEN, HIDDEN, 1);
    n += put_module(views + n, "transformer.single_transformer_blocks.0.attn.to_v", false,
                    HIDDEN, HIDDEN, 2);
    n += put_module(views + n, "transformer.transformer_blocks.0.attn.to_out.0", false,
                    HIDDEN, HIDDEN, 3);
    write_modules(path, views, n);
    lx_assert_ok(lx_conversion_run(&a, path, &back, &err), &err);
    lx_assert_ok(lx_conversion_run(&b, path, &there, &err), &err);
    unlink(path);
    assert_int_equal(b.r.n_fused, 1);
    up = lx_conversion_find(&b.r, "lora_unet_single_blocks_0_linear1.lora_up.weight");
    down = lx_conversion_find(&b.r, "lora_unet_single_blocks_0_linear1.lora_down.weight");
    assert_non_null(up);
    assert_int_equal(up->shape[0], 7 * HIDDEN);
    assert_int_equal(up->shape[1], 4);
    assert_int_equal(down->shape[0], 4);
    for (size_t i = HIDDEN * 4; i < 2 * HIDDEN * 4; i++) /* to_k was not there */
        assert_int_equal(((const uint16_t *)up->data)[i], 0);
    assert_non_null(lx_conversion_find(
        &b.r, "lora_unet_double_blocks_0_img_attn_proj.lora_up.weight"));
    lx_conversion_save(paths, &b, folder);
    lx_assert_ok(lx_conversion_run(&c, paths[0], &back, &err), &err);
    lx_conversion_assert_same(&a.r, &c.r, "separate modules");
    lx_conversion_clean(paths, 1, folder);
    lx_conversion_drop(&a);
    lx_conversion_drop(&b);
    lx_conversion_drop(&c);
}

/* OneTrainer has the parts numbered, XLabs the layers by processors. */
static void test_convert__flux_of_other_trainers(void **state)
{
    const lx_convert_options kohya = {.to = LX_SPELL_KOHYA},
                             diffusers = {.to = LX_SPELL_DIFFUSERS};
    const char *path = "/tmp/lx-convert-flux.safetensors";
    lx_tensor_view views[16];
    const lx_tensor_view *up;
    lx_error err;
    size_t n = 0;
    lx_conversion a;

    (void)state;
    for (int k = 0; k < 3; k++) {
        char name[100];
        snprintf(name, sizeof name, "transformer.double_blocks.5.img_attn.qkv.%d", k);
        n += put_module(views + n, name, true, HIDDEN, HIDDEN, (uint64_t)k);
    }
    write_modules(path, views, n);
    lx_assert_ok(lx_conversion_run(&a, path, &kohya, &err), &err);
    up =
        lx_conversion_find(&a.r, "lora_unet_double_blocks_5_img_attn_qkv.lora_up.weight");
    assert_non_null(up);
    assert_int_equal(up->shape[0], 3 * HIDDEN);
    assert_int_equal(up->shape[1], 6);
    lx_conversion_drop(&a);
    lx_assert_ok(lx_conversion_run(&a, path, &diffusers, &err), &err);
    assert_non_null(lx_conversion_find(
        &a.r, "transformer.transformer_blocks.5.attn.to_v.lora_B.weight"));
    lx_conversion_drop(&a);
    n = put_module(views, "double_blocks.0.processor.qkv_lora2", false, 3 * HIDDEN,
                   HIDDEN, 9);
    write_modules(path, views, n);
    lx_assert_ok(lx_conversion_run(&a, path, &kohya, &err), &err);
    assert_non_null(lx_conversion_find(
        &a.r, "lora_unet_double_blocks_0_txt_attn_qkv.lora_up.weight"));
    lx_conversion_drop(&a);
    unlink(path);
}

/* A few low blocks by diffusers' names may be Flux.1's or HunyuanVideo's: converted where the names are the same in
 * both, refused where they are not, until someone says which. */
static void test_convert__blocks_that_do_not_tell_their_model(void **state)
{
    static const struct {
        const char *name;
        lx_spelling to;
        bool has_network;
        lx_fused network;
        const char *wanted; /* a key; NULL: refused */
    } cases[] = {
        {"attn.to_out.0", LX_SPELL_KOHYA, false, LX_FUSED_NONE,
         "lora_unet_double_blocks_0_img_attn_proj.lora_up.weight"},
        {"ff_context.net.2", LX_SPELL_KOHYA, false, LX_FUSED_NONE, NULL},
        {"attn.to_out.0", LX_SPELL_COMFYUI, false, LX_FUSED_NONE, NULL},
        {"ff_context.net.2", LX_SPELL_KOHYA, true, LX_FUSED_FLUX,
         "lora_unet_double_blocks_0_txt_mlp_2.lora_up.weight"},
        {"ff_context.net.2", LX_SPELL_KOHYA, true, LX_FUSED_HUNYUAN_VIDEO,
         "lora_unet_double_blocks_0_txt_mlp_fc2.lora_up.weight"},
        {"ff_context.net.2", LX_SPELL_COMFYUI, true, LX_FUSED_HUNYUAN_VIDEO,
         "diffusion_model.double_blocks.0.txt_mlp.fc2.lora_B.weight"},
    };
    const char *path = "/tmp/lx-convert-unsure.safetensors";

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const lx_convert_options o = {.to = cases[i].to,
                                      .has_network = cases[i].has_network,
                                      .network = cases[i].network};
        lx_tensor_view views[8];
        char name[100];
        lx_conversion d;
        lx_error err;
        size_t n;
        int rc;
        snprintf(name, sizeof name, "transformer.transformer_blocks.0.%s", cases[i].name);
        n = put_module(views, name, false, HIDDEN,
                       cases[i].name[0] == 'f' ? 4 * HIDDEN : HIDDEN, i);
        n += put_module(views + n, "transformer.single_transformer_blocks.0.attn.to_q",
                        false, HIDDEN, HIDDEN, i);
        write_modules(path, views, n);
        rc = lx_conversion_run(&d, path, &o, &err);
        assert_int_equal(rc, cases[i].wanted ? LX_OK : LX_EUNSUPPORTED);
        if (cases[i].wanted)
            assert_non_null(lx_conversion_find(&d.r, cases[i].wanted));
        else if (!cases[i].has_network)
            assert_non_null(strstr(err.text, "add --base flux or hunyuan-video"));
        lx_conversion_drop(&d);
    }
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_convert__sd3_there_and_back),
        cmocka_unit_test(test_convert__hunyuan_video_there_and_back),
        cmocka_unit_test(test_convert__shift_and_scale_change_places),
        cmocka_unit_test(test_convert__magnitudes_change_places),
        cmocka_unit_test(test_convert__hunyuan_video_for_comfyui),
        cmocka_unit_test(test_convert__sd3_of_few_layers),
        cmocka_unit_test(test_convert__t5_of_flux),
        cmocka_unit_test(test_convert__flux_apart_and_together),
        cmocka_unit_test(test_convert__flux_of_separate_modules),
        cmocka_unit_test(test_convert__flux_of_other_trainers),
        cmocka_unit_test(test_convert__blocks_that_do_not_tell_their_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
