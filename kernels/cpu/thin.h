/*
 * kernels/cpu/thin - products with a weight of a few rows or columns, as a LoRA's are
 *
 *   reduce   y [M,R] = add + scale * x [M,W] p^T      p [R,W]
 *   expand   y [M,W] = add + scale * h [M,R] q        q [R,W]
 *   outer    dw [R,W] += scale * h^T x                h [M,R], x [M,W]
 *
 * With R of 16 and less the register tile of gemm.h is mostly padding, and laying x out costs as much as the
 * products. Here x, which is what there is much of, is read once where it stands, at the speed of memory.
 * Where the weight has R columns in place of rows it is turned in scratch.
 *
 * Sums are f32 in an order that depends on nothing but the shape: threads share rows, of outer columns.
 */
#ifndef LX_KERNELS_CPU_THIN_H
#define LX_KERNELS_CPU_THIN_H

#include "kernels/cpu/cpu.h"

enum { LX_THIN_MOST = 16 }; /* largest R */

/* Whether a weight [N,K] is thin and has the type these products take. */
bool lx_thin_fits(const lx_arg *weight, lx_compute compute);

/* Bytes of scratch for any product with it. */
size_t lx_thin_scratch(const lx_arg *weight);

/* y [M,N] = add + bias + scale * x w^T; add and bias may be NULL, add may be y. */
void lx_thin_linear(lx_device *dev, const lx_call *call);
void lx_thin_linear_dx(lx_device *dev, const lx_call *call);
void lx_thin_linear_dw(lx_device *dev, const lx_call *call);

#endif
