/* Without CUDA's toolkit at build time. */
#include "kernels/kernel.h"

int lx_device_open_cuda(lx_device **out, int index, lx_error *err)
{
    return lx_fail(err, LX_EUNSUPPORTED,
                   "this lx was built without CUDA: build it with -DLX_CUDA_BACKEND=ON "
                   "where the CUDA "
                   "toolkit and cuDNN are installed");
}
