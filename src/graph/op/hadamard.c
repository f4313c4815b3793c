/* hadamard: the change of a LoHa; kernels/hadamard.h */
#include "src/graph/node.h"
#include "src/graph/op.h"

/* Of one half, [a, b], beside the other, [c, d]. */
static void give_half(lx_graph *g, const lx_node *node, lx_tensor *a, lx_tensor *b,
                      lx_tensor *c, lx_tensor *d)
{
    if (!lx_gradient__wanted(a) || !lx_gradient__wanted(b))
        return;
    lx_graph__emit(g, &(lx_node){
                          .op = LX_OP_hadamard_dab,
                          .n_in = 5,
                          .in = {lx_gradient__of(node->out[0]), a, b, c, d},
                          .n_out = 2,
                          .out = {lx_gradient__sink(g, a), lx_gradient__sink(g, b)},
                          .attrs = node->attrs,
                      });
}

static void gradient(lx_graph *g, const lx_node *node)
{
    give_half(g, node, node->in[0], node->in[1], node->in[2], node->in[3]);
    give_half(g, node, node->in[2], node->in[3], node->in[0], node->in[1]);
}

static bool is_half(const lx_tensor *a, const lx_tensor *b)
{
    return a->n_dims == 2 && b->n_dims == 2 && a->dtype == LX_F32 && b->dtype == LX_F32 &&
           a->shape[1] == b->shape[0];
}

lx_tensor *lx_op_hadamard(lx_graph *g, lx_tensor *a, lx_tensor *b, lx_tensor *c,
                          lx_tensor *d, float scale)
{
    int64_t shape[2];

    if (lx_graph__broken(g))
        return g->placeholder;
    if (!is_half(a, b))
        return lx_graph__mismatch(g, "hadamard", "a", a, "b", b,
                                  "they must be [N, R] and [R, K], in F32");
    if (!is_half(c, d) || a->shape[0] != c->shape[0] || b->shape[1] != d->shape[1])
        return lx_graph__mismatch(g, "hadamard", "c", c, "d", d,
                                  "their product must be like that of a and b");
    shape[0] = a->shape[0];
    shape[1] = b->shape[1];
    return lx_graph__emit(g, &(lx_node){
                                 .op = LX_OP_hadamard,
                                 .n_in = 4,
                                 .in = {a, b, c, d},
                                 .n_out = 1,
                                 .out = {lx_graph__tensor(g, LX_F32, 2, shape)},
                                 .attrs.linear = {scale, g->arithmetic, false},
                                 .gradient = gradient,
                             });
}
