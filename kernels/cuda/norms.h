/*
 * kernels/cuda/norms - a GroupNorm and what moves elements around it, as one; a convolution and its bias
 *
 *     conv2d? add? concat? group_norm      x = a + bias [C] + shift [B, C] + plus, then b behind it
 *     group_norm_dx add                    dx, if anyone else reads it, and its sum with another gradient
 *     group_norm_dx slice slice?           dx goes to the parts and nowhere else
 *     conv2d linear                        a shortcut that is added to the convolution: with both biases
 *
 * The norm's first reading of x makes x: a convolution leaves its bias, its residual and the projection of the
 * time to it, and skip connections are joined by it. x is rounded once and written, for the gradient.
 */
#ifndef LX_KERNELS_CUDA_NORMS_H
#define LX_KERNELS_CUDA_NORMS_H

#include "kernels/cuda/cuda.h"

typedef struct lx_cuda_norm_source {
    const void *a, *b; /* [B, P, width], [B, P, C - width]; b NULL: width is C */
    const void *plus;  /* as a; NULL: none, as the next two */
    const void *bias, *shift;
    int width, bias_dtype, shift_dtype;
    int64_t shift_step; /* from sample to sample */
    void *x;            /* [B, P, C] */
} lx_cuda_norm_source;

/* Where dx goes: [B, P, width] and [B, P, C - width], each NULL if nobody wants it; and a sum that it is a term of. */
typedef struct lx_cuda_norm_parts {
    void *a, *b;
    int width;
    const void *more; /* [B, P, C]: the other term */
    void *sum;        /* dx + more, NULL: there is none */
} lx_cuda_norm_parts;

/* group_norm.cu: norm and norm_dx as their calls say, but for x and dx. */
void lx_cuda_group_norm_of(lx_device *dev, const lx_call *norm, void *scratch,
                           const lx_cuda_norm_source *source);
void lx_cuda_group_norm_dx_to(lx_device *dev, const lx_call *norm_dx, void *scratch,
                              const lx_cuda_norm_parts *parts);

/* norms.c: the functions of lx_joining for calls that begin with one of these ops. */
bool lx_cuda_begins_norm(lx_op_id op);
size_t lx_cuda_count_norm(const lx_call *calls, size_t n);
int lx_cuda_prepare_norm(lx_device *dev, lx_call *calls, size_t n, lx_error *err);
void lx_cuda_run_norm(lx_device *dev, const lx_call *calls, size_t n);
void lx_cuda_release_norm(lx_device *dev, lx_call *calls, size_t n);

#endif
