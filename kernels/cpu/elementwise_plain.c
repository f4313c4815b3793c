#include "kernels/cpu/cpu.h"

#include <math.h>
#include <string.h>

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double silu(double x)
{
    return x * sigmoid(x);
}

static double silu_slope(double x)
{
    double s = sigmoid(x);
    return s * (1 + x * (1 - s));
}

/* The standard normal's distribution function and density. */
static double normal_cdf(double x)
{
    return 0.5 * erfc(-x * 0.70710678118654752440);
}

static double normal_pdf(double x)
{
    return 0.39894228040143267794 * exp(-0.5 * x * x);
}

static double gelu(double x)
{
    return x * normal_cdf(x);
}

static double gelu_slope(double x)
{
    return normal_cdf(x) + x * normal_pdf(x);
}

static double quick_gelu(double x)
{
    return x * sigmoid(1.702 * x);
}

static double quick_gelu_slope(double x)
{
    double s = sigmoid(1.702 * x);
    return s * (1 + 1.702 * x * (1 - s));
}

static void map(const lx_call *call, double (*f)(double))
{
    const float *x = lx_in_f32(call, 0);
    float *y = lx_out_f32(call, 0);

    for (int64_t i = 0, n = lx_arg_count(&call->in[0]); i < n; i++)
        y[i] = (float)f(x[i]);
}

static void map_slope(const lx_call *call, double (*slope)(double))
{
    const float *dy = lx_in_f32(call, 0), *x = lx_in_f32(call, 1);
    float *dx = lx_out_f32(call, 0);

    for (int64_t i = 0, n = lx_arg_count(&call->in[0]); i < n; i++)
        dx[i] = (float)(dy[i] * slope(x[i]));
}

void lx_plain_silu(lx_device *dev, const lx_call *call)
{
    map(call, silu);
}

void lx_plain_silu_dx(lx_device *dev, const lx_call *call)
{
    map_slope(call, silu_slope);
}

void lx_plain_gelu(lx_device *dev, const lx_call *call)
{
    map(call, gelu);
}

void lx_plain_gelu_dx(lx_device *dev, const lx_call *call)
{
    map_slope(call, gelu_slope);
}

void lx_plain_quick_gelu(lx_device *dev, const lx_call *call)
{
    map(call, quick_gelu);
}

void lx_plain_quick_gelu_dx(lx_device *dev, const lx_call *call)
{
    map_slope(call, quick_gelu_slope);
}

void lx_plain_geglu(lx_device *dev, const lx_call *call)
{
    const int64_t M = lx_arg_rows(&call->out[0]), C = lx_arg_width(&call->out[0]);
    const float *x = lx_in_f32(call, 0);
    float *y = lx_out_f32(call, 0);

    for (int64_t m = 0; m < M; m++)
        for (int64_t c = 0; c < C; c++)
            y[m * C + c] = (float)(x[m * 2 * C + c] * gelu(x[m * 2 * C + C + c]));
}

void lx_plain_geglu_dx(lx_device *dev, const lx_call *call)
{
    const int64_t M = lx_arg_rows(&call->in[0]), C = lx_arg_width(&call->in[0]);
    const float *dy = lx_in_f32(call, 0), *x = lx_in_f32(call, 1);
    float *dx = lx_out_f32(call, 0);

    for (int64_t m = 0; m < M; m++)
        for (int64_t c = 0; c < C; c++) {
            const double g = dy[m * C + c], a = x[m * 2 * C + c], gate = x[m * 2 * C + C + c];
            dx[m * 2 * C + c] = (float)(g * gelu(gate));
            dx[m * 2 * C + C + c] = (float)(g * a * gelu_slope(gate));
        }
}

void lx_plain_softmax(lx_device *dev, const lx_call *call)
{
    const int64_t M = lx_arg_rows(&call->in[0]), C = lx_arg_width(&call->in[0]);

    for (int64_t m = 0; m < M; m++) {
        const float *x = lx_in_f32(call, 0) + m * C;
        float *y = lx_out_f32(call, 0) + m * C;
        double max = -INFINITY, sum = 0;

        for (int64_t c = 0; c < C; c++)
            if (!(x[c] <= max)) /* a NaN stays */
                max = x[c];
        for (int64_t c = 0; c < C; c++)
            sum += exp(x[c] - max);
        for (int64_t c = 0; c < C; c++)
            y[c] = (float)(exp(x[c] - max) / sum);
    }
}

void lx_plain_softmax_dx(lx_device *dev, const lx_call *call)
{
    const int64_t M = lx_arg_rows(&call->in[0]), C = lx_arg_width(&call->in[0]);

    for (int64_t m = 0; m < M; m++) {
        const float *dy = lx_in_f32(call, 0) + m * C, *y = lx_in_f32(call, 1) + m * C;
        float *dx = lx_out_f32(call, 0) + m * C;
        double dot = 0;

        for (int64_t c = 0; c < C; c++)
            dot += (double)dy[c] * y[c];
        for (int64_t c = 0; c < C; c++)
            dx[c] = (float)(y[c] * (dy[c] - dot));
    }
}

void lx_plain_scale(lx_device *dev, const lx_call *call)
{
    const float *x = lx_in_f32(call, 0);
    float *y = lx_out_f32(call, 0);

    for (int64_t i = 0, n = lx_arg_count(&call->in[0]); i < n; i++)
        y[i] = call->attrs.linear.scale * x[i];
}

void lx_plain_mul_add(lx_device *dev, const lx_call *call)
{
    const float *a = lx_in_f32(call, 0), *x = lx_in_f32(call, 1);
    const float *b = lx_in_f32(call, 2), *y = lx_in_f32(call, 3);
    const int64_t B = call->in[1].shape[0], n = B ? lx_arg_count(&call->in[1]) / B : 0;
    float *z = lx_out_f32(call, 0);

    for (int64_t s = 0; s < B; s++)
        for (int64_t i = 0; i < n; i++)
            z[s * n + i] = a[s] * x[s * n + i] + (y ? (b ? b[s] : 1) * y[s * n + i] : 0);
}
