/*
 * kernels/cuda/philox - the words of src/base/rng, on the device
 */
#ifndef LX_KERNELS_CUDA_PHILOX_CUH
#define LX_KERNELS_CUDA_PHILOX_CUH

#include "kernels/cuda/dialect.cuh"

/* Ten rounds of Philox 4x32 (src/base/rng.c). */
LX_DEVICE void lx_philox(uint32_t c[4], uint32_t k0, uint32_t k1)
{
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const uint32_t low0 = 0xD2511F53u * c[0], high0 = __umulhi(0xD2511F53u, c[0]);
        const uint32_t low1 = 0xCD9E8D57u * c[2], high1 = __umulhi(0xCD9E8D57u, c[2]);
        c[0] = high1 ^ c[1] ^ k0;
        c[1] = low1;
        c[2] = high0 ^ c[3] ^ k1;
        c[3] = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

#endif
