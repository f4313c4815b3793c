/*
 * kernels/upsample_nearest - enlarge by repeating pixels
 *
 *   upsample_nearest     x [B,h,w,C] -> y [B,h',w',C],  y[i,j] = x[source(i), source(j)]
 *                        source(i) = min(floor(i * (h / h')), h - 1), in f32 as PyTorch does
 *   upsample_nearest_dx  dy -> dx, the sum over the pixels that came from each (f32, row order)
 *
 * The sizes are those of the operands; the attribute `size` is not read. h' and w' may be any size.
 * Source: torch.nn.functional.interpolate, mode "nearest".
 */
#ifndef LX_KERNELS_UPSAMPLE_NEAREST_H
#define LX_KERNELS_UPSAMPLE_NEAREST_H

#include "kernels/kernel.h"

extern const lx_kernel lx_cpu_upsample_nearest, lx_cpu_upsample_nearest_dx;

#endif
