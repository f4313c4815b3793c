/*
 * sample/sampler - from noise to latents: the ways down the noise levels
 *
 * Every sampler here works on x = x_0 + sigma eps and asks a denoiser for its prediction
 * of x_0. With d = (x - denoised) / sigma, which is the predicted eps:
 *
 *     euler      x += d (sigma' - sigma)
 *     ancestral  steps to sigma_down, then adds sigma_up fresh noise:
 *                sigma_up = min(sigma', sqrt(sigma'^2 (sigma^2 - sigma'^2) / sigma^2))
 *     heun, DPM2, DPM++ 2S, DPM++ SDE ask twice a step, all others once
 *     DDIM       with eta 0 is Euler's method in these coordinates
 *
 * Sources: Karras et al. 2022, arXiv:2206.00364 (Euler, Heun); Lu et al. 2022,
 * arXiv:2206.00927 and arXiv:2211.01095 (DPM-Solver, DPM-Solver++); Liu et al. 2022,
 * arXiv:2202.09778 (PNDM); Zhao et al. 2023, arXiv:2302.04867 (UniPC, B_2(h), order 2 as
 * diffusers'); k-diffusion sampling.py. Goldens: sample/, and tests/golden/sample_own for
 * LMS and UniPC.
 */
#ifndef LX_SAMPLE_SAMPLER_H
#define LX_SAMPLE_SAMPLER_H

#include <stddef.h>

#include "src/sample/sigma.h"

typedef enum lx_sampler_method {
    LX_METHOD_EULER,
    LX_METHOD_EULER_A,
    LX_METHOD_HEUN,
    LX_METHOD_DPM2,
    LX_METHOD_DPM2_A,
    LX_METHOD_LMS,
    LX_METHOD_DPMPP_2S_A,
    LX_METHOD_DPMPP_2S,
    LX_METHOD_DPMPP_2M,
    LX_METHOD_DPMPP_SDE,
    LX_METHOD_DPMPP_2M_SDE,
    LX_METHOD_DDIM,
    LX_METHOD_PNDM,
    LX_METHOD_UNIPC
} lx_sampler_method;

typedef enum lx_sampler_noise {
    LX_DRAWS_NOTHING,
    LX_DRAWS_FRESH,   /* a new normal tensor each time: ancestral samplers */
    LX_DRAWS_BROWNIAN /* increments of one Brownian path: SDE samplers */
} lx_sampler_noise;

/* A row of the table, or one of it with another schedule. */
typedef struct lx_sampler {
    const char *name; /* as web UIs show it, without the schedule: "DPM++ 2M" */
    const char *id;   /* for command lines: "dpmpp_2m" */
    lx_sampler_method method;
    lx_sampler_noise noise;
    lx_sigma_kind schedule;
    bool has_schedules; /* Karras and Exponential are possible */
    bool skips_one;     /* web UI's "discard next-to-last sigma" */
    bool clips; /* the predicted x_0 is held in -1..1: sd-scripts' ddim and heun */
    bool starts_at_unit; /* unlike k-diffusion, begins with x = noise sqrt(1 + sigma^2) */
} lx_sampler;

/*
 * "DPM++ 2M Karras", "dpmpp_2m_karras", "k_euler_a" ...: case, blanks, - and _ do not
 * count. is_peer: sd-scripts' names with its schedules and clipping. LX_EUSAGE with the
 * list.
 */
int lx_sampler_find(lx_sampler *out, const char *name, bool is_peer, lx_error *err);
/* "DPM++ 2M Karras" into text, returned. */
enum { LX_SAMPLER_NAME = 48 };
const char *lx_sampler_text(char text[LX_SAMPLER_NAME], const lx_sampler *sampler);
/* Every name, comma-separated. */
const char *lx_sampler_names(bool is_peer);

/* Does it ask the denoiser twice a step, but for the last? */
bool lx_sampler_asks_twice(const lx_sampler *sampler);

/* The levels of n_steps: *n_sigmas of them, the steps taken and one more. out has room
 * for LX_MAX_STEPS + 2. */
int lx_sampler_sigmas(float *out, int *n_sigmas, const lx_sampler *sampler,
                      const lx_sigma_table *table, int n_steps, lx_error *err);

typedef struct lx_denoiser {
    void *context;
    /* denoised[n] = the prediction of x_0 for x[n] at level sigma; step counts from 0. */
    int (*denoise)(void *context, float *denoised, const float *x, double sigma, int step,
                   lx_error *err);
    /* Normal noise of variance 1 for the way from one level to another (see
     * lx_sampler_noise). */
    int (*noise)(void *context, float *out, double from, double to, lx_error *err);
    /* After every first prediction of a step; NULL = nobody asks. */
    int (*on_step)(void *context, int step, int n_steps, const float *x,
                   const float *denoised, lx_error *err);
} lx_denoiser;

/*
 * x[n]: at sigmas[0] when it begins, at sigmas[n_sigmas - 1] when it returns. `table` is
 * asked for the levels of timesteps by PNDM alone.
 */
int lx_sampler_run(const lx_sampler *sampler, const lx_sigma_table *table,
                   const float *sigmas, int n_sigmas, float *x, size_t n,
                   const lx_denoiser *denoiser, lx_error *err);

#endif
