/* scale, mul_add: kernels/scale.h */
#include "src/graph/node.h"
#include "src/graph/op.h"

static void scale_gradient(lx_graph *g, const lx_node *node)
{
    lx_gradient__give(
        g, node->in[0],
        lx_op_scale(g, lx_gradient__of(node->out[0]), node->attrs.linear.scale));
}

lx_tensor *lx_op_scale(lx_graph *g, lx_tensor *x, float factor)
{
    return lx_graph__emit(g, &(lx_node){
                                 .op = LX_OP_scale,
                                 .n_in = 1,
                                 .in = {x},
                                 .n_out = 1,
                                 .out = {lx_graph__like(g, x)},
                                 .attrs.linear.scale = factor,
                                 .gradient = scale_gradient,
                             });
}

static void mul_add_gradient(lx_graph *g, const lx_node *node)
{
    lx_tensor *dy = lx_gradient__of(node->out[0]);

    if (lx_gradient__wanted(node->in[0]) || lx_gradient__wanted(node->in[2])) {
        lx_graph_fail(g, LX_EUNSUPPORTED,
                      "mul_add: its factors a and b have no gradient");
        return;
    }
    if (lx_gradient__wanted(node->in[1]))
        lx_gradient__give(g, node->in[1], lx_op_mul_add(g, node->in[0], dy, NULL, NULL));
    if (lx_gradient__wanted(node->in[3]))
        lx_gradient__give(g, node->in[3], lx_op_mul_add(g, node->in[2], dy, NULL, NULL));
}

static bool is_factor(const lx_tensor *a, const lx_tensor *x)
{
    return a->n_dims == 1 && a->dtype == LX_F32 && x->n_dims >= 1 &&
           a->shape[0] == x->shape[0];
}

lx_tensor *lx_op_mul_add(lx_graph *g, lx_tensor *a, lx_tensor *x, lx_tensor *b,
                         lx_tensor *y)
{
    if (lx_graph__broken(g))
        return g->placeholder;
    if (!is_factor(a, x))
        return lx_graph__mismatch(g, "mul_add", "a", a, "x", x, "a must be F32 [B]");
    if (!b != !y)
        return lx_graph__mismatch(g, "mul_add", "b", b, "y", y,
                                  "both or none must be there");
    if (y && (!lx_tensor__same_shape(x, y) || x->dtype != y->dtype))
        return lx_graph__mismatch(g, "mul_add", "x", x, "y", y, "they must be alike");
    if (b && !is_factor(b, x))
        return lx_graph__mismatch(g, "mul_add", "b", b, "y", y, "b must be F32 [B]");
    return lx_graph__emit(g, &(lx_node){
                                 .op = LX_OP_mul_add,
                                 .n_in = 4,
                                 .in = {a, x, b, y},
                                 .n_out = 1,
                                 .out = {lx_graph__like(g, x)},
                                 .gradient = mul_add_gradient,
                             });
}
