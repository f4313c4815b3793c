/*
 * cmd/run_find - the run that a word of the command line means
 */
#ifndef LX_CMD_RUN_FIND_H
#define LX_CMD_RUN_FIND_H

#include "cmd/cli.h"
#include "store/query.h"

/*
 * By id, an unambiguous beginning of one, a name, or a LoRA file that the run wrote: by
 * its bytes, else by its tensors; which one is said on standard error. A run wins over a
 * file of its name. LX_ENOTFOUND, LX_EUSAGE as lx_query_find.
 */
int lx_run_find(lx_run_row *out, lx_cli *cli, lx_store *store, const char *word,
                lx_error *err);

#endif
