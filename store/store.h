/*
 * store/store - one SQLite file and a folder of objects that hold every run
 *
 * Layout of a store folder: store.db (WAL), lock, objects/ab/cdef... (large objects as
 * files), trash/. Found by --store, LX_STORE, a .lx/ above the working folder, else
 * $XDG_DATA_HOME/lx (or
 * ~/.local/share/lx); created on first use.
 *
 * Invariants:
 * (1) One lock (`lock`, OFD) is held around every write transaction and every checkpoint;
 * automatic checkpoints are off (SQLite 3.40's WAL-reset bug). What takes long (reading
 * git, compressing, copying files) is done before the lock is taken. (2) synchronous=FULL
 * at commits that promise something; the store is created under EXTRA and its folders are
 * synced, its parents too. (3) Before the transaction that adds an object commits, its
 * bytes are durable under their name: tmp, fsync, rename, fsync of the folder. The
 * folders objects/00 to objects/ff are made, and `objects` synced, before the database
 * is. (4) A failed sync poisons the handle: LX_EIO, no retry. Running out of memory or of
 * disk does not: the transaction is undone and may be tried again. (5) Nothing is edited:
 * notes, tags and names are new records. Points of a live run are plain rows
 *     (`tail`) until they are packed; both forms are in the same transaction.
 *
 * A handle may be used by several threads (calls take turns); an lx_run by several as
 * well. Handles do not survive fork: open the store in the child.
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

/*
 * path NULL: find it (above). is_readonly: never creates, never writes; works on a
 * read-only medium. LX_ENOTFOUND (reading an absent one), LX_ECONFIG (of a newer version;
 * nothing was touched), LX_EPLACE (a network file system), LX_EBUSY.
 */
int lx_store_open(lx_store **out, const char *path, bool is_readonly, lx_error *err);
/* To change what is there: an absent store is LX_ENOTFOUND, as it is to readers, and none is made. */
int lx_store_open_existing(lx_store **out, const char *path, lx_error *err);
/* For those that look again and again, after each look: what SQLite keeps of the pages it read is given back. */
void lx_store_rest(lx_store *store);
void lx_store_close(lx_store *store);
const char *lx_store_path(const lx_store *store);

/* How long a call waits for another lx that writes before it is LX_EBUSY. Ends of runs wait for minutes in any case. */
#define LX_STORE_PATIENCE 5.0 /* seconds: what is usual */
void lx_store_patience(lx_store *store, double seconds);
/* Not after a failed write or sync: then this handle writes nothing any more (4). */
bool lx_store_is_usable(lx_store *store);

/*
 * All that is recorded on this handle between the two is one transaction: one sync for a
 * thousand imported runs, and all or nothing of them. Others cannot write meanwhile and
 * give up after 5 s, so keep a group under a second or two. _end: commits when rc is
 * LX_OK, else undoes; returns what came of it. A part that failed alone (LX_EEXISTS of an
 * origin) does not spoil the group.
 */
int lx_store_group_begin(lx_store *store, lx_error *err);
int lx_store_group_end(lx_store *store, int rc, lx_error *err);

/* Which folder lx_store_open would take; it need not be there. */
int lx_store_find(lx_str *out, const char *path, lx_error *err);
/* The .lx/ in the working folder or above it: 1 and its path, or 0. */
int lx_store_above(lx_str *out);

/* ---- objects: bytes under their SHA-256, stored once, zstd-compressed when that pays */
int lx_object_put(lx_hash *out, lx_store *store, const void *data, size_t n,
                  lx_error *err);
/* LX_EFORMAT when the file changes while it is read. */
int lx_object_put_file(lx_hash *out, lx_store *store, const char *path, lx_error *err);
/* Verified against the hash: LX_EFORMAT naming the object when it does not match. */
int lx_object_get(lx_str *out, lx_store *store, const lx_hash *hash, lx_error *err);
/* Straight into a file (made whole or not at all), verified as well: for large ones. */
int lx_object_get_file(lx_store *store, const lx_hash *hash, const char *path,
                       lx_error *err);
/* *out: is it here? An error is not "no". */
int lx_object_exists(bool *out, lx_store *store, const lx_hash *hash, lx_error *err);

/* ---- recording a run -------------------------------------------------------------- */

typedef struct lx_run lx_run; /* a run being recorded */

typedef struct lx_run_start {
    const char *name;         /* --name, or output_name; may be NULL */
    const char *kind;         /* "train", "run", "merge", "import" ... */
    const char *command_line; /* as given, secrets scrubbed (base/scrub.h) */
    const char *flags_given;  /* JSON object: as the user wrote them */
    const char
        *flags; /* JSON object: as resolved, every flag; they become rows of `flags` */
    const char *spec; /* canonical JSON of all that determines the result; NULL = none */
    const char
        *dataset; /* canonical JSON of the Merkle tree (store/dataset.h); NULL = none */
    const char *base_model; /* JSON {path, sha256, ...}; NULL = none */
    const char *work_dir;   /* for the git state; NULL = none is recorded */
    uint64_t seed;
    bool has_seed;
    int64_t pid; /* the process whose life is the run's; 0 = this one */
    /* Of runs that were not made by this process, now: */
    const char *origin; /* names the source for ever ("tfevents:SHA256", "lora:SESSION"):
                           a second run of the same origin is LX_EEXISTS. NULL = none */
    double started;     /* seconds since 1970; 0 = now */
    bool is_historic;   /* imported: no process of ours is behind it, so it is never
                           "running",   and this machine's environment is not recorded */
    const char *environment; /* JSON known from elsewhere; NULL = this machine's (none if
                                historic) */
    const char *parent;      /* id of the run that this one goes on from; NULL = none */
} lx_run_start;

/* Records environment and git state (commit, branch, diff against HEAD, untracked
 * sources) too. Durable when it returns. LX_EEXISTS: see origin (lx_query_origin finds
 * the run). */
int lx_run_begin(lx_run **out, lx_store *store, const lx_run_start *start, lx_error *err);
/* Goes on with one that has not ended, of any process: `lx log`. LX_EUSAGE if it has. */
int lx_run_open(lx_run **out, lx_store *store, int64_t seq, lx_error *err);
int64_t lx_run_seq(const lx_run *run);
const char *lx_run_id(const lx_run *run);        /* 16 lower-case hex digits */
const char *lx_run_spec_hash(const lx_run *run); /* 64 hex digits or "" */

/*
 * A point of a curve; takes well under a microsecond. It is durable within a second,
 * whether or not another call comes: a thread of the run writes what has gathered. What
 * that thread meets is returned by the next call (points are kept and tried again after a
 * full disk or a busy store). `key` is a short name: "loss", "loss/average", "lr/unet",
 * "lr/textencoder", "grad_norm", "seconds". Order is that of the calls; steps need not
 * rise.
 */
int lx_run_log(lx_run *run, const char *key, int64_t step, double value, lx_error *err);
/* n points at once: for imports and other masses; NaN and infinities are points as well.
 */
int lx_run_log_many(lx_run *run, const char *key, const int64_t *steps,
                    const double *values, size_t n, lx_error *err);
/* What the command printed, any bytes; durable within a second, scrubbed of secrets line
 * by line, an artifact of role "console" when the run ends. Past 64 MiB no more is kept.
 */
int lx_run_console(lx_run *run, const void *bytes, size_t n, lx_error *err);
/* Returns when all that was logged before is durable. */
int lx_run_flush(lx_run *run, lx_error *err);

/* A file or bytes that belong to a run. The bytes are one of: data, a file to be copied
 * in, or nothing but their hash and size, when they stay where they are. */
typedef struct lx_artifact {
    const char *role; /* "lora", "sample", "log", "state", "config" */
    const char *name; /* for people */
    int64_t step;     /* -1: of no step */
    const void *data; /* n bytes */
    size_t n;
    const char *path; /* without data and hash: copied in; else where it lies, or NULL */
    const lx_hash *hash; /* with size: only named */
    bool is_stored;      /* and its bytes are in the store already, and kept */
    int64_t size;
    const lx_hash *tensor_hash; /* of a LoRA: SHA-256 of its tensors' bytes, as
                                   sshs_model_hash; or NULL */
    double at;                  /* seconds since 1970; 0 = now */
} lx_artifact;

/* Would lx_run_attach take it into any run? LX_EUSAGE: not of this role or name; LX_EFORMAT: a text is wanted (roles
 * config, console and log are scrubbed) and it is none. */
int lx_run_check_artifact(const lx_artifact *artifact, lx_error *err);
/* To a run of any state; durable when it returns. *hash (may be NULL): of the bytes. */
int lx_run_attach(lx_hash *hash, lx_store *store, int64_t run,
                  const lx_artifact *artifact, lx_error *err);
/* The two usual ones. */
int lx_run_artifact_file(lx_run *run, const char *role, const char *name,
                         const char *path, int64_t step, lx_error *err);
int lx_run_artifact(lx_run *run, const char *role, const char *name, const void *data,
                    size_t n, int64_t step, lx_error *err);

/* status "finished", "interrupted", "failed" with the error's text. Closes the run in any
 * case: after an error it will be seen as interrupted. LX_EUSAGE: someone else has ended
 * it meanwhile; that end holds, and what was logged here is durable. */
int lx_run_end(lx_run *run, const char *status, const char *message, lx_error *err);
/* The same with the time of the end, seconds since 1970. */
int lx_run_end_at(lx_run *run, const char *status, const char *message, double ended,
                  lx_error *err);
void lx_run_abandon(lx_run *run); /* frees; the run will be seen as interrupted */

/* ---- remarks: what is said of a run, at any time ---------------------------------- */

/* `run` is its seq. Each is a new record, durable when it returns; the newest holds
 * (lx_query_remarks), NULL takes it back. LX_ENOTFOUND: no such run. */
int lx_run_name(lx_store *store, int64_t run, const char *name, lx_error *err);
int lx_run_group(lx_store *store, int64_t run, const char *group, lx_error *err);
int lx_run_tag(lx_store *store, int64_t run, const char *tag, const char *value,
               lx_error *err);
int lx_run_untag(lx_store *store, int64_t run, const char *tag, lx_error *err);
int lx_run_note(lx_store *store, int64_t run, const char *text,
                lx_error *err); /* all hold */
/* Facts are for programs: "captions.verdict", "gpu.name" ... text or JSON. */
int lx_run_fact(lx_store *store, int64_t run, const char *key, const char *value,
                lx_error *err);
int lx_run_pin(lx_store *store, int64_t run, bool is_pinned,
               lx_error *err); /* gc keeps it */
int lx_run_trash(lx_store *store, int64_t run, bool is_trashed,
                 lx_error *err); /* gc may take it */

#endif
