/*
 * graph/flops - floating point operations of a call, from its shapes
 *
 * Matrix products count 2 per multiply-add, as everywhere. What is not a product is
 * counted per element, roughly: it is a rounding error of the sum and is there so that no
 * op reports zero. A causal attention is counted by half of its scores. Attention's
 * reverse pass counts its five products (the scores are computed again).
 */
#include "kernels/arg.h"
#include "src/graph/node.h"

#include <string.h>

static double count(const lx_tensor *t)
{
    return t ? (double)lx_tensor__count(t) : 0;
}

/* 2 * outputs * (Ci kh kw): `y` is [B, h', w', Co], w [Co, Ci, kh, kw]. */
static double conv(const lx_tensor *y, const lx_tensor *w)
{
    return 2 * count(y) * count(w) / (double)w->shape[0];
}

static double attention(const lx_node *node, double products)
{
    const lx_tensor *q = node->in[0], *k = node->in[1];
    double scores = (double)k->shape[1] * (node->attrs.attention.is_causal ? 0.5 : 1);
    return 2 * products * count(q) * scores;
}

double lx_op__flops(const lx_node *node)
{
    switch (node->op) {
    case LX_OP_VIEW:
    case LX_OP_cast:
    case LX_OP_permute:
    case LX_OP_concat:
    case LX_OP_slice:
    case LX_OP_slice_dx:
    case LX_OP_upsample_nearest:
    case LX_OP_embedding:
        return 0;
    case LX_OP_linear: /* rows * N * K */
        return 2 * count(node->in[0]) * (double)node->in[1]->shape[0];
    case LX_OP_linear_dx:
        return 2 * count(node->in[0]) * count(node->in[1]) /
               (double)node->in[1]->shape[0];
    case LX_OP_linear_dw:
        return 2 * count(node->in[0]) * (double)lx_tensor__last(node->in[1]);
    case LX_OP_hadamard: /* two products of N * K sums */
        return 2 * count(node->out[0]) *
               (double)(node->in[0]->shape[1] + node->in[2]->shape[1]);
    case LX_OP_hadamard_dab: /* c d again, then one sum for each of a and b */
        return 2 * count(node->in[0]) *
               (double)(2 * node->in[1]->shape[1] + node->in[3]->shape[1]);
    case LX_OP_conv2d:
        return conv(node->out[0], node->in[1]);
    case LX_OP_conv2d_dx:
        return conv(node->in[0], node->in[1]);
    case LX_OP_conv2d_dw:
        return conv(node->in[0], node->out[0]);
    case LX_OP_attention:
        return attention(node, 2);
    case LX_OP_attention_bwd:
        return attention(node, 5);
    case LX_OP_group_norm:
    case LX_OP_layer_norm:
    case LX_OP_softmax:
    case LX_OP_silu:
    case LX_OP_gelu:
    case LX_OP_quick_gelu:
    case LX_OP_geglu:
        return 8 * count(node->in[0]);
    case LX_OP_add:
    case LX_OP_scale:
        return count(node->out[0]);
    default:
        return 4 * count(node->in[0]);
    }
}

static void fill_tensor(lx_tensor **to, lx_tensor *tensor, const lx_arg *arg)
{
    if (!lx_arg_present(arg))
        return;
    *tensor = (lx_tensor){.n_dims = arg->n_dims, .dtype = arg->dtype};
    memcpy(tensor->shape, arg->shape, sizeof tensor->shape);
    *to = tensor;
}

double lx_call_flops(const lx_call *call)
{
    lx_tensor in[LX_CALL_MAX_IN], out[LX_CALL_MAX_OUT];
    lx_node node = {
        .op = call->op, .n_in = call->n_in, .n_out = call->n_out, .attrs = call->attrs};

    for (int i = 0; i < call->n_in; i++)
        fill_tensor(&node.in[i], &in[i], &call->in[i]);
    for (int i = 0; i < call->n_out; i++)
        fill_tensor(&node.out[i], &out[i], &call->out[i]);
    return lx_op__flops(&node);
}

double lx_call_bytes(const lx_call *call)
{
    double bytes = 0;

    for (int i = 0; i < call->n_in + call->n_out; i++) {
        const lx_arg *arg = i < call->n_in ? &call->in[i] : &call->out[i - call->n_in];
        if (lx_arg_present(arg))
            bytes += (double)lx_arg_count(arg) * lx_dtype_bits(arg->dtype) / 8;
    }
    return bytes;
}
