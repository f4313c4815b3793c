#include "kernels/kernel.h"

#include <stdlib.h>
#include <string.h>

static const char *const op_names[LX_OP_COUNT] = {
#define LX_OP(name, inputs, outputs) #name,
#include "kernels/ops.def"
#undef LX_OP
};

const char *lx_op_name(lx_op_id op)
{
    return (unsigned)op < LX_OP_COUNT ? op_names[op] : "unknown op";
}

/* N of "cuda:N", 0 of "cuda"; -1 = it is neither. */
static int gpu_index(const char *where)
{
    char *end;
    long n;

    if (strncmp(where, "cuda", 4) != 0)
        return -1;
    if (!where[4])
        return 0;
    n = strtol(where + 5, &end, 10);
    return where[4] == ':' && where[5] >= '0' && where[5] <= '9' && !*end && n < 1024
               ? (int)n
               : -1;
}

int lx_device_open(lx_device **out, const char *where, int threads, lx_error *err)
{
    int rc;

    if (!where || strcmp(where, "auto") == 0 || strcmp(where, "cpu") == 0)
        return lx_device_open_cpu(out, threads, err);
    if (gpu_index(where) < 0)
        return lx_fail(err, LX_EUSAGE, "--device is auto, cpu, cuda or cuda:N, not '%s'",
                       where);
    if ((rc = lx_device_open_cuda(out, gpu_index(where), err)) < 0)
        lx_within(err, "--device %s", where);
    return rc;
}

void lx_device_close(lx_device *dev)
{
    if (dev)
        dev->close(dev);
}
