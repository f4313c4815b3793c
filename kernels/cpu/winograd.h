/*
 * kernels/cpu/winograd - 3x3 convolutions of stride 1 with 4 multiplications in place of 9
 *
 * F(2x2, 3x3): outputs in tiles of 2 x 2, each from 4 x 4 inputs d and the window g:
 *
 *     y = A^T [ (G g G^T) . (B^T d B) ] A      . elementwise, summed over channels
 *
 *     B^T = 1  0 -1  0     G = 1    0    0      A^T = 1  1  1  0
 *           0  1  1  0         1/2  1/2  1/2          0  1 -1 -1
 *           0 -1  1  0         1/2 -1/2  1/2
 *           0  1  0 -1         0    0    1
 *
 * so 16 products [tiles, Ci] x [Ci, Co] replace one [4 tiles, 9 Ci] x [9 Ci, Co]: 2.25 times fewer
 * multiplications. The transforms have only factors of 1 and 1/2, and the error stays within about
 * twice that of the direct sum; the next larger tile would lose two digits.
 *
 * In bf16 the 16 products' operands are rounded, that is the transformed inputs and windows: their
 * variance is three times that of the plain ones beside the result's, so the rounding error is about 1.7
 * times that of a plain sum in bf16.
 *
 * Source: Lavin and Gray 2015, arXiv:1509.09308.
 */
#ifndef LX_KERNELS_CPU_WINOGRAD_H
#define LX_KERNELS_CPU_WINOGRAD_H

#include "kernels/cpu/gemm.h"

/* Whether it pays: large enough for the transforms to vanish. Depends on shapes alone. */
bool lx_winograd_pays(int64_t B, int64_t oh, int64_t ow, int64_t Ci, int64_t Co,
                      lx_compute compute);

size_t lx_winograd_scratch(const lx_device *dev, int64_t B, int64_t oh, int64_t ow, int64_t Ci,
                           int64_t Co);

/* The same product as lx_gemm_run. `g` has nine taps under a 3x3 window and pixels of step 1. */
void lx_winograd_run(lx_device *dev, const lx_gemm *g, void *scratch);

#endif
