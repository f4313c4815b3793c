/*
 * The text encoder of Stable Diffusion 1.x: the text half of CLIP ViT-L/14.
 * Source: Radford et al. 2021, arXiv:2103.00020; layer names of transformers' CLIPTextModel.
 */
#include "src/model/builder.h"

/* Token plus position. ids [R, 77] -> [R, 77, D]. */
static lx_tensor *embeddings(lx_builder *b, lx_tensor *ids)
{
    lx_graph *g = b->graph;
    const int64_t rows = ids->shape[0], n_tokens = ids->shape[1];
    const int64_t width = b->config->text_width;
    const int64_t flat[2] = {rows, n_tokens * width}, one_row[1] = {n_tokens * width};
    const int64_t shape[3] = {rows, n_tokens, width};
    lx_tensor *x, *positions;

    if (n_tokens != b->config->text_positions)
        lx_graph_fail(g, LX_EMISMATCH, "%lld tokens a chunk, the text encoder has %d positions",
                      (long long)n_tokens, b->config->text_positions);
    lx_build_push(b, "embeddings");
    x = lx_op_embedding(g, ids, lx_build_table(b, "token_embedding.weight"));
    positions = lx_build_weight(b, "position_embedding.weight"); /* [77, D] */
    /* The same for every row: a row is one long vector and the positions its bias. */
    x = lx_op_add(g, lx_op_reshape(g, x, 2, flat), lx_op_reshape(g, positions, 1, one_row));
    return lx_build_pop(b, lx_build_narrowed(b, lx_op_reshape(g, x, 3, shape)));
}

static lx_tensor *attention(lx_builder *b, lx_tensor *x)
{
    lx_tensor *q, *k, *v;

    lx_build_push(b, "self_attn");
    q = lx_build_linear(b, "q_proj", x);
    k = lx_build_linear(b, "k_proj", x);
    v = lx_build_linear(b, "v_proj", x);
    x = lx_build_attention(b, q, k, v, b->config->text_heads, true);
    return lx_build_pop(b, lx_build_linear(b, "out_proj", x));
}

static lx_tensor *mlp(lx_builder *b, lx_tensor *x)
{
    lx_build_push(b, "mlp");
    x = lx_op_quick_gelu(b->graph, lx_build_linear(b, "fc1", x));
    return lx_build_pop(b, lx_build_linear(b, "fc2", x));
}

static lx_tensor *layer(lx_builder *b, int i, lx_tensor *x)
{
    lx_graph *g = b->graph;

    lx_build_push(b, "encoder.layers.%d", i);
    x = lx_op_add(g, x, attention(b, lx_build_layer_norm(b, "layer_norm1", x)));
    x = lx_op_add(g, x, mlp(b, lx_build_layer_norm(b, "layer_norm2", x)));
    return lx_build_pop(b, x);
}

/* [B, n*77, D] -> [B, n*75 + 2, D]: the first BOS, the 75 of each chunk, the last EOS. */
static lx_tensor *join_chunks(lx_graph *g, lx_tensor *x, int64_t n)
{
    const int64_t batch = x->shape[0], per_chunk = x->shape[1] / n, width = x->shape[2];
    const int64_t chunks[4] = {batch, n, per_chunk, width};
    const int64_t joined[3] = {batch, n * (per_chunk - 2), width};
    lx_tensor *bos = lx_op_slice(g, x, 1, 0, 1);
    lx_tensor *eos = lx_op_slice(g, x, 1, n * per_chunk - 1, n * per_chunk);
    lx_tensor *inner = lx_op_slice(g, lx_op_reshape(g, x, 4, chunks), 2, 1, per_chunk - 1);

    inner = lx_op_reshape(g, inner, 3, joined);
    return lx_op_concat_dim(g, lx_op_concat_dim(g, bos, inner, 1), eos, 1);
}

/* x [B, T, D] times weights [B, T]. */
static lx_tensor *weigh_tokens(lx_graph *g, lx_tensor *x, lx_tensor *weights)
{
    const int64_t shape[3] = {x->shape[0], x->shape[1], x->shape[2]};
    const int64_t rows[2] = {shape[0] * shape[1], shape[2]};

    weights = lx_op_reshape(g, weights, 1, rows);
    x = lx_op_mul_add(g, weights, lx_op_reshape(g, x, 2, rows), NULL, NULL);
    return lx_op_reshape(g, x, 3, shape);
}

lx_tensor *lx_clip_text_build(lx_builder *b, lx_tensor *ids, int clip_skip,
                              lx_tensor *token_weights)
{
    lx_graph *g = b->graph;
    const int64_t batch = ids->shape[0], n_chunks = ids->shape[1], n_tokens = ids->shape[2];
    const int64_t rows[2] = {batch * n_chunks, n_tokens};
    const int64_t whole[3] = {batch, n_chunks * n_tokens, b->config->text_width};
    int n_layers = b->config->text_layers - (clip_skip - 1);
    lx_tensor *x;

    if (clip_skip < 1 || n_layers < 0) {
        lx_graph_fail(g, LX_EUSAGE, "--clip_skip %d: the text encoder has %d layers", clip_skip,
                      b->config->text_layers);
        n_layers = 0;
    }
    lx_build_push(b, "text_model");
    x = embeddings(b, lx_op_reshape(g, ids, 2, rows));
    for (int i = 0; i < n_layers; i++)
        x = layer(b, i, x);
    x = lx_build_layer_norm(b, "final_layer_norm", x);
    x = lx_op_reshape(g, x, 3, whole);
    if (n_chunks > 1)
        x = join_chunks(g, x, n_chunks);
    if (token_weights)
        x = weigh_tokens(g, x, token_weights);
    return lx_build_pop(b, x);
}
