#include "kernels/cpu/cpu.h"

void lx_plain_linear(lx_device *dev, const lx_call *call)
{
    const lx_arg *w = &call->in[1];
    const int64_t M = lx_arg_rows(&call->in[0]), K = lx_arg_width(&call->in[0]);
    const int64_t N = w->shape[0];
    const float *x = lx_in_f32(call, 0), *bias = lx_in_f32(call, 2),
                *add = lx_in_f32(call, 3);
    const double scale = call->attrs.linear.scale;
    const lx_compute in = call->attrs.linear.arithmetic.compute;
    float *y = lx_out_f32(call, 0);

    for (int64_t m = 0; m < M; m++)
        for (int64_t n = 0; n < N; n++) {
            double sum = 0;
            for (int64_t k = 0; k < K; k++)
                sum += (double)lx_operand(x[m * K + k], in) *
                       lx_operand(lx_weight_at(w, n * K + k), in);
            sum = scale * sum + (bias ? bias[n] : 0) + (add ? add[m * N + n] : 0);
            y[m * N + n] = (float)sum;
        }
}

void lx_plain_linear_dx(lx_device *dev, const lx_call *call)
{
    const lx_arg *w = &call->in[1];
    const int64_t M = lx_arg_rows(&call->in[0]), N = w->shape[0];
    const int64_t K = lx_arg_width(&call->out[0]);
    const float *dy = lx_in_f32(call, 0), *add = lx_in_f32(call, 2);
    const double scale = call->attrs.linear.scale;
    const lx_compute in = call->attrs.linear.arithmetic.compute;
    float *dx = lx_out_f32(call, 0);

    for (int64_t m = 0; m < M; m++)
        for (int64_t k = 0; k < K; k++) {
            double sum = 0;
            for (int64_t n = 0; n < N; n++)
                sum += (double)lx_operand(dy[m * N + n], in) *
                       lx_operand(lx_weight_at(w, n * K + k), in);
            dx[m * K + k] = (float)(scale * sum + (add ? add[m * K + k] : 0));
        }
}

void lx_plain_linear_dw(lx_device *dev, const lx_call *call)
{
    const int64_t M = lx_arg_rows(&call->in[0]), N = lx_arg_width(&call->in[0]);
    const int64_t K = lx_arg_width(&call->in[1]);
    const float *dy = lx_in_f32(call, 0), *x = lx_in_f32(call, 1);
    const double scale = call->attrs.linear.scale;
    float *dw = lx_out_f32(call, 0);

    for (int64_t n = 0; n < N; n++)
        for (int64_t k = 0; k < K; k++) {
            double sum = 0;
            for (int64_t m = 0; m < M; m++)
                sum += (double)dy[m * N + n] * x[m * K + k];
            dw[n * K + k] =
                (call->attrs.linear.sets ? 0 : dw[n * K + k]) + (float)(scale * sum);
        }
}
