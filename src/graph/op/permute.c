/* permute, reshape, cast: the same numbers in another order, shape or type */
#include "src/graph/node.h"
#include "src/graph/op.h"

static void permute_gradient(lx_graph *g, const lx_node *node)
{
    int inverse[LX_MAX_DIMS];

    for (int i = 0; i < node->in[0]->n_dims; i++)
        inverse[node->attrs.permute.dims[i]] = i;
    lx_gradient__give(g, node->in[0],
                      lx_op_permute(g, lx_gradient__of(node->out[0]), inverse));
}

lx_tensor *lx_op_permute(lx_graph *g, lx_tensor *x, const int *dims)
{
    lx_node node = {
        .op = LX_OP_permute, .n_in = 1, .n_out = 1, .gradient = permute_gradient};
    int64_t shape[LX_MAX_DIMS];
    unsigned seen = 0;

    if (lx_graph__broken(g))
        return g->placeholder;
    for (int i = 0; i < x->n_dims; i++) {
        if (dims[i] < 0 || dims[i] >= x->n_dims || (seen & 1u << dims[i]))
            return lx_graph__mismatch(g, "permute", "x", x, NULL, NULL,
                                      "dimension %d of the result is dimension %d of x",
                                      i, dims[i]);
        seen |= 1u << dims[i];
        shape[i] = x->shape[dims[i]];
        node.attrs.permute.dims[i] = dims[i];
    }
    node.in[0] = x;
    node.out[0] = lx_graph__tensor(g, x->dtype, x->n_dims, shape);
    return lx_graph__emit(g, &node);
}

static void reshape_gradient(lx_graph *g, const lx_node *node)
{
    lx_tensor *x = node->in[0];
    lx_gradient__give(
        g, x, lx_op_reshape(g, lx_gradient__of(node->out[0]), x->n_dims, x->shape));
}

lx_tensor *lx_op_reshape(lx_graph *g, lx_tensor *x, int n_dims, const int64_t *shape)
{
    lx_tensor *y;

    if (lx_graph__broken(g))
        return g->placeholder;
    y = lx_graph__tensor(g, x->dtype, n_dims, shape);
    if (!lx_graph__broken(g) && lx_tensor__count(x) != lx_tensor__count(y))
        return lx_graph__mismatch(g, "reshape", "x", x, "the result", y,
                                  "they must have as many elements");
    return lx_graph__emit(g, &(lx_node){
                                 .op = LX_OP_VIEW,
                                 .n_in = 1,
                                 .in = {x},
                                 .n_out = 1,
                                 .out = {y},
                                 .gradient = reshape_gradient,
                             });
}

static void cast_gradient(lx_graph *g, const lx_node *node)
{
    lx_gradient__give(g, node->in[0],
                      lx_op_cast(g, lx_gradient__of(node->out[0]), node->in[0]->dtype));
}

lx_tensor *lx_op_cast(lx_graph *g, lx_tensor *x, lx_dtype dtype)
{
    if (lx_graph__broken(g) || x->dtype == dtype)
        return x;
    return lx_graph__emit(g, &(lx_node){
                                 .op = LX_OP_cast,
                                 .n_in = 1,
                                 .in = {x},
                                 .n_out = 1,
                                 .out = {lx_graph__tensor(g, dtype, x->n_dims, x->shape)},
                                 .gradient = cast_gradient,
                             });
}
