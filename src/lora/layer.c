#include "src/lora/layer.h"

#include <stdio.h>
#include <string.h>

#include "src/format/tensor_file_build.h"

/* Skips `prefix`: the rest, or NULL when the text does not begin with it. */
static const char *after(const char *text, const char *prefix)
{
    size_t n = strlen(prefix);

    return strncmp(text, prefix, n) == 0 ? text + n : NULL;
}

/* Longer prefixes first. to: the network in sd-scripts' spelling. */
static const struct {
    const char *from, *to;
} prefixes[] = {
    {"lora_unet_unet_", "lora_unet_"},
    {"lora_unet_", "lora_unet_"},
    {"oft_unet_", "lora_unet_"}, /* of sd-scripts' networks/oft.py */
    {"lora_transformer_", "lora_unet_"},
    {"lora_te1_", "lora_te_"},
    {"lora_te2_", "lora_te2_"},
    {"lora_te3_", "lora_te3_"},
    {"lora_te_text_encoder_", "lora_te_"},
    {"lora_te_", "lora_te_"},
    {"lycoris_text_model_", "lora_te_text_model_"},
    {"lycoris_", "lora_unet_"},
    {"unet.", "lora_unet_"},
    {"transformer.", "lora_unet_"},
    {"model.diffusion_model.", "lora_unet_"},
    {"diffusion_model.", "lora_unet_"},
    {"text_encoders.clip_l.transformer.", "lora_te_"},
    {"text_encoders.clip_h.transformer.", "lora_te_"},
    {"text_encoders.clip_g.transformer.", "lora_te2_"},
    {"text_encoders.t5xxl.transformer.", "lora_te3_"},
    {"text_encoder.", "lora_te_"},
    {"text_encoder_2.", "lora_te2_"},
    {"text_encoder_3.", "lora_te3_"},
    {"text_model.", "lora_te_text_model_"},
};

/* ---- cloneofsimo ------------------------------------------------------------------------- */

/* Its numbers count the layers in modules()' order: attention and GEGLU of each transformer block. */
static int put_numbered(lx_str *out, const char *name)
{
    static const char *const unet[] = {
        "attn1_to_q", "attn1_to_k", "attn1_to_v", "attn1_to_out_0", "ff_net_0_proj",
        "attn2_to_q", "attn2_to_k", "attn2_to_v", "attn2_to_out_0"};
    static const char *const text[] = {"k_proj", "v_proj", "q_proj", "out_proj"};
    int n = -1, used = 0;

    if (sscanf(name, "unet:%d%n", &n, &used) == 1 && !name[used] && n >= 0 && n < 144) {
        const int block = n / 9;
        if (block < 6)
            lx_str_printf(out, "lora_unet_down_blocks_%d_attentions_%d", block / 2,
                          block % 2);
        else if (block < 15)
            lx_str_printf(out, "lora_unet_up_blocks_%d_attentions_%d",
                          (block - 6) / 3 + 1, (block - 6) % 3);
        else
            lx_str_puts(out, "lora_unet_mid_block_attentions_0");
        lx_str_printf(out, "_transformer_blocks_0_%s", unet[n % 9]);
        return LX_OK;
    }
    if (sscanf(name, "text_encoder:%d%n", &n, &used) == 1 && !name[used] && n >= 0 &&
        n < 48) {
        lx_str_printf(out, "lora_te_text_model_encoder_layers_%d_self_attn_%s", n / 4,
                      text[n % 4]);
        return LX_OK;
    }
    return LX_EUNSUPPORTED;
}

/* ---- the original UNet's blocks ---------------------------------------------------------- */

static const struct {
    const char *from, *to;
} resnet[] = {
    {"in_layers_0", "norm1"},          {"in_layers_2", "conv1"},
    {"emb_layers_1", "time_emb_proj"}, {"out_layers_0", "norm2"},
    {"out_layers_3", "conv2"},         {"skip_connection", "conv_shortcut"},
};

static void put_resnet(lx_str *out, const char *rest)
{
    for (size_t i = 0; i < sizeof resnet / sizeof *resnet; i++)
        if (strcmp(rest, resnet[i].from) == 0) {
            lx_str_puts(out, resnet[i].to);
            return;
        }
    lx_str_puts(out, rest);
}

/* input_blocks_N_M_*, middle_block_M_*, output_blocks_N_M_*: three blocks a level. */
static bool put_original(lx_str *out, const char *path)
{
    int n = 0, slot = 0, used = 0;
    const char *rest;

    if (sscanf(path, "input_blocks_%d_%d_%n", &n, &slot, &used) == 2 && used && n > 0 &&
        n < 12) {
        const int level = (n - 1) / 3, j = (n - 1) % 3;
        rest = path + used;
        if (strcmp(rest, "op") == 0) {
            lx_str_printf(out, "down_blocks_%d_downsamplers_0_conv", level);
        } else {
            lx_str_printf(out, "down_blocks_%d_%s_%d_", level,
                          slot ? "attentions" : "resnets", j);
            put_resnet(out, rest);
        }
        return true;
    }
    if (sscanf(path, "output_blocks_%d_%d_%n", &n, &slot, &used) == 2 && used && n >= 0 &&
        n < 12) {
        rest = path + used;
        if (slot && strcmp(rest, "conv") == 0) {
            lx_str_printf(out, "up_blocks_%d_upsamplers_0_conv", n / 3);
        } else {
            lx_str_printf(out, "up_blocks_%d_%s_%d_", n / 3,
                          slot ? "attentions" : "resnets", n % 3);
            put_resnet(out, rest);
        }
        return true;
    }
    if (sscanf(path, "middle_block_%d_%n", &slot, &used) == 1 && used && slot >= 0 &&
        slot < 3) {
        lx_str_printf(out, "mid_block_%s_%d_", slot == 1 ? "attentions" : "resnets",
                      slot / 2);
        put_resnet(out, path + used);
        return true;
    }
    return false;
}

static const struct {
    const char *from, *to;
} original_names[] = {
    {"input_blocks_0_0", "conv_in"},
    {"time_embed_0", "time_embedding_linear_1"},
    {"time_embed_2", "time_embedding_linear_2"},
    {"label_emb_0_0", "add_embedding_linear_1"},
    {"label_emb_0_2", "add_embedding_linear_2"},
    {"out_0", "conv_norm_out"},
    {"out_2", "conv_out"},
};

/* path: underscores for dots. */
static void put_unet(lx_str *out, const char *path)
{
    for (size_t i = 0; i < sizeof original_names / sizeof *original_names; i++)
        if (strcmp(path, original_names[i].from) == 0) {
            lx_str_puts(out, original_names[i].to);
            return;
        }
    if (!put_original(out, path))
        lx_str_puts(out, path);
}

/* ---- modules ----------------------------------------------------------------------------- */

/* What stands at the end of a path is replaced. */
static void replace_end(lx_str *path, const char *from, const char *to)
{
    if (!lx_ends_with(lx_str_text(path), from))
        return;
    path->len -= strlen(from);
    path->data[path->len] = 0;
    lx_str_puts(path, to);
}

/* Old diffusers': attn1.processor.to_q -> attn1.to_q, to_out -> to_out.0, and in the text encoder too. */
static void mend_processors(lx_str *path, bool is_text)
{
    char *at = path->data ? strstr(path->data, "_processor_to_") : NULL;

    if (at) {
        const size_t n = strlen("_processor");
        memmove(at, at + n, strlen(at + n) + 1);
        path->len -= n;
    }
    if (!is_text) {
        replace_end(path, "_to_out", "_to_out_0");
        return;
    }
    replace_end(path, "_to_q", "_q_proj");
    replace_end(path, "_to_k", "_k_proj");
    replace_end(path, "_to_v", "_v_proj");
    replace_end(path, "_to_out", "_out_proj");
}

static void put_path(lx_str *out, const char *network, const char *rest)
{
    lx_str path = LX_STR_INIT;

    lx_str_puts(&path, rest);
    for (size_t i = 0; i < path.len; i++)
        if (path.data[i] == '.')
            path.data[i] = '_';
    lx_str_puts(out, network);
    mend_processors(&path, strcmp(network, "lora_unet_") != 0);
    if (strcmp(network, "lora_unet_") == 0)
        put_unet(out, lx_str_text(&path));
    else
        lx_str_puts(out, lx_str_text(&path));
    out->failed |= path.failed;
    lx_str_release(&path);
}

int lx_lora_layer(lx_str *out, size_t *path, const char *name, lx_error *err)
{
    const char *rest = after(name, "base_model.model.");

    name = rest ? rest : name;
    rest = NULL;
    if (strchr(name, ':')) {
        if (put_numbered(out, name) < 0)
            return lx_fail(err, LX_EUNSUPPORTED, "%s does not say which layer it is",
                           lx_show(name, strlen(name)).text);
    } else {
        for (size_t i = 0; !rest && i < sizeof prefixes / sizeof *prefixes; i++)
            if ((rest = after(name, prefixes[i].from)))
                put_path(out, prefixes[i].to, rest);
        if (!rest)
            put_path(out, "lora_unet_", name);
    }
    if (path) {
        const char *text = lx_str_text(out);
        *path = lx_starts_with(text, "lora_unet_") ? strlen("lora_unet_")
                : lx_starts_with(text, "lora_te_") ? strlen("lora_te_")
                                                   : strlen("lora_te2_");
    }
    return lx_str_check(out, err);
}

lx_lora_part lx_lora_layer_part(const char *layer)
{
    return lx_starts_with(layer, "lora_te_")    ? LX_LORA_TEXT_ENCODER
           : lx_starts_with(layer, "lora_te2_") ? LX_LORA_TEXT_ENCODER_2
           : lx_starts_with(layer, "lora_te3_") ? LX_LORA_TEXT_ENCODER_3
                                                : LX_LORA_UNET;
}

/* ---- checkpoints ------------------------------------------------------------------------- */

/* OpenCLIP's block: resblocks.N.attn.out_proj -> encoder_layers_N_self_attn_out_proj. */
static void put_open_clip(lx_layer_rows *rows, const char *network, const char *path)
{
    static const char *const fused[] = {"q_proj", "k_proj", "v_proj"};
    static const struct {
        const char *from, *to;
    } layers[] = {{"attn.out_proj", "self_attn_out_proj"},
                  {"mlp.c_fc", "mlp_fc1"},
                  {"mlp.c_proj", "mlp_fc2"}};
    int n, used = 0;

    if (sscanf(path, "transformer.resblocks.%d.%n", &n, &used) != 1 || !used || n < 0)
        return;
    if (strncmp(path + used, "attn.in_proj", strlen("attn.in_proj")) == 0) {
        for (rows->n = 0; rows->n < 3; rows->n++)
            lx_str_printf(&rows->layers[rows->n],
                          "%stext_model_encoder_layers_%d_self_attn_%s", network, n,
                          fused[rows->n]);
        return;
    }
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        if (strcmp(path + used, layers[i].from) == 0) {
            rows->n = 1;
            lx_str_printf(&rows->layers[0], "%stext_model_encoder_layers_%d_%s", network,
                          n, layers[i].to);
        }
}

static void put_text(lx_layer_rows *rows, const char *network, const char *path)
{
    rows->n = 1;
    put_path(&rows->layers[0], network, "");
    if (!lx_starts_with(path, "text_model.") && lx_starts_with(path, "encoder."))
        lx_str_puts(&rows->layers[0], "text_model_");
    put_path(&rows->layers[0], "", path);
}

/* Of the whole-model files; the first that fits. */
static const struct {
    const char *prefix, *network; /* NULL: no LoRA adapts it */
    bool is_open_clip;
} parts[] = {
    {"first_stage_model.", NULL, false},
    {"vae.", NULL, false},
    {"model_ema.", NULL, false},
    {"cond_stage_model.transformer.", "lora_te_", false},
    {"cond_stage_model.model.", "lora_te_", true},
    {"conditioner.embedders.0.transformer.", "lora_te_", false},
    {"conditioner.embedders.1.model.", "lora_te2_", true},
    {"text_encoders.clip_l.transformer.", "lora_te_", false},
    {"text_encoders.clip_g.transformer.", "lora_te2_", false},
    {"text_encoders.t5xxl.transformer.", "lora_te3_", false},
    {"te.", "lora_te_", false},
};

static void find_rows(lx_layer_rows *rows, const char *stem)
{
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const char *rest = after(stem, parts[i].prefix);
        if (!rest)
            continue;
        if (parts[i].network && parts[i].is_open_clip)
            put_open_clip(rows, parts[i].network, rest);
        else if (parts[i].network)
            put_text(rows, parts[i].network, rest);
        return;
    }
    rows->n =
        lx_lora_layer(&rows->layers[0], NULL, stem, NULL) == LX_EUNSUPPORTED ? 0 : 1;
}

int lx_layer_rows_of(lx_layer_rows *rows, const char *key, lx_error *err)
{
    char stem[512];
    size_t n = strlen(key);
    int rc = LX_OK;

    *rows = (lx_layer_rows){.n = 0};
    rows->is_bias = lx_ends_with(key, "bias");
    n -= lx_ends_with(key, ".weight") ? 7 : lx_ends_with(key, ".bias") ? 5 : 0;
    if (n >= sizeof stem)
        return LX_OK;
    memcpy(stem, key, n);
    stem[n] = 0;
    find_rows(rows, stem);
    for (int i = 0; i < rows->n && rc == LX_OK; i++)
        rc = lx_str_check(&rows->layers[i], err);
    if (rc < 0)
        lx_layer_rows_release(rows);
    return rc;
}

void lx_layer_rows_release(lx_layer_rows *rows)
{
    for (int i = 0; i < 3; i++)
        lx_str_release(&rows->layers[i]);
    rows->n = 0;
}
