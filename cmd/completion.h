/* cmd/completion - the scripts of the shells, each from the table of the commands */
#ifndef LX_CMD_COMPLETION_H
#define LX_CMD_COMPLETION_H

#include "cmd/cli.h"

void lx_completion_zsh(lx_str *out);
void lx_completion_fish(lx_str *out);

#endif
