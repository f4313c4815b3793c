/*
 * lora/layer - one name for the layer that a module of any spelling is for
 *
 * Names are sd-scripts': `lora_unet_` or `lora_te_`, `lora_te2_`, `lora_te3_` and diffusers' path with
 * underscores for dots. Understood are sd-scripts' own and the SGM paths that its SDXL files have, diffusers'
 * old and new, PEFT's, LyCORIS', OneTrainer's, original model names, cloneofsimo's numbers, and names that a
 * conversion damaged by doubling the prefix; and what checkpoints call the same weights.
 */
#ifndef LX_LORA_LAYER_H
#define LX_LORA_LAYER_H

#include "src/base/str.h"
#include "src/lora/file.h"

/*
 * The layer of a module, appended to an empty `out`. LX_EUNSUPPORTED when the name does not say which it is.
 * *path (may be NULL) is where in the text the network's prefix ends.
 */
int lx_lora_layer(lx_str *out, size_t *path, const char *name, lx_error *err);

/* Which network a layer of that spelling belongs to. */
lx_lora_part lx_lora_layer_part(const char *layer);

/*
 * What a checkpoint's tensor is for LoRAs: layers[0 .. n), one each for equal shares of its rows (3 of a fused
 * attention of OpenCLIP, else 1); n = 0 of those that no LoRA adapts (the VAE, EMA copies).
 */
typedef struct lx_layer_rows {
    lx_str layers[3];
    int n;
    bool is_bias;
} lx_layer_rows;
int lx_layer_rows_of(lx_layer_rows *rows, const char *key, lx_error *err); /* LX_ENOMEM only */
void lx_layer_rows_release(lx_layer_rows *rows);

#endif
