/* linear: products with a weight, LoRA's down and up among them; kernels/linear.h */
#include "src/graph/node.h"
#include "src/graph/op.h"

/* A parameter's sum goes to its buffer; that of a weight which was computed goes on to what made it. */
static void give_weight(lx_graph *g, const lx_node *node, lx_tensor *w, lx_tensor *x,
                        lx_tensor *dy)
{
    lx_node dw = {.op = LX_OP_linear_dw,
                  .n_in = 2,
                  .in = {dy, x},
                  .n_out = 1,
                  .attrs = node->attrs};

    if (!lx_gradient__wanted(w))
        return;
    dw.attrs.linear.sets = !lx_gradient__has_sink(w);
    dw.out[0] = dw.attrs.linear.sets ? lx_graph__tensor(g, LX_F32, w->n_dims, w->shape)
                                     : lx_gradient__sink(g, w);
    lx_graph__emit(g, &dw);
    if (dw.attrs.linear.sets)
        lx_gradient__give(g, w, dw.out[0]);
}

static void gradient(lx_graph *g, const lx_node *node)
{
    lx_tensor *x = node->in[0], *w = node->in[1], *bias = node->in[2], *add = node->in[3];
    lx_tensor *dy = lx_gradient__of(node->out[0]);

    /* The weight's gradient first: after it x is free, and dx may take its bytes. */
    give_weight(g, node, w, x, dy);
    if (lx_gradient__wanted(bias))
        lx_graph__emit(g, &(lx_node){
                              .op = LX_OP_bias_db,
                              .n_in = 1,
                              .in = {dy},
                              .n_out = 1,
                              .out = {lx_gradient__sink(g, bias)},
                          });
    lx_gradient__give(g, add, dy);
    if (lx_gradient__wanted(x))
        lx_gradient__give(
            g, x,
            lx_graph__emit(g, &(lx_node){
                                  .op = LX_OP_linear_dx,
                                  .n_in = 3,
                                  .in = {dy, lx_gradient__again(g, w), NULL},
                                  .n_out = 1,
                                  .out = {lx_graph__like(g, x)},
                                  .attrs = node->attrs,
                              }));
}

static bool is_weight(const lx_tensor *w)
{
    return w->n_dims == 2 || (w->n_dims == 4 && w->shape[2] == 1 && w->shape[3] == 1);
}

static lx_tensor *linear(lx_graph *g, lx_tensor *x, lx_tensor *w, lx_tensor *bias,
                         lx_tensor *add, float scale)
{
    int64_t shape[LX_MAX_DIMS];
    lx_tensor *y;

    if (lx_graph__broken(g))
        return g->placeholder;
    if (!is_weight(w) || x->n_dims < 1 || lx_tensor__last(x) != w->shape[1])
        return lx_graph__mismatch(g, "linear", "x", x, "w", w,
                                  "x must be [.., K] and w [N, K] or [N, K, 1, 1]");
    if (bias && (bias->n_dims != 1 || bias->shape[0] != w->shape[0]))
        return lx_graph__mismatch(g, "linear", "w", w, "bias", bias,
                                  "the bias must be [N]");
    for (int i = 0; i < x->n_dims; i++)
        shape[i] = x->shape[i];
    shape[x->n_dims - 1] = w->shape[0];
    y = lx_graph__tensor(g, x->dtype, x->n_dims, shape);
    if (add && !lx_graph__broken(g) &&
        (!lx_tensor__same_shape(add, y) || add->dtype != y->dtype))
        return lx_graph__mismatch(g, "linear", "x w^T", y, "add", add,
                                  "they must be alike");
    return lx_graph__emit(g, &(lx_node){
                                 .op = LX_OP_linear,
                                 .n_in = 4,
                                 .in = {x, w, bias, add},
                                 .n_out = 1,
                                 .out = {y},
                                 .attrs.linear = {scale, g->arithmetic, false},
                                 .gradient = gradient,
                             });
}

lx_tensor *lx_op_linear(lx_graph *g, lx_tensor *x, lx_tensor *w, lx_tensor *bias,
                        float scale)
{
    return linear(g, x, w, bias, NULL, scale);
}

lx_tensor *lx_op_linear_add(lx_graph *g, lx_tensor *x, lx_tensor *w, lx_tensor *add,
                            float scale)
{
    return linear(g, x, w, NULL, add, scale);
}
