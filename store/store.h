/*
 * store/store - one SQLite file and a folder of objects that hold every run
 *
 * Layout of a store folder: store.db (WAL), lock, objects/ab/cdef... (large objects as files), tmp/.
 * Found by --store, LX_STORE, a .lx/ above the working folder, else $XDG_DATA_HOME/lx (or
 * ~/.local/share/lx); created on first use.
 *
 * Invariants:
 * (1) One lock (`lock`, OFD) is held around every write transaction and every checkpoint; automatic
 *     checkpoints are off (SQLite 3.40's WAL-reset bug).
 * (2) synchronous=FULL at commits that promise something; the store is created under EXTRA and its
 *     folder is synced.
 * (3) Before the transaction that adds an object commits, its bytes are durable under their name:
 *     tmp, fsync, rename, fsync of the folder.
 * (4) A failed sync poisons the handle: LX_EIO, no retry.
 * (5) Nothing is edited: notes, tags and names are new records.
 */
#ifndef LX_STORE_STORE_H
#define LX_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"
#include "src/base/sha256.h"
#include "src/base/str.h"

typedef struct lx_store lx_store;

/* path NULL: find it (above). is_readonly: never creates, never writes. */
int lx_store_open(lx_store **out, const char *path, bool is_readonly, lx_error *err);
void lx_store_close(lx_store *store);
const char *lx_store_path(const lx_store *store);

/* ---- objects: bytes under their SHA-256, stored once, zstd-compressed when that pays -------- */
int lx_object_put(lx_hash *out, lx_store *store, const void *data, size_t n, lx_error *err);
int lx_object_put_file(lx_hash *out, lx_store *store, const char *path, lx_error *err);
/* Verified against the hash: LX_EFORMAT naming the object when it does not match. */
int lx_object_get(lx_str *out, lx_store *store, const lx_hash *hash, lx_error *err);
bool lx_object_exists(lx_store *store, const lx_hash *hash);

/* ---- recording a run ----------------------------------------------------------------------- */

typedef struct lx_run lx_run; /* a run being recorded */

typedef struct lx_run_start {
    const char *name;         /* --name, or output_name; may be NULL */
    const char *kind;         /* "train", "run", "merge", "import" ... */
    const char *command_line; /* as given, secrets scrubbed */
    const char *flags_given;  /* JSON object: as the user wrote them */
    const char *flags;        /* JSON object: as resolved, every flag */
    const char *spec;         /* canonical JSON of all that determines the result; NULL = none */
    const char *dataset;      /* canonical JSON of the Merkle tree (store/dataset.h); NULL = none */
    const char *base_model;   /* JSON {path, sha256, ...}; NULL = none */
    const char *work_dir;     /* for the git state; NULL = none is recorded */
    uint64_t seed;
    bool has_seed;
} lx_run_start;

/* Records environment and git state (commit, branch, diff against HEAD, untracked sources) too.
 * Durable when it returns. *id is borrowed from the run: 16 lower-case hex digits. */
int lx_run_begin(lx_run **out, lx_store *store, const lx_run_start *start, lx_error *err);
const char *lx_run_id(const lx_run *run);
const char *lx_run_spec_hash(const lx_run *run); /* 64 hex digits or "" */

/* A point of a curve. Buffered; the first call a second or more after the last flush flushes. `key`
 * is a short name: "loss", "loss/average", "lr/unet", "lr/textencoder", "grad_norm", "seconds". */
int lx_run_log(lx_run *run, const char *key, int64_t step, double value, lx_error *err);
int lx_run_flush(lx_run *run, lx_error *err);
/* A file or bytes that belong to the run: role "lora", "sample", "log", "state"; name for people. */
int lx_run_artifact_file(lx_run *run, const char *role, const char *name, const char *path,
                         int64_t step, lx_error *err);
int lx_run_artifact(lx_run *run, const char *role, const char *name, const void *data, size_t n,
                    int64_t step, lx_error *err);
/* status "finished", "interrupted", "failed" with the error's text. Closes the run. */
int lx_run_end(lx_run *run, const char *status, const char *message, lx_error *err);
void lx_run_abandon(lx_run *run); /* frees; the run will be seen as interrupted */

#endif
