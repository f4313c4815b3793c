/*
 * cuda_emulation/workspace - what NVIDIA's libraries are taken to ask for, where there is no GPU to ask them for
 *
 * Never less than they do, so that what was planned here fits there. Of a convolution in 16 bits the engines that cuDNN
 * takes for SD 1.5 want at most a copy of what is read or written in another order; in F32 they may transform
 * all of it, to up to four times its bytes. cudnn_plans.c holds both against the real library. Of a product: partial
 * sums of 32 parts of K, more than which cuBLASLt has not been seen to make; it cannot be asked without a GPU, only
 * limited.
 */
#ifndef LX_CUDA_EMULATION_WORKSPACE_H
#define LX_CUDA_EMULATION_WORKSPACE_H

#include "kernels/cuda/library.h"

static inline size_t lx_emu_at_most(int64_t bytes, size_t limit)
{
    return (uint64_t)bytes < limit ? (size_t)bytes : limit;
}

static inline size_t lx_emu_gemm_workspace(const lx_gemm_spec *s)
{
    return lx_emu_at_most(32 * s->m * s->n * (int64_t)sizeof(float), LX_CUDA_GEMM_WORKSPACE);
}

static inline size_t lx_emu_conv_workspace(const lx_conv_spec *s)
{
    const int64_t elements = s->batch * s->h * s->w * s->channels_in +
                             s->batch * s->h_out * s->w_out * s->channels_out +
                             s->channels_out * s->kh * s->kw * s->channels_in,
                  bytes = elements * lx_dtype_bits(s->in) / 8;

    return lx_emu_at_most(s->in == LX_F32 ? 4 * bytes : bytes, LX_CUDA_CONV_WORKSPACE);
}

#endif
