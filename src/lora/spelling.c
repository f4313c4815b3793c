/* Names of modules as trainers spell them, and the layers of a model that they mean. */
#include <stdlib.h>
#include <string.h>

#include "src/base/str.h"
#include "src/lora/layer.h"
#include "src/lora/module.h"

/* Is this layer one that cloneofsimo's trainer adapts? It counts them in the model's order. */
static bool is_counted(const lx_lora_target *t)
{
    if (t->part != LX_UNET)
        return strstr(t->layer, "self_attn") != NULL;
    return strstr(t->layer, ".attn") || lx_ends_with(t->layer, "ff.net.0.proj");
}

/* "unet:7": the seventh such layer, counted from 0. The model counts, so that any depth will do. */
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
    if (lx_lora_layer(&wanted, NULL, name, NULL) == LX_OK)
        for (size_t i = 0; i < targets->count && found < 0; i++)
            if (strcmp(targets->items[i].name, lx_str_text(&wanted)) == 0)
                found = (int)i;
    lx_str_release(&wanted);
    return found;
}
