/*
 * model/precision - the types in which a frozen model computes
 *
 * What `--mixed_precision` says. Weights stay as the file has them and sums are f32 in any case:
 *
 *     no    f32
 *     fp16  activations are F16 in a GPU's memory; the CPU has no such arithmetic
 *     bf16  activations are BF16 in a GPU's memory, from compute capability 8.0; on the CPU they are F32, and the
 *           operands of the model's own products are rounded to bf16 (kernels/kernel.h)
 *
 * Source of the names: accelerate's mixed_precision, as sd-scripts' trainers take it.
 */
#ifndef LX_MODEL_PRECISION_H
#define LX_MODEL_PRECISION_H

#include "src/model/builder.h"

typedef enum lx_precision {
    LX_PRECISION_F32,
    LX_PRECISION_F16,
    LX_PRECISION_BF16
} lx_precision;

/* LX_EUSAGE when `name` is none of "no", "fp16" and "bf16". */
int lx_precision_find(lx_precision *out, const char *name, lx_error *err);
const char *lx_precision_name(lx_precision precision);

/* LX_EUNSUPPORTED when the device has no such arithmetic; the sentence says what it has. */
int lx_precision_check(lx_precision precision, const lx_device *dev, lx_error *err);

/* LX_F16 or LX_BF16, of activations in memory, where the device keeps them so; else LX_F32. */
lx_dtype lx_precision_narrow(lx_precision precision, const lx_device *dev);
/* Of the model's own products. */
lx_arithmetic lx_precision_arithmetic(lx_precision precision);

#endif
