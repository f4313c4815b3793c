/*
 * selftest/training - a few steps of a tiny model with random weights
 *
 * A LoRA of rank 4 on a narrow model (synth.h), text encoder included, AdamW; latents, noise and
 * timesteps are drawn from seeds. Where the device updates by itself, it does.
 */
#ifndef LX_SELFTEST_TRAINING_H
#define LX_SELFTEST_TRAINING_H

#include "kernels/kernel.h"
#include "src/selftest/synth.h"

enum { LX_SELFTEST_STEPS = 6 };

typedef struct lx_selftest_trained {
    double losses[LX_SELFTEST_STEPS];
    double seconds; /* of a step, the first two left out */
    float *values;  /* the LoRA's at the end, and at the beginning */
    float *start;
    size_t n;
} lx_selftest_trained;

/* `checkpoint` is the model's file; `precision` as --mixed_precision has it. lx_selftest_trained_free, after an error too. */
int lx_selftest_train(lx_selftest_trained *out, lx_device *dev,
                      const lx_synth_profile *model, const char *checkpoint,
                      const char *precision, lx_error *err);
void lx_selftest_trained_free(lx_selftest_trained *trained);

/* |a - b| / |b - its start|: of what b moved, how much a is elsewhere. */
double lx_selftest_distance(const lx_selftest_trained *a, const lx_selftest_trained *b);

/* The losses in f32 of "tiny" or "nano", as a machine had them on which the goldens of trainings were met
 * (tests/golden/train). */
const double *lx_selftest_losses(const lx_synth_profile *model);

#endif
