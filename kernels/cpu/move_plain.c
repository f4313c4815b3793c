/* Ops that move elements without computing: concat, slice, permute, upsample, embedding, cast. */
#include "kernels/cpu/cpu.h"

#include <math.h>
#include <string.h>

static int64_t product(const int64_t *shape, int n)
{
    int64_t result = 1;
    for (int i = 0; i < n; i++)
        result *= shape[i];
    return result;
}

static size_t item_bytes(const lx_arg *arg)
{
    return (size_t)lx_dtype_bits(arg->dtype) / 8;
}

void lx_plain_concat(lx_device *dev, const lx_call *call)
{
    const lx_arg *a = &call->in[0], *b = &call->in[1], *y = &call->out[0];
    const size_t item = item_bytes(y);
    char *to = y->data;
    int dim = 0;

    while (dim + 1 < y->n_dims && a->shape[dim] == y->shape[dim])
        dim++;
    const size_t run_a = (size_t)product(a->shape + dim, a->n_dims - dim) * item;
    const size_t run_b = (size_t)product(b->shape + dim, b->n_dims - dim) * item;
    for (int64_t i = 0, n = product(y->shape, dim); i < n; i++) {
        memcpy(to, (const char *)a->data + (size_t)i * run_a, run_a);
        memcpy(to + run_a, (const char *)b->data + (size_t)i * run_b, run_b);
        to += run_a + run_b;
    }
}

/* Bytes of one step in dimension dim, and how many such steps the whole holds outside it. */
static size_t inner_bytes(const lx_arg *arg, int dim)
{
    return (size_t)product(arg->shape + dim + 1, arg->n_dims - dim - 1) * item_bytes(arg);
}

void lx_plain_slice(lx_device *dev, const lx_call *call)
{
    const lx_arg *x = &call->in[0], *y = &call->out[0];
    const int dim = call->attrs.slice.dim;
    const size_t inner = inner_bytes(x, dim);
    const size_t from = (size_t)x->shape[dim] * inner, to = (size_t)y->shape[dim] * inner;
    const size_t skip = (size_t)call->attrs.slice.begin * inner;

    for (int64_t i = 0, n = product(x->shape, dim); i < n; i++)
        memcpy((char *)y->data + (size_t)i * to, (const char *)x->data + (size_t)i * from + skip,
               to);
}

void lx_plain_slice_dx(lx_device *dev, const lx_call *call)
{
    const lx_arg *dy = &call->in[0], *dx = &call->out[0];
    const int dim = call->attrs.slice.dim;
    const size_t inner = inner_bytes(dx, dim);
    const size_t from = (size_t)dy->shape[dim] * inner, to = (size_t)dx->shape[dim] * inner;
    const size_t skip = (size_t)call->attrs.slice.begin * inner;

    for (int64_t i = 0, n = product(dx->shape, dim); i < n; i++) {
        char *row = (char *)dx->data + (size_t)i * to;
        memset(row, 0, skip);
        memcpy(row + skip, (const char *)dy->data + (size_t)i * from, from);
        memset(row + skip + from, 0, to - skip - from);
    }
}

void lx_plain_permute(lx_device *dev, const lx_call *call)
{
    const lx_arg *x = &call->in[0], *y = &call->out[0];
    const size_t item = item_bytes(x);
    int64_t stride[LX_MAX_DIMS], at[LX_MAX_DIMS] = {0};
    const char *from = x->data;
    char *to = y->data;

    for (int i = 0; i < y->n_dims; i++) {
        int dim = call->attrs.permute.dims[i];
        stride[i] = product(x->shape + dim + 1, x->n_dims - dim - 1);
    }
    for (int64_t n = lx_arg_count(y); n > 0; n--, to += item) {
        int64_t offset = 0;
        for (int i = 0; i < y->n_dims; i++)
            offset += at[i] * stride[i];
        memcpy(to, from + (size_t)offset * item, item);
        for (int i = y->n_dims - 1; i >= 0 && ++at[i] == y->shape[i]; i--)
            at[i] = 0;
    }
}

/* Which of `in` pixels the output pixel i comes from; f32 as in PyTorch. */
static int64_t source(int64_t i, int64_t in, int64_t out)
{
    int64_t at = (int64_t)floorf((float)i * ((float)in / (float)out));
    return at < in ? at : in - 1;
}

void lx_plain_upsample_nearest(lx_device *dev, const lx_call *call)
{
    const lx_arg *x = &call->in[0], *y = &call->out[0];
    const int64_t C = x->shape[3];
    float *to = y->data;

    for (int64_t b = 0; b < y->shape[0]; b++)
        for (int64_t i = 0; i < y->shape[1]; i++)
            for (int64_t j = 0; j < y->shape[2]; j++, to += C) {
                int64_t row = b * x->shape[1] + source(i, x->shape[1], y->shape[1]);
                int64_t at = row * x->shape[2] + source(j, x->shape[2], y->shape[2]);
                memcpy(to, (const float *)x->data + at * C, (size_t)C * sizeof *to);
            }
}

void lx_plain_upsample_nearest_dx(lx_device *dev, const lx_call *call)
{
    const lx_arg *dy = &call->in[0], *dx = &call->out[0];
    const int64_t C = dx->shape[3];
    const float *from = dy->data;

    memset(dx->data, 0, (size_t)lx_arg_count(dx) * sizeof(float));
    for (int64_t b = 0; b < dy->shape[0]; b++)
        for (int64_t i = 0; i < dy->shape[1]; i++)
            for (int64_t j = 0; j < dy->shape[2]; j++, from += C) {
                int64_t row = b * dx->shape[1] + source(i, dx->shape[1], dy->shape[1]);
                int64_t at = row * dx->shape[2] + source(j, dx->shape[2], dy->shape[2]);
                for (int64_t c = 0; c < C; c++)
                    ((float *)dx->data)[at * C + c] += from[c];
            }
}

void lx_plain_embedding(lx_device *dev, const lx_call *call)
{
    const lx_arg *table = &call->in[1];
    const int64_t *ids = call->in[0].data;
    const int64_t V = table->shape[0], D = table->shape[1];
    float *y = lx_out_f32(call, 0);

    for (int64_t i = 0, n = lx_arg_count(&call->in[0]); i < n; i++)
        for (int64_t c = 0; c < D; c++)
            *y++ = ids[i] >= 0 && ids[i] < V ? lx_weight_at(table, ids[i] * D + c) : NAN;
}

void lx_plain_timestep_embedding(lx_device *dev, const lx_call *call)
{
    const lx_arg *t = &call->in[0];
    const int64_t B = call->out[0].shape[0], dim = call->out[0].shape[1], half = dim / 2;

    for (int64_t b = 0; b < B; b++) {
        float *y = lx_out_f32(call, 0) + b * dim;
        float at = t->dtype == LX_I64 ? (float)((const int64_t *)t->data)[b]
                                      : ((const float *)t->data)[b];
        for (int64_t i = 0; i < half; i++) {
            float exponent = -9.21034037197618f * (float)i / (float)half;
            float argument = at * (float)exp(exponent);
            y[i] = (float)cos(argument);
            y[half + i] = (float)sin(argument);
        }
        if (dim % 2)
            y[dim - 1] = 0;
    }
}

void lx_plain_cast(lx_device *dev, const lx_call *call)
{
    const lx_arg *x = &call->in[0], *y = &call->out[0];
    const size_t n = (size_t)lx_arg_count(x);

    if (y->dtype == LX_F32)
        lx_to_f32(y->data, x->data, x->dtype, n);
    else
        lx_from_f32(y->data, y->dtype, x->data, n);
}
