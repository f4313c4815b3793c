/*
 * store/transfer - runs on their way from one store to another
 *
 * A run travels as a record (JSON) and objects (bytes under their SHA-256). The record
 * has the columns of `run`, how it ended, what was said of it, its artifacts and its
 * curves; texts, curves and files are named in it by hash:
 *
 *     {"id", "kind", "name", "origin", "parent", "started", "seed",
 *      "texts": {"spec": HEX, "command_line": HEX, ...},
 *      "end": {"ended", "status", "message"},
 *      "remarks": [[at, kind, key, value], ...],            value null: taken back
 *      "artifacts": [{"role", "name", "step", "at", "sha256", "size", "is_kept", "path",
 *                     "tensors"}],
 *      "curves": [{"key", "n", "points": HEX}]}       n x i64 steps, then n x f64 values, LE
 *
 * Leaving, everything passes the privacy filter (store/privacy). A text that changes gets
 * a new hash, and so does all that names it: captions, then folders, then the dataset,
 * then the spec. A run keeps its id, so what was scrubbed is still known to be the same
 * run. LoRA files keep their tensors: only texts of their metadata change. Pins and the
 * trash stay at home.
 *
 * Arriving, a run whose id (or origin) is here already is not stored again; what it lacks
 * is added: its end, remarks, artifacts, further points. Bringing the same runs to two
 * stores in any order gives the same runs in both.
 *
 * Order of use, leaving: lx_transfer_new, _learn per run, _add per run, then _objects and
 * _records.
 */
#ifndef LX_STORE_TRANSFER_H
#define LX_STORE_TRANSFER_H

#include <cjson/cJSON.h>

#include "store/privacy.h"
#include "store/query.h"

typedef struct lx_transfer lx_transfer;

/* What a record may hold; whatever records a run keeps to it, so that the run can leave. Bytes of a name, key or path;
 * of the name of a curve; of a note. */
enum { LX_TRANSFER_NAME = 4096, LX_TRANSFER_CURVE = 256, LX_TRANSFER_NOTE = 16 << 20 };
/* A kind or a role: 1 to 32 lower-case letters, digits, _ and -. */
bool lx_transfer_is_word(const char *text);
/* Seconds since 1970, 0 to 1e11. */
bool lx_transfer_is_time(double seconds);

/* Borrows all three; `privacy` may be off. */
int lx_transfer_new(lx_transfer **out, lx_store *store, lx_privacy *privacy,
                    lx_arena *arena, lx_error *err);
void lx_transfer_free(lx_transfer *transfer);

/* Names in the run's texts, so that they are recognised in all runs. Before the first
 * lx_transfer_add. */
int lx_transfer_learn(lx_transfer *t, const lx_run_row *run, lx_error *err);
/* LX_EFORMAT: it cannot leave, or something of it is damaged. */
int lx_transfer_add(lx_transfer *t, const lx_run_row *run, lx_error *err);
/* Did the last lx_transfer_add fail since no store would take such a run? Old versions of lx recorded what they were
 * given. */
bool lx_transfer_is_unfit(const lx_transfer *t);

/* A file of this role as lx_privacy_scrub_file would leave it, but for those that are a text in whatever encoding
 * (config, console, log): of these the bytes are scrubbed. */
lx_scrubbing lx_transfer_scrub(lx_str *out, lx_privacy *privacy, const char *role,
                               const lx_str *bytes);

/* One object that must travel. */
typedef struct lx_transfer_object {
    lx_hash hash;
    int64_t size;
    const void *data; /* NULL: in the store, under `from` */
    lx_hash
        from; /* not `hash` when the file is rewritten on its way: a LoRA's metadata */
} lx_transfer_object;

/* Its bytes, borrowed until `room` (the caller's) is used again. */
int lx_transfer_bytes(const void **data, size_t *n, lx_str *room, lx_transfer *t,
                      const lx_transfer_object *object, lx_error *err);

/* Each once, sorted by hash; borrowed until the next _add. */
const lx_transfer_object *lx_transfer_objects(lx_transfer *t, size_t *n);
/* An array, one record a run, in the order they were added; borrowed. */
const cJSON *lx_transfer_records(const lx_transfer *t);
/* Files that are no text (consoles, logs, settings are one in whatever encoding) in which something private was seen
 * and not taken out: names; borrowed. */
const char *const *lx_transfer_left(const lx_transfer *t, size_t *n);
/* Curves in whose names something private was seen and not taken out, as a curve is known by its name: their names
 * scrubbed, each once; borrowed. */
const char *const *lx_transfer_curves(const lx_transfer *t, size_t *n);
/* Has any experiment (spec) got another hash than it has here? */
bool lx_transfer_has_new_spec(const lx_transfer *t);

/* ---- arriving ---------------------------------------------------------------------- */

/* The bytes of an object, verified by the callee; borrowed until the next call.
 * LX_ENOTFOUND: it did not travel (it may be in the store). */
typedef int (*lx_transfer_fetch)(void *context, const void **data, size_t *n,
                                 const lx_hash *hash, lx_error *err);

typedef enum lx_arrival {
    LX_ARRIVED_NEW,
    LX_ARRIVED_KNOWN,
    LX_ARRIVED_EXTENDED
} lx_arrival;

/* Checks the whole record before anything is written: LX_EFORMAT. *id is borrowed from
 * the record. */
int lx_transfer_check(const char **id, const cJSON *record, lx_error *err);
/* All or nothing of one run; *seq is its row here. The record is checked again. */
int lx_transfer_apply(lx_arrival *how, int64_t *seq, lx_store *store, const cJSON *record,
                      lx_transfer_fetch fetch, void *context, lx_error *err);

/* Has `theirs` all that `ours` says of the run: its end, points, artifacts, remarks? Both
 * are sound. */
int lx_transfer_covers(bool *out, const cJSON *theirs, const cJSON *ours, lx_error *err);

#endif
