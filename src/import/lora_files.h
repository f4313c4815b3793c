/*
 * import/lora_files - trainings from the metadata of the LoRA files they left
 *
 * sd-scripts writes into every file the settings of the training (`ss_*`), the session it
 * belongs to, the tags of the data and how far it was. Files of one session are epochs of
 * one run: its settings come from the file that is furthest along and was not resized
 * afterwards, its times from all of them. Files without a session (before v0.4.0) are a
 * run each. Files that tell of no training (no metadata, merged ones) are counted and
 * left out.
 *
 * Flags get the names and types that sd-scripts' command line has, so that such a run
 * compares with one of `lx train`; what is no flag becomes a fact. Source of the keys:
 * sd-scripts train_network.py, get_training metadata; docs/formats.md.
 */
#ifndef LX_IMPORT_LORA_FILES_H
#define LX_IMPORT_LORA_FILES_H

#include "src/import/history.h"

typedef struct lx_lora_files lx_lora_files;

int lx_lora_files_new(lx_lora_files **out, lx_history *history, lx_error *err);
void lx_lora_files_free(lx_lora_files *files); /* NULL is fine */

/* Reads a file's metadata, no tensors. A file that is none becomes a problem of the
 * history. */
int lx_lora_files_add(lx_lora_files *files, const char *path, lx_error *err);
/* The runs, oldest first, into the history. The files' hashes are left to whoever needs
 * them. */
int lx_lora_files_finish(lx_lora_files *files, lx_error *err);
size_t lx_lora_files_with(const lx_lora_files *files); /* those of trainings, before they are runs */
size_t lx_lora_files_without(const lx_lora_files *files); /* how many told of no training */

/* SHA-256 of a file, and of its tensors' bytes alone (what sshs_model_hash holds) when it
 * is a safetensors file; both in one pass. */
int lx_lora_files_hash(lx_hash *file, lx_hash *tensors, bool *has_tensors, int64_t *size,
                       const char *path, lx_error *err);

/* The run's flags, facts and base model from one LoRA file: also of a file just trained.
 */
int lx_lora_files_describe(lx_history *history, lx_history_run *run, const char *path,
                           lx_error *err);

#endif
