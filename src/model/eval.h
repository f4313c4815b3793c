/*
 * model/eval - one forward pass of one model, on tensors by name
 *
 * What goldens check and `lx debug eval` offers. Inputs and outputs are in the order of files
 * (NCHW); the graph's own order is inside.
 *
 *     LX_EVAL_TEXT        input_ids [B, chunks, 77] (or [B, 77])     -> context [B, T, D]
 *     LX_EVAL_UNET        x [B, 4, h, w], t [B], context [B, T, D]   -> out [B, 4, h, w]
 *     LX_EVAL_VAE_ENCODE  x [B, 3, H, W] in -1..1                    -> mean, logvar [B, 4, h, w]
 *     LX_EVAL_VAE_DECODE  z [B, 4, h, w]                             -> x [B, 3, 8h, 8w]
 *
 * Order of use: lx_eval_run, lx_eval_get per output, lx_eval_free.
 */
#ifndef LX_MODEL_EVAL_H
#define LX_MODEL_EVAL_H

#include "src/model/builder.h"

typedef enum lx_eval_kind {
    LX_EVAL_TEXT, LX_EVAL_UNET, LX_EVAL_VAE_ENCODE, LX_EVAL_VAE_DECODE, LX_EVAL_KIND_COUNT
} lx_eval_kind;

typedef struct lx_eval_model {
    lx_checkpoint *checkpoint;
    const lx_sd_config *config;
    lx_device *dev;
    lx_layer_hook hook; /* lx_lora_inject and its lx_lora, or NULL */
    void *hook_context;
    int clip_skip; /* 0 = the last layer */
    bool has_trace; /* every named layer and block is an output "trace.<name>" too */
} lx_eval_model;

typedef struct lx_eval lx_eval;

/* Inputs are those tensors of `inputs` whose names are `prefix` (may be "") and the names above. */
int lx_eval_run(lx_eval **out, const lx_eval_model *model, lx_eval_kind kind,
                const lx_tensor_file *inputs, const char *prefix, lx_error *err);
void lx_eval_free(lx_eval *eval);

/* The outputs' names, in order of computing after the first ones. */
size_t lx_eval_count(const lx_eval *eval);
const char *lx_eval_name(const lx_eval *eval, size_t i);

/* f32; the memory is eval's. LX_ENOTFOUND when there is no such output. */
int lx_eval_get(lx_tensor_view *out, lx_eval *eval, const char *name, lx_error *err);

#endif
