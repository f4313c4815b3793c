/*
 * kernels/cuda/cuda - what the CUDA kernels and their host side share
 *
 * Plain C, without a header of the toolkit: kernels/cuda/<op>.cu export one lx_kernel per op,
 * lx_cuda_<op>, with the contract of kernels/<op>.h. A device of this kind has a context that
 * begins with an lx_cuda_queue; `run` launches on its stream and returns, so that it may be called
 * while the stream captures a graph. A launch that CUDA refuses is kept in the queue, to be told by
 * lx_device_sync: run itself cannot fail.
 *
 * Types: activations and their gradients are F32, F16 or BF16, all of a call the same. Weights that
 * a kernel reads (of norms, of embeddings) are any of the three. Statistics, lse, losses, sums that
 * are added to (+=) and everything of the optimizers is F32. Sums are f32, in an order that depends on
 * the shape alone: results are the same to the bit, on every device of one architecture.
 *
 * conv2d and linear with their gradients have no kernel here: libraries do them.
 */
#ifndef LX_KERNELS_CUDA_CUDA_H
#define LX_KERNELS_CUDA_CUDA_H

#include "kernels/kernel.h"

struct CUstream_st;

typedef struct lx_cuda_queue {
    struct CUstream_st *stream;
    int error;         /* the first cudaError_t of a launch; 0 = none */
    const char *where; /* the kernel that got it */
} lx_cuda_queue;

/* The ops that have a kernel here. */
#define LX_CUDA_OPS(OP)                                                                 \
    OP(attention)                                                                       \
    OP(attention_bwd)                                                                   \
    OP(group_norm) OP(group_norm_dx) OP(layer_norm) OP(layer_norm_dx) OP(norm_dwb)      \
        OP(bias_db) OP(silu) OP(silu_dx) OP(gelu) OP(gelu_dx) OP(quick_gelu)            \
            OP(quick_gelu_dx) OP(geglu) OP(geglu_dx) OP(softmax) OP(softmax_dx) OP(add) \
                OP(sum_rows) OP(scale) OP(mul_add) OP(concat) OP(slice) OP(slice_dx)    \
                    OP(upsample_nearest) OP(upsample_nearest_dx) OP(embedding)          \
                        OP(timestep_embedding) OP(permute) OP(cast) OP(loss)

#define LX_CUDA_DECLARE(op) extern const lx_kernel lx_cuda_##op;
LX_CUDA_OPS(LX_CUDA_DECLARE)
#undef LX_CUDA_DECLARE

#endif
