/* group_norm, layer_norm: kernels/group_norm.h, layer_norm.h, norm_dwb.h */
#include "src/graph/node.h"
#include "src/graph/op.h"

/* dw and db, where they are trained; n_groups 0 is a layer norm. */
static void give_weights(lx_graph *g, const lx_node *node, lx_tensor *dy)
{
    lx_tensor *dw = lx_gradient__sink(g, node->in[1]),
              *db = lx_gradient__sink(g, node->in[2]);

    if (dw || db)
        lx_graph__emit(g, &(lx_node){
                              .op = LX_OP_norm_dwb,
                              .n_in = 3,
                              .in = {dy, node->in[0], node->out[1]},
                              .n_out = 2,
                              .out = {dw, db},
                              .attrs = node->attrs,
                          });
}

static bool fits(lx_graph *g, const char *op, const lx_tensor *x, const lx_tensor *w,
                 const lx_tensor *b)
{
    if (w->n_dims != 1 || x->n_dims < 2 || w->shape[0] != lx_tensor__last(x)) {
        lx_graph__mismatch(g, op, "x", x, "w", w, "x must be [.., C] and w [C]");
        return false;
    }
    if (!lx_tensor__same_shape(w, b)) {
        lx_graph__mismatch(g, op, "w", w, "b", b, "they must be alike");
        return false;
    }
    return true;
}

static void group_gradient(lx_graph *g, const lx_node *node)
{
    lx_tensor *x = node->in[0], *dy = lx_gradient__of(node->out[0]);

    give_weights(g, node, dy);
    if (lx_gradient__wanted(x))
        lx_gradient__give(g, x,
                          lx_graph__emit(g, &(lx_node){
                                                .op = LX_OP_group_norm_dx,
                                                .n_in = 6,
                                                .in = {dy, x, node->in[1], node->in[2],
                                                       node->out[1], NULL},
                                                .n_out = 1,
                                                .out = {lx_graph__like(g, x)},
                                                .attrs = node->attrs,
                                            }));
}

lx_tensor *lx_op_group_norm(lx_graph *g, lx_tensor *x, lx_tensor *w, lx_tensor *b,
                            int n_groups, float eps, bool has_silu)
{
    int64_t stats[3];

    if (lx_graph__broken(g) || !fits(g, "group_norm", x, w, b))
        return g->placeholder;
    if (n_groups < 1 || w->shape[0] % n_groups)
        return lx_graph__mismatch(g, "group_norm", "x", x, NULL, NULL,
                                  "its channels are no multiple of %d groups", n_groups);
    /* The fused reverse pass keeps no normalised values that dw could be summed from. */
    if (has_silu && (w->needs_gradient || b->needs_gradient))
        return lx_op_silu(g, lx_op_group_norm(g, x, w, b, n_groups, eps, false));
    stats[0] = x->shape[0];
    stats[1] = n_groups;
    stats[2] = 2;
    return lx_graph__emit(
        g, &(lx_node){
               .op = LX_OP_group_norm,
               .n_in = 3,
               .in = {x, w, b},
               .n_out = 2,
               .out = {lx_graph__like(g, x), lx_graph__tensor(g, LX_F32, 3, stats)},
               .attrs.norm = {n_groups, eps, has_silu},
               .gradient = group_gradient,
           });
}

static void layer_gradient(lx_graph *g, const lx_node *node)
{
    lx_tensor *x = node->in[0], *dy = lx_gradient__of(node->out[0]);

    give_weights(g, node, dy);
    if (lx_gradient__wanted(x))
        lx_gradient__give(
            g, x,
            lx_graph__emit(g, &(lx_node){
                                  .op = LX_OP_layer_norm_dx,
                                  .n_in = 5,
                                  .in = {dy, x, node->in[1], node->out[1], NULL},
                                  .n_out = 1,
                                  .out = {lx_graph__like(g, x)},
                                  .attrs = node->attrs,
                              }));
}

lx_tensor *lx_op_layer_norm(lx_graph *g, lx_tensor *x, lx_tensor *w, lx_tensor *b,
                            float eps)
{
    int64_t stats[2];

    if (lx_graph__broken(g) || !fits(g, "layer_norm", x, w, b))
        return g->placeholder;
    stats[0] = lx_tensor__count(x) / w->shape[0];
    stats[1] = 2;
    return lx_graph__emit(
        g, &(lx_node){
               .op = LX_OP_layer_norm,
               .n_in = 3,
               .in = {x, w, b},
               .n_out = 2,
               .out = {lx_graph__like(g, x), lx_graph__tensor(g, LX_F32, 2, stats)},
               .attrs.norm = {0, eps, false},
               .gradient = layer_gradient,
           });
}
