/* Blocks of both UNet and VAE. */
#include "src/model/builder.h"

const int lx_pad_same[4] = {1, 1, 1, 1};
const int lx_pad_none[4] = {0, 0, 0, 0};

lx_tensor *lx_build_resnet(lx_builder *b, int i, lx_tensor *x, lx_tensor *silu_time, float eps)
{
    lx_graph *g = b->graph;
    lx_tensor *h;

    lx_build_push(b, "resnets.%d", i);
    h = lx_build_group_norm(b, "norm1", x, eps, true);
    h = lx_build_conv(b, "conv1", h, 1, lx_pad_same); /* [B, h, w, C'] */
    if (silu_time)
        h = lx_op_add(g, h, lx_build_linear(b, "time_emb_proj", silu_time));
    h = lx_build_group_norm(b, "norm2", h, eps, true);
    h = lx_build_conv(b, "conv2", h, 1, lx_pad_same);
    if (x->shape[3] != h->shape[3] || lx_build_has(b, "conv_shortcut.weight"))
        x = lx_build_conv(b, "conv_shortcut", x, 1, lx_pad_none);
    return lx_build_pop(b, lx_op_add(g, x, h));
}

lx_tensor *lx_build_upsampler(lx_builder *b, lx_tensor *x, int64_t h, int64_t w)
{
    lx_build_push(b, "upsamplers.0");
    x = lx_op_upsample_nearest(b->graph, x, h, w);
    return lx_build_pop(b, lx_build_conv(b, "conv", x, 1, lx_pad_same));
}

lx_tensor *lx_build_downsampler(lx_builder *b, lx_tensor *x, const int pad[4])
{
    lx_build_push(b, "downsamplers.0");
    return lx_build_pop(b, lx_build_conv(b, "conv", x, 2, pad));
}
