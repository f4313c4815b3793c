#include "src/model/precision.h"

#include <string.h>

static const char *const names[] = {"no", "fp16", "bf16"};

int lx_precision_find(lx_precision *out, const char *name, lx_error *err)
{
    for (int i = LX_PRECISION_F32; i <= LX_PRECISION_BF16; i++)
        if (strcmp(names[i], name) == 0) {
            *out = (lx_precision)i;
            return LX_OK;
        }
    return lx_fail(err, LX_EUSAGE, "--mixed_precision %s: no, fp16 and bf16 are possible",
                   name);
}

const char *lx_precision_name(lx_precision precision)
{
    return names[precision];
}

static bool has(lx_precision precision, const lx_device *dev)
{
    switch (precision) {
    case LX_PRECISION_F16:
        return dev->has_f16;
    case LX_PRECISION_BF16:
        return dev->has_bf16 || dev->computes_bf16;
    default:
        return true;
    }
}

int lx_precision_check(lx_precision precision, const lx_device *dev, lx_error *err)
{
    if (has(precision, dev))
        return LX_OK;
    return lx_fail(
        err, LX_EUNSUPPORTED,
        "--mixed_precision %s: %s (%s) has no such arithmetic; no and %s are "
        "possible",
        names[precision], dev->name, dev->description,
        names[precision == LX_PRECISION_F16 ? LX_PRECISION_BF16 : LX_PRECISION_F16]);
}

lx_dtype lx_precision_narrow(lx_precision precision, const lx_device *dev)
{
    if (precision == LX_PRECISION_F16 && dev->has_f16)
        return LX_F16;
    return precision == LX_PRECISION_BF16 && dev->has_bf16 ? LX_BF16 : LX_F32;
}

lx_arithmetic lx_precision_arithmetic(lx_precision precision)
{
    return (lx_arithmetic){.compute = precision == LX_PRECISION_BF16 ? LX_COMPUTE_BF16
                                                                     : LX_COMPUTE_F32};
}
