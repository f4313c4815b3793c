/*
 * kernels/cpu/cpu - what the CPU kernels share
 *
 * Every op has a plain kernel, written after the contract and nothing else: sums in f64, one
 * thread. It is the specification the fast ones are tested against, and the kernel itself where
 * speed does not matter. table.c says which is used.
 */
#ifndef LX_KERNELS_CPU_CPU_H
#define LX_KERNELS_CPU_CPU_H

#include <string.h>

#include "kernels/arg.h"
#include "kernels/cpu/isa.h"

/* lx_plain_<op>: the specification. */
#define LX_OP(name, inputs, outputs) void lx_plain_##name(lx_device *dev, const lx_call *call);
#include "kernels/ops.def"
#undef LX_OP

/* The kernels of the device; an op without one does not link. */
void lx_cpu_fill_kernels(lx_kernel table[LX_OP_COUNT]);

int lx_cpu_threads(const lx_device *dev);
/* 1 for a call too small to be worth waking another thread for, else all: a barrier costs tens of
 * microseconds on an idle machine and milliseconds on a busy one. */
int lx_cpu_threads_for(const lx_device *dev, double flops);
const lx_isa *lx_cpu_isa(const lx_device *dev);
struct lx_peak;
int lx_cpu_peak(struct lx_peak *out, const lx_device *dev, lx_error *err); /* kernels/peak.h */

/* NULL when absent, so that `if (bias)` reads as it should. */
static inline const float *lx_in_f32(const lx_call *call, int i)
{
    return i < call->n_in ? call->in[i].data : NULL;
}

static inline float *lx_out_f32(const lx_call *call, int i)
{
    return i < call->n_out ? call->out[i].data : NULL;
}

/* x as an operand of a product has it; in place of lx_bf16_from_f32, whose calls would cost most. */
static inline float lx_operand(float x, lx_compute compute)
{
    uint32_t bits;

    if (compute == LX_COMPUTE_F32 || x != x)
        return x;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Element i of a weight that is F32 or F16. */
static inline float lx_weight_at(const lx_arg *w, int64_t i)
{
    return w->dtype == LX_F16 ? lx_f32_from_f16(((const uint16_t *)w->data)[i])
                              : ((const float *)w->data)[i];
}

#endif
