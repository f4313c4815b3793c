#include "kernels/cuda/cuda.h"

void lx_cuda_fill_kernels(lx_kernel table[LX_OP_COUNT])
{
#define SET(op) table[LX_OP_##op] = lx_cuda_##op;
    LX_CUDA_OPS(SET)
    SET(linear)
    SET(linear_dx)
    SET(linear_dw)
    SET(conv2d)
    SET(conv2d_dx)
    SET(conv2d_dw)
#undef SET
}
