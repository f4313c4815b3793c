/* dropout: kernels/dropout.h */
#include "src/graph/node.h"
#include "src/graph/op.h"

/* What was left out passes no gradient, what was scaled passes it scaled: the op itself. */
static void gradient(lx_graph *g, const lx_node *node)
{
    lx_gradient__give(g, node->in[0],
                      lx_op_dropout(g, lx_gradient__of(node->out[0]), node->in[1],
                                    node->attrs.dropout.neuron, node->attrs.dropout.rank,
                                    node->attrs.dropout.module,
                                    node->attrs.dropout.stream));
}

lx_tensor *lx_op_dropout(lx_graph *g, lx_tensor *x, lx_tensor *moment, float neuron,
                         float rank, float module, uint64_t stream)
{
    if (lx_graph__broken(g))
        return g->placeholder;
    if (x->n_dims < 2 || moment->n_dims != 1 ||
        moment->dtype != LX_I64 || moment->shape[0] != 2)
        return lx_graph__mismatch(g, "dropout", "x", x, "moment", moment,
                                  "x must be [B, .., C] and moment I64 [2]");
    return lx_graph__emit(g, &(lx_node){
                                 .op = LX_OP_dropout,
                                 .n_in = 2,
                                 .in = {x, moment},
                                 .n_out = 1,
                                 .out = {lx_graph__like(g, x)},
                                 .attrs.dropout = {.neuron = neuron,
                                                   .rank = rank,
                                                   .module = module,
                                                   .stream = stream},
                                 .gradient = gradient,
                             });
}
