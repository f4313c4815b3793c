/*
 * sample/sample - pictures from prompts
 *
 * One call makes a batch: the same prompt and settings, one seed a picture. The way of a
 * step:
 *
 *     eps      = UNet(x / sqrt(1 + sigma^2), t(sigma), context)
 *                for the prompt and the negative one; under v-prediction
 *                eps = (v + sigma x / sqrt(1 + sigma^2)) / sqrt(1 + sigma^2)
 *     guided   = eps_negative + cfg (eps_prompt - eps_negative)
 *     denoised = x - sigma guided
 *
 * With cfg 1 the negative prompt is not asked. Same inputs, same bytes, whatever the
 * number of threads.
 *
 * Source of guidance: Ho and Salimans 2022, arXiv:2207.12598. Goldens: sample/.
 */
#ifndef LX_SAMPLE_SAMPLE_H
#define LX_SAMPLE_SAMPLE_H

#include "src/sample/noise.h"
#include "src/sample/pipeline.h"
#include "src/sample/sampler.h"

typedef struct lx_sample_settings {
    const char *prompt, *negative; /* without tags */
    const lx_embeddings
        *embeddings;      /* loaded into the pipeline's checkpoint; NULL = none */
    int width, height;    /* multiples of 8 */
    int steps, clip_skip; /* clip_skip 1: the last layer */
    double cfg;
    lx_sampler sampler;
    lx_noise_kind noise;
    int64_t ensd;
    lx_emphasis emphasis;
    bool is_peer; /* prompts cut and padded as sd-scripts' sample images are */
    bool v_parameterization, zero_terminal_snr;
} lx_sample_settings;

/* Told after every step; a failure ends the picture. denoised [n, 4, h, w]: what it is on
 * its way to. */
typedef struct lx_sample_watch {
    void *context;
    int (*on_step)(void *context, int step, int n_steps, const float *denoised,
                   lx_error *err);
} lx_sample_watch;

/* LX_EUSAGE with the sentence when a setting makes no sense. */
int lx_sample_check(const lx_sample_settings *settings, lx_error *err);

/*
 * latents[n, 4, h, w], times 0.18215, for n seeds. watch may be NULL. n_cut (may be
 * NULL): tokens of the prompt that did not fit (is_peer).
 */
int lx_sample_run(float *latents, const lx_sample_settings *settings,
                  const uint64_t *seeds, int n, lx_pipeline *pipeline,
                  const lx_tokenizer *tokenizer, const lx_sample_watch *watch,
                  size_t *n_cut, lx_error *err);

/* ---- with everything given, for goldens -------------------------------------------- */

typedef struct lx_sample_given {
    const float *cond, *uncond; /* [n_tokens, D]; uncond NULL: no guidance */
    int n_tokens, n_uncond_tokens;
    const float *start; /* [4, h, w], variance 1 */
    const float *noise; /* [n_noise, 4, h, w], taken in order */
    int n_noise;
    const float *sigmas; /* NULL: the sampler's own */
    int n_sigmas;
    int64_t h, w;
} lx_sample_given;

int lx_sample_run_given(float *latents, const lx_sample_given *given,
                        const lx_sample_settings *settings, lx_pipeline *pipeline,
                        lx_error *err);

#endif
