/*
 * kernels/cuda/join - products that are done as one launch
 *
 * A training of LoRA has some 2,000 small products, and starting one takes as long as computing it. join.c
 * finds which consecutive calls can be one launch (kernels/kernel.h, lx_joining); two kernels do them:
 *
 * Sums of products with weights and their LoRA (adapted.cu). Of one sum, over its terms:
 *
 *     h [M, R] = first_scale * x P          rounded, and kept for the gradient of the factors
 *     y [M, N] = add + bias + x W + second_scale * h Q
 *
 *                 x          W              P           Q
 *     forward     x [M, K]   w [N, K]^T     down^T      up^T
 *     reversed    dy         w [K, N]       up          down
 *
 * so that R more columns of K are all that a LoRA costs. Queries, keys and values of one x are sums of one
 * launch; their gradients are terms of one sum.
 *
 * Gradients of factors (thin.cu): out [W, R] (or [R, W]) += scale * wide [rows, W]^T thin [rows, R].
 *
 * What stands around a sum is part of the launch:
 *
 *     x is a LayerNorm, or when reversed the gradient of one, or the sum of two gradients: every block takes the
 *     sums of its rows anew and makes x in shared memory; the first blocks of each row of tiles write it for
 *     those who read it later.
 *     y is all queries of an attention, and x a LayerNorm: keys and values are of something else, and there.
 *     y is what an activation reads, or when reversed the gradient of what it gave: both are written with the
 *     tile, the activation's from numbers that are rounded as y is.
 *
 * F16 and BF16 with f32 sums in the order of k, so the bits do not depend on how tiles are cut. Tables are
 * in device memory, made once a plan.
 */
#ifndef LX_KERNELS_CUDA_JOIN_H
#define LX_KERNELS_CUDA_JOIN_H

#include "kernels/cuda/cuda.h"

typedef struct lx_cuda_term {
    const void *x, *w, *p, *q; /* p NULL: no LoRA */
    void *h;
    int K, R;
    float first_scale, second_scale;
} lx_cuda_term;

/* z of y, rounded: activation(y), or its gradient at `of` times y. */
typedef enum lx_cuda_activation {
    LX_CUDA_NO_ACTIVATION,
    LX_CUDA_QUICK_GELU,
    LX_CUDA_GEGLU, /* z [M, N / 2]; a tile has columns of both halves, eight and eight */
    LX_CUDA_QUICK_GELU_DX,
    LX_CUDA_GEGLU_DX /* of and z [M, 2 N] */
} lx_cuda_activation;

typedef struct lx_cuda_sum {
    void *y; /* NULL: only z is kept */
    void *z;
    const void *of;
    lx_cuda_activation activation;
    const void *add, *bias; /* NULL: none */
    int bias_dtype;
    float scale; /* of what is summed */
    int M, N;
    int first_term, n_terms;
    int first_block, n_columns; /* of the grid; tiles side by side */
} lx_cuda_sum;

/* x [M, K] of all terms: layer_norm of `from`, or the gradient of one (kernels/layer_norm.h), or dy + from. */
typedef struct lx_cuda_norm {
    const void *from, *dy, *plus; /* dy and plus (may be NULL): of the gradient */
    void *to;                     /* x itself */
    float *stats;                 /* written (NULL: not), read for the gradient */
    const void *w, *b;            /* w NULL: x is the sum */
    int w_dtype, b_dtype;
    float eps;
} lx_cuda_norm;

typedef struct lx_cuda_thin {
    const void *wide, *thin;
    float *out;
    int rows, W, R;
    int wide_step, thin_step; /* in out, from one to the next */
    float scale;
    int first_block, n_columns;
} lx_cuda_thin;

enum { LX_CUDA_MOST_RANK = 64 }; /* of a term */

/* The tile that a launch is cut into: large where it makes enough of them. */
typedef struct lx_cuda_tile {
    int rows, columns;
} lx_cuda_tile;
lx_cuda_tile lx_cuda_tile_of(const lx_cuda_sum *sums, int n);

/* A launch; the tables are on the device. most_rank: of all terms. */
typedef struct lx_cuda_sums {
    const lx_cuda_sum *sums;
    const lx_cuda_term *terms;
    int n_sums, n_blocks, most_rank;
    bool is_reversed, has_norm;
    lx_cuda_norm norm;
    lx_cuda_tile tile;
    lx_dtype dtype;
} lx_cuda_sums;
void lx_cuda_add_products(lx_device *dev, const lx_cuda_sums *s);

/* queries.cu: an attention whose queries are the one sum; all of it. With heads and ranks of these sizes only. */
bool lx_cuda_attends(const lx_call *attention, int rank);
void lx_cuda_attend_queries(lx_device *dev, const lx_cuda_sums *of,
                            const lx_call *attention);

enum { LX_CUDA_THIN_COLUMNS = 64, LX_CUDA_THIN_ROWS = 64 };
/* most_rank <= 64 is the width of thin that a block does. */
void lx_cuda_thin_gradients(lx_device *dev, const lx_cuda_thin *all, int n, int n_blocks,
                            int width, lx_dtype dtype);

extern const lx_joining lx_cuda_joining;

#endif
