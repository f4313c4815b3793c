/* add: sums, b repeated over the dimensions it lacks; kernels/add.h */
#include "src/graph/node.h"
#include "src/graph/op.h"

static lx_tensor *sum_rows(lx_graph *g, lx_tensor *dy) /* [B, .., C] -> [B, C] */
{
    int64_t shape[2] = {dy->shape[0], lx_tensor__last(dy)};
    return lx_graph__emit(g, &(lx_node){
                                 .op = LX_OP_sum_rows,
                                 .n_in = 1,
                                 .in = {dy},
                                 .n_out = 1,
                                 .out = {lx_graph__tensor(g, dy->dtype, 2, shape)},
                             });
}

/* b is [C]: a parameter's sum goes straight to its buffer. */
static void give_vector(lx_graph *g, lx_tensor *b, lx_tensor *dy)
{
    int64_t C = b->shape[0], rows[3] = {1, lx_tensor__count(dy) / C, C};

    if (lx_full(b)->kind == LX_TENSOR_PARAM)
        lx_graph__emit(g, &(lx_node){
                              .op = LX_OP_bias_db,
                              .n_in = 1,
                              .in = {dy},
                              .n_out = 1,
                              .out = {lx_gradient__sink(g, b)},
                          });
    else
        lx_gradient__give(
            g, b, lx_op_reshape(g, sum_rows(g, lx_op_reshape(g, dy, 3, rows)), 1, &C));
}

static void gradient(lx_graph *g, const lx_node *node)
{
    lx_tensor *a = node->in[0], *b = node->in[1], *dy = lx_gradient__of(node->out[0]);

    lx_gradient__give(g, a, dy);
    if (!lx_gradient__wanted(b))
        return;
    if (lx_tensor__same_shape(a, b))
        lx_gradient__give(g, b, dy);
    else if (b->n_dims == 1)
        give_vector(g, b, dy);
    else
        lx_gradient__give(g, b, sum_rows(g, dy));
}

static bool fits(const lx_tensor *a, const lx_tensor *b)
{
    if (a->dtype != b->dtype)
        return false;
    if (lx_tensor__same_shape(a, b))
        return true;
    if (a->n_dims < 1 || lx_tensor__last(b) != lx_tensor__last(a))
        return false;
    return b->n_dims == 1 ||
           (b->n_dims == 2 && a->n_dims > 2 && b->shape[0] == a->shape[0]);
}

lx_tensor *lx_op_add(lx_graph *g, lx_tensor *a, lx_tensor *b)
{
    if (lx_graph__broken(g))
        return g->placeholder;
    if (!fits(a, b))
        return lx_graph__mismatch(g, "add", "a", a, "b", b,
                                  "b must be like a, or [B, C] or [C] under [B, .., C]");
    return lx_graph__emit(g, &(lx_node){
                                 .op = LX_OP_add,
                                 .n_in = 2,
                                 .in = {a, b},
                                 .n_out = 1,
                                 .out = {lx_graph__like(g, a)},
                                 .gradient = gradient,
                             });
}
