/*
 * import/tensorboard - a folder of event files as one run
 *
 * As TensorBoard does, the files of one folder are read in the order of their names and
 * joined; a training that was resumed writes on from its step, and what it had written
 * past it is dropped. Hyperparameters come from the files themselves, from those in
 * sub-folders that hold nothing else (torch's add_hparams) and from the hparams.yml that
 * accelerate writes beside them.
 */
#ifndef LX_IMPORT_TENSORBOARD_H
#define LX_IMPORT_TENSORBOARD_H

#include "src/import/history.h"

/* One run, or none when no file has a scalar. `folder` may also be one file. Damaged
 * files give what is sound before the damage and a problem. */
int lx_import_tensorboard(lx_history *history, const char *folder, lx_error *err);

/* Is there an event file in the folder itself? */
bool lx_tensorboard_is_folder(const char *folder);

#endif
