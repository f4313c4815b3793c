#include "kernels/cpu/cpu.h"

#include "kernels/activation.h"
#include "kernels/add.h"
#include "kernels/attention.h"
#include "kernels/cast.h"
#include "kernels/concat.h"
#include "kernels/conv2d.h"
#include "kernels/dropout.h"
#include "kernels/embedding.h"
#include "kernels/geglu.h"
#include "kernels/group_norm.h"
#include "kernels/hadamard.h"
#include "kernels/layer_norm.h"
#include "kernels/linear.h"
#include "kernels/loss.h"
#include "kernels/norm_dwb.h"
#include "kernels/permute.h"
#include "kernels/scale.h"
#include "kernels/slice.h"
#include "kernels/softmax.h"
#include "kernels/timestep_embedding.h"
#include "kernels/upsample_nearest.h"

const lx_kernel lx_cpu_plain_kernels[LX_OP_COUNT] = {
#define LX_OP(name, inputs, outputs) [LX_OP_##name] = {.run = lx_plain_##name},
#include "kernels/ops.def"
#undef LX_OP
};

void lx_cpu_fill_kernels(lx_kernel table[LX_OP_COUNT])
{
#define LX_OP(name, inputs, outputs) table[LX_OP_##name] = lx_cpu_##name;
#include "kernels/ops.def"
#undef LX_OP
}
