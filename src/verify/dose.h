/*
 * verify/dose - a LoRA's values as loaded, none, stronger, or with their direction lost
 *
 * The graph keeps its shape; what is written into the LoRA's memory decides the arm:
 *
 *     strength m   up times m: y + m (alpha / rank) up(down(x)), the layer of W + m dW
 *     strength 0   up zero: the base model, by the same calls
 *     scrambled    dW = sum s_i u_i v_i^T becomes sum +-s_i u_i v_i^T, signs drawn:
 *                  the same spectrum, norms and subspaces, another direction (down
 *                  becomes down V diag(+-1) V^T); a gain of it is one that any change
 *                  of this size gives. Beyond rank 512 the signs are those of outputs
 */
#ifndef LX_VERIFY_DOSE_H
#define LX_VERIFY_DOSE_H

#include "src/lora/lora.h"

typedef struct lx_dose lx_dose;

/* Borrows the LoRA, a trainable one, and remembers its values. LX_EFORMAT when one is not finite. */
int lx_dose_new(lx_dose **out, lx_lora *lora, lx_error *err);
void lx_dose_free(lx_dose *dose);

/* Which of the two is "the strength", that an axis shows and that a multiple of both is told by: the UNet's, unless only
 * the text encoder's is applied. */
double lx_dose_unit(double strength, double te_strength);

/* te_strength: of the text encoder's modules. */
int lx_dose_set(lx_dose *dose, double strength, double te_strength, lx_error *err);
int lx_dose_scramble(lx_dose *dose, uint64_t seed, uint64_t pattern, lx_error *err);

#endif
