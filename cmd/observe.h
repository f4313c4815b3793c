/*
 * cmd/observe - what a command line of another trainer says
 *
 * Recognises a Python script behind any launcher (python, accelerate launch with its
 * options, torchrun, uv run ...) and reads the words behind it as flags: sd-scripts' by
 * lx's own table with their types, files and defaults, others as `--name value ...` by
 * what the values look like. Secrets are dropped. Nothing here fails because the trainer
 * would: what cannot be read is a note.
 */
#ifndef LX_CMD_OBSERVE_H
#define LX_CMD_OBSERVE_H

#include "cmd/train_flags.h"

typedef struct lx_observed {
    const char *script; /* "sd-scripts/train_network.py", or NULL */
    const char
        *folder; /* the script's, else "." : where the code's git state is looked for */
    bool is_sd_scripts; /* one of its trainers */
    const char *given,
        *flags; /* JSON objects; flags with sd-scripts' defaults where they are known */
    lx_train_config config; /* is_sd_scripts: the data and where output goes */
    bool has_data;          /* config.data names images */
    const char *output_dir, *output_name, *logging_dir,
        *base_model; /* NULL = not named */
    uint64_t seed;
    bool has_seed;
    lx_words notes;
} lx_observed;

/* argv: the command and its words, without an end. All of `out` lives in the command's
 * arena. */
int lx_observe(lx_observed *out, lx_cli *cli, int argc, char **argv, lx_error *err);

/* "name==version" of every Python package beside the interpreter of the command, one a
 * line, sorted; "" when it is none or has none. No process is started: the names of the
 * folders say it. */
int lx_observe_packages(lx_str *out, const char *command, lx_error *err);

#endif
