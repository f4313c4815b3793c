#include "kernels/kernel.h"

static const char *const op_names[LX_OP_COUNT] = {
#define LX_OP(name, inputs, outputs) #name,
#include "kernels/ops.def"
#undef LX_OP
};

const char *lx_op_name(lx_op_id op)
{
    return (unsigned)op < LX_OP_COUNT ? op_names[op] : "unknown op";
}

void lx_device_close(lx_device *dev)
{
    if (dev)
        dev->close(dev);
}
