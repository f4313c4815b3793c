/*
 * train/session - one training from the checkpoint to the last file
 *
 * Order: lx_train_open reads the model and makes the LoRA; lx_train_prepare caches latents and plans
 * every shape (all memory is taken here); lx_train_run steps, saves and reports; lx_train_close.
 * The dataset is scanned, checked and planned by the caller before, so that a caption trap stops the
 * run before a model is loaded.
 */
#ifndef LX_TRAIN_SESSION_H
#define LX_TRAIN_SESSION_H

#include "src/data/loader.h"
#include "src/train/config.h"
#include "src/train/footprint.h"
#include "src/train/observer.h"
#include "src/train/step.h"

typedef struct lx_train lx_train;

/* What the saved file says about where it comes from (lx.* keys); borrowed strings. */
typedef struct lx_train_identity {
    const char *run_id, *spec_hash; /* may be NULL: nothing is recorded */
    const char *started_at;         /* seconds since 1970 with a fraction */
    uint64_t session_id;            /* ss_session_id */
} lx_train_identity;

/* config, dataset, identity and observer are borrowed and outlive the training. */
int lx_train_open(lx_train **out, const lx_train_config *config,
                  const lx_dataset *dataset, const lx_train_identity *identity,
                  const lx_observer *observer, lx_error *err);
/* Instead of prepare, for a plan: the memory of the whole training, with nothing taken or encoded.
 * LX_ELIMIT when it exceeds max_memory. */
int lx_train_estimate(lx_footprint *out, lx_train *train, lx_error *err);
/* What was opened and, after estimate or prepare, its planned shapes; for train/forecast. */
lx_step_model lx_train_model(const lx_train *train);
lx_step *lx_train_step(const lx_train *train);
/* Where the VAE encodes, and whether that takes no time from the steps. */
lx_device *lx_train_encoder(bool *is_beside, const lx_train *train);
int lx_train_prepare(lx_train *train, lx_error *err);
/* LX_EINTERRUPTED after a clean stop that was asked for (what was trained is saved). */
int lx_train_run(lx_train *train, lx_error *err);
void lx_train_close(lx_train *train);

/* After prepare. */
lx_plan_memory lx_train_memory(const lx_train *train);
lx_step_count lx_train_steps(const lx_train *train);
const lx_lora *lx_train_lora(const lx_train *train);

#endif
