/*
 * sample/lora_stack - several LoRAs on a model at once, each with its own strengths
 *
 *     y' = y + sum over LoRAs of strength_i (alpha_i / rank_i) up_i(down_i(x))
 *
 * strength is the tag's for the text encoder or the UNet, times the weight of the layer's
 * block when the tag has lbw= (lora/block_weights).
 */
#ifndef LX_SAMPLE_LORA_STACK_H
#define LX_SAMPLE_LORA_STACK_H

#include "src/lora/lora.h"
#include "src/sample/prompt.h"

typedef struct lx_lora_stack lx_lora_stack;

/* One LoRA to put on; path is a file. */
typedef struct lx_lora_use {
    const char *name, *path;
    double text_encoder, unet;
    const char *blocks; /* or NULL */
    char hash[13];      /* lx_lora_short_hash, for whoever writes it down */
} lx_lora_use;

/*
 * The file that a tag means: a path as it stands, else NAME or NAME.safetensors (.pt,
 * .ckpt, .bin) under `dir` (folders within it too) or in the current folder. LX_ENOTFOUND
 * says where was looked.
 */
int lx_lora_locate(const char **path, lx_arena *arena, const char *name, const char *dir,
                   lx_error *err);

/* Borrows dev, checkpoint and config. Errors name the LoRA. */
int lx_lora_stack_open(lx_lora_stack **out, lx_device *dev, lx_checkpoint *checkpoint,
                       const lx_sd_config *config, const lx_lora_use *uses, size_t n,
                       lx_error *err);
void lx_lora_stack_close(lx_lora_stack *stack);
/* For activations of that type (lx_lora_narrow), before any graph is built; LX_F32 changes nothing. */
int lx_lora_stack_narrow(lx_lora_stack *stack, lx_dtype dtype, lx_error *err);

/* The hook for lx_builder; hook_context is the lx_lora_stack. */
lx_tensor *lx_lora_stack_inject(void *stack, lx_builder *b, const lx_layer *layer,
                                lx_tensor *x, lx_tensor *y);

/* The weight that a list or preset gives to a layer. LX_EFORMAT when it is neither. */
int lx_lora_block_weight(double *out, const char *blocks, lx_part part, const char *layer,
                         lx_error *err);

/* The 12 digits by which web UIs name a LoRA: sshs_model_hash, else the SHA-256 of its
 * tensors. */
int lx_lora_short_hash(char out[13], const char *path, lx_error *err);

#endif
