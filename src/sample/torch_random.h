/*
 * sample/torch_random - the normal numbers of torch.randn for a seed
 *
 * What pictures of web UIs, ComfyUI, diffusers and sd-scripts begin with when their noise
 * is drawn on the CPU: mt19937 seeded with the low 32 bits, 24-bit uniforms, and for a
 * tensor of n >= 16 values Box-Muller in blocks of 16:
 *
 *     u_1 = 1 - block[j], u_2 = block[j + 8], j = 0..7
 *     block[j]     = sqrt(-2 ln u_1) cos(2 pi u_2)
 *     block[j + 8] = sqrt(-2 ln u_1) sin(2 pi u_2)
 *
 * where the last 16 values are drawn anew when n is no multiple of 16. Logarithm, sine
 * and cosine are the polynomials of torch's AVX2 and AVX-512 builds, so every value
 * equals theirs to the bit, on any machine. (torch without AVX2 calls the C library there
 * and differs from itself in last bits.)
 *
 * And what an NVIDIA card draws: Philox 4x32-10, counter (number of the call, 0, index of
 * the value, 0), keyed by the seed, sine branch of Box-Muller.
 *
 * Sources: Matsumoto and Nishimura 1998 (mt19937); Moshier's Cephes (logf, sinf, cosf);
 * PyTorch ATen/native/cpu/DistributionTemplates.h; Salmon et al. 2011 (Philox); cuRAND's
 * documentation. Tests: values printed by torch itself.
 */
#ifndef LX_SAMPLE_TORCH_RANDOM_H
#define LX_SAMPLE_TORCH_RANDOM_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/mt19937.h"

typedef lx_mt19937 lx_torch_random;

void lx_torch_seed(lx_torch_random *random, uint64_t seed);
/* torch.randn of n >= 16 values, as one tensor. */
void lx_torch_normal(float *out, size_t n, lx_torch_random *random);

/* torch.randn(device="cuda") of n values; `call` counts the tensors drawn from the
 * generator. */
void lx_cuda_normal(float *out, size_t n, uint64_t seed, uint32_t call);

#endif
