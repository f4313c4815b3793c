/*
 * cmd/bounds - what a command that reads strangers' files may touch from then on (base/sandbox)
 *
 * Once its words are understood and before it opens any of the files, a command says what it will need; all else is
 * then refused by the kernel until the process ends. In any case it may read programs' libraries, time zones, /proc
 * and what tells about processors, and use /dev/null.
 *
 * Off by the user's setting `sandbox = false` or the variable LX_SANDBOX=off; --verbose says what holds.
 *
 * Order of use: lx_bounds b = {.cli = cli}; lx_bounds_read and the others, in any order; lx_bounds_enter.
 */
#ifndef LX_CMD_BOUNDS_H
#define LX_CMD_BOUNDS_H

#include "cmd/cli.h"
#include "src/base/sandbox.h"

typedef struct lx_bounds {
    lx_cli *cli;
    lx_sandbox_rule *rules;
    size_t n, capacity;
    bool has_children; /* it decodes pictures: this same program may be started again */
    bool failed;       /* without memory */
} lx_bounds;

/*
 * A file with what belongs to it (adapter_config.json of PEFT, SQLite's -wal), or a folder with all below it and
 * with what links in it lead to. What does not exist adds nothing.
 */
void lx_bounds_read(lx_bounds *b, const char *path);
/* The same of a folder in which the caller has met no links, without looking for them again. */
void lx_bounds_read_folder(lx_bounds *b, const char *path);
/* Any file. */
void lx_bounds_read_all(lx_bounds *b);
/* A file or folder that will be made or replaced: the folder in which it lies, or the nearest one that exists. */
void lx_bounds_write(lx_bounds *b, const char *path);
/* The store. makes: it is made if it is not there (as an empty folder: the rest is for lx_store_open). */
int lx_bounds_store(lx_bounds *b, bool makes, lx_error *err);

/* The folder of temporary files, to read and write. */
void lx_bounds_temporary(lx_bounds *b);

int lx_bounds_enter(lx_bounds *b, lx_error *err);

/* For what is made out of files: n inputs, an output, and the store if the run is recorded. The state of the code,
 * which a run records, is asked for before (store/git.h). */
int lx_bounds_of_derived(lx_cli *cli, const char *const *inputs, size_t n,
                         const char *output, bool is_recorded, lx_error *err);

#endif
