/*
 * store/query - reading what was recorded
 *
 * Texts live in the arena given. A store opened read-only is enough.
 */
#ifndef LX_STORE_QUERY_H
#define LX_STORE_QUERY_H

#include "src/base/arena.h"
#include "store/store.h"

typedef struct lx_run_row {
    int64_t seq;
    const char *id, *kind, *name; /* name "" when there is none */
    double started, ended;        /* seconds since 1970; ended 0 = has not */
    const char *status;           /* running, finished, interrupted, failed */
    const char *message;          /* of the end, or "" */
    const char *spec;             /* 64 hex digits or "" */
    const char *seed;             /* decimal or "" */
    int64_t last_step;            /* of any curve; -1 = none */
    double loss;                  /* last of loss/average, else of loss; NaN = none */
} lx_run_row;

typedef struct lx_run_list {
    lx_run_row *rows; /* newest first */
    size_t count;
} lx_run_list;

/* Filters may be NULL. limit 0 = all. */
typedef struct lx_run_filter {
    const char *status, *kind, *name, *spec;
    int64_t limit;
} lx_run_filter;

int lx_query_runs(lx_run_list *out, lx_store *store, const lx_run_filter *filter,
                  lx_arena *arena, lx_error *err);

/* By id, an unambiguous beginning of one, or a name (the newest of it). LX_ENOTFOUND, or
 * LX_EUSAGE listing what the beginning could mean. */
int lx_query_find(lx_run_row *out, lx_store *store, const char *text, lx_arena *arena,
                  lx_error *err);

typedef struct lx_run_texts {
    const char *command_line, *flags_given, *flags, *spec, *dataset, *base_model, *environment,
        *git, *diff; /* NULL = not recorded */
} lx_run_texts;
int lx_query_texts(lx_run_texts *out, lx_store *store, const lx_run_row *run, lx_arena *arena,
                   lx_error *err);

typedef struct lx_curve {
    const char *key;
    size_t n;
    int64_t *steps;
    double *values;
} lx_curve;
/* All curves of a run with their points; sorted by key. */
int lx_query_curves(lx_curve **out, size_t *count, lx_store *store, const lx_run_row *run,
                    lx_arena *arena, lx_error *err);

typedef struct lx_artifact_row {
    const char *role, *name, *object; /* object: 64 hex digits */
    int64_t step, size;
} lx_artifact_row;
int lx_query_artifacts(lx_artifact_row **out, size_t *count, lx_store *store,
                       const lx_run_row *run, lx_arena *arena, lx_error *err);

/* ---- checking ------------------------------------------------------------------------------ */

typedef struct lx_check_report {
    size_t n_objects, n_runs, n_bytes;
    size_t n_problems;
} lx_check_report;
/* Every finding as one line to `tell`. Re-hashes all objects, decodes all curves. */
int lx_store_check(lx_check_report *out, lx_store *store,
                   void (*tell)(void *context, const char *line), void *context, lx_error *err);

#endif
