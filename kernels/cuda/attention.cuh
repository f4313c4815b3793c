/*
 * kernels/cuda/attention - what the two attentions share
 *
 * attention.cu is in f32 for every width of a head, and exact enough for the CPU's limits;
 * attention_mma.cu multiplies 16-bit tiles on tensor cores, for the widths that SD has.
 */
#ifndef LX_KERNELS_CUDA_ATTENTION_CUH
#define LX_KERNELS_CUDA_ATTENTION_CUH

#include "kernels/cuda/dialect.cuh"

/* Of one call. Rows of q, k, v and o are `row` = heads * d elements. */
struct attention_shape {
    int B, T, S, heads, d, row;
    float scale;
    bool is_causal;
};

static inline attention_shape attention_shape_of(const lx_call *call)
{
    attention_shape s = {};

    s.B = (int)call->in[0].shape[0];
    s.T = (int)call->in[0].shape[1];
    s.S = (int)call->in[1].shape[1];
    s.row = (int)call->in[0].shape[2];
    s.heads = call->attrs.attention.n_heads;
    s.d = s.row / s.heads;
    s.scale = call->attrs.attention.scale;
    s.is_causal = call->attrs.attention.is_causal;
    return s;
}

/* The element (b, t, head, 0) of a tensor [B, length, heads * d]. */
LX_DEVICE int64_t attention_at(const attention_shape &s, int b, int length, int t,
                               int head)
{
    return ((int64_t)b * length + t) * s.row + head * s.d;
}

/* Keys that query t sees. */
LX_DEVICE int attention_keys(const attention_shape &s, int t)
{
    return s.is_causal ? min(t + 1, s.S) : s.S;
}

/* D [B, heads, T] = do . o per row, in the scratch of attention_bwd. */
void lx_attention_rows(lx_device *dev, const lx_call *call, const attention_shape &s);

/* With tensor cores, where they have this width and type; false = nothing was done. */
bool lx_attention_mma(lx_device *dev, const lx_call *call, const attention_shape &s);
bool lx_attention_mma_bwd(lx_device *dev, const lx_call *call, const attention_shape &s);

#endif
