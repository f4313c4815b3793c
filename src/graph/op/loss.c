/* loss: the scalar a step minimises, and its gradient at once; kernels/loss.h */
#include <string.h>

#include "src/graph/node.h"
#include "src/graph/op.h"

/*
 * lx_graph_backward starts from the node itself; reached otherwise, someone built on a
 * loss.
 */
static void gradient(lx_graph *g, const lx_node *node)
{
    lx_graph_fail(g, LX_EUNSUPPORTED,
                  "loss: the reverse pass starts here, and only here");
}

static bool is_per_sample(const lx_tensor *t, lx_dtype dtype, const lx_tensor *pred)
{
    return !t || (t->n_dims == 1 && t->dtype == dtype && t->shape[0] == pred->shape[0]);
}

lx_tensor *lx_op_loss(lx_graph *g, lx_tensor *pred, lx_tensor *target,
                      lx_tensor *timesteps, lx_tensor *weights, lx_loss_type type,
                      const float *huber_c, const float *weight_of_timestep)
{
    return lx_op_masked_loss(g, pred, target, timesteps, weights, NULL, type, huber_c,
                             weight_of_timestep);
}

static bool is_mask(const lx_tensor *mask, const lx_tensor *pred)
{
    return !mask || (pred->n_dims == 4 && mask->n_dims == 3 && mask->dtype == LX_F32 &&
                     memcmp(mask->shape, pred->shape, 3 * sizeof *mask->shape) == 0);
}

lx_tensor *lx_op_masked_loss(lx_graph *g, lx_tensor *pred, lx_tensor *target,
                             lx_tensor *timesteps, lx_tensor *weights, lx_tensor *mask,
                             lx_loss_type type, const float *huber_c,
                             const float *weight_of_timestep)
{
    if (lx_graph__broken(g))
        return g->placeholder;
    if (pred->n_dims < 1 || !lx_tensor__same_shape(pred, target))
        return lx_graph__mismatch(g, "loss", "pred", pred, "target", target,
                                  "they must be alike");
    if (!is_per_sample(timesteps, LX_I64, pred))
        return lx_graph__mismatch(g, "loss", "pred", pred, "timesteps", timesteps,
                                  "timesteps must be I64 [B]");
    if (!is_per_sample(weights, LX_F32, pred))
        return lx_graph__mismatch(g, "loss", "pred", pred, "weights", weights,
                                  "weights must be F32 [B]");
    if (!is_mask(mask, pred))
        return lx_graph__mismatch(
            g, "loss", "pred", pred, "mask", mask,
            "the mask must be F32 [B, h, w] of a pred [B, h, w, C]");
    if (!huber_c && (type == LX_LOSS_HUBER || type == LX_LOSS_SMOOTH_L1))
        return lx_graph__mismatch(g, "loss", "pred", pred, NULL, NULL,
                                  "this type needs the huber_c of each timestep");
    if (!timesteps && (huber_c || weight_of_timestep))
        return lx_graph__mismatch(g, "loss", "pred", pred, NULL, NULL,
                                  "tables by timestep need the timesteps");
    return lx_graph__emit(g, &(lx_node){
                                 .op = LX_OP_loss,
                                 .n_in = 5,
                                 .in = {pred, target, timesteps, weights, mask},
                                 .n_out = 2,
                                 .out = {lx_graph__tensor(g, LX_F32, 1, (int64_t[]){1}),
                                         lx_graph__like(g, pred)},
                                 .attrs.loss = {type, huber_c, weight_of_timestep},
                                 .gradient = gradient,
                             });
}
