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
    const char *name;   /* whole: "down_blocks.0.resnets.0.conv1" */
    bool is_conv;       /* a convolution with a window larger than 1x1 (else linear or 1x1) */
    int stride;
    int pad[4];
} lx_layer;

/* x: the layer's input, y: what the frozen layer gave; returns what takes y's place. */
typedef lx_tensor *(*lx_layer_hook)(void *context, lx_builder *b, const lx_layer *layer,
                                    lx_tensor *x, lx_tensor *y);

enum { LX_LAYER_NAME = 160, LX_LAYER_DEPTH = 8 };

struct lx_builder {
    lx_graph *graph;
    lx_checkpoint *checkpoint;
    lx_device *dev;
    const lx_sd_config *config;
    lx_part part;
    lx_dtype dtype;           /* of weights: LX_F32 */
    lx_dtype narrow;          /* LX_F16, LX_BF16: of activations; anything else: F32 */
    lx_arithmetic arithmetic; /* of the model's own products; a hook's are f32 */
    lx_layer_hook hook;       /* NULL = the plain model */
    void *hook_context;
    struct lx_str *traces; /* not NULL: every named layer and block becomes an output
                            * "trace.<name>", and the names are listed here, each with a newline */
    char path[LX_LAYER_NAME]; /* where the walk is; begins empty */
    int depth, path_ends[LX_LAYER_DEPTH];
};

/* "name" relative to where the walk is. Blocks nest; pop names the block's result. */
void lx_build_push(lx_builder *b, const char *fmt, ...) LX_PRINTF(2, 3);
lx_tensor *lx_build_pop(lx_builder *b, lx_tensor *result); /* returns result */

/*
 * `name` is relative to the block: "conv1" inside "mid_block.resnets.0" (".weight", ".bias" are
 * added). A missing weight is the graph's error (lx_graph_check).
 */
lx_tensor *lx_build_linear(lx_builder *b, const char *name, lx_tensor *x); /* or a 1x1 conv */
/* pad: top, left, bottom, right. A 1x1 window becomes a linear. */
lx_tensor *lx_build_conv(lx_builder *b, const char *name, lx_tensor *x, int stride,
                         const int pad[4]);
lx_tensor *lx_build_group_norm(lx_builder *b, const char *name, lx_tensor *x, float eps,
                               bool has_silu); /* 32 groups */
lx_tensor *lx_build_layer_norm(lx_builder *b, const char *name,
                               lx_tensor *x); /* eps 1e-5 */
/* q [B, T, N*d], k and v [B, S, N*d] -> [B, T, N*d] */
lx_tensor *lx_build_attention(lx_builder *b, lx_tensor *q, lx_tensor *k, lx_tensor *v,
                              int n_heads, bool is_causal);
/* x in the type of activations: where a part of the model begins. */
lx_tensor *lx_build_narrowed(lx_builder *b, lx_tensor *x);
lx_tensor *lx_build_weight(lx_builder *b,
                           const char *name); /* with its suffix; b->dtype */
/* The same, but F16 where the file has it so: what linear, conv2d and embedding multiply by. */
lx_tensor *lx_build_table(lx_builder *b, const char *name);
bool lx_build_has(const lx_builder *b, const char *name);    /* a weight, with its suffix */
/* The output "trace.<path>.<name>" when tracing, for what is no layer ("time_proj"). */
void lx_build_trace(lx_builder *b, const char *name, lx_tensor *x);

/* ---- blocks of both UNet and VAE (src/model/block.c) -------------------------------------- */

extern const int lx_pad_same[4]; /* 1, 1, 1, 1: a 3x3 window keeps the size */
extern const int lx_pad_none[4];

/*
 * Residual block: norm, SiLU, 3x3, (+ the time's shift), norm, SiLU, 3x3, + x (through a 1x1 where
 * the width changes). silu_time [B, D]: NULL in the VAE.
 */
lx_tensor *lx_build_resnet(lx_builder *b, int i, lx_tensor *x, lx_tensor *silu_time, float eps);
/* Nearest neighbour to h x w, then a 3x3. */
lx_tensor *lx_build_upsampler(lx_builder *b, lx_tensor *x, int64_t h, int64_t w);
/* A 3x3 with stride 2. */
lx_tensor *lx_build_downsampler(lx_builder *b, lx_tensor *x, const int pad[4]);

/* ---- the three models -------------------------------------------------------------------- */

/*
 * ids i64 [B, chunks, 77] -> context [B, chunks*75 + 2, D]: each chunk encoded alone, final layer
 * norm after `clip_skip` layers from the end (1 = the last; sd-scripts' None), chunks joined as
 * sd-scripts does (first BOS, 75 of each, last EOS). n_chunks 1: [B, 77, D].
 * token_weights f32 [B, T]: NULL, or multiplied onto the hidden states (weighted captions).
 */
lx_tensor *lx_clip_text_build(lx_builder *b, lx_tensor *ids, int clip_skip,
                              lx_tensor *token_weights);

/* x [B, h, w, 4], t i64 or f32 [B], context [B, T, D] -> noise_pred [B, h, w, 4]. */
lx_tensor *lx_unet_build(lx_builder *b, lx_tensor *x, lx_tensor *t, lx_tensor *context);

/* x [B, H, W, 3] in -1..1, H and W multiples of 8 -> moments [B, H/8, W/8, 8] (mean, then logvar, after quant_conv). */
lx_tensor *lx_vae_encode_build(lx_builder *b, lx_tensor *x);
/* z [B, h, w, 4] (already divided by 0.18215) -> x [B, 8h, 8w, 3]. */
lx_tensor *lx_vae_decode_build(lx_builder *b, lx_tensor *z);

#endif
