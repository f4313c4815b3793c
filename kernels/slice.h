/*
 * kernels/slice - a range of one dimension
 *
 *   slice     x -> y = x[.., begin:end, ..] in dimension `dim`; any dtype
 *   slice_dx  dy -> dx, dy in the range and zero outside it
 *
 * Attributes: slice.
 */
#ifndef LX_KERNELS_SLICE_H
#define LX_KERNELS_SLICE_H

#include "kernels/kernel.h"

extern const lx_kernel lx_cpu_slice, lx_cpu_slice_dx;

#endif
