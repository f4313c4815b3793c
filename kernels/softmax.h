/*
 * kernels/softmax - over the last dimension
 *
 *   softmax     x [..,C] -> y = exp(x - max) / sum of exp(x - max)
 *   softmax_dx  dy, y -> dx = y (dy - sum of dy y)
 *
 * No attributes. f32. A row with a NaN, or with only -inf, is NaN, as in PyTorch.
 */
#ifndef LX_KERNELS_SOFTMAX_H
#define LX_KERNELS_SOFTMAX_H

#include "kernels/kernel.h"

extern const lx_kernel lx_cpu_softmax, lx_cpu_softmax_dx;

#endif
