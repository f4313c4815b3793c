/*
 * kernels/add - sums, broadcast sums and their gradients
 *
 *   add       a, b -> y = a + b. b has a's shape, or is [B,C] (a [B,..,C]) or [C] and is repeated
 *             over the dimensions it lacks; y may be a, or b when the shapes are equal
 *   sum_rows  dy [B,..,C] -> db [B,C] =, sums over the dimensions between (f64, fixed order)
 *   bias_db   dy [..,C] -> db [C] +=, sums over all rows (f64, fixed order)
 *
 * No attributes. f32.
 */
#ifndef LX_KERNELS_ADD_H
#define LX_KERNELS_ADD_H

#include "kernels/kernel.h"

extern const lx_kernel lx_cpu_add, lx_cpu_sum_rows, lx_cpu_bias_db;

#endif
