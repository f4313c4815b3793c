/* The loops for AVX-512 with VDPBF16PS, which multiplies pairs of bf16; else as isa_avx512.c. */
#if defined(__x86_64__)
#include <immintrin.h>
#define VL 16
#define MR 12
#define FMA(a, b, c) ((vf)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define ISA lx_isa_avx512bf16
#define ISA_NAME "avx512bf16"
#include "kernels/cpu/isa_body.h"
#endif
