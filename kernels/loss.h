/*
 * kernels/loss - how far the prediction is off, and which way
 *
 *   loss  pred [B,..], target, timesteps i64 [B], weights f32 [B]? -> loss [1], dpred [B,..]?
 *
 *     d     = pred - target,  n = elements of a sample,  c = huber_c[timestep]
 *     W_b   = weights[b] * weight[timestep_b]          (each 1 when absent)
 *     loss  = 1/B sum over b of W_b/n sum of f(d)
 *     dpred = W_b / (B n) f'(d)
 *
 *     L2         d^2                          2 d
 *     L1         |d|                          sign(d)
 *     HUBER      2c (sqrt(d^2 + c^2) - c)     2c d / sqrt(d^2 + c^2)
 *     SMOOTH_L1  2 (sqrt(d^2 + c^2) - c)      2 d / sqrt(d^2 + c^2)
 *
 * Attributes: loss. Sums are f64 in order. A timestep outside 0..999 gives NaN where a table is
 * read.
 * Source: sd-scripts, library/train_util.py conditional_loss; the pseudo-Huber loss of
 * arXiv:2403.16728.
 */
#ifndef LX_KERNELS_LOSS_H
#define LX_KERNELS_LOSS_H

#include "kernels/kernel.h"

extern const lx_kernel lx_cpu_loss;

#endif
