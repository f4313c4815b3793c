/*
 * cmd/pasted - the flags in a pasted `accelerate launch ... train_network.py ...` line
 *
 * The line comes as the shell split it, or as one quoted word, perhaps over several lines joined by
 * `\` (sh), `^` (cmd) or a backtick (PowerShell). In front of it may stand flags of lx, a prompt "$"
 * and variables (NAME=value). These, the launcher, its options and the script are dropped; what
 * follows are the flags of the training.
 */
#ifndef LX_CMD_PASTED_H
#define LX_CMD_PASTED_H

#include "cmd/option.h"

/* `dropped` are the launcher's options and the names of variables, for a note. Words that are no pasted line come back as they
 * are. LX_EUSAGE for an open quote; LX_EUNSUPPORTED for another script or several processes. */
int lx_pasted_flags(lx_words *out, lx_words *dropped, int argc, char **argv, lx_arena *arena,
                    lx_error *err);

#endif
