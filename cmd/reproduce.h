/*
 * cmd/reproduce - a run again, and whether the same comes out
 *
 * What both kinds of run share: a training of lx, repeated by its flags, and a command of
 * another trainer (reproduce_command.c), repeated by its words.
 */
#ifndef LX_CMD_REPRODUCE_H
#define LX_CMD_REPRODUCE_H

#include <limits.h>

#include <cjson/cJSON.h>

#include "cmd/cli.h"
#include "cmd/train_flags.h"
#include "store/query.h"

struct reproduce_args {
    lx_words words;
    const char *output_dir;
    bool check, anyway, json;
};

typedef struct lx_reproduction {
    lx_cli *cli;
    const struct reproduce_args *args;
    lx_store *store;
    char store_path[PATH_MAX];
    lx_run_row run;
    lx_run_texts texts;
    const char *output_dir;
    char *words[10]; /* of `lx train` */
    int n_words;
    lx_train_config config;
    lx_train_flags flags;
    bool is_command, has_data; /* of another trainer; whose images are known */
    const char *code_folder;   /* where a command's code lies */
    lx_words command;          /* its words */
    size_t n_changed;          /* inputs */
    cJSON *json, *inputs; /* --json: what is told, and its list of inputs; else NULL */
} lx_reproduction;

/* A line about an input, or a member of the list of inputs. */
void lx_reproduce_tell(lx_reproduction *r, const char *state, const char *what);
void lx_reproduce_tell_change(lx_reproduction *r, const char *what);
/* The text is made of parts that the caller has not checked; NULL is out of memory. */
int lx_reproduce_tell_same(lx_reproduction *r, const char *what, lx_error *err);

/* Of a training of lx: the files of base_weights and network_weights and the masks. dataset: as scanned now; NULL where
 * it cannot be. */
int lx_reproduce_check_files(lx_reproduction *r, const lx_dataset *dataset, lx_error *err);
/* The command's words, and from them config (data, base model). LX_EUSAGE: a secret was
 * taken out of them. */
int lx_reproduce_read_command(lx_reproduction *r, lx_error *err);
/* Whether the code is what it was: commit, uncommitted changes, untracked sources. */
int lx_reproduce_check_code(lx_reproduction *r, lx_error *err);
/* Runs it as `lx run` does, output going to r->output_dir. LX_ECHECK: it failed. */
int lx_reproduce_run_command(lx_reproduction *r, lx_error *err);

#endif
