/*
 * train/draw - the random numbers of a micro-step
 *
 * Timesteps uniform in [min_timestep, max_timestep); noise standard normal, with the configured
 * offset, pyramid and input perturbation. Every number is a function of (seed, purpose, micro-step,
 * sample), so a resumed or repeated run draws the same. Latents are already times 0.18215.
 */
#ifndef LX_TRAIN_DRAW_H
#define LX_TRAIN_DRAW_H

#include "src/train/config.h"

/* Grows with the largest batch; zero-initialise. */
typedef struct lx_draw {
    float *noise, *input_noise; /* [B, 4, h, w]; input_noise is NULL without ip_noise_gamma */
    int64_t *timesteps;         /* [B] */
    float *spare;               /* levels of pyramid noise */
    size_t noise_capacity, input_capacity, timestep_capacity, spare_capacity;
} lx_draw;

int lx_draw_step(lx_draw *draw, const lx_train_config *config, int64_t micro_step,
                 const float *latents, int batch, int64_t h, int64_t w, lx_error *err);
void lx_draw_release(lx_draw *draw);

#endif
