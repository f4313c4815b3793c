/*
 * The UNet of Stable Diffusion 1.x.
 * Source: Rombach et al. 2022, arXiv:2112.10752, in diffusers' UNet2DConditionModel's order.
 */
#include "src/model/builder.h"

enum { N_LEVELS = 4, N_RESNETS = 2, N_SKIPS = 12 };

/* The published weights were trained with two values; PyTorch's default everywhere but here. */
static const float eps = 1e-5f, transformer_eps = 1e-6f;

/* What the way down leaves for the way up, last in first out. */
typedef struct skip_stack {
    lx_tensor *items[N_SKIPS];
    int n;
} skip_stack;

static void push_skip(skip_stack *skips, lx_tensor *x)
{
    lx_assert(skips->n < N_SKIPS);
    skips->items[skips->n++] = x;
}

/* t [B] -> [B, 4C], with the SiLU that every resnet would apply to it. */
static lx_tensor *time_embedding(lx_builder *b, lx_tensor *t)
{
    lx_graph *g = b->graph;
    lx_tensor *x = lx_op_timestep_embedding(g, t, b->config->unet_channels[0]);

    lx_build_trace(b, "time_proj", x);
    x = lx_build_narrowed(b, x);
    lx_build_push(b, "time_embedding");
    x = lx_op_silu(g, lx_build_linear(b, "linear_1", x));
    x = lx_build_pop(b, lx_build_linear(b, "linear_2", x));
    return lx_op_silu(g, x);
}

/* Queries from x [B, T, C], keys and values from context [B, S, D]. */
static lx_tensor *attention(lx_builder *b, const char *name, lx_tensor *x, lx_tensor *context)
{
    lx_tensor *q, *k, *v;

    lx_build_push(b, "%s", name);
    q = lx_build_linear(b, "to_q", x);
    k = lx_build_linear(b, "to_k", context);
    v = lx_build_linear(b, "to_v", context);
    x = lx_build_attention(b, q, k, v, b->config->unet_heads, false);
    return lx_build_pop(b, lx_build_linear(b, "to_out.0", x));
}

static lx_tensor *feed_forward(lx_builder *b, lx_tensor *x)
{
    lx_build_push(b, "ff");
    x = lx_op_geglu(b->graph, lx_build_linear(b, "net.0.proj", x)); /* [B, T, 4C] */
    lx_build_trace(b, "net.0", x);
    return lx_build_pop(b, lx_build_linear(b, "net.2", x));
}

static lx_tensor *transformer_block(lx_builder *b, lx_tensor *x, lx_tensor *context)
{
    lx_graph *g = b->graph;
    lx_tensor *h;

    lx_build_push(b, "transformer_blocks.0");
    h = lx_build_layer_norm(b, "norm1", x);
    x = lx_op_add(g, x, attention(b, "attn1", h, h));
    h = lx_build_layer_norm(b, "norm2", x);
    x = lx_op_add(g, x, attention(b, "attn2", h, context));
    h = lx_build_layer_norm(b, "norm3", x);
    return lx_build_pop(b, lx_op_add(g, x, feed_forward(b, h)));
}

static lx_tensor *transformer(lx_builder *b, int i, lx_tensor *x, lx_tensor *context)
{
    lx_graph *g = b->graph;
    const int64_t grid[4] = {x->shape[0], x->shape[1], x->shape[2], x->shape[3]};
    const int64_t tokens[3] = {grid[0], grid[1] * grid[2], grid[3]};
    lx_tensor *h;

    lx_build_push(b, "attentions.%d", i);
    h = lx_build_group_norm(b, "norm", x, transformer_eps, false);
    h = lx_build_linear(b, "proj_in", h);
    h = transformer_block(b, lx_op_reshape(g, h, 3, tokens), context);
    h = lx_build_linear(b, "proj_out", lx_op_reshape(g, h, 4, grid));
    return lx_build_pop(b, lx_op_add(g, x, h));
}

static lx_tensor *down_block(lx_builder *b, int level, lx_tensor *x, lx_tensor *time,
                             lx_tensor *context, skip_stack *skips)
{
    lx_build_push(b, "down_blocks.%d", level);
    for (int i = 0; i < N_RESNETS; i++) {
        x = lx_build_resnet(b, i, x, time, eps);
        if (level < N_LEVELS - 1)
            x = transformer(b, i, x, context);
        push_skip(skips, x);
    }
    if (level < N_LEVELS - 1) {
        x = lx_build_downsampler(b, x, lx_pad_same);
        push_skip(skips, x);
    }
    return lx_build_pop(b, x);
}

static lx_tensor *mid_block(lx_builder *b, lx_tensor *x, lx_tensor *time, lx_tensor *context)
{
    lx_build_push(b, "mid_block");
    x = lx_build_resnet(b, 0, x, time, eps);
    x = transformer(b, 0, x, context);
    return lx_build_pop(b, lx_build_resnet(b, 1, x, time, eps));
}

static lx_tensor *up_block(lx_builder *b, int block, lx_tensor *x, lx_tensor *time,
                           lx_tensor *context, skip_stack *skips)
{
    lx_build_push(b, "up_blocks.%d", block);
    for (int i = 0; i < N_RESNETS + 1; i++) {
        x = lx_op_concat(b->graph, x, skips->items[--skips->n]);
        x = lx_build_resnet(b, i, x, time, eps);
        if (block > 0)
            x = transformer(b, i, x, context);
    }
    if (block < N_LEVELS - 1) {
        /* To the size on the way down, which is not twice ours where that was odd. */
        const lx_tensor *next = skips->items[skips->n - 1];

        x = lx_build_upsampler(b, x, next->shape[1], next->shape[2]);
    }
    return lx_build_pop(b, x);
}

lx_tensor *lx_unet_build(lx_builder *b, lx_tensor *x, lx_tensor *t, lx_tensor *context)
{
    skip_stack skips = {.n = 0};
    lx_tensor *time;

    x = lx_build_narrowed(b, x);
    context = lx_build_narrowed(b, context);
    time = time_embedding(b, t);
    x = lx_build_conv(b, "conv_in", x, 1, lx_pad_same); /* [B, h, w, 320] */
    push_skip(&skips, x);
    for (int level = 0; level < N_LEVELS; level++)
        x = down_block(b, level, x, time, context, &skips);
    x = mid_block(b, x, time, context); /* [B, h/8, w/8, 1280] */
    for (int block = 0; block < N_LEVELS; block++)
        x = up_block(b, block, x, time, context, &skips);
    x = lx_build_group_norm(b, "conv_norm_out", x, eps, true);
    return lx_build_conv(b, "conv_out", x, 1, lx_pad_same);
}
