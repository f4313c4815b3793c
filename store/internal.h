/* store/internal - what the files of store/ share */
#ifndef LX_STORE_INTERNAL_H
#define LX_STORE_INTERNAL_H

#include <sqlite3.h>

#include "src/base/arena.h"
#include "store/store.h"

enum {
    STORE_APPLICATION_ID = 0x6c780001, /* "lx" */
    STORE_LARGE = 64 * 1024            /* stored bytes above this become a file */
};

struct lx_store {
    char *path;    /* the folder */
    sqlite3 *db;
    int lock_fd;   /* -1 in a read-only store */
    int lock_depth, txn_depth;
    bool is_readonly, is_poisoned;
    int wal_pages; /* since the last checkpoint */
};

/* Invariant (1): BEGIN IMMEDIATE under the lock; COMMIT or ROLLBACK lets it go. May nest. */
int store__begin(lx_store *store, lx_error *err);
int store__commit(lx_store *store, lx_error *err);
void store__rollback(lx_store *store); /* nothing to undo is fine */

/* SQLite's story as ours; a failed write poisons the handle (4). */
int store__sql_error(lx_store *store, const char *doing, lx_error *err);
int store__prepare(sqlite3_stmt **out, lx_store *store, const char *sql, lx_error *err);
/* Runs to the end, finalises; LX_OK when it was done. stmt NULL passes an earlier failure on. */
int store__run(lx_store *store, sqlite3_stmt *stmt, const char *doing, lx_error *err);
int store__exec(lx_store *store, const char *sql, lx_error *err);

/* Inside a transaction. NULL text gives no object: *has false. */
int store__put(lx_hash *out, lx_store *store, const void *data, size_t n, lx_error *err);

/* JSON texts; NULL on out of memory. */
char *store__environment(void);
/* git state of a folder: *json (NULL when it is in no repository), *diff ("" when clean). */
int store__git_state(char **json, char **diff, lx_store *store, const char *folder,
                     lx_error *err);

typedef struct store__process {
    char boot_id[40];
    int64_t pid, start;
} store__process;
store__process store__this_process(void);
bool store__is_alive(const char *boot_id, int64_t pid, int64_t start);

#endif
