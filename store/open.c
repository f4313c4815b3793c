/* Finding, creating, opening and locking a store. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "store/internal.h"
#include "store_schema.h"

enum {
    N_MIGRATIONS = sizeof store_migrations / sizeof *store_migrations,
    CHECKPOINT_PAGES = 1000,
    LOCK_WAIT_MS = 5000
};

/* ---- SQLite's memory through base/alloc --------------------------------------------------- */

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
    return memory ? (int)malloc_usable_size(memory) : 0;
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

static void use_our_allocator(void)
{
    static bool is_done;
    static sqlite3_mem_methods methods = {sql_malloc,  lx_free,  sql_realloc, sql_size,
                                          sql_roundup, sql_init, sql_shutdown, NULL};
    if (!is_done)
        sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
    is_done = true;
}

/* ---- errors and statements --------------------------------------------------------------- */

int store__sql_error(lx_store *s, const char *doing, lx_error *err)
{
    int code = s->db ? sqlite3_errcode(s->db) : SQLITE_NOMEM;
    const char *text = s->db ? sqlite3_errmsg(s->db) : "out of memory";

    switch (code & 0xff) {
    case SQLITE_NOMEM:
        return lx_oom(err);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return lx_fail(err, LX_EBUSY, "%s: %s: another process holds the store", s->path, doing);
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return lx_fail(err, LX_EPERM, "%s: %s: %s", s->path, doing, text);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return lx_fail(err, LX_EFORMAT, "%s: %s: %s; run lx fsck", s->path, doing, text);
    case SQLITE_IOERR:
    case SQLITE_FULL:
        s->is_poisoned = true;
        return lx_fail(err, LX_EIO, "%s: %s: %s", s->path, doing, text);
    default:
        return lx_fail(err, LX_EIO, "%s: %s: %s", s->path, doing, text);
    }
}

int store__prepare(sqlite3_stmt **out, lx_store *s, const char *sql, lx_error *err)
{
    *out = NULL;
    if (sqlite3_prepare_v2(s->db, sql, -1, out, NULL) != SQLITE_OK)
        return store__sql_error(s, "preparing a statement", err);
    return LX_OK;
}

int store__run(lx_store *s, sqlite3_stmt *stmt, const char *doing, lx_error *err)
{
    int rc = LX_OK, got;
    while ((got = sqlite3_step(stmt)) == SQLITE_ROW) {
    }
    if (got != SQLITE_DONE)
        rc = store__sql_error(s, doing, err);
    sqlite3_finalize(stmt);
    return rc;
}

int store__exec(lx_store *s, const char *sql, lx_error *err)
{
    if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return store__sql_error(s, "running a statement", err);
    return LX_OK;
}

/* ---- the lock (invariant 1) -------------------------------------------------------------- */

static int lock(lx_store *s, lx_error *err)
{
    const lx_io *io = lx_io_get();
    const struct timespec pause = {0, 5 * 1000 * 1000};

    if (s->lock_depth++)
        return LX_OK;
    for (int waited = 0;; waited += 5) {
        if (io->lock(s->lock_fd, 1, 0) == 0)
            return LX_OK;
        if (errno != EAGAIN && errno != EACCES && errno != EINTR) {
            s->lock_depth--;
            return lx_fail_errno(err, errno, "%s/lock", s->path);
        }
        if (waited >= LOCK_WAIT_MS) {
            s->lock_depth--;
            return lx_fail(err, LX_EBUSY, "%s: another lx has been writing for %d s; try again",
                           s->path, LOCK_WAIT_MS / 1000);
        }
        nanosleep(&pause, NULL);
    }
}

static void unlock(lx_store *s)
{
    if (--s->lock_depth == 0)
        lx_io_get()->unlock(s->lock_fd);
}

int store__begin(lx_store *s, lx_error *err)
{
    int rc;
    if (s->is_poisoned)
        return lx_fail(err, LX_EIO, "%s: an earlier write failed; start lx again", s->path);
    if (s->is_readonly)
        return lx_fail(err, LX_EPERM, "%s was opened for reading only", s->path);
    if (s->txn_depth++)
        return LX_OK;
    if ((rc = lock(s, err)) == LX_OK && (rc = store__exec(s, "BEGIN IMMEDIATE", err)) < 0)
        unlock(s);
    if (rc < 0)
        s->txn_depth = 0;
    return rc;
}

static int count_wal(void *context, sqlite3 *db, const char *name, int pages)
{
    (void)db;
    (void)name;
    ((lx_store *)context)->wal_pages = pages;
    return SQLITE_OK;
}

static void checkpoint(lx_store *s, int mode)
{
    if (sqlite3_wal_checkpoint_v2(s->db, NULL, mode, NULL, NULL) == SQLITE_OK)
        s->wal_pages = 0;
}

int store__commit(lx_store *s, lx_error *err)
{
    int rc;
    if (--s->txn_depth)
        return LX_OK;
    rc = store__exec(s, "COMMIT", err);
    if (rc < 0)
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    else if (s->wal_pages > CHECKPOINT_PAGES)
        checkpoint(s, SQLITE_CHECKPOINT_PASSIVE);
    unlock(s);
    return rc;
}

void store__rollback(lx_store *s)
{
    if (!s->txn_depth)
        return;
    s->txn_depth = 0;
    sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    unlock(s);
}

/* ---- finding ----------------------------------------------------------------------------- */

static int above_work_dir(lx_str *out)
{
    char folder[4096];
    if (!getcwd(folder, sizeof folder))
        return 0;
    for (;;) {
        char *slash;
        lx_str_clear(out);
        lx_str_printf(out, "%s/.lx", strcmp(folder, "/") == 0 ? "" : folder);
        if (!out->failed && lx_file_is_dir(lx_str_text(out)))
            return 1;
        slash = strrchr(folder, '/');
        if (!slash || !slash[1])
            return 0;
        if (slash == folder)
            slash[1] = '\0';
        else
            *slash = '\0';
    }
}

static int find_store(lx_str *out, const char *path, lx_error *err)
{
    const char *given = path && *path ? path : getenv("LX_STORE"), *home;

    lx_str_clear(out);
    if (given && *given) {
        lx_str_puts(out, given);
    } else if (!above_work_dir(out)) {
        lx_str_clear(out);
        home = getenv("XDG_DATA_HOME");
        if (home && *home)
            lx_str_printf(out, "%s/lx", home);
        else if ((home = getenv("HOME")) && *home)
            lx_str_printf(out, "%s/.local/share/lx", home);
        else
            return lx_fail(err, LX_ENOTFOUND,
                           "no store: HOME is not set; name one with --store DIR");
    }
    return lx_str_check(out, err);
}

/* WAL needs shared memory between processes, which these file systems do not give. */
static int check_place(const char *path, lx_error *err)
{
    static const struct {
        long magic;
        const char *name;
    } bad[] = {{0x6969, "NFS"},       {0x517B, "SMB"},     {(long)0xFF534D42, "CIFS"},
               {(long)0xFE534D42, "SMB2"}, {0x01021997, "9p"}, {0x47504653, "GPFS"}};
    struct statfs fs;
    if (statfs(path, &fs) != 0)
        return LX_OK;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if ((long)fs.f_type == bad[i].magic)
            return lx_fail(err, LX_EPLACE,
                           "%s is on %s, where a store cannot keep its promises: choose a local "
                           "folder with --store DIR",
                           path, bad[i].name);
    return LX_OK;
}

/* ---- creating and migrating -------------------------------------------------------------- */

static int read_number(int64_t *out, lx_store *s, const char *sql, lx_error *err)
{
    sqlite3_stmt *stmt;
    int rc = store__prepare(&stmt, s, sql, err);
    if (rc < 0)
        return rc;
    if (sqlite3_step(stmt) == SQLITE_ROW)
        *out = sqlite3_column_int64(stmt, 0);
    else
        rc = store__sql_error(s, "reading", err);
    sqlite3_finalize(stmt);
    return rc;
}

static int sync_folder(const char *path, lx_error *err)
{
    const lx_io *io = lx_io_get();
    int fd = io->open(path, O_RDONLY | O_DIRECTORY, 0), rc = LX_OK;
    if (fd < 0)
        return lx_fail_errno(err, errno, "%s", path);
    if (io->sync(fd) != 0)
        rc = lx_fail_errno(err, errno, "%s", path);
    io->close(fd);
    return rc;
}

static int back_up(lx_store *s, int64_t version, lx_error *err)
{
    sqlite3_stmt *stmt;
    lx_str path = LX_STR_INIT;
    int rc;

    lx_str_printf(&path, "%s/store.before-v%d.db", s->path, N_MIGRATIONS);
    (void)version;
    if ((rc = lx_str_check(&path, err)) == LX_OK &&
        (rc = store__prepare(&stmt, s, "VACUUM INTO ?1", err)) == LX_OK) {
        sqlite3_bind_text(stmt, 1, lx_str_text(&path), -1, SQLITE_STATIC);
        rc = store__run(s, stmt, "backing up before a migration", err);
    }
    lx_str_release(&path);
    return rc;
}

static int migrate(lx_store *s, lx_error *err)
{
    int64_t version = 0, application = 0;
    char sql[64];
    int rc;

    if ((rc = read_number(&version, s, "PRAGMA user_version", err)) < 0 ||
        (rc = read_number(&application, s, "PRAGMA application_id", err)) < 0)
        return rc;
    if (version > N_MIGRATIONS)
        return lx_fail(err, LX_ECONFIG,
                       "%s has schema version %lld, this lx %s knows up to %d: use the newer lx",
                       s->path, (long long)version, LX_VERSION, N_MIGRATIONS);
    if (version && application != STORE_APPLICATION_ID)
        return lx_fail(err, LX_EFORMAT, "%s/store.db is no store of lx", s->path);
    if (version == N_MIGRATIONS)
        return LX_OK;
    if (s->is_readonly)
        return lx_fail(err, version ? LX_ECONFIG : LX_ENOTFOUND,
                       version ? "%s is of an older version: open it for writing once to update it"
                               : "%s holds no runs yet",
                       s->path);
    if (version && (rc = back_up(s, version, err)) < 0)
        return rc;
    if ((rc = store__begin(s, err)) < 0)
        return rc;
    for (int64_t i = version; i < N_MIGRATIONS && rc == LX_OK; i++)
        rc = store__exec(s, store_migrations[i], err);
    snprintf(sql, sizeof sql, "PRAGMA user_version=%d", N_MIGRATIONS);
    if (rc == LX_OK && (rc = store__exec(s, sql, err)) == LX_OK) {
        snprintf(sql, sizeof sql, "PRAGMA application_id=%d", STORE_APPLICATION_ID);
        rc = store__exec(s, sql, err);
    }
    if (rc < 0) {
        store__rollback(s);
        return rc;
    }
    if ((rc = store__commit(s, err)) < 0)
        return rc;
    return sync_folder(s->path, err);
}

/* ---- opening ----------------------------------------------------------------------------- */

static int make_folders(const lx_store *s, lx_error *err)
{
    static const char *const names[] = {"", "/objects"};
    lx_str path = LX_STR_INIT;
    int rc = LX_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names && rc == LX_OK; i++) {
        lx_str_clear(&path);
        lx_str_printf(&path, "%s%s", s->path, names[i]);
        if ((rc = lx_str_check(&path, err)) == LX_OK)
            rc = lx_make_dirs(lx_str_text(&path), err);
    }
    lx_str_release(&path);
    return rc;
}

static int open_lock(lx_store *s, lx_error *err)
{
    lx_str path = LX_STR_INIT;
    int rc;
    lx_str_printf(&path, "%s/lock", s->path);
    if ((rc = lx_str_check(&path, err)) == LX_OK &&
        (s->lock_fd = lx_io_get()->open(lx_str_text(&path), O_RDWR | O_CREAT, 0666)) < 0)
        rc = lx_fail_errno(err, errno, "%s", lx_str_text(&path));
    lx_str_release(&path);
    return rc;
}

static int open_db(lx_store *s, lx_error *err)
{
    int flags = s->is_readonly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    lx_str path = LX_STR_INIT;
    int rc;

    lx_str_printf(&path, "%s/store.db", s->path);
    if ((rc = lx_str_check(&path, err)) == LX_OK &&
        sqlite3_open_v2(lx_str_text(&path), &s->db, flags | SQLITE_OPEN_NOMUTEX, NULL) !=
            SQLITE_OK)
        rc = store__sql_error(s, "opening", err);
    lx_str_release(&path);
    if (rc < 0)
        return rc;
    sqlite3_extended_result_codes(s->db, 0);
    sqlite3_busy_timeout(s->db, 2000);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (s->is_readonly)
        return store__exec(s, "PRAGMA query_only=1; PRAGMA foreign_keys=ON", err);
    rc = store__exec(s,
                     "PRAGMA synchronous=EXTRA; PRAGMA journal_mode=WAL;"
                     "PRAGMA wal_autocheckpoint=0;"
                     "PRAGMA foreign_keys=ON",
                     err);
    sqlite3_wal_hook(s->db, count_wal, s); /* after the pragma, which sets a hook of its own */
    return rc;
}

static int prepare_db(lx_store *s, lx_error *err)
{
    int rc;
    if ((rc = open_db(s, err)) < 0 || (rc = migrate(s, err)) < 0)
        return rc;
    return s->is_readonly ? LX_OK : store__exec(s, "PRAGMA synchronous=FULL", err);
}

int lx_store_open(lx_store **out, const char *path, bool is_readonly, lx_error *err)
{
    lx_store *s = lx_calloc(1, sizeof *s);
    lx_str found = LX_STR_INIT;
    int rc;

    use_our_allocator();
    if (!s)
        return lx_oom(err);
    s->lock_fd = -1;
    s->is_readonly = is_readonly;
    if ((rc = find_store(&found, path, err)) < 0)
        goto failed;
    if (!(s->path = lx_str_detach(&found))) {
        rc = lx_oom(err);
        goto failed;
    }
    if (is_readonly) {
        if (!lx_file_is_dir(s->path)) {
            rc = lx_fail(err, LX_ENOTFOUND, "no store at %s: nothing was recorded yet", s->path);
            goto failed;
        }
        rc = prepare_db(s, err);
    } else if ((rc = make_folders(s, err)) == LX_OK && (rc = check_place(s->path, err)) == LX_OK &&
               (rc = open_lock(s, err)) == LX_OK && (rc = lock(s, err)) == LX_OK) {
        rc = prepare_db(s, err); /* creation is one writer's business as well */
        unlock(s);
    }
    if (rc < 0)
        goto failed;
    *out = s;
    return LX_OK;
failed:
    lx_str_release(&found);
    lx_store_close(s);
    return rc;
}

void lx_store_close(lx_store *s)
{
    if (!s)
        return;
    if (s->db && !s->is_readonly && !s->is_poisoned && s->lock_fd >= 0 &&
        lx_io_get()->lock(s->lock_fd, 1, 0) == 0) {
        checkpoint(s, SQLITE_CHECKPOINT_TRUNCATE);
        lx_io_get()->unlock(s->lock_fd);
    }
    sqlite3_close_v2(s->db);
    if (s->lock_fd >= 0)
        lx_io_get()->close(s->lock_fd);
    lx_free(s->path);
    lx_free(s);
}

const char *lx_store_path(const lx_store *s)
{
    return s->path;
}
