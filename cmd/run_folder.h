/* cmd/run_folder - the folder a run was started in, from which its flags' paths were given */
#ifndef LX_CMD_RUN_FOLDER_H
#define LX_CMD_RUN_FOLDER_H

#include "cmd/cli.h"
#include "store/query.h"

/* Goes there, where it is known and still is one; says so when it cannot be entered. path: one that the user gave here,
 * made absolute where it would be another there; NULL, or one of NULL. */
int lx_run_enter_folder(lx_cli *cli, const char **path, lx_store *store, const lx_run_row *run,
                        lx_error *err);

#endif
