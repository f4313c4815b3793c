/*
 * kernels/norm_dwb - gradients of the weight and bias of a norm
 *
 *   norm_dwb  dy [B,..,C], x, stats -> dw [C] +=, db [C] +=  (either may be absent)
 *             dw[c] = sum of dy xhat, db[c] = sum of dy
 *             stats as group_norm (n_groups > 0, [B,G,2]) or layer_norm (n_groups = 0, [rows,2])
 *             left them
 *
 * Attributes: norm.n_groups; has_silu must be false. f32, sums f64 in a fixed order.
 */
#ifndef LX_KERNELS_NORM_DWB_H
#define LX_KERNELS_NORM_DWB_H

#include "kernels/kernel.h"

extern const lx_kernel lx_cpu_norm_dwb;

#endif
