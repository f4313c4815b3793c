/*
 * train/metadata - what a saved LoRA says about its training
 *
 * The peer's keys in the peer's spelling (ss_*, sshs_*, modelspec.*), so that every tool that reads
 * them keeps working, and lx.* beside them. All values are text, written as Python's str() writes
 * them: None, True, 0.0001, 5e-05, (512, 512).
 * Source: sd-scripts train_network.py, library/train_util.py, library/sai_model_spec.py.
 */
#ifndef LX_TRAIN_METADATA_H
#define LX_TRAIN_METADATA_H

#include "src/data/dataset.h"
#include "src/format/safetensors.h"
#include "src/train/config.h"
#include "src/train/session.h"

typedef struct lx_metadata {
    lx_arena *arena; /* owns keys and values */
    lx_metadata_entry *entries;
    size_t count, capacity;
    bool failed; /* out of memory somewhere; asked for at the end */
} lx_metadata;

void lx_metadata_init(lx_metadata *metadata, lx_arena *arena);
void lx_metadata_release(lx_metadata *metadata); /* the list; texts belong to the arena */
/* Adds, or replaces the value of an existing key. Both are copied. A value that is NULL could not be made: memory ran
 * out. */
void lx_metadata_set(lx_metadata *metadata, const char *key, const char *value);
const char *lx_metadata_get(const lx_metadata *metadata, const char *key);

/* What is known before the first step, but for the names and hashes of the models. */
int lx_metadata_of_settings(lx_metadata *metadata, const lx_train_config *config,
                            const lx_dataset *dataset, const lx_step_count *steps,
                            const lx_train_identity *identity, lx_error *err);
/* All of that. Hashes the base model's file (and the VAE's). */
int lx_metadata_of_training(lx_metadata *metadata, const lx_train_config *config,
                            const lx_dataset *dataset, const lx_step_count *steps,
                            const lx_train_identity *identity, lx_error *err);
/* A LoRA that goes on from a file's (--network_weights) has ranks and alphas of its own: those that all its linear modules
 * have, or "Dynamic". */
void lx_metadata_of_weights(lx_metadata *metadata, const lx_train_config *config,
                            const lx_lora *lora);
/* Now, in seconds since 1970 with six decimals of which the last is not 0: written as Python does, all such times
 * have as many digits, so that the size of a file is known before it is written (lx_forecast). */
double lx_metadata_time(void);

/* What changes from save to save. finished_at as lx_metadata_time gives it. */
void lx_metadata_of_save(lx_metadata *metadata, const lx_train_config *config, int epoch,
                         int64_t step, double finished_at);
/* Under --no_metadata: only the keys the peer keeps. */
void lx_metadata_reduce(lx_metadata *metadata);

#endif
