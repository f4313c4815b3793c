/*
 * kernels/cast - elements of another type
 *
 *   cast  x -> y of y's dtype: any whole-byte real dtype to F32, and F32 to F32, F16, BF16, F64,
 *         F8_E4M3 or F8_E5M2 (nearest even). Other pairs are refused in prepare.
 *
 * No attributes.
 */
#ifndef LX_KERNELS_CAST_H
#define LX_KERNELS_CAST_H

#include "kernels/kernel.h"

extern const lx_kernel lx_cpu_cast;

#endif
