/* group_norm and layer_norm, and their gradients. */
#include "kernels/group_norm.h"
#include "kernels/layer_norm.h"
#include "kernels/norm_dwb.h"

#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

enum { MOST_PARTS = 64, FEW = 16384 };

/* x [B, P, C] in G groups of `width` channels; rows are summed in n_parts parts of fixed size. */
typedef struct shape {
    int64_t B, P, C, G, width, rows, n_parts;
} shape;

static shape shape_of(const lx_call *call)
{
    const lx_arg *x = &call->in[0];
    shape s = {.B = x->shape[0], .C = lx_arg_width(x), .G = call->attrs.norm.n_groups};

    s.P = s.B ? lx_arg_rows(x) / s.B : 0;
    s.width = s.C / s.G;
    s.rows = (s.P + MOST_PARTS - 1) / MOST_PARTS;
    s.rows = s.rows > 16 ? s.rows : 16;
    s.n_parts = (s.P + s.rows - 1) / s.rows;
    return s;
}

/* Scratch of a group norm: per sample the rows of its channels, then two sums per part and channel. */
typedef struct room {
    float *mean, *w, *b, *p, *q; /* [B, C] each */
    double *sums;                /* [B, n_parts, 2, C] */
} room;

static size_t rows_bytes(const shape *s)
{
    return ((size_t)(5 * s->B * s->C) * sizeof(float) + 63) / 64 * 64;
}

static room room_of(const lx_call *call, const shape *s)
{
    float *rows = call->scratch;
    const int64_t n = s->B * s->C;

    return (room){rows,         rows + n,
                  rows + 2 * n, rows + 3 * n,
                  rows + 4 * n, (double *)((char *)call->scratch + rows_bytes(s))};
}

/* The rows of sample b. */
static lx_norm_rows rows_of(const room *r, const shape *s, int64_t b)
{
    return (lx_norm_rows){r->mean + b * s->C, r->w + b * s->C, r->b + b * s->C};
}

static int prepare_group_norm(lx_device *dev, lx_call *call, bool is_sizing, lx_error *err)
{
    const shape s = shape_of(call);

    call->scratch_bytes = rows_bytes(&s) + (size_t)(s.B * s.n_parts * 2 * s.C) * sizeof(double);
    return LX_OK;
}

/* Totals of the two sums over group g of sample b, parts in order. */
static void group_totals(double total[2], const shape *s, const room *r, int64_t b, int64_t g)
{
    total[0] = total[1] = 0;
    for (int64_t i = 0; i < s->n_parts; i++) {
        const double *sums = r->sums + (b * s->n_parts + i) * 2 * s->C;
        for (int64_t c = g * s->width; c < (g + 1) * s->width; c++) {
            total[0] += sums[c];
            total[1] += sums[s->C + c];
        }
    }
}

/* z = (x - mean)*w + b; what the mean loses as a float is in b. */
static void fill_rows(const shape *s, const room *r, int64_t b, int64_t g, const float *weight,
                      const float *bias, double mean, double rstd)
{
    const float rounded = (float)mean;

    for (int64_t c = g * s->width; c < (g + 1) * s->width; c++) {
        r->mean[b * s->C + c] = rounded;
        r->w[b * s->C + c] = (float)(rstd * weight[c]);
        r->b[b * s->C + c] = (float)(bias[c] - (mean - rounded) * rstd * weight[c]);
    }
}

static void run_group_norm(lx_device *dev, const lx_call *call)
{
    const shape s = shape_of(call);
    const room r = room_of(call, &s);
    const lx_isa *isa = lx_cpu_isa(dev);
    const float *x = lx_in_f32(call, 0);
    float *y = lx_out_f32(call, 0), *stats = lx_out_f32(call, 1);
    const double n = (double)(s.P * s.width);

#pragma omp parallel num_threads(lx_cpu_threads(dev)) if (s.B * s.P * s.C > FEW)
    {
#pragma omp for
        for (int64_t i = 0; i < s.B * s.n_parts; i++) {
            const int64_t b = i / s.n_parts, from = i % s.n_parts * s.rows;
            double *sums = r.sums + i * 2 * s.C;
            memset(sums, 0, (size_t)(2 * s.C) * sizeof *sums);
            for (int64_t p = from; p < from + s.rows && p < s.P; p++)
                isa->column_moments(sums, sums + s.C, x + (b * s.P + p) * s.C, s.C);
        }
#pragma omp for
        for (int64_t i = 0; i < s.B * s.G; i++) {
            double total[2];
            group_totals(total, &s, &r, i / s.G, i % s.G);
            const double mean = total[0] / n, var = total[1] / n - mean * mean;
            const double rstd = 1 / sqrt((var < 0 ? 0 : var) + call->attrs.norm.eps);
            fill_rows(&s, &r, i / s.G, i % s.G, lx_in_f32(call, 1), lx_in_f32(call, 2), mean,
                      rstd);
            if (stats) {
                stats[2 * i] = (float)mean;
                stats[2 * i + 1] = (float)rstd;
            }
        }
#pragma omp for
        for (int64_t m = 0; m < s.B * s.P; m++) {
            const lx_norm_rows rows = rows_of(&r, &s, m / s.P);
            isa->norm_row(y + m * s.C, x + m * s.C, &rows, call->attrs.norm.has_silu, s.C);
        }
    }
}

/*
 * With G = dy silu'(z) w rstd:  dx = G - p - q (x - mean),  p = sum(G)/n,
 * q = rstd^2 sum(G (x - mean))/n.
 */
static void fill_gradient_rows(const shape *s, const room *r, int64_t b, int64_t g, double rstd)
{
    const double n = (double)(s->P * s->width);
    double total[2];

    group_totals(total, s, r, b, g);
    for (int64_t c = g * s->width; c < (g + 1) * s->width; c++) {
        r->p[b * s->C + c] = (float)(total[0] / n);
        r->q[b * s->C + c] = (float)(rstd * rstd * total[1] / n);
    }
}

static void run_group_norm_dx(lx_device *dev, const lx_call *call)
{
    const shape s = shape_of(call);
    const room r = room_of(call, &s);
    const lx_isa *isa = lx_cpu_isa(dev);
    const bool has_silu = call->attrs.norm.has_silu;
    const float *dy = lx_in_f32(call, 0), *x = lx_in_f32(call, 1), *stats = lx_in_f32(call, 4);
    const float *add = lx_in_f32(call, 5);
    float *dx = lx_out_f32(call, 0);

#pragma omp parallel num_threads(lx_cpu_threads(dev)) if (s.B * s.P * s.C > FEW)
    {
#pragma omp for
        for (int64_t i = 0; i < s.B * s.G; i++)
            fill_rows(&s, &r, i / s.G, i % s.G, lx_in_f32(call, 2), lx_in_f32(call, 3),
                      stats[2 * i], stats[2 * i + 1]);
#pragma omp for
        for (int64_t i = 0; i < s.B * s.n_parts; i++) {
            const int64_t b = i / s.n_parts, from = i % s.n_parts * s.rows;
            const lx_norm_rows rows = rows_of(&r, &s, b);
            double *sums = r.sums + i * 2 * s.C;
            memset(sums, 0, (size_t)(2 * s.C) * sizeof *sums);
            for (int64_t p = from; p < from + s.rows && p < s.P; p++) {
                const int64_t at = (b * s.P + p) * s.C;
                isa->norm_sums(sums, sums + s.C, dy + at, x + at, &rows, has_silu, s.C);
            }
        }
#pragma omp for
        for (int64_t i = 0; i < s.B * s.G; i++)
            fill_gradient_rows(&s, &r, i / s.G, i % s.G, stats[2 * i + 1]);
#pragma omp for
        for (int64_t m = 0; m < s.B * s.P; m++) {
            const int64_t at = m * s.C, b = m / s.P;
            const lx_norm_rows rows = rows_of(&r, &s, b);
            isa->norm_finish(dx + at, dy + at, x + at, &rows, r.p + b * s.C, r.q + b * s.C,
                             add ? add + at : NULL, has_silu, s.C);
        }
    }
}

static void run_layer_norm(lx_device *dev, const lx_call *call)
{
    const int64_t M = lx_arg_rows(&call->in[0]), C = lx_arg_width(&call->in[0]);
    const float *x = lx_in_f32(call, 0);
    float *y = lx_out_f32(call, 0), *stats = lx_out_f32(call, 1);
    const lx_isa *isa = lx_cpu_isa(dev);

#pragma omp parallel for num_threads(lx_cpu_threads(dev)) if (M * C > FEW)
    for (int64_t m = 0; m < M; m++) {
        float unread[2];
        isa->layer_norm_row(y + m * C, stats ? stats + 2 * m : unread, x + m * C,
                            lx_in_f32(call, 1), lx_in_f32(call, 2), call->attrs.norm.eps, C);
    }
}

static void run_layer_norm_dx(lx_device *dev, const lx_call *call)
{
    const int64_t M = lx_arg_rows(&call->in[0]), C = lx_arg_width(&call->in[0]);
    const float *dy = lx_in_f32(call, 0), *x = lx_in_f32(call, 1), *add = lx_in_f32(call, 4);
    float *dx = lx_out_f32(call, 0);
    const lx_isa *isa = lx_cpu_isa(dev);

#pragma omp parallel for num_threads(lx_cpu_threads(dev)) if (M * C > FEW)
    for (int64_t m = 0; m < M; m++)
        isa->layer_norm_dx_row(dx + m * C, dy + m * C, x + m * C, lx_in_f32(call, 2),
                               add ? add + m * C : NULL, lx_in_f32(call, 3) + 2 * m, C);
}

const lx_kernel lx_cpu_group_norm = {.prepare = prepare_group_norm, .run = run_group_norm};
const lx_kernel lx_cpu_group_norm_dx = {.prepare = prepare_group_norm, .run = run_group_norm_dx};
const lx_kernel lx_cpu_layer_norm = {.run = run_layer_norm};
const lx_kernel lx_cpu_layer_norm_dx = {.run = run_layer_norm_dx};
/* Only for training the norms themselves, which a LoRA does not. */
const lx_kernel lx_cpu_norm_dwb = {.run = lx_plain_norm_dwb};
