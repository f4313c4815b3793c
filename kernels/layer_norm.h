/*
 * kernels/layer_norm - normalise each row
 *
 *   layer_norm     x [..,C], w [C], b [C] -> y, stats [rows,2]? (mean, 1/sqrt(var + eps))
 *                  y = (x - mean) * rstd * w + b, var is the biased one
 *   layer_norm_dx  dy, x, w, stats, add? -> dx
 *                  g  = dy * w,  dx = add + rstd * (g - mean(g) - xhat * mean(g xhat))
 *
 * Attributes: norm.eps. f32; sums over a row are f32 in lanes (f64 in the plain ones).
 * In place as kernel.h says.
 * Source: Ba et al. 2016, arXiv:1607.06450.
 */
#ifndef LX_KERNELS_LAYER_NORM_H
#define LX_KERNELS_LAYER_NORM_H

#include "kernels/kernel.h"

extern const lx_kernel lx_cpu_layer_norm, lx_cpu_layer_norm_dx;

#endif
