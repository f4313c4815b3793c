/*
 * support/train - the tiny model set up to train as a peer's flags say
 *
 * Order of use: lx_test_flags of the golden's arguments, lx_training_open, then per micro-step
 * lx_training_micro_step with inputs read by lx_training_inputs; lx_training_close.
 */
#ifndef LX_TESTS_TRAIN_H
#define LX_TESTS_TRAIN_H

#include <cjson/cJSON.h>

#include "src/train/step.h"
#include "src/train/updater.h"
#include "tests/support/model.h"

/* Words of a command line; borrowed. */
typedef struct lx_test_flags {
    char *words[96];
    int count;
} lx_test_flags;

void lx_test_flags_add(lx_test_flags *flags, const cJSON *list);
void lx_test_flags_parse(lx_train_config *config, lx_arena *arena, const lx_test_flags *flags);

typedef struct lx_training {
    lx_arena *arena;
    lx_train_config config;
    lx_model_fixture model;
    lx_step *step;
    lx_optimizer *optimizer;
    lx_updater *updater; /* where the device updates; made at the first update */
    lx_schedule schedule;
    int64_t n_micro_steps, n_steps; /* done */
    float *start;                   /* the LoRA's values at the opening */
    bool *is_rounding; /* of each value, after the first update: see lx_training_distance */
    size_t n_rounding;
} lx_training;

/* On the synthetic "tiny". lora: a file to go on from, NULL = created as the flags say. */
void lx_training_open(lx_training *t, const lx_test_flags *flags, const char *lora,
                      bool keeps_intermediates);
void lx_training_close(lx_training *t);

/* Takes the LoRA's present values for the start, after a test has changed them. */
void lx_training_restart(lx_training *t);

/* "<prefix>noise" and so on; row >= 0: that row of a leading axis. The arrays live as long as t.
 * "scaled_latents" are taken as they are, "latents" times 0.18215. */
lx_step_inputs lx_training_inputs(lx_training *t, const lx_tensor_file *golden,
                                  const char *prefix, int row);

/* Forward and backward; clips and updates after every gradient_accumulation_steps. */
double lx_training_micro_step(lx_training *t, const lx_step_inputs *in);

/* What would be saved, where that is not what is trained (schedule-free). */
void lx_training_show_averages(lx_training *t, bool on);

/*
 * |now - golden| / |golden - start| over the tensors "<prefix><LoRA key>" that the golden has. Fails
 * the test when it has none.
 *
 * Adam's first update is g / (|g| + 1e-8): an element goes a whole rate up or down, however small
 * its gradient is. Where that is less than what the goldens allow a gradient to be off (5e-4 of its
 * tensor), the first updates are those of the rounding errors. `is_early` leaves these elements out
 * (t->n_rounding of them); later steps take over, and the end is judged whole.
 */
double lx_training_distance(const lx_training *t, const lx_tensor_file *golden,
                            const char *prefix, bool is_early);

#endif
