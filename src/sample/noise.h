/*
 * sample/noise - where the noise of a picture comes from
 *
 *     a1111-cpu  torch's CPU generator: web UIs with "RNG: CPU", ComfyUI, diffusers and
 *                sd-scripts on a CPU. The default, so that pictures can be compared.
 *     a1111-gpu  an NVIDIA card's generator: web UIs as they come
 *     lx         Philox keyed by (seed, draw): value i does not depend on the size of the
 *                picture's tensor, only on its place in it
 *
 * As in web UIs, every picture has its own generator, so a batch gives the pictures that
 * single ones would; fresh noise goes on in the generator that drew the start, unless
 * ENSD (eta noise seed delta) is not 0: then it comes from seed + ENSD. SDE samplers draw
 * from a Brownian path of the seed.
 */
#ifndef LX_SAMPLE_NOISE_H
#define LX_SAMPLE_NOISE_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"

typedef enum lx_noise_kind { LX_NOISE_TORCH, LX_NOISE_CUDA, LX_NOISE_LX } lx_noise_kind;

/* "a1111-cpu" and so on; LX_EUSAGE with the list. */
int lx_noise_kind_find(lx_noise_kind *out, const char *name, lx_error *err);
const char *lx_noise_kind_name(lx_noise_kind kind);

typedef struct lx_noise lx_noise;

/* One picture of n >= 16 latent values. */
int lx_noise_new(lx_noise **out, lx_noise_kind kind, uint64_t seed, int64_t ensd,
                 size_t n, lx_error *err);
void lx_noise_free(lx_noise *noise);

void lx_noise_start(float *out, lx_noise *noise); /* first, and once */
void lx_noise_fresh(float *out, lx_noise *noise);
/* Between two levels of the range least..most, which is the same in every call. */
int lx_noise_between(float *out, lx_noise *noise, double from, double to, double least,
                     double most, lx_error *err);

#endif
