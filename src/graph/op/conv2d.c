/* conv2d: convolution over channels-last images; kernels/conv2d.h */
#include "src/graph/node.h"
#include "src/graph/op.h"

/* As in linear.c. */
static void give_weight(lx_graph *g, const lx_node *node, lx_tensor *w, lx_tensor *x,
                        lx_tensor *dy)
{
    lx_node dw = {.op = LX_OP_conv2d_dw,
                  .n_in = 2,
                  .in = {dy, x},
                  .n_out = 1,
                  .attrs = node->attrs};

    if (!lx_gradient__wanted(w))
        return;
    dw.attrs.conv.sets = !lx_gradient__has_sink(w);
    dw.out[0] = dw.attrs.conv.sets ? lx_graph__tensor(g, LX_F32, w->n_dims, w->shape)
                                   : lx_gradient__sink(g, w);
    lx_graph__emit(g, &dw);
    if (dw.attrs.conv.sets)
        lx_gradient__give(g, w, dw.out[0]);
}

static void gradient(lx_graph *g, const lx_node *node)
{
    lx_tensor *x = node->in[0], *w = node->in[1], *bias = node->in[2];
    lx_tensor *dy = lx_gradient__of(node->out[0]);

    give_weight(g, node, w, x, dy);
    if (lx_gradient__wanted(bias))
        lx_graph__emit(g, &(lx_node){
                              .op = LX_OP_bias_db,
                              .n_in = 1,
                              .in = {dy},
                              .n_out = 1,
                              .out = {lx_gradient__sink(g, bias)},
                          });
    if (lx_gradient__wanted(x))
        lx_gradient__give(g, x,
                          lx_graph__emit(g, &(lx_node){
                                                .op = LX_OP_conv2d_dx,
                                                .n_in = 2,
                                                .in = {dy, lx_gradient__again(g, w)},
                                                .n_out = 1,
                                                .out = {lx_graph__like(g, x)},
                                                .attrs = node->attrs,
                                            }));
}

lx_tensor *lx_op_conv2d(lx_graph *g, lx_tensor *x, lx_tensor *w, lx_tensor *bias,
                        int stride, const int pad[4])
{
    int64_t h, width, shape[4];

    if (lx_graph__broken(g))
        return g->placeholder;
    if (x->n_dims != 4 || w->n_dims != 4 || x->shape[3] != w->shape[1])
        return lx_graph__mismatch(g, "conv2d", "x", x, "w", w,
                                  "x must be [B, h, w, Ci] and w [Co, Ci, kh, kw]");
    if (bias && (bias->n_dims != 1 || bias->shape[0] != w->shape[0]))
        return lx_graph__mismatch(g, "conv2d", "w", w, "bias", bias,
                                  "the bias must be [Co]");
    if (stride < 1 || pad[0] < 0 || pad[1] < 0 || pad[2] < 0 || pad[3] < 0)
        return lx_graph__mismatch(g, "conv2d", "x", x, NULL, NULL,
                                  "stride %d and padding %d %d %d %d make no sense",
                                  stride, pad[0], pad[1], pad[2], pad[3]);
    h = x->shape[1] + pad[0] + pad[2] - w->shape[2];
    width = x->shape[2] + pad[1] + pad[3] - w->shape[3];
    if (h < 0 || width < 0)
        return lx_graph__mismatch(g, "conv2d", "x", x, "w", w,
                                  "the window is larger than the padded image");
    shape[0] = x->shape[0];
    shape[1] = h / stride + 1;
    shape[2] = width / stride + 1;
    shape[3] = w->shape[0];
    return lx_graph__emit(g, &(lx_node){
                                 .op = LX_OP_conv2d,
                                 .n_in = 4,
                                 .in = {x, w, bias, NULL},
                                 .n_out = 1,
                                 .out = {lx_graph__tensor(g, x->dtype, 4, shape)},
                                 .attrs.conv = {stride, pad[0], pad[1], pad[2], pad[3],
                                                g->arithmetic, false},
                                 .gradient = gradient,
                             });
}
