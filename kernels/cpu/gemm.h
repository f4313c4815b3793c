/*
 * kernels/cpu/gemm - one product behind linear, convolution and their gradients
 *
 *   y[m, n] = add[m, n] + bias[n] + scale * sum over c < C, t < T of A(m, c, t) * B(n, c, t)
 *
 * t is the tap of a convolution's window (T = 1 for a plain product), c the channel. A comes from
 * rows, columns or the pixels of an image, B from a weight by strides, from rows, or from pixels:
 *
 *               A                              B (n, c, t)                      T
 *   linear      rows of x                      w[n*K + c]                       1
 *   linear_dx   rows of dy                     w[c*K + n]                       1
 *   linear_dw   columns of dy                  x[c*K + n]                       1
 *   conv2d      pixels of x                    w[(n*Ci + c)*taps + t]           kh*kw
 *   conv2d_dx   pixels of dy                   w[(c*Ci + n)*taps + t]           kh*kw
 *   conv2d_dw   columns of dy                  pixel c of x under one tap       1
 *
 * Weights are read as the file has them, F32 or F16, and laid out for the registers block by block
 * as they are used: at 64 rows and more that costs a few percent, and no second copy of the model
 * is ever in memory (SD 1.5's UNet is 3.4 GB in f32, and a copy for each direction as much again).
 *
 * In bf16 both operands are rounded while they are laid out, and the inner loop multiplies pairs
 * (isa.h): half the bytes, and twice the products where the machine has an instruction for it.
 *
 * Blocks follow Goto and van de Geijn 2008, "Anatomy of high-performance matrix multiplication";
 * pixels are gathered while a block is laid out, so there is no im2col matrix (compare Dukhan 2019,
 * arXiv:1907.02129). The sum of an element runs over the same blocks in the same order whatever the
 * number of threads, which only divide y between them.
 */
#ifndef LX_KERNELS_CPU_GEMM_H
#define LX_KERNELS_CPU_GEMM_H

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/isa.h"

enum { LX_GEMM_MAX_TAPS = 64 }; /* per product; a larger window is several products */

/* Where pixel m of a result finds its sources. Results are a grid [B, gh, gw]; the source of grid
 * cell (u, v) under tap t is pixel (u*step + down[t], v*step + right[t]) of [B, h, w, C], zero
 * outside it. */
typedef struct lx_pixels {
    int64_t gh, gw, h, w, width, step; /* width: floats from one pixel to the next */
    int32_t down[LX_GEMM_MAX_TAPS], right[LX_GEMM_MAX_TAPS];
} lx_pixels;

typedef struct lx_gemm {
    int64_t M, N, C;
    int T;
    lx_compute compute;

    enum { LX_A_ROWS, LX_A_COLUMNS, LX_A_PIXELS } a_kind;
    const float *a;
    int64_t a_step; /* rows: from row to row; columns: from c to c */
    const lx_pixels *pixels; /* of A, or of B */

    enum { LX_B_STRIDES, LX_B_PIXELS } b_kind;
    const void *b;
    lx_dtype b_dtype;
    int64_t b_n, b_c, b_t;          /* strides in elements */
    int tap_of[LX_GEMM_MAX_TAPS];   /* tap t is at tap_of[t] * b_t in the weight */
    bool has_all_taps;              /* tap_of is 0, 1 .. T-1 and b_t 1 */

    float *y;
    const float *add, *bias; /* may be NULL; add may be y */
    float scale;
    int64_t y_step; /* from row to row, of y and add */
    /* Rows of y that are pixels of a larger image, one in out_step each way; 0: they are not. */
    int64_t out_step, out_down, out_right, out_h, out_w;
} lx_gemm;

/* Bytes of scratch for any product on this device. */
size_t lx_gemm_scratch(const lx_device *dev, lx_compute compute);
void lx_gemm_run(lx_device *dev, const lx_gemm *g, void *scratch);

/* ---- for other ways to do the same product (winograd.h) ------------------------------------ */

/* How many of the threads share the M rows of y; the others share its N columns. */
int lx_gemm_threads_along_rows(int64_t M, int64_t N, const lx_isa *isa, int threads);
/* Where part i of n begins, in whole units; part n begins at the end. */
int64_t lx_gemm_part(int64_t end, int unit, int i, int n);
/*
 * dst[(t*c + i)*nr + j] = B(n0 + j, c0 + i, t) for i < c, t < T, zero for j >= cols.
 * order[i] = i % T * c + i / T for all c*T terms; wide: room for nr times as many floats, and for
 * nr * LX_GEMM_MAX_TAPS.
 */
void lx_gemm_lay_panel(const lx_isa *isa, const lx_gemm *g, float *dst, float *wide,
                       const int *order, int64_t c0, int c, int64_t n0, int cols);

#endif
