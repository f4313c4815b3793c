/* store/internal - what the files of store/ share */
#ifndef LX_STORE_INTERNAL_H
#define LX_STORE_INTERNAL_H

#include <pthread.h>
#include <sqlite3.h>

#include "src/base/arena.h"
#include "store/store.h"

enum {
    STORE_APPLICATION_ID = 0x6c780003, /* "lx" */
    STORE_LARGE = 64 * 1024,           /* stored bytes above this become a file */
    STORE_STATEMENTS = 64              /* prepared ones that are kept */
};

struct lx_store {
    char *path; /* the folder */
    char *copy; /* a folder of our own with a copy of the database, or NULL (open.c) */
    sqlite3 *db;
    int lock_fd; /* -1 in a read-only store */
    /* Held by a transaction and by a statement that is under way; recursive. */
    pthread_mutex_t mutex;
    bool has_mutex, is_readonly, is_poisoned, is_ready, is_in_transaction, is_grouped;
    double patience;    /* seconds to wait for the lock */
    int wal_pages;      /* since the last checkpoint */
    double last_remark; /* its moment */
    struct {
        sqlite3_stmt *stmt;
        bool is_used;
    } statements[STORE_STATEMENTS];
    unsigned next_statement;
};

/* The schema by versions; a test puts a list of its own here. */
typedef struct store__schema {
    const char *const *sql;
    int count;
} store__schema;
extern store__schema store__the_schema;

/* ---- transactions (db.c) ---------------------------------------------------------- */

/* Invariant (1): BEGIN IMMEDIATE under the lock; COMMIT or ROLLBACK lets it go. They do
 * not nest. */
int store__begin(lx_store *store, lx_error *err);
/* Ends the transaction well when rc is LX_OK, else undoes it; what came of it. */
int store__end(lx_store *store, int rc, lx_error *err);
/* Several reads as of one moment; in a transaction they are anyway. Under the mutex; they nest in nothing. */
int store__begin_reading(bool *is_ours, lx_store *store, lx_error *err);
void store__end_reading(lx_store *store, bool is_ours);
/* The lock and the mutex alone, for opening and checkpoints. */
int store__lock(lx_store *store, lx_error *err);
void store__unlock(lx_store *store);
/* Under the lock. A failed one poisons the handle. */
void store__checkpoint(lx_store *store, int mode);

/* ---- statements (db.c) ------------------------------------------------------------ */

/* SQLite's story as ours; a failed write poisons the handle (4). */
int store__sql_error(lx_store *store, const char *doing, lx_error *err);
/* Is it the bytes that are at fault, in the store or where they come from? The others are of use. */
bool store__is_damage(int rc);

/*
 * A statement with its arguments, ready for its first row. types, one letter an argument:
 *
 *     i  int64_t         d  double (NaN: NULL)     t  const char * (NULL: NULL)
 *     h  const lx_hash * (NULL: NULL)              b  const void *, size_t
 *
 * What the pointers point to must live until store__finish; so does the handle's mutex.
 */
int store__query(sqlite3_stmt **out, lx_store *store, lx_error *err, const char *sql,
                 const char *types, ...);
/* true: a row. false: no more, or *rc is an error; nothing is done when *rc is one
 * already. */
bool store__row(int *rc, lx_store *store, sqlite3_stmt *stmt, lx_error *err);
void store__finish(lx_store *store, sqlite3_stmt *stmt); /* NULL is fine */
/* A statement without rows, from begin to end. */
int store__do(lx_store *store, lx_error *err, const char *sql, const char *types, ...);
/* The first column of the first row; `otherwise` when there is none or it is NULL. */
int store__number(int64_t *out, int64_t otherwise, lx_store *store, lx_error *err,
                  const char *sql, const char *types, ...);
/* Several statements without arguments. */
int store__exec(lx_store *store, const char *sql, lx_error *err);

/* Columns of a row; NULL only without memory ("" for SQL's NULL). */
char *store__text(lx_arena *arena, sqlite3_stmt *stmt, int column);
char *store__hex(lx_arena *arena, sqlite3_stmt *stmt, int column); /* of a hash, or "" */
bool store__hash(lx_hash *out, sqlite3_stmt *stmt, int column);
double store__real(sqlite3_stmt *stmt, int column); /* NaN for NULL */

double store__now(void);       /* seconds since 1970 */
double store__monotonic(void); /* seconds that nobody sets */

/* ---- objects (object.c) ----------------------------------------------------------- */

/* Objects on their way: hashed, compressed and, when large, in their files before the
 * lock is taken. */
typedef struct store__object store__object;
typedef struct store__batch {
    lx_store *store;
    store__object *first, **last;
} store__batch;

store__batch store__batch_of(lx_store *store);
/* Takes what it needs of data; NULL text is no object. */
int store__batch_put(lx_hash *out, store__batch *batch, const void *data, size_t n,
                     lx_error *err);
int store__batch_put_file(lx_hash *out, int64_t *size, store__batch *batch,
                          const char *path, lx_error *err);
/* One that is here: in the transaction it must still be (LX_EBUSY: gc was quicker), and is young again. */
int store__batch_known(store__batch *batch, const lx_hash *hash, lx_error *err);
int store__batch_add(store__batch *batch, lx_error *err); /* inside a transaction */
void store__batch_release(store__batch *batch);

/* The next hash that stands by itself in a text from *at on; false when there is none. */
bool store__next_hash(lx_hash *out, size_t *at, const char *text, size_t n);

/* Takes raw bytes; 1 = it has seen enough. */
typedef int (*store__see)(void *context, const void *bytes, size_t n, lx_error *err);
/* An object from its beginning on, in pieces, however large it is. Verified like lx_object_get's, but for one that is
 * not compressed and of which enough was seen. */
int store__object_stream(lx_store *store, const lx_hash *hash, store__see see,
                         void *context, lx_error *err);
void store__object_path(lx_str *out, const lx_store *store, const lx_hash *hash);
/* fsync of a folder. */
int store__sync_folder(const char *path, lx_error *err);

/* ---- damage (check.c, object.c, salvage.c) --------------------------------------------------- */

/* An object that a run or its dataset names and that is not there. `what` is for people:
 * "its dataset", "its artifact a.safetensors". */
typedef int (*store__missing_object)(void *context, const lx_hash *hash, const char *run,
                                     const char *what, lx_error *err);
int store__each_missing(lx_store *store, store__missing_object found, void *context,
                        lx_error *err);
/* A file in the store's folder `damaged`, whole and durable; one of that name stays. */
int store__keep_aside(lx_store *store, const char *name, const void *data, size_t n,
                      lx_error *err);
/* A copy in which the blocks that cannot be read are zeros, *n_lost of them; LX_EIO when that is half of them. */
int store__copy_readable(int64_t *n_lost, const char *to, const char *from, lx_error *err);
/* The file that says that rows were lost in a salvage (store/repair.h). */
void store__lost_path(lx_str *out, const char *folder);
int store__has_lost(bool *has_lost, const char *folder, lx_error *err);
/* Puts an object in the place of a damaged or missing one, which is kept aside. `data`
 * hashes to `hash`. */
int store__object_mend(lx_store *store, const lx_hash *hash, const void *data, size_t n,
                       lx_error *err);

/* ---- what is derived (derive.c) --------------------------------------------------- */

/* All inside the transaction that writes what they follow from. */
int store__derive_run(lx_store *store, int64_t run, const char *name, const char *flags,
                      lx_error *err);
int store__derive_remark(lx_store *store, int64_t run, const char *kind, lx_error *err);

/* Points at a glance. */
typedef struct store__glance {
    int64_t n, first_step, last_step, min_step;
    double last_value, min_value, max_value; /* NaN: not a number, or there is none */
} store__glance;
store__glance store__glance_of(const int64_t *steps, const double *values, size_t n);
int store__derive_points(lx_store *store, int64_t run, int64_t series, const char *key,
                         const store__glance *added, lx_error *err);

/* ---- a run being recorded (run.c, curve.c) ---------------------------------------- */

/* Points of one key. `in` is filled by the log calls under run->mutex; a flush moves it
 * to `out`, which is its own under store->mutex, and empties that when it is durable. */
typedef struct store__points {
    size_t n, steps_capacity, values_capacity;
    int64_t *steps;
    double *values;
} store__points;

typedef struct store__series {
    struct store__series *next; /* never changes: new ones go in front */
    char *key;
    store__points in, out;
} store__series;

struct lx_run {
    lx_store *store;
    int64_t seq;
    char id[17];
    char spec_hash[LX_HASH_HEX + 1];
    double started,
        started_clock; /* of one that began here, now, by the clock on the wall
                                      and by one that nobody sets; 0 = it did not */

    pthread_mutex_t mutex; /* over what follows; taken after store->mutex, never before */
    pthread_cond_t wake;
    bool has_mutex, has_flusher, is_ending;
    bool has_backlog; /* a flush failed; its points are in `out` */
    bool was_ended;   /* when we came to write its end */
    pthread_t flusher;
    store__series *series;
    size_t n_waiting;   /* points in all `in` */
    lx_str text_in;     /* console */
    size_t text_total;  /* taken so far */
    double waits_since; /* monotonic: when the oldest of what waits came */
    lx_error failure;   /* of the flusher, for the next call; code 0 = none */

    lx_str text_out; /* under store->mutex, like series->out */
};

/* The end of a run, written together with its last points. */
typedef struct store__ending {
    const char *status, *message;
    double ended;
} store__ending;

/* Everything that waits becomes durable; with `ending`, packed and ended as well. */
int store__flush(lx_run *run, const store__ending *ending, lx_error *err);
void store__stop_flusher(lx_run *run);

/* All points of a series in an array of its own each (lx_free), from number `from` on. */
int store__read_series(int64_t **steps, double **values, size_t *n, lx_store *store,
                       int64_t series, size_t from, lx_error *err);
/* Moves the tail of a series into a chunk; in a transaction. */
int store__pack_series(lx_store *store, int64_t series, lx_error *err);
int store__add_artifact(lx_store *store, int64_t run, const lx_artifact *artifact,
                        const lx_hash *hash, int64_t size, bool is_kept, lx_error *err);

/* ---- the machine ------------------------------------------------------------------ */

/* JSON text; NULL without memory. lx_free. */
char *store__environment(void);
/* git state of a folder, read by a child: *json (NULL: in no repository), *diff ("" when
 * clean). Untracked sources are put into the batch. */
int store__git_state(char **json, char **diff, store__batch *batch, const char *folder,
                     lx_error *err);

/* Is a file of this role a text, which is scrubbed? */
bool store__is_text_role(const char *role);
/* What is kept of it, appended: UTF-16 with a byte order mark as UTF-8, in any other encoding the bytes; secrets taken
 * out. LX_EFORMAT: it has zero bytes and is no text. */
int store__clean_text(lx_str *out, const char *role, const char *text, size_t n, lx_error *err);

typedef struct store__process {
    char boot_id[40];
    int64_t pid, start;
} store__process;
store__process store__process_of(int64_t pid); /* 0 = this one */
bool store__is_alive(const char *boot_id, int64_t pid, int64_t start);

/* Until a child has ended: its status as waitpid tells it, -1 when nobody knows it. */
int store__wait_for(int64_t pid);
/* So many seconds from now by a clock that nobody sets, and the milliseconds that are left until then, 0 at least. */
double store__deadline(double seconds);
int store__poll_time(double deadline);

#endif
