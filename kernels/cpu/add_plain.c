#include "kernels/cpu/cpu.h"

void lx_plain_add(lx_device *dev, const lx_call *call)
{
    const float *a = lx_in_f32(call, 0), *b = lx_in_f32(call, 1);
    const int64_t n = lx_arg_count(&call->in[0]), n_b = lx_arg_count(&call->in[1]);
    const int64_t C = lx_arg_width(&call->in[0]);
    const int64_t B = n_b == C || n_b == 0 ? 1 : call->in[0].shape[0]; /* samples b tells apart */
    float *y = lx_out_f32(call, 0);

    for (int64_t i = 0; i < n; i++)
        y[i] = a[i] + b[n == n_b ? i : i / (n / B) * C + i % C];
}

/* Sums of P rows of [P, C], one channel at a time. */
static double column(const float *x, int64_t P, int64_t C)
{
    double sum = 0;
    for (int64_t p = 0; p < P; p++)
        sum += x[p * C];
    return sum;
}

void lx_plain_sum_rows(lx_device *dev, const lx_call *call)
{
    const int64_t B = call->out[0].shape[0], C = call->out[0].shape[1];
    const int64_t P = B ? lx_arg_rows(&call->in[0]) / B : 0;
    const float *x = lx_in_f32(call, 0);

    for (int64_t b = 0; b < B; b++)
        for (int64_t c = 0; c < C; c++)
            lx_out_f32(call, 0)[b * C + c] = (float)column(x + b * P * C + c, P, C);
}

void lx_plain_bias_db(lx_device *dev, const lx_call *call)
{
    const int64_t P = lx_arg_rows(&call->in[0]), C = lx_arg_width(&call->in[0]);

    for (int64_t c = 0; c < C; c++)
        lx_out_f32(call, 0)[c] += (float)column(lx_in_f32(call, 0) + c, P, C);
}
