/*
 * kernels/permute - dimensions in another order
 *
 *   permute  x -> y, y's dimension i is x's dimension dims[i]; elements of 1, 2, 4 or 8 bytes
 *
 * Attributes: permute. NCHW -> NHWC is {0, 2, 3, 1}; back is {0, 3, 1, 2}.
 */
#ifndef LX_KERNELS_PERMUTE_H
#define LX_KERNELS_PERMUTE_H

#include "kernels/kernel.h"

extern const lx_kernel lx_cpu_permute;

#endif
