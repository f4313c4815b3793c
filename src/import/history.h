/*
 * import/history - runs that other tools recorded, as plain facts
 *
 * Every reader of a foreign format fills one of these; cmd/import.c writes them into a
 * store. A run has an origin, which names the training for ever whatever file tells of it
 * ("mlflow:RUN", "sd-scripts:SESSION"), so that what is imported twice is stored once.
 *
 * Texts come from strangers: they are copied into the arena with invalid UTF-8 and NUL
 * bytes replaced. An allocation that fails is remembered and told by lx_history_check,
 * once, at the end.
 */
#ifndef LX_IMPORT_HISTORY_H
#define LX_IMPORT_HISTORY_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "src/base/arena.h"
#include "src/base/error.h"
#include "src/base/sha256.h"

enum {
    LX_HISTORY_CURVES = 4096, /* of one run; more is no training */
    LX_HISTORY_FLAGS = 4096,  /* those behind are a problem, and left out */
    LX_HISTORY_RESTARTS = 1000,
    LX_HISTORY_KEY = 256 /* bytes of a curve's name */
};

typedef struct lx_history_curve {
    const char *key;
    int64_t *steps;
    double *values;
    size_t n, step_capacity, value_capacity;
} lx_history_curve;

/* A file of the run: `path` to copy in, or data, or (with a hash) only named. */
typedef struct lx_history_file {
    const char *role, *name, *path;
    const void *data; /* in the arena */
    size_t n;
    bool is_named; /* its bytes stay where they are; hash and size are known */
    lx_hash hash, tensor_hash;
    bool has_tensor_hash;
    int64_t size, step; /* step -1: of none */
    double at;          /* seconds since 1970; 0 = unknown */
} lx_history_file;

typedef struct lx_history_pair {
    const char *key, *value;
} lx_history_pair;

typedef struct lx_history_run {
    const char *origin, *source; /* source: "MLflow", for people */
    const char *from;            /* the path it was read from */
    const char *name, *group, *command_line, *base_model,
        *environment;   /* NULL = unknown */
    const char *status; /* finished, interrupted, failed */
    const char *message;
    double started, ended; /* seconds since 1970; 0 = unknown */
    uint64_t seed;
    bool has_seed;
    cJSON *flags; /* an object; empty when nothing is known */
    size_t n_flags, n_restarts;
    lx_history_curve *curves;
    size_t n_curves, curve_capacity, last_curve;
    lx_history_file *files;
    size_t n_files, file_capacity;
    lx_history_pair *tags, *facts;
    size_t n_tags, tag_capacity, n_facts, fact_capacity;
    const char **notes;
    size_t n_notes, note_capacity;
} lx_history_run;

typedef struct lx_history {
    lx_arena *arena;
    bool keeps_private; /* host, user and mail are wanted */
    bool failed;        /* an allocation did */
    lx_history_run **runs;
    size_t count, capacity;
    const char **problems; /* what could not be read, and why; the rest was */
    size_t n_problems, problem_capacity;
} lx_history;

int lx_history_new(lx_history **out, lx_error *err);
void lx_history_free(lx_history *history); /* NULL is fine */
/* LX_ENOMEM if an allocation failed since the beginning. */
int lx_history_check(const lx_history *history, lx_error *err);

/* A run with status "finished" and nothing else; NULL without memory. */
lx_history_run *lx_history_add(lx_history *history, const char *source, const char *from);
/* Takes back the run added last: it turned out to be none. */
void lx_history_drop(lx_history *history);

/* A copy in the arena: valid UTF-8, no NUL. Never NULL ("" without memory). */
const char *lx_history_text(lx_history *history, const void *bytes, size_t n);
const char *lx_history_printf(lx_history *history, const char *fmt, ...) LX_PRINTF(2, 3);
void lx_history_problem(lx_history *history, const char *fmt, ...) LX_PRINTF(2, 3);

/* Links lead anywhere, and what a stranger's one names is not his to show: a problem, and not to be followed. */
bool lx_history_is_link(lx_history *history, const char *path);

/* LX_ELIMIT: more than LX_HISTORY_CURVES names. Names too long or with control characters
 * are passed over. */
int lx_history_point(lx_history *history, lx_history_run *run, const char *key,
                     int64_t step, double value, lx_error *err);
/* Takes out the points of every curve whose step is `step` or later: the training went
 * back. LX_ELIMIT: more than LX_HISTORY_RESTARTS times. */
int lx_history_rewind(lx_history_run *run, int64_t step, lx_error *err);
int64_t lx_history_last_step(const lx_history_run *run); /* of any curve; -1 = none */
size_t lx_history_points(const lx_history_run *run);

/* The last file counts of two with one role and name and content. NULL without memory. */
lx_history_file *lx_history_add_file(lx_history *history, lx_history_run *run,
                                     const char *role, const char *name);
/* Texts that are in the arena already. */
void lx_history_tag(lx_history *history, lx_history_run *run, const char *key,
                    const char *value);
void lx_history_fact(lx_history *history, lx_history_run *run, const char *key,
                     const char *value);
void lx_history_note(lx_history *history, lx_history_run *run, const char *text);

/* A flag by what its text is: None, True, False, a number, else text. A later one
 * replaces it. */
void lx_history_flag(lx_history *history, lx_history_run *run, const char *key,
                     const char *value);
void lx_history_flag_item(lx_history *history, lx_history_run *run, const char *key,
                          cJSON *value);

#endif
