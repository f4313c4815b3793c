/* SQLite as the store uses it: memory, errors, statements, the lock, transactions. */
#include <errno.h>
#include <malloc.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "src/base/alloc.h"
#include "src/base/io.h"
#include "store/internal.h"

enum { CHECKPOINT_PAGES = 1000, LOCK_PAUSE_MS = 5 };

/* ---- SQLite's memory through base/alloc ------------------------------------------- */

static void *sql_malloc(int n)
{
    return lx_alloc((size_t)n);
}

static void *sql_realloc(void *old, int n)
{
    return lx_realloc(old, (size_t)n);
}

static int sql_size(void *memory)
{
    return (int)malloc_usable_size(memory);
}

static int sql_roundup(int n)
{
    return (n + 7) & ~7;
}

static int sql_init(void *unused)
{
    (void)unused;
    return SQLITE_OK;
}

static void sql_shutdown(void *unused)
{
    (void)unused;
}

/* Before main: SQLite takes no other allocator once it is in use. */
__attribute__((constructor)) static void use_our_allocator(void)
{
    static const sqlite3_mem_methods methods = {sql_malloc,   lx_free,     sql_realloc,
                                                sql_size,     sql_roundup, sql_init,
                                                sql_shutdown, NULL};
    sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
}

double store__now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double store__monotonic(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- errors ----------------------------------------------------------------------- */

/* Of the kinds of SQLITE_IOERR, those that leave it open what is on the disk. */
static bool is_failed_write(int code)
{
    switch (code) {
    case SQLITE_IOERR_WRITE:
    case SQLITE_IOERR_FSYNC:
    case SQLITE_IOERR_DIR_FSYNC:
    case SQLITE_IOERR_TRUNCATE:
    case SQLITE_IOERR_DELETE:
    case SQLITE_IOERR_CLOSE:
        return true;
    default:
        return false;
    }
}

int store__sql_error(lx_store *s, const char *doing, lx_error *err)
{
    int code = s->db ? sqlite3_extended_errcode(s->db) : SQLITE_NOMEM;
    const char *text = s->db ? sqlite3_errmsg(s->db) : "";

    if (code == SQLITE_IOERR_NOMEM)
        return lx_oom(err);
    s->is_poisoned |= is_failed_write(code);
    switch (code & 0xff) {
    case SQLITE_NOMEM:
        return lx_oom(err);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return lx_fail(err, LX_EBUSY, "%s: %s: another process holds the store", s->path,
                       doing);
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return lx_fail(err, LX_EPERM, "%s: %s: %s", s->path, doing, text);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return lx_fail(err, LX_EFORMAT, "%s: %s: %s; run lx fsck", s->path, doing, text);
    case SQLITE_FULL:
        return lx_fail(err, LX_EIO, "%s: %s: no space left", s->path, doing);
    case SQLITE_INTERRUPT:
        return lx_fail(err, LX_EINTERRUPTED, "%s: %s: interrupted", s->path, doing);
    default:
        return lx_fail(err, LX_EIO, "%s: %s: %s", s->path, doing, text);
    }
}

bool store__is_damage(int rc)
{
    return rc == LX_EFORMAT || rc == LX_ENOTFOUND || rc == LX_ELIMIT ||
           rc == LX_EMISMATCH;
}

/* ---- statements ------------------------------------------------------------------- */

/* One that is kept and idle, or a new one that is kept if there is room for it. */
static int get_statement(sqlite3_stmt **out, lx_store *s, const char *sql, lx_error *err)
{
    unsigned at = STORE_STATEMENTS;

    for (unsigned i = 0; i < STORE_STATEMENTS; i++) {
        if (s->statements[i].is_used)
            continue;
        if (s->statements[i].stmt &&
            strcmp(sqlite3_sql(s->statements[i].stmt), sql) == 0) {
            s->statements[i].is_used = true;
            *out = s->statements[i].stmt;
            return LX_OK;
        }
        if (!s->statements[i].stmt && at == STORE_STATEMENTS)
            at = i;
    }
    if (sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL) !=
        SQLITE_OK)
        return store__sql_error(s, "preparing a statement", err);
    for (unsigned i = 0; at == STORE_STATEMENTS && i < STORE_STATEMENTS; i++) {
        unsigned k = s->next_statement++ % STORE_STATEMENTS;
        if (!s->statements[k].is_used) {
            sqlite3_finalize(s->statements[k].stmt);
            at = k;
        }
    }
    if (at < STORE_STATEMENTS) {
        s->statements[at].stmt = *out;
        s->statements[at].is_used = true;
    }
    return LX_OK;
}

void store__finish(lx_store *s, sqlite3_stmt *stmt)
{
    unsigned i = 0;
    if (!stmt)
        return;
    while (i < STORE_STATEMENTS && s->statements[i].stmt != stmt)
        i++;
    if (i < STORE_STATEMENTS) {
        sqlite3_reset(stmt);
        sqlite3_clear_bindings(stmt);
        s->statements[i].is_used = false;
    } else {
        sqlite3_finalize(stmt);
    }
    pthread_mutex_unlock(&s->mutex);
}

static int bind_hash(sqlite3_stmt *stmt, int at, const lx_hash *hash)
{
    return hash ? sqlite3_bind_blob(stmt, at, hash->bytes, sizeof hash->bytes,
                                    SQLITE_STATIC)
                : sqlite3_bind_null(stmt, at);
}

static int bind(sqlite3_stmt *stmt, const char *types, va_list args)
{
    int rc = SQLITE_OK;
    for (int i = 1; types[i - 1] && rc == SQLITE_OK; i++) {
        const void *data;
        switch (types[i - 1]) {
        case 'i':
            rc = sqlite3_bind_int64(stmt, i, va_arg(args, int64_t));
            break;
        case 'd':
            rc = sqlite3_bind_double(stmt, i, va_arg(args, double));
            break;
        case 't':
            rc =
                sqlite3_bind_text(stmt, i, va_arg(args, const char *), -1, SQLITE_STATIC);
            break;
        case 'h':
            rc = bind_hash(stmt, i, va_arg(args, const lx_hash *));
            break;
        default:
            data = va_arg(args, const void *);
            rc = sqlite3_bind_blob64(stmt, i, data, va_arg(args, size_t), SQLITE_STATIC);
        }
    }
    return rc;
}

/*
 * ROLLBACK wants memory, like every statement. What could not be undone for want of it is undone by the next
 * statement, and until then no statement is run: it would see, or become a part of, what has failed.
 */
static int undo(lx_store *s, lx_error *err)
{
    if (sqlite3_get_autocommit(s->db) ||
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL) == SQLITE_OK ||
        sqlite3_get_autocommit(s->db))
        return LX_OK;
    return store__sql_error(s, "undoing a transaction", err);
}

static int query(sqlite3_stmt **out, lx_store *s, lx_error *err, const char *sql,
                 const char *types, va_list args)
{
    int rc;
    *out = NULL;
    pthread_mutex_lock(&s->mutex);
    if ((!s->is_in_transaction && (rc = undo(s, err)) < 0) ||
        (rc = get_statement(out, s, sql, err)) < 0) {
        pthread_mutex_unlock(&s->mutex);
        return rc;
    }
    if (bind(*out, types, args) != SQLITE_OK) {
        rc = store__sql_error(s, "preparing a statement", err);
        store__finish(s, *out);
        *out = NULL;
    }
    return rc;
}

int store__query(sqlite3_stmt **out, lx_store *s, lx_error *err, const char *sql,
                 const char *types, ...)
{
    va_list args;
    int rc;
    va_start(args, types);
    rc = query(out, s, err, sql, types, args);
    va_end(args);
    return rc;
}

bool store__row(int *rc, lx_store *s, sqlite3_stmt *stmt, lx_error *err)
{
    int got;
    if (*rc < 0)
        return false;
    got = sqlite3_step(stmt);
    if (got != SQLITE_ROW && got != SQLITE_DONE)
        *rc =
            store__sql_error(s, sqlite3_stmt_readonly(stmt) ? "reading" : "writing", err);
    return got == SQLITE_ROW;
}

int store__do(lx_store *s, lx_error *err, const char *sql, const char *types, ...)
{
    sqlite3_stmt *stmt;
    va_list args;
    int rc;

    va_start(args, types);
    rc = query(&stmt, s, err, sql, types, args);
    va_end(args);
    store__row(&rc, s, stmt, err);
    store__finish(s, stmt);
    return rc;
}

int store__number(int64_t *out, int64_t otherwise, lx_store *s, lx_error *err,
                  const char *sql, const char *types, ...)
{
    sqlite3_stmt *stmt;
    va_list args;
    int rc;

    va_start(args, types);
    rc = query(&stmt, s, err, sql, types, args);
    va_end(args);
    *out = otherwise;
    if (store__row(&rc, s, stmt, err) && sqlite3_column_type(stmt, 0) != SQLITE_NULL)
        *out = sqlite3_column_int64(stmt, 0);
    store__finish(s, stmt);
    return rc;
}

int store__exec(lx_store *s, const char *sql, lx_error *err)
{
    int rc = LX_OK;
    pthread_mutex_lock(&s->mutex);
    if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        rc = store__sql_error(s, "running a statement", err);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

char *store__text(lx_arena *arena, sqlite3_stmt *stmt, int column)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    if (!text && sqlite3_column_type(stmt, column) != SQLITE_NULL)
        return NULL;
    return lx_arena_strdup(arena, text ? text : "");
}

bool store__hash(lx_hash *out, sqlite3_stmt *stmt, int column)
{
    const void *bytes = sqlite3_column_blob(stmt, column);
    if (!bytes || sqlite3_column_bytes(stmt, column) != sizeof out->bytes)
        return false;
    memcpy(out->bytes, bytes, sizeof out->bytes);
    return true;
}

char *store__hex(lx_arena *arena, sqlite3_stmt *stmt, int column)
{
    char hex[LX_HASH_HEX + 1] = "";
    lx_hash hash;
    if (store__hash(&hash, stmt, column))
        lx_hash_hex(hex, &hash);
    return lx_arena_strdup(arena, hex);
}

double store__real(sqlite3_stmt *stmt, int column)
{
    return sqlite3_column_type(stmt, column) == SQLITE_NULL
               ? (double)NAN
               : sqlite3_column_double(stmt, column);
}

/* ---- the lock (invariant 1) ------------------------------------------------------- */

static int wait_for_lock(lx_store *s, lx_error *err)
{
    const struct timespec pause = {0, LOCK_PAUSE_MS * 1000 * 1000};
    const double until = store__monotonic() + s->patience;

    for (;;) {
        if (lx_io_get()->lock(s->lock_fd, 1, 0) == 0)
            return LX_OK;
        if (errno != EAGAIN && errno != EACCES && errno != EINTR)
            return lx_fail_errno(err, errno, "%s/lock", s->path);
        if (store__monotonic() >= until)
            return lx_fail(err, LX_EBUSY,
                           "%s: another lx has been writing for %g s; try again", s->path,
                           s->patience);
        nanosleep(&pause, NULL);
    }
}

void lx_store_patience(lx_store *s, double seconds)
{
    pthread_mutex_lock(&s->mutex);
    s->patience = seconds;
    pthread_mutex_unlock(&s->mutex);
}

bool lx_store_is_usable(lx_store *s)
{
    bool is;
    pthread_mutex_lock(&s->mutex);
    is = !s->is_poisoned;
    pthread_mutex_unlock(&s->mutex);
    return is;
}

int store__lock(lx_store *s, lx_error *err)
{
    int rc;
    pthread_mutex_lock(&s->mutex);
    if ((rc = wait_for_lock(s, err)) < 0)
        pthread_mutex_unlock(&s->mutex);
    return rc;
}

void store__unlock(lx_store *s)
{
    lx_io_get()->unlock(s->lock_fd);
    pthread_mutex_unlock(&s->mutex);
}

/* SQLite writes all frames again after one that failed, but whoever saw a sync fail stops
 * (4). */
void store__checkpoint(lx_store *s, int mode)
{
    int rc = sqlite3_wal_checkpoint_v2(s->db, NULL, mode, NULL, NULL);
    if (rc == SQLITE_OK)
        s->wal_pages = 0;
    else if ((rc & 0xff) == SQLITE_IOERR)
        store__sql_error(s, "checkpoint", NULL);
}

/* ---- transactions ----------------------------------------------------------------- */

static int begin(lx_store *s, lx_error *err)
{
    int rc;
    if (s->is_readonly)
        return lx_fail(err, LX_EPERM, "%s was opened for reading only", s->path);
    if ((rc = store__lock(s, err)) < 0)
        return rc;
    lx_assert(!s->is_in_transaction);
    if (s->is_poisoned)
        rc = lx_fail(err, LX_EIO, "%s: an earlier write failed; start lx again", s->path);
    else if ((rc = undo(s, err)) == LX_OK)
        rc = store__exec(s, "BEGIN IMMEDIATE", err);
    s->is_in_transaction = rc == LX_OK;
    if (rc < 0)
        store__unlock(s);
    return rc;
}

static int end(lx_store *s, int rc, lx_error *err)
{
    if (rc == LX_OK)
        rc = store__exec(s, "COMMIT", err);
    if (rc < 0)
        undo(s, NULL);
    else if (s->wal_pages > CHECKPOINT_PAGES)
        store__checkpoint(s, SQLITE_CHECKPOINT_PASSIVE);
    s->is_in_transaction = false;
    store__unlock(s);
    return rc;
}

int store__begin_reading(bool *is_ours, lx_store *s, lx_error *err)
{
    int rc = LX_OK;

    *is_ours = !s->is_in_transaction;
    if (*is_ours && (rc = undo(s, err)) == LX_OK)
        rc = store__exec(s, "BEGIN", err);
    s->is_in_transaction |= rc == LX_OK;
    return rc;
}

void store__end_reading(lx_store *s, bool is_ours)
{
    if (!is_ours)
        return;
    undo(s, NULL); /* nothing was written */
    s->is_in_transaction = false;
}

/* In a group, a transaction is a part of the group's that can be undone alone. */
int store__begin(lx_store *s, lx_error *err)
{
    int rc;
    pthread_mutex_lock(&s->mutex);
    rc = s->is_grouped ? store__exec(s, "SAVEPOINT part", err) : begin(s, err);
    if (rc < 0)
        pthread_mutex_unlock(&s->mutex);
    return rc;
}

int store__end(lx_store *s, int rc, lx_error *err)
{
    if (!s->is_grouped) {
        rc = end(s, rc, err);
    } else {
        if (rc == LX_OK)
            rc = store__exec(s, "RELEASE part", err);
        if (rc < 0)
            sqlite3_exec(s->db, "ROLLBACK TO part; RELEASE part", NULL, NULL, NULL);
    }
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

int lx_store_group_begin(lx_store *s, lx_error *err)
{
    int rc;
    pthread_mutex_lock(&s->mutex);
    lx_assert(!s->is_grouped);
    rc = begin(s, err);
    s->is_grouped = rc == LX_OK;
    if (rc < 0)
        pthread_mutex_unlock(&s->mutex);
    return rc;
}

int lx_store_group_end(lx_store *s, int rc, lx_error *err)
{
    s->is_grouped = false;
    if (rc == LX_OK && sqlite3_get_autocommit(s->db))
        rc =
            lx_fail(err, LX_EIO, "%s: the group was undone by an earlier error", s->path);
    rc = end(s, rc, err);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}
