/*
 * kernels/group_norm - normalise groups of channels, optionally through SiLU
 *
 *   group_norm     x [B,..,C], w [C], b [C] -> y, stats [B,G,2]? (mean, 1/sqrt(var + eps))
 *                  z = (x - mean) * rstd * w + b,  y = z, or z sigmoid(z) with has_silu
 *                  group g is the channels [g*C/G, (g+1)*C/G) at every position of one sample;
 *                  var is the biased one
 *   group_norm_dx  dy, x, w, b, stats, add? -> dx
 *                  g  = dy (times silu'(z) with has_silu) * w,  n = elements of a group
 *                  dx = add + rstd * (g - sum(g)/n - xhat * sum(g xhat)/n)
 *
 * Attributes: norm. f32; sums over a group are f64, in an order that does not depend on the
 * number of threads. In place as kernel.h says.
 * Source: Wu and He 2018, arXiv:1803.08494.
 */
#ifndef LX_KERNELS_GROUP_NORM_H
#define LX_KERNELS_GROUP_NORM_H

#include "kernels/kernel.h"

extern const lx_kernel lx_cpu_group_norm, lx_cpu_group_norm_dx;

#endif
