/*
 * verify/probe - a model's predictions on given noise, forward only
 *
 *     context = text_encoder(ids)
 *     x_t     = sqrt(abar_t) latents + sqrt(1 - abar_t) noise
 *     pred    = unet(x_t, t, context)
 *     loss    = weight_t mean (pred - target)^2    target: the noise, or the velocity
 *
 * The same graph with the same batches runs for every arm; only the LoRA's values differ
 * (verify/dose). So a LoRA that adds nothing gives the base model's numbers to the bit.
 * Sums over elements are f64. Plans are kept per shape; running allocates nothing after
 * the first of a shape.
 *
 * The LoRA may be one under training: its present values count.
 */
#ifndef LX_VERIFY_PROBE_H
#define LX_VERIFY_PROBE_H

#include "src/lora/lora.h"
#include "src/model/precision.h"
#include "src/train/noise.h"

/* Borrowed: all of it outlives the probe. The LoRA must be trainable in the graph's eyes
 * (lx_lora_open with is_trainable), or its values would be packed once and for all. */
typedef struct lx_probe_model {
    lx_device *dev;
    lx_checkpoint *checkpoint;
    const lx_sd_config *sd;
    lx_lora *lora;
    int clip_skip; /* 0 = the last layer */
    int n_chunks;  /* of 75 tokens */
    bool v_parameterization, zero_terminal_snr;
    const float *weight;    /* [1000] of the loss; NULL = 1 */
    lx_precision precision; /* that the device has; the LoRA is narrowed accordingly */
} lx_probe_model;

typedef struct lx_probe lx_probe;

int lx_probe_new(lx_probe **out, const lx_probe_model *model, lx_error *err);
void lx_probe_free(lx_probe *probe);

/* ids [n_chunks, 77] -> out [n_chunks * 75 + 2, text_width], by the LoRA's present
 * values. */
int lx_probe_context(float *out, lx_probe *probe, const int64_t *ids, lx_error *err);
size_t lx_probe_context_size(const lx_probe *probe); /* floats */

/* Draws of one image under one prompt. */
typedef struct lx_probe_case {
    int n_draws;
    int64_t h, w;             /* latent cells */
    const float *latents;     /* [4, h, w], times 0.18215; NULL = 0: x_t is noise alone */
    const float *noise;       /* [n_draws, 4, h, w] */
    const int64_t *timesteps; /* [n_draws] */
    const float *context;     /* of lx_probe_context */
    bool is_reversed; /* the draws go into their batches from the last to the first */
} lx_probe_case;

/* loss [n_draws] and pred [n_draws, 4, h, w], each NULL if not wanted. */
int lx_probe_run(double *loss, float *pred, lx_probe *probe, const lx_probe_case *what,
                 lx_error *err);
/* moved [n_draws]: weight_t mean (a - b)^2 of two predictions of the same draws. */
void lx_probe_movement(double *moved, const lx_probe *probe, const float *a,
                       const float *b, const lx_probe_case *what);

/* A UNet forward of one draw at this size, in floating point operations; 0 before the
 * first run. */
double lx_probe_flops(const lx_probe *probe);

#endif
