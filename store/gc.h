/*
 * store/gc - removing what nothing reaches
 *
 * A run is removed when it was put into the trash (lx_run_trash) at least `keep_days` ago
 * and holds no pin and no tag. An object is removed when no run, artifact, or object that
 * these reach names it, and it is older than two days: someone may be about to name it.
 * Files without a row (of a crash) are removed at that age as well. Tails of interrupted
 * runs are packed.
 *
 * Nothing is removed but with `prunes`; without, no lock is taken. What is reached is read before
 * the lock is, and under it only what came since: others write meanwhile.
 */
#ifndef LX_STORE_GC_H
#define LX_STORE_GC_H

#include "store/store.h"

typedef struct lx_gc_options {
    bool prunes;      /* false: only tell */
    double keep_days; /* of runs in the trash; LX_GC_KEEP_DAYS is usual */
    double now;       /* seconds since 1970; 0 = the clock's */
} lx_gc_options;

#define LX_GC_KEEP_DAYS 14.0

typedef struct lx_gc_report {
    size_t n_runs, n_objects, n_files; /* removed, or to be */
    int64_t n_bytes;                   /* of objects as stored, and of files */
    size_t n_packed;                   /* curves */
} lx_gc_report;

/* Every run that is removed, or would be, as one line to `tell`. The store is open for
 * writing. */
int lx_store_gc(lx_gc_report *out, lx_store *store, const lx_gc_options *options,
                void (*tell)(void *context, const char *line), void *context,
                lx_error *err);

#endif
