/* Ops that move elements, and the loss: little work, done plainly; upsampling by rows. */
#include "kernels/cast.h"
#include "kernels/concat.h"
#include "kernels/embedding.h"
#include "kernels/loss.h"
#include "kernels/permute.h"
#include "kernels/slice.h"
#include "kernels/timestep_embedding.h"
#include "kernels/upsample_nearest.h"

#include "kernels/cpu/cpu.h"

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
const lx_kernel lx_cpu_concat = {.run = lx_plain_concat};
const lx_kernel lx_cpu_slice = {.run = lx_plain_slice};
const lx_kernel lx_cpu_slice_dx = {.run = lx_plain_slice_dx};
const lx_kernel lx_cpu_permute = {.run = lx_plain_permute};
const lx_kernel lx_cpu_upsample_nearest = {.run = lx_plain_upsample_nearest};
const lx_kernel lx_cpu_upsample_nearest_dx = {.run = lx_plain_upsample_nearest_dx};
const lx_kernel lx_cpu_embedding = {.run = lx_plain_embedding};
const lx_kernel lx_cpu_timestep_embedding = {.run = lx_plain_timestep_embedding};
const lx_kernel lx_cpu_loss = {.run = lx_plain_loss};
