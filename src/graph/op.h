/*
 * graph/op - builders, one per op
 *
 * Each checks shapes, adds the node and returns its output; the formula and the shapes
 * stand in kernels/<op>.h and kernels/ops.def. Optional operands may be NULL. A frozen
 * weight used by several calls is one tensor.
 */
#ifndef LX_GRAPH_OP_H
#define LX_GRAPH_OP_H

#include "src/graph/graph.h"

/* pad: top, left, bottom, right. w [Co, Ci, kh, kw]. */
lx_tensor *lx_op_conv2d(lx_graph *g, lx_tensor *x, lx_tensor *w, lx_tensor *bias,
                        int stride, const int pad[4]);
/* y = scale * x w^T + bias; w [N, K] or [N, K, 1, 1]. */
lx_tensor *lx_op_linear(lx_graph *g, lx_tensor *x, lx_tensor *w, lx_tensor *bias,
                        float scale);
/* y = add + scale * x w^T. */
lx_tensor *lx_op_linear_add(lx_graph *g, lx_tensor *x, lx_tensor *w, lx_tensor *add,
                            float scale);
/* scale (a b) o (c d), elementwise: a [N, R], b [R, K], c [N, S], d [S, K] -> [N, K]; kernels/hadamard.h. */
lx_tensor *lx_op_hadamard(lx_graph *g, lx_tensor *a, lx_tensor *b, lx_tensor *c,
                          lx_tensor *d, float scale);
/* q [B, T, N*d], k and v [B, S, N*d] -> [B, T, N*d]. */
lx_tensor *lx_op_attention(lx_graph *g, lx_tensor *q, lx_tensor *k, lx_tensor *v,
                           int n_heads, bool is_causal);
lx_tensor *lx_op_group_norm(lx_graph *g, lx_tensor *x, lx_tensor *w, lx_tensor *b,
                            int n_groups, float eps, bool has_silu);
lx_tensor *lx_op_layer_norm(lx_graph *g, lx_tensor *x, lx_tensor *w, lx_tensor *b,
                            float eps);
lx_tensor *lx_op_silu(lx_graph *g, lx_tensor *x);
lx_tensor *lx_op_gelu(lx_graph *g, lx_tensor *x);
lx_tensor *lx_op_quick_gelu(lx_graph *g, lx_tensor *x);
lx_tensor *lx_op_geglu(lx_graph *g, lx_tensor *x);
lx_tensor *lx_op_softmax(lx_graph *g, lx_tensor *x);
/* Same shape, or b [B, C] or [C] broadcast over the middle dimensions of a. */
lx_tensor *lx_op_add(lx_graph *g, lx_tensor *a, lx_tensor *b);
lx_tensor *lx_op_scale(lx_graph *g, lx_tensor *x, float factor);
/*
 * Parts of x [B, .., C] left out at random; moment i64 [2] is seed and micro-step, `stream` names
 * whose draws they are. See kernels/dropout.h.
 */
lx_tensor *lx_op_dropout(lx_graph *g, lx_tensor *x, lx_tensor *moment, float neuron,
                         float rank, float module, uint64_t stream);
/* a[sample] * x + b[sample] * y; a, b [B]. b and y may both be NULL. */
lx_tensor *lx_op_mul_add(lx_graph *g, lx_tensor *a, lx_tensor *x, lx_tensor *b,
                         lx_tensor *y);
lx_tensor *lx_op_concat(lx_graph *g, lx_tensor *a, lx_tensor *b); /* last dimension */
lx_tensor *lx_op_concat_dim(lx_graph *g, lx_tensor *a, lx_tensor *b, int dim);
lx_tensor *lx_op_slice(lx_graph *g, lx_tensor *x, int dim, int64_t begin, int64_t end);
lx_tensor *lx_op_upsample_nearest(lx_graph *g, lx_tensor *x, int64_t h, int64_t w);
lx_tensor *lx_op_embedding(lx_graph *g, lx_tensor *ids, lx_tensor *table);
lx_tensor *lx_op_timestep_embedding(lx_graph *g, lx_tensor *t, int64_t dim);
lx_tensor *lx_op_permute(lx_graph *g, lx_tensor *x, const int *dims);
/* A view: the same bytes. */
lx_tensor *lx_op_reshape(lx_graph *g, lx_tensor *x, int n_dims, const int64_t *shape);
lx_tensor *lx_op_cast(lx_graph *g, lx_tensor *x, lx_dtype dtype);
/*
 * pred, target of one shape; timesteps i64 [B] and weights f32 [B]; scalar: see
 * kernels/loss.h.
 */
lx_tensor *lx_op_loss(lx_graph *g, lx_tensor *pred, lx_tensor *target,
                      lx_tensor *timesteps, lx_tensor *weights, lx_loss_type type,
                      const float *huber_c, const float *weight_of_timestep);

/* The same with mask [B, h, w] over the positions of pred [B, h, w, C]; NULL = none. */
lx_tensor *lx_op_masked_loss(lx_graph *g, lx_tensor *pred, lx_tensor *target,
                             lx_tensor *timesteps, lx_tensor *weights, lx_tensor *mask,
                             lx_loss_type type, const float *huber_c,
                             const float *weight_of_timestep);

#endif
