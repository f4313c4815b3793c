/*
 * kernels/cuda/library - the products and convolutions that NVIDIA's libraries do
 *
 * One object per device. A plan is what a library needs to know of one shape; it is made once, kept by
 * the library and shared by all calls of that shape. Running one queues it and cannot fail but by the
 * queue's error (cuda.h); nothing is allocated, so it may run while a stream is captured.
 *
 * Two sources define lx_cuda_library_open: nvidia/library.c (cuBLASLt and cuDNN, loaded at run time)
 * and, for tests, tests/cuda_emulation/library.c.
 *
 * Sums are f32. Order and rounding are the library's; on one architecture they do not change from
 * run to run (no plan is chosen that adds with atomics).
 */
#ifndef LX_KERNELS_CUDA_LIBRARY_H
#define LX_KERNELS_CUDA_LIBRARY_H

#include "kernels/cuda/cuda.h"

typedef struct lx_cuda_library lx_cuda_library;

/*
 * D [m, n] = scale * op(A) op(B) + add [m, n] + bias [n], all row-major and contiguous.
 * A is [m, k], or [k, m] when transposed; B is [k, n], or [n, k]. add may be D itself.
 */
typedef struct lx_gemm_spec {
    int64_t m, n, k;
    bool is_a_transposed, is_b_transposed, has_add, has_bias;
    lx_dtype in, out; /* of A and B; of D, add and bias: F32, F16, BF16 */
    bool is_b_loose,
        is_d_loose; /* at any multiple of 4 bytes; all else at multiples of 16 */
} lx_gemm_spec;

typedef enum lx_conv_kind {
    LX_CONV_FORWARD, /* x, w -> y += */
    LX_CONV_DATA,    /* dy, w -> dx */
    LX_CONV_WEIGHT   /* dy, x -> dw */
} lx_conv_kind;

/* Over channels-last images, x [B,h,w,Ci] and y [B,h',w',Co]; weights are [Co, kh, kw, Ci]. */
typedef struct lx_conv_spec {
    lx_conv_kind kind;
    int64_t batch, h, w, channels_in, h_out, w_out, channels_out, kh, kw;
    int stride, pad_top, pad_left, pad_bottom, pad_right;
    lx_dtype in, out; /* of what is read; of what is written */
    bool adds;        /* to what is there */
} lx_conv_spec;

/* Of a call of conv2d (conv2d.c). */
lx_conv_spec lx_cuda_conv_spec(const lx_call *call, bool adds);

/*
 * Bytes that a plan may want to work in; algorithms that want more are passed over. They lie in the arena, as scratch of
 * the call. Of a product: enough for every algorithm of our shapes by cuBLASLt's own advice for Ampere. Of a convolution:
 * enough for all that cuDNN advises first for SD 1.5 in 16 bits, on an RTX 3060 and an H100, up to 768 x 768 and a batch of
 * 4 (59 MB). In F32 it would take up to 481 MB to transform weights that are read once.
 */
enum { LX_CUDA_GEMM_WORKSPACE = 4 << 20, LX_CUDA_CONV_WORKSPACE = 64 << 20 };

typedef struct lx_cuda_plan lx_cuda_plan; /* what every library makes of a spec */

struct lx_cuda_library {
    const char *name;
    /* *workspace is what run needs, within the limits above. The plan is the library's. */
    int (*gemm)(lx_cuda_library *lib, lx_cuda_plan **out, size_t *workspace,
                const lx_gemm_spec *spec, lx_error *err);
    int (*conv)(lx_cuda_library *lib, lx_cuda_plan **out, size_t *workspace,
                const lx_conv_spec *spec, lx_error *err);
    /* add and bias are NULL where the spec has none. */
    void (*gemm_run)(lx_cuda_library *lib, lx_cuda_plan *plan, lx_cuda_queue *queue,
                     void *d, const void *a, const void *b, const void *add,
                     const void *bias, float scale, void *workspace);
    /* The two that are read, in the order of lx_conv_kind. */
    void (*conv_run)(lx_cuda_library *lib, lx_cuda_plan *plan, lx_cuda_queue *queue,
                     void *out, const void *first, const void *second, void *workspace);
    void (*close)(lx_cuda_library *lib);
};

/* For the current device. LX_EUNSUPPORTED and one sentence when something is missing. */
int lx_cuda_library_open(lx_cuda_library **out, lx_error *err);

#endif
