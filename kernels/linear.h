/*
 * kernels/linear - products with a weight, and their two gradients
 *
 *   linear     x [..,K], w [N,K] or [N,K,1,1], bias [N]?, add [..,N]? -> y [..,N]
 *              y = add + scale * x w^T + bias
 *   linear_dx  dy [..,N], w, add [..,K]? -> dx [..,K] = add + scale * dy w
 *   linear_dw  dy [..,N], x [..,K] -> dw [N,K] += scale * dy^T x, or = where attributes say `sets`
 *
 * `add` may be the same memory as the output. Attributes: linear. f32, the products of linear and linear_dx also in bf16 (kernel.h); w may also be F16 when
 * it is frozen. Sums are f32 (f64 in the plain ones), in an order that does not depend on the
 * number of threads.
 * With rank-R weights these are LoRA's down and up: Hu et al. 2021, arXiv:2106.09685, section 4.1.
 */
#ifndef LX_KERNELS_LINEAR_H
#define LX_KERNELS_LINEAR_H

#include "kernels/kernel.h"

extern const lx_kernel lx_cpu_linear, lx_cpu_linear_dx, lx_cpu_linear_dw;

#endif
