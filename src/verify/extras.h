/*
 * verify/extras - the arms beside the cells: strengths, controls, prompts that have no
 * images
 *
 *     strengths     the gain at 0.5, 1.5, 2 and the best strength, on some images
 *     strength 0    must give the base's numbers to the bit: G = M = 0
 *     noise floor   the base once more, its draws batched in reverse: M of rounding
 *     scrambled     the LoRA with signs of its singular components drawn, others for
 *                   each image: its gain must not be above 0
 *     neutral       prompts without the identifier, from noise alone (t >= 900): how
 *                   far predictions move, against the training captions' at these draws
 */
#ifndef LX_VERIFY_EXTRAS_H
#define LX_VERIFY_EXTRAS_H

#include "src/verify/verify.h"

typedef struct lx_extras_input {
    lx_trial *trial;
    lx_probe *probe;
    lx_dose *dose;
    double strength, te_strength; /* what the cells ran with */
    uint64_t seed;
    lx_arena *arena;
} lx_extras_input;

/* After lx_findings_of: adds D3c, D10, D0, D8n and sets the noise floor, the strengths
 * and whether the harness is broken. */
int lx_extras_of(lx_verify_result *result, const lx_extras_input *in, lx_error *err);

#endif
