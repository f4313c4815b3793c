/*
 * lora/sketch - an update in a few numbers, so that many files can be compared
 *
 *     y_m = s_m U_m (D_m x_m)         x_m: +1 or -1, drawn from the module's name and the column
 *     sketch[h(m, i)] += +-y_m[i]     h, the sign: drawn from the module's name and the row
 *
 * For such x and h the mean of <sketch_a, sketch_b> is the sum of <dW_a, dW_b> over the
 * modules of equal names, so the cosine of two sketches estimates that of the updates,
 * within about 1 / sqrt(LX_SKETCH) of unrelated ones. Each file is read once, however
 * many it is compared with; what looks related is then measured exactly (lora/kinship).
 *
 * Plain LoRA modules only, as lora/kinship.
 * Source: Charikar, Chen, Farach-Colton 2002 (count sketch); Hutchinson 1990 (the trace by
 * random signs).
 */
#ifndef LX_LORA_SKETCH_H
#define LX_LORA_SKETCH_H

#include "src/lora/file.h"

enum { LX_SKETCH = 4096 };

typedef struct lx_sketch {
    float values[LX_SKETCH]; /* of length 1; all 0 when no module was taken */
    size_t n_modules;
} lx_sketch;

/* LX_ENOMEM only; modules with values that are not finite are left out. */
int lx_lora_sketch(lx_sketch *out, const lx_lora_file *file, lx_error *err);

double lx_sketch_cosine(const lx_sketch *a, const lx_sketch *b);

#endif
