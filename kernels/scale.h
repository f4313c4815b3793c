/*
 * kernels/scale - multiples
 *
 *   scale    x -> y = factor * x; the factor is attributes linear.scale; y may be x
 *   mul_add  a [B], x [B,..], b [B]?, y [B,..]? -> z = a[i] x[i] + b[i] y[i] per sample i
 *            without y: a[i] x[i]
 *            (noisy latents: a = sqrt(abar_t), b = sqrt(1 - abar_t); velocity likewise)
 *
 * f32; mul_add rounds both products and the sum, without contraction.
 */
#ifndef LX_KERNELS_SCALE_H
#define LX_KERNELS_SCALE_H

#include "kernels/kernel.h"

extern const lx_kernel lx_cpu_scale, lx_cpu_mul_add;

#endif
