/* upsample_nearest: enlarge by repeating pixels; kernels/upsample_nearest.h */
#include "src/graph/node.h"
#include "src/graph/op.h"

static void gradient(lx_graph *g, const lx_node *node)
{
    lx_tensor *x = node->in[0];

    lx_gradient__give(g, x,
                      lx_graph__emit(g, &(lx_node){
                                            .op = LX_OP_upsample_nearest_dx,
                                            .n_in = 1,
                                            .in = {lx_gradient__of(node->out[0])},
                                            .n_out = 1,
                                            .out = {lx_graph__like(g, x)},
                                            .attrs = node->attrs,
                                        }));
}

lx_tensor *lx_op_upsample_nearest(lx_graph *g, lx_tensor *x, int64_t h, int64_t w)
{
    if (lx_graph__broken(g))
        return g->placeholder;
    if (x->n_dims != 4)
        return lx_graph__mismatch(g, "upsample_nearest", "x", x, NULL, NULL,
                                  "x must be [B, h, w, C]");
    return lx_graph__emit(
        g, &(lx_node){
               .op = LX_OP_upsample_nearest,
               .n_in = 1,
               .in = {x},
               .n_out = 1,
               .out = {lx_graph__tensor(g, x->dtype, 4,
                                        (int64_t[]){x->shape[0], h, w, x->shape[3]})},
               .attrs.size = {h, w},
               .gradient = gradient,
           });
}
