/*
 * cmd/record - what of a training goes into the store before it starts
 *
 * The run's texts, its dataset and its spec (cmd/train_spec), whose hash is the identity of the experiment.
 */
#ifndef LX_CMD_RECORD_H
#define LX_CMD_RECORD_H

#include "cmd/train_flags.h"
#include "store/store.h"

/* The dataset must have been hashed. The run's texts need not outlive the call. note: what the user is to be told of
 * the state that it begins with, appended. */
int lx_record_begin(lx_run **out, lx_str *note, lx_store *store, const lx_train_config *config,
                    const lx_train_flags *flags, const lx_dataset *dataset, lx_error *err);

/* Of --tag: an empty tag is none, and lx tag-run could not take it off. */
int lx_record_check_tags(const lx_words *tags, lx_error *err);
/* KEY=VALUE, with a key. */
bool lx_record_is_fact(const char *text);
/* What was said of the run when it was started: its group (NULL: none) and facts, KEY=VALUE each. */
int lx_record_remarks(lx_store *store, int64_t run, const char *group, const lx_words *facts,
                      lx_error *err);

/* The dataset's tree into the store; *root (lx_free) is what lx_run_start.dataset wants. Hashed before. */
int lx_record_dataset(char **root, lx_store *store, const lx_dataset *dataset, lx_error *err);

#endif
