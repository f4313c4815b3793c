/*
 * support/store_world - a small world around a store, made once and copied as often as a test asks
 *
 * In a folder of its own: a store with runs of every kind, another one that took them from a bundle, bundles,
 * a repository of code, a repository of runs, a database of MLflow, files. The process works in it, so that all
 * paths are relative. What it is made with, tests use as well; each returns an lx_status and fills *err.
 */
#ifndef LX_TESTS_STORE_WORLD_H
#define LX_TESTS_STORE_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "store/store.h"

/* Paths in it. */
#define WORLD_STORE "store"
#define WORLD_OTHER "other"

/* The content of an artifact that is kept as a file; twice in state.bin, the second time with each byte changed. */
extern unsigned char world_large[70 * 1024];

/* The user of it is wren, HOME and USER say so from then on. Afterwards the process works in what all copies are
 * made from. */
void world_make(void);
/* The working folder is a fresh copy of it. */
void world_renew(void);
void world_remove(void);
/* The same for a group of cmocka's tests; every allocation of an arena is one of malloc. */
int world_set_up(void **state);
int world_tear_down(void **state);

/* Opens a store, does one thing with it, closes it. */
int world_with_store(const char *path, bool is_readonly,
                     int (*use)(lx_store *s, lx_error *err), lx_error *err);
/* A run with a dataset, a repository and everything that can be said; one with three points that goes on unless
 * `ends`. */
int world_record(lx_store *s, const char *name, const char *parent, lx_error *err);
int world_record_small(lx_store *s, const char *name, bool ends, lx_error *err);
int world_log_curves(lx_run *run, lx_error *err);
int world_say_all(lx_store *s, int64_t seq, lx_error *err);
/* A run that somebody left open goes on, and ends. */
int world_go_on(lx_store *s, lx_error *err);
int world_remark(lx_store *s, lx_error *err);
/* Runs of other tools, as one; an origin that is there already does not spoil it. */
int world_import(lx_store *s, lx_error *err);
int world_write_bundle(const char *path, const char *store, bool is_private,
                       lx_error *err);
int world_read_bundle(const char *path, const char *store, lx_error *err);
/* With the repository of runs, both ways: what `store` has goes there, unless it only takes. */
int world_exchange(const char *store, bool gives, lx_error *err);
/* Runs SQL on a database as any program would; the first column of its last row. */
int64_t world_sql(const char *path, const char *sql);

#endif
