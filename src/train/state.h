/*
 * train/state - a training put aside between two steps, and taken up again to the bit
 *
 * One safetensors file, state.safetensors, in a folder of the peer's name (name-000003-state):
 *
 *     lora.<key>             F32: the factors as they are trained, not as they are saved
 *     optimizer.<n>.<state>  of tensor n; optimizer.<state> of the whole
 *     progress               I64 [6]: step, epoch, batch, images, micro-steps, recent
 *     recent, recent_sum     F64: the losses of the last epoch, for the average
 *
 * and in its metadata lx.state, lx.step, lx.optimizer, lx.spec_hash and lx.run_id. Nothing else
 * decides how a training goes on: data order and all draws are functions of seed, epoch and
 * step. The file is written whole or not at all.
 */
#ifndef LX_TRAIN_STATE_H
#define LX_TRAIN_STATE_H

#include "src/base/str.h"
#include "src/lora/lora.h"
#include "src/train/optimizer.h"

typedef struct lx_train_progress {
    int64_t step;  /* optimizer updates done */
    int64_t epoch; /* the one under way, from 0 */
    int64_t batch; /* the next one in it */
    int64_t images_seen;
    int64_t micro_steps; /* done */
    /* The peer's recorder of losses: one entry per batch of an epoch. */
    double *recent; /* [batches]; the caller's */
    int64_t batches, n_recent;
    double recent_sum;
} lx_train_progress;

typedef struct lx_train_state {
    lx_lora *lora;
    lx_optimizer *optimizer;
    lx_train_progress *progress;
    const char *run_id, *spec_hash; /* written; may be NULL */
} lx_train_state;

/* Makes the folder. */
int lx_state_save(const char *folder, const lx_train_state *state, lx_error *err);
/*
 * path: the folder or the file. Fills LoRA, optimizer and progress, which are those of a
 * training that has been prepared by the same flags; nothing is changed unless all of it
 * fits.
 *
 *   LX_ENOTFOUND  no state there: a folder of sd-scripts' is named as such
 *   LX_EFORMAT    another optimizer, rank, module or number of batches: the message names
 * it
 */
int lx_state_load(const lx_train_state *state, const char *path, lx_error *err);

/* The file of a path that is the file or its folder; errors as above. */
int lx_state_find(lx_str *file, const char *path, lx_error *err);
/* What a state says of itself, without loading it. Strings live in the arena. */
typedef struct lx_state_facts {
    int64_t step;
    const char *run_id, *spec_hash, *optimizer; /* "" = not said */
} lx_state_facts;
int lx_state_read(lx_state_facts *out, const char *path, lx_arena *arena, lx_error *err);

/* Removes the file and its folder; what is not there or has other files in it stays. */
void lx_state_remove(const char *folder);

#endif
