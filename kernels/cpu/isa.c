#include "kernels/cpu/isa.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
/* LX_CPU_ISA=base|avx2|avx512|avx512bf16 asks for less than the machine has, to compare or to reproduce. */
static bool is_wanted(const lx_isa *isa)
{
    const char *name = getenv("LX_CPU_ISA");
    return !name || strcmp(name, isa->name) == 0;
}
#endif

const lx_isa *lx_isa_get(void)
{
#if defined(__x86_64__)
    /* F16C is in every processor with both; clang 14 cannot ask for it. */
    const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f");
    if (has_avx512 && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bf16") &&
        is_wanted(&lx_isa_avx512bf16))
        return &lx_isa_avx512bf16;
    if (has_avx512 && is_wanted(&lx_isa_avx512))
        return &lx_isa_avx512;
    if (has_avx2 && is_wanted(&lx_isa_avx2))
        return &lx_isa_avx2;
#endif
    return &lx_isa_base;
}
