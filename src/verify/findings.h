/*
 * verify/findings - from the cells' losses to evidence
 *
 * Per image i, with l the mean loss over its draws under prompt c (definitions:
 * docs/verify.md):
 *
 *     G_i(c)  = l_base(c) - l_lora(c)                    gain
 *     M_i     = mean (pred_lora - pred_base)^2           movement
 *     s*      = S (G + M) / 2 M                          best strength: the loss is a
 *                                                        parabola in the strength, of
 *                                                        which the cells ran with S
 *     dU_i    = G_i(c) - G_i("")                         what the caption adds
 *     S_i     = G_i(c_i) - mean_j G_i(c_j)               the own over another's caption
 *     a_it    = G_i(c_i) - mean_v G_i(c_i, t replaced)   what tag t adds
 *
 * All divided by the mean of l_base(c), so that numbers of different sets can be read
 * together. Gains and movements are in the training's loss. What compares prompts (from dU
 * on) is in the error of the velocity (session.h, even): the training's loss is mostly of
 * little noise, where no prompt makes a difference, and whose chance would drown the rest.
 */
#ifndef LX_VERIFY_FINDINGS_H
#define LX_VERIFY_FINDINGS_H

#include "src/verify/verify.h"

/* What the evidence of one LoRA is drawn from. */
typedef struct lx_findings_input {
    const lx_trial *trial;
    const lx_trial_subjects *subjects;
    const int *
        candidates; /* tags to list: those swapped, those alone, then the frequent ones */
    size_t n_candidates;
    double strength; /* that the cells ran with, lx_dose_unit */
    uint64_t seed;
    lx_arena *arena;
} lx_findings_input;

/* Fills gain, caption, binding, tags, bins, images, held-out and drift of the result (D1
 * to D9) and adds their rows. facts.delta must be set. */
int lx_findings_of(lx_verify_result *result, const lx_findings_input *in, lx_error *err);

/* Mean over draws; G of a cell, in the training's loss and in the velocity's. */
double lx_cell_gain(const lx_trial *trial, const lx_cell *cell);
double lx_cell_even_gain(const lx_trial *trial, const lx_cell *cell);

#endif
