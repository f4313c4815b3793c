/*
 * kernels/concat - two tensors one after the other
 *
 *   concat  a, b -> y along the dimension in which y is larger than a (all others are equal);
 *           any dtype, the same for all three. No attributes.
 */
#ifndef LX_KERNELS_CONCAT_H
#define LX_KERNELS_CONCAT_H

#include "kernels/kernel.h"

extern const lx_kernel lx_cpu_concat;

#endif
