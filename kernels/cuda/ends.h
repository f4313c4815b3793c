/*
 * kernels/cuda/ends - what begins and ends a step: small calls that are one launch
 *
 *     permute permute mul_add cast?    noisy latents, the noise in the order of channels
 *     embedding add cast               tokens and their positions
 *     timestep_embedding cast
 *     linear silu                      of a few rows: the time
 *     cast loss cast                   of a prediction in 16 bits
 *
 * What only the next call reads is never written; every number is rounded as by the calls one by one, but for the
 * sums of the product.
 */
#ifndef LX_KERNELS_CUDA_ENDS_H
#define LX_KERNELS_CUDA_ENDS_H

#include "kernels/cuda/cuda.h"

enum { LX_CUDA_FEW_ROWS = 8 };

/* ends.cu. noise and cast may be NULL; latents and noise f32 [B, C, P], out [B, P, C]. */
typedef struct lx_cuda_noisy {
    const float *latents, *from, *signal, *sigma;
    float *noise, *noisy; /* f32; NULL: nobody reads it */
    int64_t B, C, P;
} lx_cuda_noisy;
void lx_cuda_make_noisy(lx_device *dev, const lx_cuda_noisy *n, const lx_arg *cast);
/* y = embedding + positions, rounded once: the calls' operands. */
void lx_cuda_embed(lx_device *dev, const lx_call *embedding, const lx_call *add,
                   const lx_arg *y);
/* z = silu(x w^T + bias); y, what is in between, if somebody reads it. w in x's type. */
void lx_cuda_few_rows(lx_device *dev, const lx_call *linear, const void *w, void *y,
                      const lx_arg *z);

/* ends.c: the functions of lx_joining for calls that begin with one of these ops. */
bool lx_cuda_begins_end(const lx_call *calls, size_t n);
size_t lx_cuda_count_end(const lx_call *calls, size_t n);
int lx_cuda_prepare_end(lx_device *dev, lx_call *calls, size_t n, lx_error *err);
void lx_cuda_run_end(lx_device *dev, const lx_call *calls, size_t n);
void lx_cuda_release_end(lx_device *dev, lx_call *calls, size_t n);

#endif
