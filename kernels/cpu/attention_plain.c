#include "kernels/cpu/cpu.h"

#include <math.h>
#include <string.h>

typedef struct shape {
    int64_t B, T, S, N, d, row; /* row = N * d */
    lx_compute in;              /* of every product's operands */
} shape;

static shape shape_of(const lx_call *call)
{
    shape s = {.B = call->in[0].shape[0],
               .T = call->in[0].shape[1],
               .S = call->in[1].shape[1],
               .row = call->in[0].shape[2],
               .N = call->attrs.attention.n_heads,
               .in = call->attrs.attention.arithmetic.compute};
    s.d = s.row / s.N;
    return s;
}

static double dot(const float *a, const float *b, int64_t n, lx_compute in)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)lx_operand(a[i], in) * lx_operand(b[i], in);
    return sum;
}

/* Of a product that has been computed before: f64 unless it is rounded anyway. */
static double operand(double x, lx_compute in)
{
    return in == LX_COMPUTE_F32 ? x : lx_operand((float)x, in);
}

/* Keys that query t may see. */
static int64_t visible(const lx_call *call, const shape *s, int64_t t)
{
    return call->attrs.attention.is_causal && t + 1 < s->S ? t + 1 : s->S;
}

/* One query of one head, in two passes over the scores, none of which is kept. */
static double attend(float *o, const float *q, const float *k, const float *v, const shape *s,
                     int64_t n_keys, double scale)
{
    double max = -INFINITY, sum = 0;

    for (int64_t j = 0; j < n_keys; j++) {
        double score = scale * dot(q, k + j * s->row, s->d, s->in);
        if (!(score <= max)) /* a NaN stays */
            max = score;
    }
    for (int64_t j = 0; j < n_keys; j++)
        sum += exp(scale * dot(q, k + j * s->row, s->d, s->in) - max);
    for (int64_t c = 0; c < s->d; c++) {
        double value = 0;
        for (int64_t j = 0; j < n_keys; j++)
            value +=
                operand(exp(scale * dot(q, k + j * s->row, s->d, s->in) - max), s->in) *
                lx_operand(v[j * s->row + c], s->in);
        o[c] = (float)(value / sum);
    }
    return max + log(sum);
}

void lx_plain_attention(lx_device *dev, const lx_call *call)
{
    const shape s = shape_of(call);
    const float *q = lx_in_f32(call, 0), *k = lx_in_f32(call, 1), *v = lx_in_f32(call, 2);
    float *o = lx_out_f32(call, 0), *lse = lx_out_f32(call, 1);

    for (int64_t b = 0; b < s.B; b++)
        for (int64_t n = 0; n < s.N; n++)
            for (int64_t t = 0; t < s.T; t++) {
                int64_t at = (b * s.T + t) * s.row + n * s.d, key = b * s.S * s.row + n * s.d;
                double log_sum = attend(o + at, q + at, k + key, v + key, &s,
                                        visible(call, &s, t), call->attrs.attention.scale);
                if (lse)
                    lse[(b * s.N + n) * s.T + t] = (float)log_sum;
            }
}

/* p and ds of one pair of query and key. */
static void score_gradient(double *p, double *ds, const float *q, const float *k,
                           const float *v, const float *o, const float *g, double lse,
                           const shape *s, double scale)
{
    *p = exp(scale * dot(q, k, s->d, s->in) - lse);
    *ds = scale * *p * (dot(g, v, s->d, s->in) - dot(g, o, s->d, LX_COMPUTE_F32));
    *p = operand(*p, s->in);
    *ds = operand(*ds, s->in);
}

void lx_plain_attention_bwd(lx_device *dev, const lx_call *call)
{
    const shape s = shape_of(call);
    const double scale = call->attrs.attention.scale;
    const float *q = lx_in_f32(call, 0), *k = lx_in_f32(call, 1), *v = lx_in_f32(call, 2);
    const float *o = lx_in_f32(call, 3), *lse = lx_in_f32(call, 4), *g = lx_in_f32(call, 5);
    float *dq = lx_out_f32(call, 0), *dk = lx_out_f32(call, 1), *dv = lx_out_f32(call, 2);
    const size_t key_bytes = (size_t)(s.B * s.S * s.row) * sizeof(float);

    if (dq)
        memset(dq, 0, (size_t)(s.B * s.T * s.row) * sizeof(float));
    if (dk)
        memset(dk, 0, key_bytes);
    if (dv)
        memset(dv, 0, key_bytes);
    for (int64_t b = 0; b < s.B; b++)
        for (int64_t n = 0; n < s.N; n++)
            for (int64_t t = 0; t < s.T; t++)
                for (int64_t j = 0; j < visible(call, &s, t); j++) {
                    int64_t at = (b * s.T + t) * s.row + n * s.d;
                    int64_t key = (b * s.S + j) * s.row + n * s.d;
                    double p, ds;
                    score_gradient(&p, &ds, q + at, k + key, v + key, o + at, g + at,
                                   lse[(b * s.N + n) * s.T + t], &s, scale);
                    if (s.S == 1) { /* without its rounding errors */
                        p = 1;
                        ds = 0;
                        if (dv)
                            for (int64_t c = 0; c < s.d; c++)
                                dv[key + c] += g[at + c];
                        continue;
                    }
                    for (int64_t c = 0; c < s.d; c++) {
                        if (dq)
                            dq[at + c] += (float)(ds * lx_operand(k[key + c], s.in));
                        if (dk)
                            dk[key + c] += (float)(ds * lx_operand(q[at + c], s.in));
                        if (dv)
                            dv[key + c] += (float)(p * lx_operand(g[at + c], s.in));
                    }
                }
}
