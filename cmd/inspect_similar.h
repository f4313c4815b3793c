/*
 * cmd/inspect_similar - which of many files belong together, and how that is known
 *
 *     identical    the same bytes, or the same tensors under other metadata
 *     one training the same ss_session_id
 *     akin         the cosine of their updates is 0.05 or more: strangers' are below 0.001
 */
#ifndef LX_CMD_INSPECT_SIMILAR_H
#define LX_CMD_INSPECT_SIMILAR_H

#include "cmd/cli.h"
#include "cmd/inspect_files.h"

/* Reads all of every file. Prints the groups as text or JSON. Files that cannot be read are told on
 * stderr and left out. */
int lx_inspect_similar(lx_cli *cli, const lx_file_list *files, bool as_json,
                       lx_error *err);

#endif
