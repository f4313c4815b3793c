/*
 * kernels/geglu - a linear layer's output gated by its own other half
 *
 *   geglu     x [..,2C] -> y [..,C],  y = a gelu(g) with a = x[..,:C], g = x[..,C:]
 *   geglu_dx  dy [..,C], x -> dx [..,2C],  da = dy gelu(g), dg = dy a gelu'(g)
 *
 * gelu is the erf one. No attributes. f32.
 * Source: Shazeer 2020, arXiv:2002.05202.
 */
#ifndef LX_KERNELS_GEGLU_H
#define LX_KERNELS_GEGLU_H

#include "kernels/kernel.h"

extern const lx_kernel lx_cpu_geglu, lx_cpu_geglu_dx;

#endif
