/*
 * sample/sigma - noise levels: what they are, and which ones a picture passes through
 *
 * Samplers here work on  x = x_0 + sigma eps  (Karras et al. 2022), whose level is
 *
 *     sigma_t = sqrt((1 - abar_t) / abar_t),   t = 0..999
 *
 * and between the trained timesteps by linear interpolation of log sigma in t. The model
 * itself sees x / sqrt(1 + sigma^2) at t(sigma).
 *
 *     normal       t = linspace(999, 0, n), then 0 (web UI's "Normal" and "Automatic")
 *     karras       (max^(1/7) + i/(n-1) (min^(1/7) - max^(1/7)))^7, then 0
 *     exponential  exp(linspace(log max, log min, n)), then 0
 *     ddim         t = 1 + i (1000 / n), all of them below 1000, descending (web UI's DDIM).
 *                  Where n divides 1000 they are n, and it ends at sigma_0; else they are
 *                  more, and it ends at the last, sigma_1, as the web UI does since 1.6
 *     leading      t = i (1000 / n), descending; ends at 0 (sd-scripts' DDIM and PNDM)
 *     linspace     normal, but sigma itself interpolated (diffusers' Euler, Heun, DPM2, LMS)
 *     midpoints    t = round(linspace(999, 0, n + 1)) without its last, then 0 (diffusers'
 *                  DPM-Solver and UniPC)
 *
 * Sources: Karras et al. 2022, arXiv:2206.00364, section 3 and equation 5; k-diffusion
 * external.py and sampling.py; diffusers 0.32 schedulers; latent-diffusion's
 * make_ddim_timesteps and the web UI's get_timesteps. Goldens: sample/.
 */
#ifndef LX_SAMPLE_SIGMA_H
#define LX_SAMPLE_SIGMA_H

#include <stdbool.h>

#include "src/base/error.h"

enum { LX_SIGMAS = 1000, LX_MAX_STEPS = 1000 };

typedef struct lx_sigma_table {
    float sigmas[LX_SIGMAS]; /* ascending */
    float logs[LX_SIGMAS];
} lx_sigma_table;

void lx_sigma_table_init(lx_sigma_table *table, bool zero_terminal_snr);
/* t(sigma), 0..999; within 1e-4 of a whole number it is that number. */
double lx_sigma_to_t(const lx_sigma_table *table, double sigma);
/* sigma(t), log sigma interpolated. */
float lx_sigma_at(const lx_sigma_table *table, double t);

typedef enum lx_sigma_kind {
    LX_SIGMA_NORMAL,
    LX_SIGMA_KARRAS,
    LX_SIGMA_EXPONENTIAL,
    LX_SIGMA_DDIM,
    LX_SIGMA_LEADING,
    LX_SIGMA_LINSPACE,
    LX_SIGMA_MIDPOINTS,
    LX_SIGMA_KIND_COUNT
} lx_sigma_kind;

/* "Karras", as infotexts write it; "" for normal. */
const char *lx_sigma_kind_name(lx_sigma_kind kind);

/* *n_sigmas levels, descending: n_steps + 1, of ddim perhaps more. out has room for
 * LX_MAX_STEPS + 1. LX_EUSAGE unless 1 <= n_steps <= LX_MAX_STEPS. */
int lx_sigma_schedule(float *out, int *n_sigmas, const lx_sigma_table *table,
                      lx_sigma_kind kind, int n_steps, lx_error *err);

#endif
