/*
 * store/query - reading what was recorded
 *
 * Texts live in the arena given. A store opened read-only is enough. `run` is a run's
 * seq.
 */
#ifndef LX_STORE_QUERY_H
#define LX_STORE_QUERY_H

#include "src/base/arena.h"
#include "store/store.h"

/* ---- runs ------------------------------------------------------------------------- */

typedef struct lx_run_row {
    int64_t seq;
    const char *id, *kind, *name; /* name: the newest; "" when there is none */
    const char *group;            /* or "" */
    double started, ended;        /* seconds since 1970; ended 0 = has not */
    const char *status;           /* running, finished, interrupted, failed */
    const char *message;          /* of the end, or "" */
    const char *spec;             /* 64 hex digits or "" */
    const char *seed;             /* decimal or "" */
    const char *origin, *parent;  /* or "" */
    bool is_pinned, is_trashed;
    int64_t n_points;  /* of all curves */
    int64_t last_step; /* of any curve; -1 = none */
    double loss;       /* last of loss/average, else of loss; NaN = none */
} lx_run_row;

/* How long it took, or has taken until `now` (seconds since 1970) while it runs. NaN: that is
 * not known; of a run that another process ended, the clock may have been set back. */
double lx_run_seconds(const lx_run_row *run, double now);

typedef struct lx_run_list {
    lx_run_row *rows; /* newest first: by start, but runs of this store as they were recorded */
    size_t count;
} lx_run_list;

/* Filters may be NULL. limit 0 = all. Runs in the trash are left out unless asked for. */
typedef struct lx_run_filter {
    const char *status, *kind, *name, *group, *tag;
    int64_t limit;
    bool has_trashed;
} lx_run_filter;

/* 10,000 runs take about 20 ms: nothing is decoded. */
int lx_query_runs(lx_run_list *out, lx_store *store, const lx_run_filter *filter,
                  lx_arena *arena, lx_error *err);

/* By id, a name (the newest of it), or an unambiguous beginning of an id. LX_ENOTFOUND, or
 * LX_EUSAGE listing what the beginning could mean. */
int lx_query_find(lx_run_row *out, lx_store *store, const char *text, lx_arena *arena,
                  lx_error *err);
/* The run that was imported from there, or the run of this seq; LX_ENOTFOUND. */
int lx_query_origin(lx_run_row *out, lx_store *store, const char *origin, lx_arena *arena,
                    lx_error *err);
int lx_query_run(lx_run_row *out, lx_store *store, int64_t run, lx_arena *arena,
                 lx_error *err);

typedef struct lx_run_texts {
    const char *command_line, *flags_given, *flags, *spec, *dataset, *base_model,
        *environment, *git, *diff; /* NULL = not recorded */
} lx_run_texts;
int lx_query_texts(lx_run_texts *out, lx_store *store, const lx_run_row *run,
                   lx_arena *arena, lx_error *err);

/* Changes whenever any process commits: ask before reading again what is shown live. */
int lx_query_version(int64_t *out, lx_store *store, lx_error *err);

/* ---- curves ----------------------------------------------------------------------- */

/* A curve at a glance; nothing is decoded. */
typedef struct lx_series_row {
    int64_t run; /* seq */
    const char *key;
    int64_t n, first_step, last_step;
    double last_value;           /* NaN when it is not a number */
    double min_value, max_value; /* of those that are numbers; NaN = none is */
    int64_t min_step;
} lx_series_row;
/* run 0 = of all runs (by seq), key NULL = all keys (sorted): lx_query_series(.., 0,
 * "loss", ..) is a column of a table of runs. */
int lx_query_series(lx_series_row **out, size_t *count, lx_store *store, int64_t run,
                    const char *key, lx_arena *arena, lx_error *err);

typedef struct lx_curve {
    const char *key;
    size_t n;
    int64_t *steps;
    double *values;
} lx_curve;
/* Points from number `from` on (0 = all; a live view asks for what it has not seen). n =
 * 0 and no error when there is no such curve or no more of it. */
int lx_query_curve(lx_curve *out, lx_store *store, int64_t run, const char *key,
                   size_t from, lx_arena *arena, lx_error *err);
/* All curves of a run with their points; sorted by key. */
int lx_query_curves(lx_curve **out, size_t *count, lx_store *store, const lx_run_row *run,
                    lx_arena *arena, lx_error *err);

/* The kinds of all runs, sorted, those in the trash with them. */
int lx_query_kinds(const char ***out, size_t *count, lx_store *store, lx_arena *arena,
                   lx_error *err);

/* Names of all curves of all runs, sorted. */
int lx_query_series_keys(const char ***out, size_t *count, lx_store *store,
                         lx_arena *arena, lx_error *err);

/* ---- flags, remarks, artifacts, console ------------------------------------------- */

typedef struct lx_flag_row {
    int64_t run;
    const char *key;
    const char *text; /* as text in any case: "0.0001", "true" is "1" */
    double number;    /* NaN when it is none */
    bool is_text;     /* as recorded, though it may look like a number */
} lx_flag_row;
/* Of a run, by key (key NULL = all keys); run 0: one key of all runs, in no order. */
int lx_query_flags(lx_flag_row **out, size_t *count, lx_store *store, int64_t run,
                   const char *key, lx_arena *arena, lx_error *err);

/* Names of all flags of all runs, sorted; only_varied: those with more than one value. */
int lx_query_flag_keys(const char ***out, size_t *count, lx_store *store,
                       bool only_varied, lx_arena *arena, lx_error *err);

/* What runs were made from, by hash: many share one. Newest first; runs without either are left out. */
typedef struct lx_input_row {
    int64_t run;
    lx_hash dataset, base_model; /* objects: lx_run_texts.dataset and .base_model */
    bool has_dataset, has_base_model;
} lx_input_row;
int lx_query_inputs(lx_input_row **out, size_t *count, lx_store *store, lx_arena *arena,
                    lx_error *err);

typedef struct lx_remark_row {
    int64_t run;
    const char *kind; /* name, group, tag, note, pin, trash, fact */
    const char *key, *value;
    double at;
} lx_remark_row;
/* Those that hold, oldest first. run 0 = of all runs, kind NULL = all kinds. */
int lx_query_remarks(lx_remark_row **out, size_t *count, lx_store *store, int64_t run,
                     const char *kind, lx_arena *arena, lx_error *err);

typedef struct lx_artifact_row {
    int64_t run;
    const char *role, *name, *object; /* object: 64 hex digits */
    int64_t step, size;               /* step -1: of none */
    bool is_kept;                     /* lx_object_get has the bytes */
    const char *path;                 /* where it lay, or "" */
    const char *tensor_hash;          /* 64 hex digits or "" */
    double at;
} lx_artifact_row;
int lx_query_artifacts(lx_artifact_row **out, size_t *count, lx_store *store,
                       const lx_run_row *run, lx_arena *arena, lx_error *err);
/* Of any run, newest first: those with these bytes (hash) or these tensors (tensor_hash);
 * either may be NULL. */
int lx_query_artifacts_of(lx_artifact_row **out, size_t *count, lx_store *store,
                          const lx_hash *hash, const lx_hash *tensor_hash,
                          lx_arena *arena, lx_error *err);

/* What the run printed from byte `from` on, live or ended. */
int lx_query_console(lx_str *out, lx_store *store, int64_t run, size_t from,
                     lx_error *err);

/* ---- SQL -------------------------------------------------------------------------- */

typedef enum lx_sql_type {
    LX_SQL_NULL,
    LX_SQL_INTEGER,
    LX_SQL_REAL,
    LX_SQL_TEXT,
    LX_SQL_BLOB
} lx_sql_type;
typedef struct lx_sql_value {
    lx_sql_type type;
    int64_t integer;
    double real;
    const char *bytes; /* TEXT (NUL-terminated) and BLOB: n bytes */
    size_t n;
} lx_sql_value;

/* A word of a user's as a value: a number where SQLite prints that number just so (4, -1,
 * 0.06), else a text (007, 1e5, 1.10): a column of texts holds it as it stands either way.
 * Borrows the word. */
lx_sql_value lx_sql_word(const char *word);

/* Called once with values NULL before the first row (the columns are known then), then
 * per row. All is borrowed until it returns; a negative LX_E code ends the query and is
 * returned. */
typedef int (*lx_sql_row)(void *context, int n_columns, const char *const *columns,
                          const lx_sql_value *values, lx_error *err);

/*
 * One statement that reads, on a connection of its own that cannot write, attach or load.
 * The views are in docs/store.md: runs, curves, tail, artifacts, tags, notes, facts,
 * flags. args fill ?1, ?2 ... LX_EUSAGE: no such column, a syntax error, a statement that
 * writes.
 */
int lx_store_sql(lx_store *store, const char *sql, const lx_sql_value *args, int n_args,
                 lx_sql_row row, void *context, lx_error *err);

/* ---- checking --------------------------------------------------------------------- */

typedef struct lx_check_report {
    size_t n_objects, n_runs, n_bytes, n_points;
    size_t n_problems;
    bool is_database_damaged; /* pages or references, not only what is in the rows */
} lx_check_report;

/* Every finding as one line to `tell`. Re-hashes all objects, decodes all curves,
 * compares what is derived with the record. */
int lx_store_check(lx_check_report *out, lx_store *store,
                   void (*tell)(void *context, const char *line), void *context,
                   lx_error *err);

/* Makes all that is derived from the record again (schema/store/0002_derived.sql), in one
 * transaction. The store is open for writing. */
int lx_store_rebuild(lx_store *store, lx_error *err);

#endif
