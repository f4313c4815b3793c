/*
 * The autoencoder of Stable Diffusion 1.x (KL, factor 8), in diffusers' AutoencoderKL's order.
 * Source: Rombach et al. 2022, arXiv:2112.10752, appendix G.
 */
#include "src/model/builder.h"

enum { N_LEVELS = 4, N_RESNETS = 2 };

static const float eps = 1e-6f;

/* Half the size with the missing row and column on the far sides only, as LDM pads. */
static const int pad_far[4] = {0, 0, 1, 1};

/* One head as wide as the image is deep, over all positions. */
static lx_tensor *attention(lx_builder *b, lx_tensor *x)
{
    lx_graph *g = b->graph;
    const int64_t grid[4] = {x->shape[0], x->shape[1], x->shape[2], x->shape[3]};
    const int64_t tokens[3] = {grid[0], grid[1] * grid[2], grid[3]};
    lx_tensor *h, *q, *k, *v;

    lx_build_push(b, "attentions.0");
    h = lx_build_group_norm(b, "group_norm", x, eps, false);
    h = lx_op_reshape(g, h, 3, tokens);
    q = lx_build_linear(b, "to_q", h);
    k = lx_build_linear(b, "to_k", h);
    v = lx_build_linear(b, "to_v", h);
    h = lx_build_linear(b, "to_out.0", lx_build_attention(b, q, k, v, 1, false));
    return lx_build_pop(b, lx_op_add(g, x, lx_op_reshape(g, h, 4, grid)));
}

static lx_tensor *mid_block(lx_builder *b, lx_tensor *x)
{
    lx_build_push(b, "mid_block");
    x = lx_build_resnet(b, 0, x, NULL, eps);
    x = attention(b, x);
    return lx_build_pop(b, lx_build_resnet(b, 1, x, NULL, eps));
}

lx_tensor *lx_vae_encode_build(lx_builder *b, lx_tensor *x)
{
    lx_build_push(b, "encoder");
    x = lx_build_conv(b, "conv_in", x, 1, lx_pad_same); /* [B, H, W, 128] */
    for (int level = 0; level < N_LEVELS; level++) {
        lx_build_push(b, "down_blocks.%d", level);
        for (int i = 0; i < N_RESNETS; i++)
            x = lx_build_resnet(b, i, x, NULL, eps);
        if (level < N_LEVELS - 1)
            x = lx_build_downsampler(b, x, pad_far);
        lx_build_pop(b, x);
    }
    x = mid_block(b, x);
    x = lx_build_group_norm(b, "conv_norm_out", x, eps, true);
    x = lx_build_pop(b, lx_build_conv(b, "conv_out", x, 1, lx_pad_same));
    return lx_build_conv(b, "quant_conv", x, 1, lx_pad_none); /* [B, h, w, 8] */
}

lx_tensor *lx_vae_decode_build(lx_builder *b, lx_tensor *z)
{
    lx_tensor *x = lx_build_conv(b, "post_quant_conv", z, 1, lx_pad_none);

    x = lx_build_narrowed(b, x); /* of four channels there is nothing to gain before */
    lx_build_push(b, "decoder");
    x = lx_build_conv(b, "conv_in", x, 1, lx_pad_same); /* [B, h, w, 512] */
    x = mid_block(b, x);
    for (int level = 0; level < N_LEVELS; level++) {
        lx_build_push(b, "up_blocks.%d", level);
        for (int i = 0; i < N_RESNETS + 1; i++)
            x = lx_build_resnet(b, i, x, NULL, eps);
        if (level < N_LEVELS - 1)
            x = lx_build_upsampler(b, x, 2 * x->shape[1], 2 * x->shape[2]);
        lx_build_pop(b, x);
    }
    x = lx_build_group_norm(b, "conv_norm_out", x, eps, true);
    return lx_build_pop(
        b, lx_build_conv(b, "conv_out", x, 1, lx_pad_same)); /* [B, H, W, 3] */
}
