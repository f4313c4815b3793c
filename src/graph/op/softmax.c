/* softmax over the last dimension: kernels/softmax.h */
#include "src/graph/node.h"
#include "src/graph/op.h"

static void gradient(lx_graph *g, const lx_node *node)
{
    lx_tensor *y = node->out[0];

    lx_gradient__give(g, node->in[0],
                      lx_graph__emit(g, &(lx_node){
                                            .op = LX_OP_softmax_dx,
                                            .n_in = 2,
                                            .in = {lx_gradient__of(y), y},
                                            .n_out = 1,
                                            .out = {lx_graph__like(g, y)},
                                        }));
}

lx_tensor *lx_op_softmax(lx_graph *g, lx_tensor *x)
{
    return lx_graph__emit(g, &(lx_node){
                                 .op = LX_OP_softmax,
                                 .n_in = 1,
                                 .in = {x},
                                 .n_out = 1,
                                 .out = {lx_graph__like(g, x)},
                                 .gradient = gradient,
                             });
}
