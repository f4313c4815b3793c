#include "kernels/cpu/cpu.h"

/* (left right)[n, k]: left [N, R], right [R, K]. */
static double product(const lx_arg *left, const lx_arg *right, int64_t n, int64_t k)
{
    const int64_t R = left->shape[1], K = right->shape[1];
    const float *l = left->data, *r = right->data;
    double sum = 0;

    for (int64_t i = 0; i < R; i++)
        sum += (double)l[n * R + i] * r[i * K + k];
    return sum;
}

void lx_plain_hadamard(lx_device *dev, const lx_call *call)
{
    const lx_arg *in = call->in;
    const int64_t N = in[0].shape[0], K = in[1].shape[1];
    float *w = lx_out_f32(call, 0);

    for (int64_t n = 0; n < N; n++)
        for (int64_t k = 0; k < K; k++)
            w[n * K + k] =
                (float)(call->attrs.linear.scale * product(&in[0], &in[1], n, k) *
                        product(&in[2], &in[3], n, k));
}

void lx_plain_hadamard_dab(lx_device *dev, const lx_call *call)
{
    const lx_arg *in = call->in;
    const int64_t N = in[0].shape[0], K = in[0].shape[1], R = in[1].shape[1];
    const float *dw = lx_in_f32(call, 0), *a = lx_in_f32(call, 1),
                *b = lx_in_f32(call, 2);
    float *da = lx_out_f32(call, 0), *db = lx_out_f32(call, 1);

    for (int64_t r = 0; r < R; r++) {
        for (int64_t n = 0; n < N; n++) {
            double sum = 0;
            for (int64_t k = 0; k < K; k++)
                sum +=
                    (double)dw[n * K + k] * product(&in[3], &in[4], n, k) * b[r * K + k];
            da[n * R + r] += (float)(call->attrs.linear.scale * sum);
        }
        for (int64_t k = 0; k < K; k++) {
            double sum = 0;
            for (int64_t n = 0; n < N; n++)
                sum +=
                    (double)dw[n * K + k] * product(&in[3], &in[4], n, k) * a[n * R + r];
            db[r * K + k] += (float)(call->attrs.linear.scale * sum);
        }
    }
}
