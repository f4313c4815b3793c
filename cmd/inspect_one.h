/*
 * cmd/inspect_one - all about one file
 */
#ifndef LX_CMD_INSPECT_ONE_H
#define LX_CMD_INSPECT_ONE_H

#include "cmd/cli.h"

typedef struct lx_inspect_options {
    bool json, metadata;
    int64_t n_tags;
} lx_inspect_options;

/* Prints it. The error names the path. */
int lx_inspect_one(lx_cli *cli, const lx_inspect_options *options, const char *path,
                   lx_error *err);

#endif
