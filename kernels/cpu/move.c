/* Ops that move elements without computing. */
#include "kernels/cpu/cpu.h"

#include "kernels/cast.h"

static int prepare_cast(lx_device *dev, lx_call *call, bool is_sizing, lx_error *err)
{
    const lx_dtype from = call->in[0].dtype, to = call->out[0].dtype;
    const bool is_real = lx_dtype_bits(from) % 8 == 0 && from != LX_C64;

    if ((to == LX_F32 && is_real) ||
        (from == LX_F32 && (to == LX_F16 || to == LX_BF16 || to == LX_F64 ||
                            to == LX_F8_E4M3 || to == LX_F8_E5M2)))
        return LX_OK;
    return lx_fail(err, LX_EUNSUPPORTED, "%s: cannot cast %s to %s", call->label,
                   lx_dtype_name(from), lx_dtype_name(to));
}

const lx_kernel lx_cpu_cast = {.prepare = prepare_cast, .run = lx_plain_cast};
