#include "kernels/cpu/cpu.h"

#include <math.h>
#include <string.h>

/* x [B, P, C] in G groups of `width` channels. */
typedef struct shape {
    int64_t B, P, C, G, width;
} shape;

static shape shape_of(const lx_call *call, const lx_arg *x)
{
    shape s = {.B = x->shape[0], .C = lx_arg_width(x), .G = call->attrs.norm.n_groups};
    s.P = s.B ? lx_arg_rows(x) / s.B : 0;
    s.width = s.C / s.G;
    return s;
}

static double sigmoid(double z)
{
    return 1 / (1 + exp(-z));
}

/* Mean and 1/sqrt(var + eps) of n rows of `width` values, `stride` apart. */
static void moments(float stats[2], const float *x, int64_t n, int64_t width, int64_t stride,
                    double eps)
{
    double sum = 0, squares = 0, mean;

    for (int64_t p = 0; p < n; p++)
        for (int64_t c = 0; c < width; c++)
            sum += x[p * stride + c];
    mean = sum / (double)(n * width);
    for (int64_t p = 0; p < n; p++)
        for (int64_t c = 0; c < width; c++) {
            double d = x[p * stride + c] - mean;
            squares += d * d;
        }
    stats[0] = (float)mean;
    stats[1] = (float)(1 / sqrt(squares / (double)(n * width) + eps));
}

void lx_plain_group_norm(lx_device *dev, const lx_call *call)
{
    const shape s = shape_of(call, &call->in[0]);
    const float *w = lx_in_f32(call, 1), *bias = lx_in_f32(call, 2);

    for (int64_t b = 0; b < s.B; b++)
        for (int64_t g = 0; g < s.G; g++) {
            const int64_t at = b * s.P * s.C + g * s.width;
            const float *x = lx_in_f32(call, 0) + at;
            float *y = lx_out_f32(call, 0) + at;
            float stats[2];

            moments(stats, x, s.P, s.width, s.C, call->attrs.norm.eps);
            for (int64_t p = 0; p < s.P; p++)
                for (int64_t c = 0; c < s.width; c++) {
                    double xhat = ((double)x[p * s.C + c] - stats[0]) * stats[1];
                    double z = xhat * w[g * s.width + c] + bias[g * s.width + c];
                    y[p * s.C + c] = (float)(call->attrs.norm.has_silu ? z * sigmoid(z) : z);
                }
            if (lx_out_f32(call, 1))
                memcpy(lx_out_f32(call, 1) + (b * s.G + g) * 2, stats, sizeof stats);
        }
}

/* The gradient at xhat, of element (p, c) of group g. */
static double group_gradient(const lx_call *call, const shape *s, int64_t at, int64_t channel,
                             double xhat)
{
    const float *w = lx_in_f32(call, 2), *bias = lx_in_f32(call, 3);
    double gradient = lx_in_f32(call, 0)[at];

    if (call->attrs.norm.has_silu) {
        double z = xhat * w[channel] + bias[channel], sg = sigmoid(z);
        gradient *= sg * (1 + z * (1 - sg));
    }
    return gradient * w[channel];
}

void lx_plain_group_norm_dx(lx_device *dev, const lx_call *call)
{
    const shape s = shape_of(call, &call->in[0]);
    const float *x = lx_in_f32(call, 1), *add = lx_in_f32(call, 5);
    float *dx = lx_out_f32(call, 0);
    const double n = (double)(s.P * s.width);

    for (int64_t b = 0; b < s.B; b++)
        for (int64_t g = 0; g < s.G; g++) {
            const float *stats = lx_in_f32(call, 4) + (b * s.G + g) * 2;
            const int64_t first = b * s.P * s.C + g * s.width;
            double sum = 0, dot = 0;

            for (int64_t p = 0; p < s.P; p++)
                for (int64_t c = 0; c < s.width; c++) {
                    int64_t at = first + p * s.C + c;
                    double xhat = ((double)x[at] - stats[0]) * stats[1];
                    double v = group_gradient(call, &s, at, g * s.width + c, xhat);
                    sum += v;
                    dot += v * xhat;
                }
            for (int64_t p = 0; p < s.P; p++)
                for (int64_t c = 0; c < s.width; c++) {
                    int64_t at = first + p * s.C + c;
                    double xhat = ((double)x[at] - stats[0]) * stats[1];
                    double v = group_gradient(call, &s, at, g * s.width + c, xhat);
                    v = stats[1] * (v - sum / n - xhat * dot / n);
                    dx[at] = (float)(add ? add[at] + v : v);
                }
        }
}

void lx_plain_layer_norm(lx_device *dev, const lx_call *call)
{
    const int64_t M = lx_arg_rows(&call->in[0]), C = lx_arg_width(&call->in[0]);
    const float *w = lx_in_f32(call, 1), *bias = lx_in_f32(call, 2);

    for (int64_t m = 0; m < M; m++) {
        const float *x = lx_in_f32(call, 0) + m * C;
        float *y = lx_out_f32(call, 0) + m * C, stats[2];

        moments(stats, x, 1, C, C, call->attrs.norm.eps);
        for (int64_t c = 0; c < C; c++)
            y[c] = (float)(((double)x[c] - stats[0]) * stats[1] * w[c] + bias[c]);
        if (lx_out_f32(call, 1))
            memcpy(lx_out_f32(call, 1) + m * 2, stats, sizeof stats);
    }
}

void lx_plain_layer_norm_dx(lx_device *dev, const lx_call *call)
{
    const int64_t M = lx_arg_rows(&call->in[0]), C = lx_arg_width(&call->in[0]);
    const float *w = lx_in_f32(call, 2), *add = lx_in_f32(call, 4);

    for (int64_t m = 0; m < M; m++) {
        const float *dy = lx_in_f32(call, 0) + m * C, *x = lx_in_f32(call, 1) + m * C;
        const float *stats = lx_in_f32(call, 3) + m * 2;
        float *dx = lx_out_f32(call, 0) + m * C;
        double sum = 0, dot = 0;

        for (int64_t c = 0; c < C; c++) {
            sum += (double)dy[c] * w[c];
            dot += (double)dy[c] * w[c] * ((double)x[c] - stats[0]) * stats[1];
        }
        for (int64_t c = 0; c < C; c++) {
            double xhat = ((double)x[c] - stats[0]) * stats[1];
            double v = (double)dy[c] * w[c];
            v = stats[1] * (v - sum / (double)C - xhat * dot / (double)C);
            dx[c] = (float)(add ? add[m * C + c] + v : v);
        }
    }
}

void lx_plain_norm_dwb(lx_device *dev, const lx_call *call)
{
    const int64_t M = lx_arg_rows(&call->in[0]), C = lx_arg_width(&call->in[0]);
    const int64_t B = call->in[0].shape[0], G = call->attrs.norm.n_groups;
    const float *dy = lx_in_f32(call, 0), *x = lx_in_f32(call, 1), *stats = lx_in_f32(call, 2);
    float *dw = lx_out_f32(call, 0), *db = lx_out_f32(call, 1);

    for (int64_t c = 0; c < C; c++) {
        double sum = 0, dot = 0;
        for (int64_t m = 0; m < M; m++) {
            int64_t at = G ? m / (M / B) * G + c / (C / G) : m;
            double xhat = ((double)x[m * C + c] - stats[at * 2]) * stats[at * 2 + 1];
            sum += dy[m * C + c];
            dot += dy[m * C + c] * xhat;
        }
        if (dw)
            dw[c] += (float)dot;
        if (db)
            db[c] += (float)sum;
    }
}
