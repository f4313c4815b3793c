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
 * conv2d and linear with their gradients are done by libraries (library.h).
 */
#ifndef LX_KERNELS_CUDA_CUDA_H
#define LX_KERNELS_CUDA_CUDA_H

#include "kernels/arg.h"

struct CUstream_st;

typedef struct lx_cuda_queue {
    struct CUstream_st *stream;
    int error;         /* the first cudaError_t of a launch; 0 = none */
    const char *where; /* the kernel that got it */
} lx_cuda_queue;

struct lx_cuda_library;

/* What every device of this kind has as its context: the queue first. */
typedef struct lx_cuda_context {
    lx_cuda_queue queue;
    struct lx_cuda_library *library; /* products and convolutions (library.h) */
    lx_kernel kernels[LX_OP_COUNT];
    struct lx_cuda_block *blocks; /* sizes of what is allocated (device.c) */
    struct lx_cuda_staging *staging; /* copies on their way (staging.h); NULL = none yet */
    size_t n_blocks, block_capacity;
} lx_cuda_context;

/* Tells the first launch that was refused, once. */
int lx_cuda_tell_refused(lx_cuda_context *context, lx_error *err);

/* Sets the kernels of the ops that are here (table.c). */
void lx_cuda_fill_kernels(lx_kernel table[LX_OP_COUNT]);

/* weight.cu; each notes what fails in the device's queue. */
/* y [rows, C] = add [rows, C] + bias [C], of y's type; add (which may be y) and bias may be NULL,
 * but not both. */
void lx_cuda_start_rows(lx_device *dev, lx_arg *y, const void *add, const lx_arg *bias);
/* dst [N, taps, K] of `dtype` from src [N, K, taps]. */
void lx_cuda_pack_weight(lx_device *dev, void *dst, lx_dtype dtype, const lx_arg *src, int64_t N,
                         int64_t K, int64_t taps);
/* dst f32 [N, K, taps] += (`sets`: =) src [N, taps, K] of `dtype`. */
void lx_cuda_add_unpacked(lx_device *dev, float *dst, const void *src, lx_dtype dtype, int64_t N,
                          int64_t K, int64_t taps, bool sets);

/*
 * A weight as a library reads it (operand.c): itself when `dtype` and order fit, else a packed copy
 * for a frozen one, or a copy made in scratch at every run for one that changes.
 */
typedef struct lx_cuda_weight {
    const void *data;     /* after place; NULL = copied at every run */
    size_t scratch_bytes; /* of that copy */
    int64_t N, K, taps;   /* [N, K, taps] in memory, [N, taps, K] for the library */
    lx_dtype dtype;
    uint64_t layout; /* of the packed copy; 0 = none */
} lx_cuda_weight;

/* What call's operand 1 needs; sets call->packed_bytes and packed_layout. */
lx_cuda_weight lx_cuda_weight_of(lx_call *call, lx_dtype dtype);
/* With final addresses; a packed copy is filled when it is new, from operand 1 or, where that is not on the device,
 * from its source. */
int lx_cuda_weight_place(lx_device *dev, lx_cuda_weight *weight, const lx_call *call,
                         lx_error *err);
/* Gives the packed copy back, if there is one. */
void lx_cuda_weight_release(lx_device *dev, const lx_cuda_weight *weight, const lx_call *call);
/* In run: where it stands now. `scratch` holds the copy, if one is made. */
const void *lx_cuda_weight_at(lx_device *dev, const lx_cuda_weight *weight, const lx_call *call,
                              void *scratch);
/* What a call of linear or conv2d keeps from prepare to run: its state. */
typedef struct lx_cuda_product {
    struct lx_cuda_plan *plan; /* the library's */
    bool has_weight;           /* operand 1 is one */
    lx_cuda_weight weight;
    size_t gradient_bytes; /* conv2d_dw: of dw in the library's order, in scratch */
    bool begins_with_bias; /* linear: y is add + bias before the product */
    bool packs_bias;       /* linear: the bias, frozen and of another type than y, is copied once */
    const void *bias;      /* that copy */
} lx_cuda_product;

/* Tells the scratch when sizing, else keeps the product, its weight placed, as the call's state. */
int lx_cuda_product_keep(lx_device *dev, lx_call *call, bool is_sizing, lx_cuda_product product,
                         size_t workspace, lx_error *err);
void lx_cuda_product_release(lx_device *dev, lx_call *call);

/* Scratch is cut at multiples of this. */
enum { LX_CUDA_ALIGN = 256 };
static inline size_t lx_cuda_round_up(size_t bytes)
{
    return (bytes + LX_CUDA_ALIGN - 1) / LX_CUDA_ALIGN * LX_CUDA_ALIGN;
}

static inline lx_cuda_context *lx_cuda_context_of(lx_device *dev)
{
    return (lx_cuda_context *)dev->context;
}

extern const struct lx_updates lx_cuda_updates; /* update.c */

/* The ops that a library does (linear.c, conv2d.c). */
extern const lx_kernel lx_cuda_linear, lx_cuda_linear_dx, lx_cuda_linear_dw;
extern const lx_kernel lx_cuda_conv2d, lx_cuda_conv2d_dx, lx_cuda_conv2d_dw;

/* The ops that have a kernel here. */
#define LX_CUDA_OPS(OP)                                                                 \
    OP(attention)                                                                       \
    OP(attention_bwd)                                                                   \
    OP(group_norm) OP(group_norm_dx) OP(layer_norm) OP(layer_norm_dx) OP(norm_dwb)      \
        OP(bias_db) OP(silu) OP(silu_dx) OP(gelu) OP(gelu_dx) OP(quick_gelu)            \
            OP(quick_gelu_dx) OP(geglu) OP(geglu_dx) OP(softmax) OP(softmax_dx) OP(add) \
                OP(sum_rows) OP(scale) OP(mul_add) OP(concat) OP(slice) OP(slice_dx)    \
                    OP(upsample_nearest) OP(upsample_nearest_dx) OP(embedding)          \
                        OP(timestep_embedding) OP(permute) OP(cast) OP(loss) OP(dropout)\
                            OP(hadamard) OP(hadamard_dab)

#define LX_CUDA_DECLARE(op) extern const lx_kernel lx_cuda_##op;
LX_CUDA_OPS(LX_CUDA_DECLARE)
#undef LX_CUDA_DECLARE

#endif
