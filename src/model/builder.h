/*
 * model/builder - layers by name
 *
 * Models are written as a walk over named layers; the builder finds the weights in the checkpoint
 * and lets a hook add to each linear or convolution (LoRA does; no model file mentions it).
 */
#ifndef LX_MODEL_BUILDER_H
#define LX_MODEL_BUILDER_H

#include "src/graph/op.h"
#include "src/model/checkpoint.h"

typedef struct lx_builder lx_builder;

typedef struct lx_layer {
    lx_part part;
    const char *name;   /* "down_blocks.0.resnets.0.conv1" */
    bool is_conv;       /* a convolution with a window larger than 1x1 (else linear or 1x1) */
    int stride;
    int pad[4];
} lx_layer;

/* x: the layer's input, y: what the frozen layer gave; returns what takes y's place. */
typedef lx_tensor *(*lx_layer_hook)(void *context, lx_builder *b, const lx_layer *layer,
                                    lx_tensor *x, lx_tensor *y);

struct lx_builder {
    lx_graph *graph;
    lx_checkpoint *checkpoint;
    lx_device *dev;
    const lx_sd_config *config;
    lx_part part;
    lx_dtype dtype; /* of weights and activations: LX_F32 */
    lx_layer_hook hook; /* NULL = the plain model */
    void *hook_context;
};

/* `name` is relative to the part: "mid_block.resnets.0.conv1" (".weight", ".bias" are added). */
lx_tensor *lx_build_linear(lx_builder *b, const char *name, lx_tensor *x);
lx_tensor *lx_build_conv(lx_builder *b, const char *name, lx_tensor *x, int stride,
                         const int pad[4]);
lx_tensor *lx_build_group_norm(lx_builder *b, const char *name, lx_tensor *x, float eps,
                               bool has_silu);
lx_tensor *lx_build_layer_norm(lx_builder *b, const char *name, lx_tensor *x);
lx_tensor *lx_build_weight(lx_builder *b, const char *name); /* full name with suffix */

/* ---- the three models -------------------------------------------------------------------- */

/*
 * ids i64 [B, chunks, 77] -> context [B, chunks*75 + 2, D]: each chunk encoded alone, final layer
 * norm after `clip_skip` layers from the end (1 = the last; sd-scripts' None), chunks joined as
 * sd-scripts does (first BOS, 75 of each, last EOS). n_chunks 1: [B, 77, D].
 * token_weights f32 [B, T]: NULL, or multiplied onto the hidden states (weighted captions).
 */
lx_tensor *lx_clip_text_build(lx_builder *b, lx_tensor *ids, int clip_skip,
                              lx_tensor *token_weights);

/* x [B, h, w, 4], t i64 [B], context [B, T, D] -> noise_pred [B, h, w, 4]. */
lx_tensor *lx_unet_build(lx_builder *b, lx_tensor *x, lx_tensor *t, lx_tensor *context);

/* x [B, H, W, 3] in -1..1 -> moments [B, H/8, W/8, 8] (mean, then logvar, after quant_conv). */
lx_tensor *lx_vae_encode_build(lx_builder *b, lx_tensor *x);
/* z [B, h, w, 4] (already divided by 0.18215) -> x [B, 8h, 8w, 3]. */
lx_tensor *lx_vae_decode_build(lx_builder *b, lx_tensor *z);

#endif
