/*
 * train/noise - the noise process of SD 1.x and what training makes of it
 *
 *     beta_t   = (linspace(sqrt 0.00085, sqrt 0.012, 1000)_t)^2          f32
 *     abar_t   = prod_{s <= t} (1 - beta_s)
 *     x_t      = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps
 *     velocity = sqrt(abar_t) eps - sqrt(1 - abar_t) x_0
 *     snr_t    = abar_t / (1 - abar_t)
 *
 * Weights of the loss per timestep, multiplied in the peer's order (all taken from the SNR before
 * --zero_terminal_snr changes the betas: the peer does, and users' gammas were tuned with it):
 *
 *     min-SNR      min(snr, gamma) / snr            with v-prediction: / (snr + 1)
 *     scale_v_pred snr' / (snr' + 1)                snr' = min(snr, 1000)
 *     v_pred_like  1 + like (snr' + 1) / snr'
 *     debiased     1 / sqrt(snr')                   with v-prediction: 1 / (snr' + 1)
 *
 * Source: sd-scripts library/custom_train_functions.py, train_util.py; min-SNR: Hang et al. 2023,
 * arXiv:2303.09556; zero terminal SNR: Lin et al. 2023, arXiv:2305.08891. Goldens: noise/.
 */
#ifndef LX_TRAIN_NOISE_H
#define LX_TRAIN_NOISE_H

#include <stdbool.h>
#include <stdint.h>

#include "src/train/config.h"

enum { LX_TIMESTEPS = 1000 };

typedef struct lx_noise_schedule {
    float betas[LX_TIMESTEPS], alphas_cumprod[LX_TIMESTEPS], snr[LX_TIMESTEPS];
} lx_noise_schedule;

/* With zero_terminal_snr betas and alphas_cumprod change, snr does not. */
void lx_noise_schedule_init(lx_noise_schedule *schedule, bool zero_terminal_snr);

/* The product of the weights that `config` asks for; all ones when it asks for none. */
void lx_loss_weights(float weight[LX_TIMESTEPS], const lx_noise_schedule *schedule,
                     const lx_train_config *config);
/* huber_c per timestep for the configured schedule. */
void lx_huber_c(float c[LX_TIMESTEPS], const lx_noise_schedule *schedule,
                const lx_train_config *config);

/*
 * What a training step adds to its plain noise, in the peer's order; noise and latents are
 * [B, 4, h, w], latents times 0.18215.
 */
/* offset_randn [B, 4]; strength: noise_offset, already multiplied by U(0,1) if that is asked for. */
void lx_noise_offset(float *noise, const float *latents, const float *offset_randn, int batch,
                     int64_t cells, double strength, double adaptive_scale);
/* One level of pyramid noise: += discount^level * bilinear upsampling of randn [B, 4, lh, lw]. */
void lx_noise_add_level(float *noise, const float *randn, int batch, int64_t h, int64_t w,
                        int64_t level_h, int64_t level_w, double factor);
/* noise /= its standard deviation over the whole batch (Bessel-corrected, as torch's std). */
void lx_noise_normalise(float *noise, int64_t n);

#endif
