/*
 * kernels/cpu/isa - the inner loops, once per instruction set
 *
 * isa_body.h is compiled four times: for what every machine of the architecture has (isa_base.c),
 * for AVX2 with FMA, for AVX-512, and for AVX-512 with products of bf16 pairs. lx_isa_get picks the
 * best one this machine has. Threads and
 * shapes are the business of the ops; a loop here sees plain rows.
 *
 * Every loop gives each element the same arithmetic wherever it stands in its row and whatever
 * range the caller cut the work into; that is what makes results independent of the thread count.
 */
#ifndef LX_KERNELS_CPU_ISA_H
#define LX_KERNELS_CPU_ISA_H

#include <stdbool.h>
#include <stdint.h>

enum {
    LX_MR_MAX = 12, /* rows and columns of the largest register tile */
    LX_NR_MAX = 32
};

/*
 * What a group norm does to each channel of a sample; rstd is in w. The mean is not folded into b:
 * where it is large beside the deviations, x*w would cancel against it and leave rounding errors.
 */
typedef struct lx_norm_rows {
    const float *mean, *w, *b;
} lx_norm_rows;

typedef struct lx_isa {
    const char *name;
    int mr, nr; /* register tile of product; nr is two vectors */

    /*
     * acc[i*ld + j] = sum over k of a[i*lda + k] * b[k*ldb + j], i < rows <= mr, j < cols <= nr; with is_added
     * the sum goes on from what is in acc. Where rows or cols are fewer, up to mr rows of a are read all the
     * same, and up to mr by nr of acc are written; none more where rows is mr or 4 and cols is nr.
     */
    void (*product)(float *acc, int64_t ld, const float *a, int64_t lda, const float *b,
                    int64_t ldb, int64_t k, int64_t rows, int64_t cols, bool is_added);
    /*
     * Products in bf16. Terms are rounded (to nearest even; smaller than 2^-126 is zero), summed in
     * f32 two by two: the second of a pair first, each rounded once, as VDPBF16PS does. A machine
     * without that instruction multiplies rounded f32, whose products are exact, in the same order,
     * so all instruction sets give the same bits (but for sums below 2^-126, which VDPBF16PS takes
     * for zero).
     *
     * bf16_bytes   of a term: 2, or 4 where it stays an f32
     * narrow_bf16  n terms of A, to dst + n*bf16_bytes; dst may be src
     * pair_bf16    k rows of nr columns of B, `step` floats apart, to (k+1)/2 pairs of rows: a missing
     *              second row is zero; takes nr * bf16_bytes a row
     * product_bf16 as `product` on k terms rounded up to pairs, the last of which in A must be zero
     *              or its B be; lda in terms and even
     */
    int bf16_bytes;
    void (*narrow_bf16)(void *dst, const float *src, int64_t n);
    void (*pair_bf16)(void *dst, const float *src, int64_t step, int64_t k);
    void (*product_bf16)(float *acc, int64_t ld, const void *a, int64_t lda,
                         const void *b, int64_t k, int64_t rows, int64_t cols, bool is_added);
    /*
     * nr columns of a weight, F16 or F32, as pairs in one pass; NULL where there is no such way. dst holds
     * terms [tap][channel] of n channels and 1 or 9 taps; `ahead` elements further on is what comes next.
     * pairs_turned:   column j's terms lie together, [channel][tap], from src + j*step on; n a multiple of 32
     *                 with 9 taps
     * pairs_straight: channel c's terms lie together, [column][tap], from src + c*step on; n even
     */
    void (*pairs_turned)(void *dst, const void *src, bool is_f16, int64_t step, int64_t n, int taps,
                         int64_t ahead);
    void (*pairs_straight)(void *dst, const void *src, bool is_f16, int64_t step, int64_t n, int taps,
                           int64_t ahead);
    /* y[i][j] = add[i][j] + bias[j] + scale * acc[i*nr + j]; add and bias may be NULL. */
    void (*store)(float *const *y, const float *const *add, const float *bias, float scale,
                  const float *acc, int rows, int cols);

    /* dst[perm[j]*nr + n] = src[n*ld + j] for j < k, n < cols; zero for cols <= n < nr. */
    void (*pack_turned)(float *dst, const float *src, int64_t ld, int cols, int k, const int *perm);
    /* dst[n] = src[n*step], n < nr; zero from cols on. */
    void (*pack_spread)(float *dst, const float *src, int64_t step, int cols);
    /* dst[t*step + n] = src[n*9 + t] for the nine taps of nr windows; zero from cols on. */
    void (*pack_windows)(float *dst, int64_t step, const float *src, int cols);
    void (*widen_f16)(float *dst, const uint16_t *src, int64_t n);

    /* Transforms of winograd.h, on n channels of one tile. d[16] and y[4] are rows of channels; v, u
     * and m have their 16 points `step` apart; a y that is NULL is outside the image. */
    void (*winograd_input)(float *v, int64_t step, const float *const d[16], int64_t n);
    void (*winograd_weights)(float *u, int64_t step, const float *const g[9], int64_t n);
    void (*winograd_output)(float *const y[4], const float *const add[4], const float *bias,
                            const float *m, int64_t step, int64_t n);

    /*
     * Products of thin.h, R at most LX_THIN_MOST; rows lie n floats apart where no step is given.
     * thin_reduce: y[m][r] = sum over i < n of x[m][i] p[r][i]
     * thin_expand: y[m][i] = sum over r of h[m][r] q[r][i] + bias[i] + add[m][i]; bias, add may be NULL
     * thin_outer:  y[r][i] += sum over m of h[m][r] x[m][i]
     */
    void (*thin_reduce)(float *y, const float *x, const float *p, int64_t rows, int R, int64_t n);
    void (*thin_expand)(float *y, const float *add, const float *bias, const float *h,
                        const float *q, int64_t rows, int R, int64_t n);
    void (*thin_outer)(float *y, int64_t y_step, const float *h, const float *x, int64_t x_step,
                       int64_t rows, int R, int64_t n);

    float (*row_max)(const float *x, int64_t n);
    float (*row_dot)(const float *x, const float *y, int64_t n);
    /* y = exp(scale*x - shift); returns the sum. */
    float (*row_exp)(float *y, const float *x, int64_t n, float scale, float shift);
    /* y = exp(scale*x - shift[i]) */
    void (*row_exp_each)(float *y, const float *x, int64_t n, float scale, const float *shift);
    /* y = p * (x - d) * scale, of attention's gradient */
    void (*row_score_slope)(float *y, const float *p, const float *x, const float *d, float scale,
                            int64_t n);
    void (*row_scale)(float *y, const float *x, float factor, int64_t n);

    void (*silu)(float *y, const float *x, int64_t n);
    void (*silu_dx)(float *dx, const float *dy, const float *x, int64_t n);
    void (*gelu)(float *y, const float *x, int64_t n);
    void (*gelu_dx)(float *dx, const float *dy, const float *x, int64_t n);
    void (*quick_gelu)(float *y, const float *x, int64_t n);
    void (*quick_gelu_dx)(float *dx, const float *dy, const float *x, int64_t n);
    void (*geglu)(float *y, const float *a, const float *g, int64_t n);
    void (*geglu_dx)(float *da, float *dg, const float *dy, const float *a, const float *g,
                     int64_t n);

    /* Sums over the rows of a matrix, one row per call: sum[j] += x[j], squares[j] += x[j]^2. */
    void (*column_sum)(double *sum, const float *x, int64_t n);
    void (*column_moments)(double *sum, double *squares, const float *x, int64_t n);

    /*
     * group_norm of one row: z = (x - mean)*w + b.
     * norm_row:    y = z, or silu(z)
     * norm_sums:   g = dy * w (times silu'(z) if asked); sum += g, dot += g*(x - mean)
     * norm_finish: dx = add + g - p - q*(x - mean); add may be NULL
     */
    void (*norm_row)(float *y, const float *x, const lx_norm_rows *r, bool has_silu, int64_t n);
    void (*norm_sums)(double *sum, double *dot, const float *dy, const float *x,
                      const lx_norm_rows *r, bool has_silu, int64_t n);
    void (*norm_finish)(float *dx, const float *dy, const float *x, const lx_norm_rows *r,
                        const float *p, const float *q, const float *add, bool has_silu, int64_t n);

    void (*layer_norm_row)(float *y, float stats[2], const float *x, const float *w, const float *b,
                           float eps, int64_t n);
    void (*layer_norm_dx_row)(float *dx, const float *dy, const float *x, const float *w,
                              const float *add, const float stats[2], int64_t n);
    void (*softmax_dx_row)(float *dx, const float *dy, const float *y, int64_t n);
    void (*add)(float *y, const float *a, const float *b, int64_t n);
} lx_isa;

const lx_isa *lx_isa_get(void);

extern const lx_isa lx_isa_base;
#if defined(__x86_64__)
extern const lx_isa lx_isa_avx2, lx_isa_avx512, lx_isa_avx512bf16;
#endif

#endif
