/* Attention on tensor cores. */
#include "kernels/cuda/attention.cuh"

bool lx_attention_mma(lx_device *, const lx_call *, const attention_shape &)
{
    return false;
}

bool lx_attention_mma_bwd(lx_device *, const lx_call *, const attention_shape &)
{
    return false;
}
