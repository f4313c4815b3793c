/* embedding, timestep_embedding: kernels/embedding.h, timestep_embedding.h */
#include "src/graph/node.h"
#include "src/graph/op.h"

static void no_gradient(lx_graph *g, const lx_node *node)
{
    lx_graph_fail(g, LX_EUNSUPPORTED, "embedding: its table cannot be trained");
}

lx_tensor *lx_op_embedding(lx_graph *g, lx_tensor *ids, lx_tensor *table)
{
    int64_t shape[LX_MAX_DIMS];

    if (lx_graph__broken(g))
        return g->placeholder;
    if (ids->dtype != LX_I64 || table->n_dims != 2 || ids->n_dims >= LX_MAX_DIMS)
        return lx_graph__mismatch(g, "embedding", "ids", ids, "table", table,
                                  "ids must be I64 [..] and the table [V, D]");
    for (int i = 0; i < ids->n_dims; i++)
        shape[i] = ids->shape[i];
    shape[ids->n_dims] = table->shape[1];
    /*
     * A table of halves still gives f32: it is the storage of the weight that is narrow.
     */
    return lx_graph__emit(
        g, &(lx_node){
               .op = LX_OP_embedding,
               .n_in = 2,
               .in = {ids, table},
               .n_out = 1,
               .out = {lx_graph__tensor(g, LX_F32, ids->n_dims + 1, shape)},
               .gradient = no_gradient,
           });
}

lx_tensor *lx_op_timestep_embedding(lx_graph *g, lx_tensor *t, int64_t dim)
{
    if (lx_graph__broken(g))
        return g->placeholder;
    if ((t->dtype != LX_I64 && t->dtype != LX_F32) || t->n_dims != 1)
        return lx_graph__mismatch(g, "timestep_embedding", "t", t, NULL, NULL,
                                  "timesteps must be I64 or F32 [B]");
    return lx_graph__emit(
        g, &(lx_node){
               .op = LX_OP_timestep_embedding,
               .n_in = 1,
               .in = {t},
               .n_out = 1,
               .out = {lx_graph__tensor(g, LX_F32, 2, (int64_t[]){t->shape[0], dim})},
           });
}
