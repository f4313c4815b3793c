/*
 * cmd/cli - what every command gets, and how a command is described
 *
 * One file per command, one line in commands.def. Only cmd/ prints; only main exits. Results go to
 * stdout, progress and messages to stderr. Text that came from a file is escaped before it is shown
 * (base/str).
 */
#ifndef LX_CMD_CLI_H
#define LX_CMD_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "cmd/option.h"
#include "src/base/arena.h"
#include "src/base/error.h"

typedef struct lx_cli {
    lx_arena *arena;        /* the command's memory */
    FILE *out, *err;        /* stdout, stderr */
    bool is_terminal;       /* stderr is one: progress lines are rewritten in place */
    bool has_color;         /* stdout is a terminal and NO_COLOR is not set */
    int columns;
    const char *store_path; /* --store, or NULL */
    bool is_verbose, is_quiet;
    int argc;               /* the command's own words, as given */
    char **argv;
} lx_cli;

typedef struct lx_command {
    const char *name;    /* "inspect", "debug eval" is debug's business */
    const char *summary; /* one line of `lx help` */
    const char *usage;   /* "FILE..." after the options */
    const char *help;    /* paragraphs and examples of --help */
    const lx_option *options; /* NULL: the command parses argv itself (train, run, debug) */
    size_t args_size;    /* of the struct the options fill, zeroed first */
    int (*run)(lx_cli *cli, void *args, lx_error *err);
    bool is_hidden;      /* left out of `lx help` */
} lx_command;

#define LX_COMMAND(name) extern const lx_command lx_cmd_##name;
#include "cmd/commands.def"
#undef LX_COMMAND

/* printf to cli->out / to cli->err; text from files goes through %s only after escaping. */
void lx_print(lx_cli *cli, const char *fmt, ...) LX_PRINTF(2, 3);
void lx_message(lx_cli *cli, const char *fmt, ...) LX_PRINTF(2, 3);
/* An escaped copy in the command's arena, for one line of a terminal. Never NULL ("?" without
 * memory). */
const char *lx_safe(lx_cli *cli, const char *text);

/* Ctrl-C: the first sets a flag, the second leaves at once with 130. */
void lx_signals_install(void);
int lx_signals_pending(void); /* 0, or the number of the signal */

#endif
