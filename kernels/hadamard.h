/*
 * kernels/hadamard - a matrix as the elementwise product of two matrices of low rank
 *
 *   hadamard      a [N,R], b [R,K], c [N,S], d [S,K] -> w [N,K] = scale * (a b) o (c d)
 *   hadamard_dab  dw [N,K], a, b, c, d -> da [N,R] +=, db [R,K] +=
 *                 with t = scale * dw o (c d):  da = t b^T, db = a^T t
 *                 (those of c and d: the same with the two halves exchanged)
 *
 * Attributes: linear.scale. f32, also on devices whose activations are narrower; sums are f32 (f64 in
 * the plain ones), in an order that does not depend on the number of threads. Nothing of a matrix's size
 * is kept between the two passes: c d is computed again.
 * Source: Hyeon-Woo et al. 2021, arXiv:2108.06098, section 2.2 (the change of a LoHa).
 */
#ifndef LX_KERNELS_HADAMARD_H
#define LX_KERNELS_HADAMARD_H

#include "kernels/kernel.h"

extern const lx_kernel lx_cpu_hadamard, lx_cpu_hadamard_dab;

#endif
