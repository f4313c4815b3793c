/*
 * kernels/conv2d - convolution over channels-last images, and its two gradients
 *
 *   conv2d     x [B,h,w,Ci], w [Co,Ci,kh,kw], bias [Co]?,
 *              add [B,h',w',Co]? -> y [B,h',w',Co]
 *              y[b,i,j,o] = add + bias[o] + sum over c,r,s of w[o,c,r,s] *
 *              x[b, i*stride + r - pad_top, j*stride + s - pad_left, c]
 *              with x = 0 outside; h' = (h + pad_top + pad_bottom - kh) / stride + 1
 *   conv2d_dx  dy [B,h',w',Co], w -> dx [B,h,w,Ci]
 *   conv2d_dw  dy, x -> dw [Co,Ci,kh,kw] +=, or = where attributes say `sets`
 *
 * Attributes: conv. f32, the products of conv2d and conv2d_dx also in bf16 (kernel.h). w may also be F16 (the bits of a checkpoint, widened exactly as it is
 * read) when it is frozen. Sums are f32 (f64 in the plain ones); conv2d_dw sums in an order that
 * does not depend on the number of threads.
 * Source: cross-correlation as in torch.nn.functional.conv2d.
 */
#ifndef LX_KERNELS_CONV2D_H
#define LX_KERNELS_CONV2D_H

#include "kernels/kernel.h"

extern const lx_kernel lx_cpu_conv2d, lx_cpu_conv2d_dx, lx_cpu_conv2d_dw;

#endif
