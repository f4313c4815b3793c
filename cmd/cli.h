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
#include "src/base/str.h"

typedef struct lx_cli {
    lx_arena *arena;        /* the command's memory */
    FILE *out, *err;        /* stdout, stderr */
    bool is_terminal;       /* stderr is one: progress lines are rewritten in place */
    bool has_color;         /* stdout is a terminal and NO_COLOR is not set */
    int columns;
    const char *store_path; /* --store, or NULL */
    const struct lx_settings *settings; /* cmd/settings.h; NULL: they are not read here */
    bool is_verbose, is_quiet;
    const char *name;       /* in front of the error line: "merge", "debug eval" */
    int argc;               /* the command's own words, as given, without its name */
    char **argv;
    int write_error;        /* errno of the first write to stdout that failed, or 0 */
    bool survives_oom;      /* it has answered for memory that ran out itself (serve) */
    int exit_status;        /* not 0: what lx exits with instead of its own (run: the command's;
                             * verify: the label's) */
} lx_cli;

typedef struct lx_command {
    const char *name;    /* "inspect", "debug eval" is debug's business */
    const char *summary; /* one line of `lx help` */
    const char *usage;   /* "FILE..." after the options */
    const char *help;    /* paragraphs and examples of --help */
    const lx_option *options; /* NULL: the command parses argv itself (run, debug) */
    bool parses_itself;  /* options are for help, man and completion only (train) */
    size_t args_size;    /* of the struct the options fill, zeroed first */
    int (*run)(lx_cli *cli, void *args, lx_error *err);
    bool is_hidden;      /* left out of `lx help` */
    bool has_no_settings; /* works whatever the settings are: config, help ... */
    const struct lx_command *const *subcommands; /* "data check" ...: the next word says which; NULL ends */
    bool computes;       /* its threads wait for each other thousands of times (cmd/waiting.h) */
} lx_command;

#define LX_COMMAND(name) extern const lx_command lx_cmd_##name;
#include "cmd/commands.def"
#undef LX_COMMAND

extern const lx_command *const lx_commands[]; /* ends with NULL */
/* LX_EUSAGE with the nearest name. */
int lx_command_find(const lx_command **out, const char *name, lx_error *err);
/* "check" of the command "data". */
int lx_subcommand_find(const lx_command **out, const lx_command *command, const char *name,
                       lx_error *err);

/* --store, --quiet, --verbose: taken before the command and after it. */
extern const lx_option lx_global_options[];
typedef struct lx_globals {
    const char *store;
    bool is_quiet, is_verbose, wants_help;
} lx_globals;
void lx_cli_apply_globals(lx_cli *cli, const lx_globals *globals);

/* "lx merge [options] FILE...", as --help and the man page show it. */
const char *lx_command_synopsis(const lx_command *command, lx_arena *arena);
/* The whole of `lx CMD --help` / `lx help` appended to out. */
void lx_help_command(lx_str *out, const lx_command *command, lx_arena *arena, int columns);
void lx_help_overview(lx_str *out);

/* The streams, the terminal and the environment (NO_COLOR, COLUMNS). arena is the caller's. */
void lx_cli_init(lx_cli *cli, lx_arena *arena, FILE *out, FILE *err);

/* printf to cli->out / to cli->err; text from files goes through %s only after escaping. */
void lx_print(lx_cli *cli, const char *fmt, ...) LX_PRINTF(2, 3);
/* n bytes as they are to cli->out: a whole document. */
void lx_print_bytes(lx_cli *cli, const char *bytes, size_t n);
void lx_message(lx_cli *cli, const char *fmt, ...) LX_PRINTF(2, 3);
/* An escaped copy in the command's arena, for one line of a terminal. Never NULL ("?" without
 * memory). */
const char *lx_safe(lx_cli *cli, const char *text);

/*
 * Ctrl-C and SIGTERM: the first sets a flag, the second leaves at once with 130. SIGHUP (the terminal was closed)
 * sets the flag, too, and never counts as a second one; who was started with it ignored (nohup) goes on ignoring
 * it. A command that never installs them dies of the first, as usual.
 */
void lx_signals_install(void);
int lx_signals_pending(void); /* 0, or the number of the signal */
/* True once after the terminal changed its size (SIGWINCH); lx_cli_columns asks for the new one. */
bool lx_signals_resized(void);
int lx_cli_columns(const lx_cli *cli);
bool lx_cli_is_utf8(void); /* the locale of the environment: LC_ALL, LC_CTYPE, LANG */
/* A write to a closed pipe, or beyond the size a file may have (ulimit -f), is an error to report, not a death in the
 * middle of a transaction; main ends the process by SIGPIPE after the command has cleaned up. */
void lx_signals_ignore_writing(void);
void lx_signals_die_of_pipe(void);

#endif
