/*
 * kernels/activation - elementwise functions, and their gradients
 *
 *   silu        y = x sigmoid(x)
 *   gelu        y = x (1 + erf(x / sqrt 2)) / 2            (the exact one, not tanh)
 *   quick_gelu  y = x sigmoid(1.702 x)
 *   ..._dx      dy, x -> dx = dy * y'(x)
 *
 * No attributes. f32. The output may be the memory of an input of the same shape. NaN gives NaN.
 * Source: Hendrycks and Gimpel 2016, arXiv:1606.08415; quick_gelu as in OpenAI's CLIP.
 */
#ifndef LX_KERNELS_ACTIVATION_H
#define LX_KERNELS_ACTIVATION_H

#include "kernels/kernel.h"

extern const lx_kernel lx_cpu_silu, lx_cpu_silu_dx, lx_cpu_gelu, lx_cpu_gelu_dx, lx_cpu_quick_gelu,
    lx_cpu_quick_gelu_dx;

#endif
