/* Names of modules as trainers spell them, and the layers that they mean. */
#include <stdlib.h>
#include <string.h>

#include "src/base/str.h"
#include "src/lora/module.h"
#include "src/model/keys.h"

/* Moves *at behind the prefix. */
static bool skip(const char **at, const char *prefix)
{
    if (!lx_starts_with(*at, prefix))
        return false;
    *at += strlen(prefix);
    return true;
}

/* "a.b.c" -> "a_b_c", behind kohya's prefix for the part. */
static void spell(lx_str *out, lx_part part, const char *path, size_t n)
{
    lx_str_puts(out, part == LX_UNET ? "lora_unet_" : "lora_te_");
    for (size_t i = 0; i < n; i++)
        lx_str_putc(out, path[i] == '.' ? '_' : path[i]);
}

/* A layer's last name as it is today; attention processors call those of both parts alike. */
static const char *last_name(lx_part part, const char *name)
{
    static const char *const names[][3] = {
        /* found, in the UNet, in the text encoder */
        {"to_out", "to_out.0", "out_proj"},
        {"to_q", "to_q", "q_proj"},
        {"to_k", "to_k", "k_proj"},
        {"to_v", "to_v", "v_proj"},
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i][0]) == 0)
            return names[i][part == LX_UNET ? 1 : 2];
    return name;
}

/* Diffusers' path of a module: `attn1.processor.to_out` is `attn1.to_out.0`. */
static void spell_path(lx_str *out, lx_part part, const char *path)
{
    const char *dot = strrchr(path, '.'), *processor = strstr(path, ".processor.");
    const char *last = dot ? dot + 1 : path, *end = processor ? processor + 1 : last;
    lx_str now = LX_STR_INIT;

    lx_str_append(&now, path, (size_t)(end - path));
    lx_str_puts(&now, last_name(part, last));
    spell(out, part, lx_str_text(&now), now.len);
    lx_str_release(&now);
}

/* The original model's path, which began with `model.`. */
static void spell_original(lx_str *out, const char *path)
{
    lx_str key = LX_STR_INIT, layer = LX_STR_INIT;
    lx_part part;

    lx_str_printf(&key, "model.%s.weight", path);
    if (lx_key_of_model(&part, &layer, lx_str_text(&key)))
        spell(out, part, lx_str_text(&layer), layer.len - strlen(".weight"));
    lx_str_release(&key);
    lx_str_release(&layer);
}

static void spell_as_kohya(lx_str *out, const char *name)
{
    if (skip(&name, "lora_te1_")) {
        spell(out, LX_TEXT_ENCODER, name, strlen(name));
    } else if (lx_starts_with(name, "lora_")) {
        lx_str_puts(out, name);
    } else if (skip(&name, "lycoris_")) {
        spell(out, lx_starts_with(name, "text_model_") ? LX_TEXT_ENCODER : LX_UNET, name,
              strlen(name));
    } else if (lx_starts_with(name, "diffusion_model.")) {
        spell_original(out, name);
    } else {
        skip(&name, "base_model.model.");
        if (skip(&name, "text_encoder.") || lx_starts_with(name, "text_model."))
            spell_path(out, LX_TEXT_ENCODER, name);
        else if (skip(&name, "unet.") || lx_starts_with(name, "down_blocks.") ||
                 lx_starts_with(name, "up_blocks.") || lx_starts_with(name, "mid_block."))
            spell_path(out, LX_UNET, name);
    }
}

/* Is this layer one that cloneofsimo's trainer adapts? It counts them in the model's order. */
static bool is_counted(const lx_lora_target *t)
{
    if (t->part != LX_UNET)
        return strstr(t->layer, "self_attn") != NULL;
    return strstr(t->layer, ".attn") || lx_ends_with(t->layer, "ff.net.0.proj");
}

/* "unet:7": the seventh such layer, counted from 0. */
static int find_counted(const lx_lora_targets *targets, const char *name)
{
    const lx_part part = lx_starts_with(name, "unet:") ? LX_UNET : LX_TEXT_ENCODER;
    const char *digits = strchr(name, ':') + 1;
    char *end;
    long left = strtol(digits, &end, 10);

    if (end == digits || *end || left < 0)
        return -1;
    for (size_t i = 0; i < targets->count; i++)
        if (targets->items[i].part == part && is_counted(&targets->items[i]) &&
            left-- == 0)
            return (int)i;
    return -1;
}

int lx_lora__find(const lx_lora_targets *targets, const char *name)
{
    lx_str wanted = LX_STR_INIT;
    int found = -1;

    if (lx_starts_with(name, "unet:") || lx_starts_with(name, "text_encoder:"))
        return find_counted(targets, name);
    spell_as_kohya(&wanted, name);
    for (size_t i = 0; i < targets->count && found < 0; i++)
        if (strcmp(targets->items[i].name, lx_str_text(&wanted)) == 0)
            found = (int)i;
    lx_str_release(&wanted);
    return found;
}
