/*
 * kernels/loss - how far the prediction is off, and which way
 *
 *   loss  pred [B,..], target, timesteps i64 [B], weights f32 [B]?, mask f32? -> loss [1], dpred [B,..]?
 *
 *     d     = pred - target,  n = elements of a sample,  c = huber_c[timestep]
 *     W_b   = weights[b] * weight[timestep_b]          (each 1 when absent)
 *     m     = mask at the position of the element, for pred [B, h, w, C] and mask [B, h, w]; 1 when absent
 *     loss  = 1/B sum over b of W_b/n sum of m f(d)
 *     dpred = W_b / (B n) m f'(d)
 *
 *     L2         d^2                          2 d
 *     L1         |d|                          sign(d)
 *     HUBER      2c (sqrt(d^2 + c^2) - c)     2c d / sqrt(d^2 + c^2)
 *     SMOOTH_L1  2 (sqrt(d^2 + c^2) - c)      2 d / sqrt(d^2 + c^2)
 *
 * The mean divides by all elements, masked or not, as the peer's does.
 * Attributes: loss. Sums are f64 in order. A timestep outside 0..999 gives NaN where a table is
 * read.
 * Source: sd-scripts, library/train_util.py conditional_loss, custom_train_functions.py apply_masked_loss; the pseudo-Huber loss of
 * arXiv:2403.16728.
 */
#ifndef LX_KERNELS_LOSS_H
#define LX_KERNELS_LOSS_H

#include "kernels/kernel.h"

extern const lx_kernel lx_cpu_loss;

#endif
