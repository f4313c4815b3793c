/*
 * kernels/dropout - parts of a LoRA's inside left out at random
 *
 * x [B, .., C] is what comes out of a LoRA's down; the draws are functions of (seed, micro-step,
 * stream, index), so the reverse pass draws the same again and nothing is kept between the two:
 *
 *   y[b, p, c] = x[b, p, c] * module * neuron[b, p, c] / (1 - p_neuron) * rank[b, c] / (1 - p_rank)
 *
 *   module  0 with probability p_module, else 1: the same for the whole batch, and not made good for
 *   neuron  0 with probability p_neuron, else 1
 *   rank    0 with probability p_rank, else 1: the same at every position of a sample
 *
 * moment: i64 [2], seed and micro-step. Attributes: dropout. y may be x. dx is the op applied to dy.
 * Source: sd-scripts networks/lora.py (LoRAModule.forward): the law is the peer's, the numbers are ours.
 */
#ifndef LX_KERNELS_DROPOUT_H
#define LX_KERNELS_DROPOUT_H

#include "kernels/kernel.h"
#include "src/base/rng.h"

extern const lx_kernel lx_cpu_dropout;

/* What is drawn for; added to the module's stream. */
enum { LX_DROPOUT_NEURON = 0, LX_DROPOUT_RANK = 1, LX_DROPOUT_MODULE = 2 };

static inline lx_rng lx_dropout_stream(const int64_t moment[2], uint64_t stream, int kind)
{
    return lx_rng_stream((uint64_t)moment[0], LX_RNG_DROPOUT, (uint64_t)moment[1],
                         stream + (uint64_t)kind);
}

/* A word drawn from 32 bits says that its part is left out. */
static inline bool lx_dropout_drops(uint32_t word, float probability)
{
    return (double)word * 0x1p-32 < (double)probability;
}

/* Is the whole module left out in this micro-step? */
static inline bool lx_dropout_skips(const int64_t moment[2], uint64_t stream,
                                    float probability)
{
    lx_rng rng = lx_dropout_stream(moment, stream, LX_DROPOUT_MODULE);
    return probability > 0 && lx_dropout_drops(lx_rng_u32(&rng), probability);
}

#endif
