/*
 * attention: softmax(q k^T / sqrt(d)) v per head, scores never stored;
 * kernels/attention.h
 */
#include "src/graph/node.h"
#include "src/graph/op.h"

#include <math.h>

static void gradient(lx_graph *g, const lx_node *node)
{
    lx_tensor *q = node->in[0], *k = node->in[1], *v = node->in[2];
    lx_tensor *dq = lx_gradient__wanted(q) ? lx_graph__like(g, q) : NULL;
    lx_tensor *dk = lx_gradient__wanted(k) ? lx_graph__like(g, k) : NULL;
    lx_tensor *dv = lx_gradient__wanted(v) ? lx_graph__like(g, v) : NULL;

    lx_graph__emit(
        g, &(lx_node){
               .op = LX_OP_attention_bwd,
               .n_in = 6,
               .in = {q, k, v, node->out[0], node->out[1], lx_gradient__of(node->out[0])},
               .n_out = 3,
               .out = {dq, dk, dv},
               .attrs = node->attrs,
           });
    lx_gradient__give(g, q, dq);
    lx_gradient__give(g, k, dk);
    lx_gradient__give(g, v, dv);
}

lx_tensor *lx_op_attention(lx_graph *g, lx_tensor *q, lx_tensor *k, lx_tensor *v,
                           int n_heads, bool is_causal)
{
    int64_t lse[3];

    if (lx_graph__broken(g))
        return g->placeholder;
    if (q->n_dims != 3 || k->n_dims != 3 || q->shape[0] != k->shape[0] ||
        q->shape[2] != k->shape[2])
        return lx_graph__mismatch(g, "attention", "q", q, "k", k,
                                  "q must be [B, T, D] and k [B, S, D]");
    if (!lx_tensor__same_shape(k, v))
        return lx_graph__mismatch(g, "attention", "k", k, "v", v, "they must be alike");
    if (n_heads < 1 || q->shape[2] % n_heads)
        return lx_graph__mismatch(g, "attention", "q", q, NULL, NULL,
                                  "its width is no multiple of %d heads", n_heads);
    if (is_causal && q->shape[1] != k->shape[1])
        return lx_graph__mismatch(g, "attention", "q", q, "k", k,
                                  "a causal attention needs as many queries as keys");
    lse[0] = q->shape[0];
    lse[1] = n_heads;
    lse[2] = q->shape[1];
    return lx_graph__emit(
        g, &(lx_node){
               .op = LX_OP_attention,
               .n_in = 3,
               .in = {q, k, v},
               .n_out = 2,
               .out = {lx_graph__like(g, q), lx_graph__tensor(g, LX_F32, 3, lse)},
               .attrs.attention = {n_heads, is_causal,
                                   (float)(1 / sqrt((double)(q->shape[2] / n_heads))),
                                   g->arithmetic},
               .gradient = gradient,
           });
}
