/* silu, gelu, quick_gelu, geglu: kernels/activation.h, geglu.h */
#include "src/graph/node.h"
#include "src/graph/op.h"

/* All have one input, and an op one further in ops.def that turns (dy, x) into dx. */
static void gradient(lx_graph *g, const lx_node *node)
{
    lx_tensor *x = node->in[0];

    lx_gradient__give(g, x,
                      lx_graph__emit(g, &(lx_node){
                                            .op = node->op + 1,
                                            .n_in = 2,
                                            .in = {lx_gradient__of(node->out[0]), x},
                                            .n_out = 1,
                                            .out = {lx_graph__like(g, x)},
                                        }));
}

_Static_assert(LX_OP_silu_dx == LX_OP_silu + 1 && LX_OP_gelu_dx == LX_OP_gelu + 1 &&
                   LX_OP_quick_gelu_dx == LX_OP_quick_gelu + 1 &&
                   LX_OP_geglu_dx == LX_OP_geglu + 1,
               "a gradient op follows its op in ops.def");

static lx_tensor *emit(lx_graph *g, lx_op_id op, lx_tensor *x, lx_tensor *y)
{
    return lx_graph__emit(g, &(lx_node){
                                 .op = (int)op,
                                 .n_in = 1,
                                 .in = {x},
                                 .n_out = 1,
                                 .out = {y},
                                 .gradient = gradient,
                             });
}

lx_tensor *lx_op_silu(lx_graph *g, lx_tensor *x)
{
    return emit(g, LX_OP_silu, x, lx_graph__like(g, x));
}

lx_tensor *lx_op_gelu(lx_graph *g, lx_tensor *x)
{
    return emit(g, LX_OP_gelu, x, lx_graph__like(g, x));
}

lx_tensor *lx_op_quick_gelu(lx_graph *g, lx_tensor *x)
{
    return emit(g, LX_OP_quick_gelu, x, lx_graph__like(g, x));
}

lx_tensor *lx_op_geglu(lx_graph *g, lx_tensor *x)
{
    int64_t shape[LX_MAX_DIMS];

    if (lx_graph__broken(g))
        return g->placeholder;
    if (x->n_dims < 1 || lx_tensor__last(x) % 2)
        return lx_graph__mismatch(g, "geglu", "x", x, NULL, NULL, "x must be [.., 2C]");
    for (int i = 0; i < x->n_dims; i++)
        shape[i] = x->shape[i];
    shape[x->n_dims - 1] /= 2;
    return emit(g, LX_OP_geglu, x, lx_graph__tensor(g, x->dtype, x->n_dims, shape));
}
