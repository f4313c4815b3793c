/* concat, slice: parts of one dimension; kernels/concat.h, slice.h */
#include "src/graph/node.h"
#include "src/graph/op.h"

static void concat_gradient(lx_graph *g, const lx_node *node)
{
    lx_tensor *a = node->in[0], *b = node->in[1], *dy = lx_gradient__of(node->out[0]);
    int dim = node->attrs.slice.dim;
    int64_t n = a->shape[dim];

    if (lx_gradient__wanted(a))
        lx_gradient__give(g, a, lx_op_slice(g, dy, dim, 0, n));
    if (lx_gradient__wanted(b))
        lx_gradient__give(g, b, lx_op_slice(g, dy, dim, n, dy->shape[dim]));
}

lx_tensor *lx_op_concat_dim(lx_graph *g, lx_tensor *a, lx_tensor *b, int dim)
{
    int64_t shape[LX_MAX_DIMS];
    bool fits =
        a->n_dims == b->n_dims && a->dtype == b->dtype && dim >= 0 && dim < a->n_dims;

    if (lx_graph__broken(g))
        return g->placeholder;
    for (int i = 0; i < a->n_dims; i++) {
        fits = fits && (i == dim || a->shape[i] == b->shape[i]);
        shape[i] = a->shape[i];
    }
    if (!fits)
        return lx_graph__mismatch(g, "concat", "a", a, "b", b,
                                  "they must be alike but for dimension %d", dim);
    shape[dim] += b->shape[dim];
    return lx_graph__emit(g, &(lx_node){
                                 .op = LX_OP_concat,
                                 .n_in = 2,
                                 .in = {a, b},
                                 .n_out = 1,
                                 .out = {lx_graph__tensor(g, a->dtype, a->n_dims, shape)},
                                 .attrs.slice = {dim, 0, a->shape[dim]},
                                 .gradient = concat_gradient,
                             });
}

lx_tensor *lx_op_concat(lx_graph *g, lx_tensor *a, lx_tensor *b)
{
    return lx_op_concat_dim(g, a, b, a->n_dims - 1);
}

static void slice_gradient(lx_graph *g, const lx_node *node)
{
    lx_tensor *x = node->in[0];

    lx_gradient__give(g, x,
                      lx_graph__emit(g, &(lx_node){
                                            .op = LX_OP_slice_dx,
                                            .n_in = 1,
                                            .in = {lx_gradient__of(node->out[0])},
                                            .n_out = 1,
                                            .out = {lx_graph__like(g, x)},
                                            .attrs = node->attrs,
                                        }));
}

lx_tensor *lx_op_slice(lx_graph *g, lx_tensor *x, int dim, int64_t begin, int64_t end)
{
    int64_t shape[LX_MAX_DIMS];

    if (lx_graph__broken(g))
        return g->placeholder;
    if (dim < 0 || dim >= x->n_dims || begin < 0 || begin >= end || end > x->shape[dim])
        return lx_graph__mismatch(g, "slice", "x", x, NULL, NULL,
                                  "%lld to %lld of dimension %d is not in it",
                                  (long long)begin, (long long)end, dim);
    for (int i = 0; i < x->n_dims; i++)
        shape[i] = x->shape[i];
    shape[dim] = end - begin;
    return lx_graph__emit(g, &(lx_node){
                                 .op = LX_OP_slice,
                                 .n_in = 1,
                                 .in = {x},
                                 .n_out = 1,
                                 .out = {lx_graph__tensor(g, x->dtype, x->n_dims, shape)},
                                 .attrs.slice = {dim, begin, end},
                                 .gradient = slice_gradient,
                             });
}
