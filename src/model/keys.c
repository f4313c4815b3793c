#include "src/model/keys.h"

#include <string.h>

typedef struct rename_rule {
    const char *from, *to; /* prefixes that end at a dot */
} rename_rule;

static const rename_rule unet_rules[] = {
    {"time_embed.0.", "time_embedding.linear_1."},
    {"time_embed.2.", "time_embedding.linear_2."},
    {"input_blocks.0.0.", "conv_in."},
    {"middle_block.0.", "mid_block.resnets.0."},
    {"middle_block.1.", "mid_block.attentions.0."},
    {"middle_block.2.", "mid_block.resnets.1."},
    {"out.0.", "conv_norm_out."},
    {"out.2.", "conv_out."},
    {NULL, NULL},
};

static const rename_rule unet_resnet_rules[] = {
    {"in_layers.0.", "norm1."},        {"in_layers.2.", "conv1."},
    {"emb_layers.1.", "time_emb_proj."}, {"out_layers.0.", "norm2."},
    {"out_layers.3.", "conv2."},       {"skip_connection.", "conv_shortcut."},
    {NULL, NULL},
};

static const rename_rule vae_mid_rules[] = {
    {"mid.block_1.", "mid_block.resnets.0."},
    {"mid.block_2.", "mid_block.resnets.1."},
    {"mid.attn_1.", "mid_block.attentions.0."},
    {"norm_out.", "conv_norm_out."},
    {NULL, NULL},
};

/* LDM's, and diffusers' before 0.15: query, key, value, proj_attn. */
static const rename_rule vae_attention_rules[] = {
    {"norm.", "group_norm."}, {"q.", "to_q."},        {"k.", "to_k."},
    {"v.", "to_v."},          {"proj_out.", "to_out.0."}, {"query.", "to_q."},
    {"key.", "to_k."},        {"value.", "to_v."},    {"proj_attn.", "to_out.0."},
    {NULL, NULL},
};

static const rename_rule vae_resnet_rules[] = {
    {"nin_shortcut.", "conv_shortcut."},
    {NULL, NULL},
};

/* Skips `prefix`: the rest of key, or NULL when it does not begin with it. */
static const char *after(const char *key, const char *prefix)
{
    size_t n = strlen(prefix);

    return strncmp(key, prefix, n) == 0 ? key + n : NULL;
}

/* Reads "N." with N below `limit`, without leading zeros; the rest, or NULL. */
static const char *number(int *out, const char *text, int limit)
{
    int n = 0, digits = 0;

    while (text[digits] >= '0' && text[digits] <= '9' && digits < 3)
        n = n * 10 + (text[digits++] - '0');
    if (digits == 0 || text[digits] != '.' || n >= limit || (digits > 1 && text[0] == '0'))
        return NULL;
    *out = n;
    return text + digits + 1;
}

/* The rule whose `from` begins `text` is applied to it; without one the text stays. */
static bool put_renamed(lx_str *name, const rename_rule *rules, const char *text)
{
    for (; rules->from; rules++) {
        const char *rest = after(text, rules->from);

        if (rest) {
            lx_str_puts(name, rules->to);
            lx_str_puts(name, rest);
            return true;
        }
    }
    lx_str_puts(name, text);
    return false;
}

/* input_blocks.N.M.*: three blocks a level, the third is the downsampling. */
static bool unet_input_block(lx_str *name, const char *rest)
{
    int n, slot, level, j;

    if (!(rest = number(&n, rest, 12)) || n == 0 || !(rest = number(&slot, rest, 2)))
        return false;
    level = (n - 1) / 3;
    j = (n - 1) % 3;
    if (j == 2) {
        if (slot != 0 || !(rest = after(rest, "op.")))
            return false;
        lx_str_printf(name, "down_blocks.%d.downsamplers.0.conv.%s", level, rest);
    } else if (slot == 0) {
        lx_str_printf(name, "down_blocks.%d.resnets.%d.", level, j);
        put_renamed(name, unet_resnet_rules, rest);
    } else {
        lx_str_printf(name, "down_blocks.%d.attentions.%d.%s", level, j, rest);
    }
    return true;
}

/* output_blocks.N.M.*: three blocks a level; the upsampling follows the last block's attention,
 * or takes its slot at the level without attention. */
static bool unet_output_block(lx_str *name, const char *rest)
{
    int n, slot;
    const char *conv;

    if (!(rest = number(&n, rest, 12)) || !(rest = number(&slot, rest, 3)))
        return false;
    conv = after(rest, "conv.");
    if (slot > 0 && conv) {
        lx_str_printf(name, "up_blocks.%d.upsamplers.0.conv.%s", n / 3, conv);
    } else if (slot == 0) {
        lx_str_printf(name, "up_blocks.%d.resnets.%d.", n / 3, n % 3);
        put_renamed(name, unet_resnet_rules, rest);
    } else {
        lx_str_printf(name, "up_blocks.%d.attentions.%d.%s", n / 3, n % 3, rest);
    }
    return true;
}

static bool unet_key(lx_str *name, const char *key)
{
    const char *rest;

    if ((rest = after(key, "input_blocks.")) && !after(key, "input_blocks.0."))
        return unet_input_block(name, rest);
    if ((rest = after(key, "output_blocks.")))
        return unet_output_block(name, rest);
    for (const rename_rule *rule = unet_rules; rule->from; rule++) {
        if (!(rest = after(key, rule->from)))
            continue;
        lx_str_puts(name, rule->to);
        put_renamed(name, unet_resnet_rules, rest);
        return true;
    }
    return false;
}

/* encoder.* or decoder.* after the side's name was written: LDM's names. */
static bool vae_side_key(lx_str *name, const char *key)
{
    const char *rest;
    int level, j;

    if ((rest = after(key, "down.")) || (rest = after(key, "up."))) {
        bool is_down = key[0] == 'd';
        const char *block, *conv;

        if (!(rest = number(&level, rest, 4)))
            return false;
        /* LDM counts the decoder's levels from the pixels, diffusers from the latents. */
        lx_str_printf(name, is_down ? "down_blocks.%d." : "up_blocks.%d.",
                      is_down ? level : 3 - level);
        if ((block = after(rest, "block.")) && (block = number(&j, block, 3))) {
            lx_str_printf(name, "resnets.%d.", j);
            put_renamed(name, vae_resnet_rules, block);
            return true;
        }
        if ((conv = after(rest, is_down ? "downsample.conv." : "upsample.conv."))) {
            lx_str_printf(name, "%s.0.conv.%s", is_down ? "downsamplers" : "upsamplers", conv);
            return true;
        }
        return false;
    }
    if ((rest = after(key, "mid.attn_1.")) || (rest = after(key, "mid_block.attentions.0."))) {
        lx_str_puts(name, "mid_block.attentions.0.");
        put_renamed(name, vae_attention_rules, rest);
        return true;
    }
    put_renamed(name, vae_mid_rules, key);
    return true;
}

static bool vae_key(lx_str *name, const char *key)
{
    const char *rest;

    if ((rest = after(key, "encoder.")) || (rest = after(key, "decoder."))) {
        lx_str_append(name, key, (size_t)(rest - key));
        return vae_side_key(name, rest);
    }
    if (after(key, "quant_conv.") || after(key, "post_quant_conv.")) {
        lx_str_puts(name, key);
        return true;
    }
    return false; /* a discriminator's weights in VAE training files, and the like */
}

static bool text_key(lx_str *name, const char *key)
{
    const char *rest = after(key, "text_model.");

    if (!rest)
        rest = key;
    if (strcmp(rest, "embeddings.position_ids") == 0)
        return false; /* 0..76, a buffer of old transformers */
    if (!after(rest, "embeddings.") && !after(rest, "encoder.") &&
        !after(rest, "final_layer_norm."))
        return false;
    lx_str_printf(name, "text_model.%s", rest);
    return true;
}

bool lx_key_of_part(lx_str *name, lx_part part, const char *key)
{
    bool is_known = false;

    lx_str_clear(name);
    switch (part) {
    case LX_UNET:
        lx_str_puts(name, key);
        is_known = true;
        break;
    case LX_TEXT_ENCODER:
        is_known = text_key(name, key);
        break;
    case LX_VAE:
        is_known = vae_key(name, key);
        break;
    case LX_PART_COUNT:
        break;
    }
    if (!is_known)
        lx_str_clear(name);
    return is_known;
}

bool lx_key_of_model(lx_part *part, lx_str *name, const char *key)
{
    const char *rest;
    bool is_known = false;

    lx_str_clear(name);
    if ((rest = after(key, "model.diffusion_model."))) {
        *part = LX_UNET;
        is_known = unet_key(name, rest);
    } else if ((rest = after(key, "first_stage_model."))) {
        *part = LX_VAE;
        is_known = vae_key(name, rest);
    } else if ((rest = after(key, "cond_stage_model.transformer."))) {
        *part = LX_TEXT_ENCODER;
        is_known = text_key(name, rest);
    }
    if (!is_known)
        lx_str_clear(name);
    return is_known;
}

const char *lx_key_foreign_model(const char *key)
{
    if (after(key, "conditioner.embedders."))
        return "SDXL";
    if (after(key, "cond_stage_model.model."))
        return "Stable Diffusion 2.x";
    if (after(key, "model.diffusion_model.joint_blocks."))
        return "Stable Diffusion 3";
    if (after(key, "model.diffusion_model.double_blocks.") || after(key, "double_blocks."))
        return "Flux";
    return NULL;
}
