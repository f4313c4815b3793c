/*
 * cmd/debug - hidden commands for tests and for building the docs (docs/testing.md)
 *
 * A line in debug.def adds one. argv holds the words after the name; the command prints to cli->out
 * and returns as any command does.
 */
#ifndef LX_CMD_DEBUG_H
#define LX_CMD_DEBUG_H

#include "cmd/cli.h"

#define LX_DEBUG(name, function, summary)                                                \
    int function(lx_cli *cli, int argc, char **argv, lx_error *err);
#include "cmd/debug.def"
#undef LX_DEBUG

/* `lx debug eval step` and `lx debug eval train` (is_whole); argv holds the words after them. */
int lx_debug_eval_sample(lx_cli *cli, int argc, char **argv, lx_error *err);
int lx_debug_eval_train(lx_cli *cli, bool is_whole, int argc, char **argv, lx_error *err);

#endif
