/* cmd/train_state - the state to go on from, among the files of a training that did not end */
#ifndef LX_CMD_TRAIN_STATE_H
#define LX_CMD_TRAIN_STATE_H

#include "src/train/state.h"

/*
 * In `folder` (NULL or "": the working one), of the folders that begin with `name` and end as states
 * do: the one furthest on that is of run `run_id` or of a run with spec `spec` ("" = any other spec is
 * not ours). *out NULL: there is none. A folder that is not there is an error (LX_ENOTFOUND).
 */
int lx_train_state_find(const char **out, const char *folder, const char *name,
                        const char *run_id, const char *spec, lx_arena *arena,
                        lx_error *err);

#endif
