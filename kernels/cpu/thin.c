#include "kernels/cpu/thin.h"

#include <string.h>

#include "kernels/cpu/isa.h"

enum {
    ROWS = 32, /* rows of a block, whose R sums are put aside before they are written */
    UNIT = 16  /* columns that stay with one thread */
};

/* A product: `few` [M,R] and `many` [M,W] by `weight` [R,W]; which of the two is the result is up to the caller. */
typedef struct thin {
    const lx_isa *isa;
    int threads, R;
    int64_t M, W;
    const float *weight; /* [R,W] */
    float scale;
} thin;

bool lx_thin_fits(const lx_arg *weight, lx_compute compute)
{
    const int64_t N = weight->shape[0], K = lx_arg_count(weight) / (N ? N : 1);
    const int64_t least = N < K ? N : K, most = N < K ? K : N;

    return weight->dtype == LX_F32 && compute == LX_COMPUTE_F32 && least > 0 &&
           least <= LX_THIN_MOST && most >= 4 * least && most >= UNIT;
}

size_t lx_thin_scratch(const lx_arg *weight)
{
    return (size_t)lx_arg_count(weight) * sizeof(float);
}

/* to[c][r] = from[r][c] */
static void turn(float *to, const float *from, int64_t rows, int64_t cols)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++)
            to[c * rows + r] = from[r * cols + c];
}

/* N and K of a call's weight [N,K]; M rows. The weight as [R,W], turned in scratch if N is the larger. */
static thin thin_of(lx_device *dev, const lx_call *call, const lx_arg *weight, int64_t M)
{
    const int64_t N = weight->shape[0], K = lx_arg_count(weight) / N;
    const double flops = 2.0 * (double)M * (double)N * (double)K;
    thin t = {.isa = lx_cpu_isa(dev),
              .threads = lx_cpu_threads_for(dev, flops),
              .R = (int)(N < K ? N : K),
              .M = M,
              .W = N < K ? K : N,
              .weight = weight->data,
              .scale = call->attrs.linear.scale};
    return t;
}

static void lay_weight(thin *t, const lx_call *call)
{
    turn(call->scratch, t->weight, t->W, t->R);
    t->weight = call->scratch;
}

static int64_t share(int64_t n, int64_t unit, int i, int parts)
{
    const int64_t units = (n + unit - 1) / unit, end = units * i / parts * unit;
    return end < n ? end : n;
}

/* few[m][r] = add + bias + scale * sum over w of many[m][w] weight[r][w] */
static void reduce(const thin *t, float *few, const float *many, const float *bias,
                   const float *add)
{
#pragma omp parallel for num_threads(t->threads) schedule(static, 1)
    for (int i = 0; i < t->threads; i++) {
        const int64_t end = share(t->M, ROWS, i + 1, t->threads);
        float sums[ROWS * LX_THIN_MOST];
        for (int64_t m = share(t->M, ROWS, i, t->threads); m < end; m += ROWS) {
            const int64_t n = end - m < ROWS ? end - m : ROWS;
            t->isa->thin_reduce(sums, many + m * t->W, t->weight, n, t->R, t->W);
            for (int64_t j = 0; j < n * t->R; j++) {
                const int64_t at = m * t->R + j;
                const float sum = t->scale * sums[j] + (bias ? bias[j % t->R] : 0);
                few[at] = add ? add[at] + sum : sum;
            }
        }
    }
}

/* many[m][w] = add + bias + sum over r of scale * few[m][r] weight[r][w] */
static void expand(const thin *t, float *many, const float *few, const float *bias,
                   const float *add)
{
#pragma omp parallel for num_threads(t->threads) schedule(static, 1)
    for (int i = 0; i < t->threads; i++) {
        const int64_t end = share(t->M, ROWS, i + 1, t->threads);
        float scaled[ROWS * LX_THIN_MOST];
        for (int64_t m = share(t->M, ROWS, i, t->threads); m < end; m += ROWS) {
            const int64_t n = end - m < ROWS ? end - m : ROWS;
            for (int64_t j = 0; j < n * t->R; j++)
                scaled[j] = t->scale * few[m * t->R + j];
            t->isa->thin_expand(many + m * t->W, add ? add + m * t->W : NULL, bias,
                                scaled, t->weight, n, t->R, t->W);
        }
    }
}

/* sum[r][w] = sum over m of scale * few[m][r] many[m][w] */
static void outer(const thin *t, float *sum, const float *few, const float *many)
{
#pragma omp parallel for num_threads(t->threads) schedule(static, 1)
    for (int i = 0; i < t->threads; i++) {
        const int64_t from = share(t->W, UNIT, i, t->threads),
                      to = share(t->W, UNIT, i + 1, t->threads);
        float scaled[ROWS * LX_THIN_MOST];
        for (int r = 0; r < t->R; r++)
            memset(sum + r * t->W + from, 0, (size_t)(to - from) * sizeof *sum);
        for (int64_t m = 0; m < t->M; m += ROWS) {
            const int64_t n = t->M - m < ROWS ? t->M - m : ROWS;
            for (int64_t j = 0; j < n * t->R; j++)
                scaled[j] = t->scale * few[m * t->R + j];
            t->isa->thin_outer(sum + from, t->W, scaled, many + m * t->W + from, t->W, n,
                               t->R, to - from);
        }
    }
}

void lx_thin_linear(lx_device *dev, const lx_call *call)
{
    const lx_arg *weight = &call->in[1];
    thin t = thin_of(dev, call, weight, lx_arg_rows(&call->in[0]));
    const float *x = lx_in_f32(call, 0), *bias = lx_in_f32(call, 2),
                *add = lx_in_f32(call, 3);

    if (weight->shape[0] == t.R) {
        reduce(&t, lx_out_f32(call, 0), x, bias, add);
        return;
    }
    lay_weight(&t, call);
    expand(&t, lx_out_f32(call, 0), x, bias, add);
}

void lx_thin_linear_dx(lx_device *dev, const lx_call *call)
{
    const lx_arg *weight = &call->in[1];
    thin t = thin_of(dev, call, weight, lx_arg_rows(&call->in[0]));
    const float *dy = lx_in_f32(call, 0), *add = lx_in_f32(call, 2);

    if (weight->shape[0] == t.R) {
        expand(&t, lx_out_f32(call, 0), dy, NULL, add);
        return;
    }
    lay_weight(&t, call);
    reduce(&t, lx_out_f32(call, 0), dy, NULL, add);
}

void lx_thin_linear_dw(lx_device *dev, const lx_call *call)
{
    const lx_arg *weight = &call->out[0];
    const thin t = thin_of(dev, call, weight, lx_arg_rows(&call->in[0]));
    const float *dy = lx_in_f32(call, 0), *x = lx_in_f32(call, 1);
    const bool has_rows = weight->shape[0] == t.R;
    float *dw = lx_out_f32(call, 0), *sum = call->scratch;

    outer(&t, sum, has_rows ? dy : x, has_rows ? x : dy);
    for (int64_t w = 0; w < t.W; w++)
        for (int r = 0; r < t.R; r++)
            dw[has_rows ? r * t.W + w : w * t.R + r] += sum[r * t.W + w];
}
