#include "kernels/cpu/cpu.h"

#include <string.h>

/* The numbers of one convolution, whatever its direction: x is the larger side, y the strided. */
typedef struct shape {
    int64_t B, h, w, Ci, oh, ow, Co, kh, kw;
    int64_t stride, top, left;
    lx_compute compute;
} shape;

static shape shape_of(const lx_call *call, const lx_arg *x, const lx_arg *y,
                      const lx_arg *weight)
{
    return (shape){
        .B = x->shape[0],
        .h = x->shape[1],
        .w = x->shape[2],
        .Ci = x->shape[3],
        .oh = y->shape[1],
        .ow = y->shape[2],
        .Co = y->shape[3],
        .kh = weight->shape[2],
        .kw = weight->shape[3],
        .stride = call->attrs.conv.stride,
        .top = call->attrs.conv.pad_top,
        .left = call->attrs.conv.pad_left,
        .compute = call->attrs.conv.arithmetic.compute,
    };
}

/* Offset of pixel (i, j) of sample b in x, or -1 in the padding. */
static int64_t pixel(const shape *s, int64_t b, int64_t i, int64_t j)
{
    if (i < 0 || i >= s->h || j < 0 || j >= s->w)
        return -1;
    return ((b * s->h + i) * s->w + j) * s->Ci;
}

static double product(const shape *s, float x, const lx_arg *weight, int64_t at)
{
    return (double)lx_operand(x, s->compute) *
           lx_operand(lx_weight_at(weight, at), s->compute);
}

void lx_plain_conv2d(lx_device *dev, const lx_call *call)
{
    const lx_arg *weight = &call->in[1];
    const shape s = shape_of(call, &call->in[0], &call->out[0], weight);
    const float *x = lx_in_f32(call, 0), *bias = lx_in_f32(call, 2),
                *add = lx_in_f32(call, 3);
    float *y = lx_out_f32(call, 0);

    for (int64_t b = 0; b < s.B; b++)
        for (int64_t i = 0; i < s.oh; i++)
            for (int64_t j = 0; j < s.ow; j++)
                for (int64_t o = 0; o < s.Co; o++) {
                    double sum = bias ? bias[o] : 0;
                    for (int64_t r = 0; r < s.kh; r++)
                        for (int64_t q = 0; q < s.kw; q++) {
                            int64_t at = pixel(&s, b, i * s.stride + r - s.top,
                                               j * s.stride + q - s.left);
                            for (int64_t c = 0; at >= 0 && c < s.Ci; c++)
                                sum += product(&s, x[at + c], weight,
                                               ((o * s.Ci + c) * s.kh + r) * s.kw + q);
                        }
                    *y++ = (float)(add ? sum + *add++ : sum);
                }
}

void lx_plain_conv2d_dx(lx_device *dev, const lx_call *call)
{
    const lx_arg *weight = &call->in[1];
    const shape s = shape_of(call, &call->out[0], &call->in[0], weight);
    const float *dy = lx_in_f32(call, 0);
    float *dx = lx_out_f32(call, 0);

    for (int64_t b = 0; b < s.B; b++)
        for (int64_t i = 0; i < s.h; i++)
            for (int64_t j = 0; j < s.w; j++)
                for (int64_t c = 0; c < s.Ci; c++) {
                    double sum = 0;
                    for (int64_t r = 0; r < s.kh; r++)
                        for (int64_t q = 0; q < s.kw; q++) {
                            int64_t oi = i + s.top - r, oj = j + s.left - q;
                            if (oi < 0 || oj < 0 || oi % s.stride || oj % s.stride)
                                continue;
                            oi /= s.stride;
                            oj /= s.stride;
                            if (oi >= s.oh || oj >= s.ow)
                                continue;
                            const float *g = dy + ((b * s.oh + oi) * s.ow + oj) * s.Co;
                            for (int64_t o = 0; o < s.Co; o++)
                                sum += product(&s, g[o], weight,
                                               ((o * s.Ci + c) * s.kh + r) * s.kw + q);
                        }
                    *dx++ = (float)sum;
                }
}

void lx_plain_conv2d_dw(lx_device *dev, const lx_call *call)
{
    const shape s = shape_of(call, &call->in[1], &call->in[0], &call->out[0]);
    const float *dy = lx_in_f32(call, 0), *x = lx_in_f32(call, 1);
    float *dw = lx_out_f32(call, 0);

    for (int64_t o = 0; o < s.Co; o++)
        for (int64_t c = 0; c < s.Ci; c++)
            for (int64_t r = 0; r < s.kh; r++)
                for (int64_t q = 0; q < s.kw; q++) {
                    double sum = 0;
                    for (int64_t b = 0; b < s.B; b++)
                        for (int64_t i = 0; i < s.oh; i++)
                            for (int64_t j = 0; j < s.ow; j++) {
                                int64_t at = pixel(&s, b, i * s.stride + r - s.top,
                                                   j * s.stride + q - s.left);
                                if (at >= 0)
                                    sum +=
                                        (double)
                                            dy[((b * s.oh + i) * s.ow + j) * s.Co + o] *
                                        x[at + c];
                            }
                    *dw = (call->attrs.conv.sets ? 0 : *dw) + (float)sum;
                    dw++;
                }
}
