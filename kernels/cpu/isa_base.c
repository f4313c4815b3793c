/* The loops for any machine: vectors of four floats, no fused multiply-add. */
#define VL 4
#define MR 4
#define FMA(a, b, c) ((a) * (b) + (c))
#define ISA lx_isa_base
#define ISA_NAME "base"
#include "kernels/cpu/isa_body.h"
