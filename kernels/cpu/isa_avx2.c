/* The loops for AVX2 with FMA and F16C: 6 x 16 accumulators in 12 of the 16 registers. */
#if defined(__x86_64__)
#include <immintrin.h>
#define VL 8
#define MR 6
#define FMA(a, b, c) ((vf)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define ISA lx_isa_avx2
#define ISA_NAME "avx2"
#include "kernels/cpu/isa_body.h"
#endif
