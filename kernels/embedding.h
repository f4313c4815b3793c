/*
 * kernels/embedding - rows of a table
 *
 *   embedding  ids i64 [..], table [V,D] -> y [..,D]
 *
 * An id outside 0..V-1 gives a row of NaN: running cannot fail, and the loss then says so.
 * No attributes. The table is F32, or F16 when frozen.
 */
#ifndef LX_KERNELS_EMBEDDING_H
#define LX_KERNELS_EMBEDDING_H

#include "kernels/kernel.h"

extern const lx_kernel lx_cpu_embedding;

#endif
