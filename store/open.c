/* Finding, creating, migrating and opening a store. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "store/internal.h"
#include "store_schema.h"

store__schema store__the_schema = {store_migrations,
                                   sizeof store_migrations / sizeof *store_migrations};

/* ---- finding ---------------------------------------------------------------------- */

int lx_store_above(lx_str *out)
{
    char folder[4096], *end;

    if (!getcwd(folder, sizeof folder))
        return 0;
    end = folder + strlen(folder);
    if (end == folder + 1) /* the root, without its slash as all others are */
        end = folder;
    for (; end; end = strrchr(folder, '/')) {
        *end = '\0';
        lx_str_clear(out);
        lx_str_printf(out, "%s/.lx", folder);
        if (!out->failed && lx_file_is_dir(lx_str_text(out)))
            return 1;
    }
    return 0;
}

int lx_store_find(lx_str *out, const char *path, lx_error *err)
{
    const char *given = path && *path ? path : getenv("LX_STORE"), *home;

    lx_str_clear(out);
    if (given && *given) {
        lx_str_puts(out, given);
    } else if (!lx_store_above(out)) {
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
    } bad[] = {{0x6969, "NFS"},
               {0x517B, "SMB"},
               {(long)0xFF534D42, "CIFS"},
               {(long)0xFE534D42, "SMB2"},
               {0x01021997, "9p"},
               {0x47504653, "GPFS"}};
    struct statfs fs;
    if (statfs(path, &fs) != 0)
        return LX_OK;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if ((long)fs.f_type == bad[i].magic)
            return lx_fail(
                err, LX_EPLACE,
                "%s is on %s, where a store cannot keep its promises: choose a local "
                "folder with --store DIR",
                path, bad[i].name);
    return LX_OK;
}

/* ---- versions --------------------------------------------------------------------- */

static int check_version(const lx_store *s, int64_t version, int64_t application,
                         lx_error *err)
{
    if (!version)
        return LX_OK;
    if (application >= 0x6c780001 && application < STORE_APPLICATION_ID)
        return lx_fail(
            err, LX_ECONFIG,
            "%s is from an lx before its first release, whose stores are not read: move "
            "it away",
            s->path);
    if (application != STORE_APPLICATION_ID)
        return lx_fail(err, LX_EFORMAT, "%s/store.db is no store of lx", s->path);
    if (version > store__the_schema.count)
        return lx_fail(
            err, LX_ECONFIG,
            "%s has schema version %lld, this lx %s knows up to %d: use the newer lx",
            s->path, (long long)version, LX_VERSION, store__the_schema.count);
    return LX_OK;
}

static uint32_t big_endian(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

enum { HEADER = 100 };

/*
 * The first bytes of a database. Not by a descriptor of our own: SQLite's locks are the process's, and closing any
 * descriptor of the file drops those of every connection to it here. Its VFS knows who holds some, and closes later.
 * *n: 0 of an empty file, HEADER, or 1 of one that is cut short.
 */
static int read_header(unsigned char *header, size_t *n, const char *path, lx_error *err)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    char *name = (char *)sqlite3_create_filename(path, "", "", 0, NULL);
    sqlite3_file *file = vfs && name ? lx_calloc(1, (size_t)vfs->szOsFile) : NULL;
    sqlite3_int64 size = 0;
    int code = SQLITE_NOMEM;

    if (file && (code = vfs->xOpen(vfs, name, file, SQLITE_OPEN_READONLY | SQLITE_OPEN_MAIN_DB, NULL)) ==
                    SQLITE_OK &&
        (code = file->pMethods->xFileSize(file, &size)) == SQLITE_OK && size >= HEADER)
        code = file->pMethods->xRead(file, header, HEADER, 0);
    *n = size >= HEADER ? HEADER : size > 0;
    if (code != SQLITE_OK)
        code = code == SQLITE_NOMEM ? lx_oom(err) : lx_fail_errno(err, errno ? errno : EIO, "%s", path);
    if (file && file->pMethods)
        file->pMethods->xClose(file);
    lx_free(file);
    sqlite3_free_filename(name);
    return code;
}

/*
 * What the file's first bytes tell, before SQLite opens it, so that a newer store is not
 * touched at all. *is_there: it has a database. (SQLite file format, 1.3: the database
 * header.)
 */
static int check_header(bool *is_there, const lx_store *s, lx_error *err)
{
    unsigned char header[HEADER];
    lx_str path = LX_STR_INIT;
    struct stat st;
    size_t n = 0;
    int rc;

    *is_there = false;
    lx_str_printf(&path, "%s/store.db", s->path);
    if ((rc = lx_str_check(&path, err)) < 0)
        goto done;
    if (lx_io_get()->stat(path.data, &st) < 0) {
        rc = errno == ENOENT ? LX_OK : lx_fail_errno(err, errno, "%s", path.data);
        goto done;
    }
    if ((rc = read_header(header, &n, path.data, err)) < 0 || !n)
        goto done;
    *is_there = true;
    /* Anything else is SQLite's to judge: the power may have failed while the first page was
     * written, and its journal tells how it was. */
    if (n == HEADER && memcmp(header, "SQLite format 3", 16) == 0)
        rc = check_version(s, big_endian(header + 60), big_endian(header + 68), err);
done:
    lx_str_release(&path);
    return rc;
}

/* By SQLite: what a WAL file holds counts as well. */
static int read_version(int64_t *version, lx_store *s, lx_error *err)
{
    int64_t application = 0;
    int rc = store__number(version, 0, s, err, "PRAGMA user_version", "");
    if (rc == LX_OK)
        rc = store__number(&application, 0, s, err, "PRAGMA application_id", "");
    return rc < 0 ? rc : check_version(s, *version, application, err);
}

/* ---- creating and migrating ------------------------------------------------------- */

int store__sync_folder(const char *path, lx_error *err)
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

/* A copy of the whole database as it was, durable before anything changes. */
static int back_up(lx_store *s, lx_error *err)
{
    const lx_io *io = lx_io_get();
    lx_str path = LX_STR_INIT;
    int rc, fd;

    lx_str_printf(&path, "%s/store.before-v%d.db", s->path, store__the_schema.count);
    if ((rc = lx_str_check(&path, err)) < 0)
        goto done;
    io->unlink(path.data); /* of a migration that was cut off */
    if ((rc = store__do(s, err, "VACUUM INTO ?1", "t", path.data)) < 0)
        goto done;
    if ((fd = io->open(path.data, O_RDONLY, 0)) < 0 || io->sync(fd) != 0)
        rc = lx_fail_errno(err, errno, "%s", path.data);
    if (fd >= 0)
        io->close(fd);
    if (rc == LX_OK)
        rc = store__sync_folder(s->path, err);
done:
    lx_str_release(&path);
    return rc;
}

static int migrate_in_transaction(lx_store *s, int64_t version, lx_error *err)
{
    char sql[80];
    int rc = store__exec(s, "BEGIN IMMEDIATE", err);
    for (int64_t i = version; i < store__the_schema.count && rc == LX_OK; i++)
        rc = store__exec(s, store__the_schema.sql[i], err);
    snprintf(sql, sizeof sql, "PRAGMA user_version=%d; PRAGMA application_id=%d",
             store__the_schema.count, STORE_APPLICATION_ID);
    if (rc == LX_OK && (rc = store__exec(s, sql, err)) == LX_OK)
        rc = store__exec(s, "COMMIT", err);
    if (rc < 0)
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

/* Under the lock: creation is one writer's business as well. */
static int migrate(lx_store *s, int64_t version, lx_error *err)
{
    int rc;
    if (version == store__the_schema.count)
        return LX_OK;
    if (s->is_readonly)
        return lx_fail(
            err, version ? LX_ECONFIG : LX_ENOTFOUND,
            version ? "%s is of an older version: open it for writing once to update it"
                    : "%s holds no runs yet",
            s->path);
    if ((version && (rc = back_up(s, err)) < 0) ||
        (rc = migrate_in_transaction(s, version, err)) < 0)
        return rc;
    return store__sync_folder(s->path, err);
}

/* ---- folders ---------------------------------------------------------------------- */

static int make_one(char *path, lx_error *err)
{
    char *slash = strrchr(path, '/');
    int rc = LX_OK;

    if (lx_io_get()->mkdir(path, 0777) != 0) {
        if (errno == EEXIST)
            return LX_OK;
        return lx_fail_errno(err, errno, "%s: cannot make the folder", path);
    }
    if (!slash)
        return store__sync_folder(".", err);
    *slash = '\0';
    rc = store__sync_folder(slash == path ? "/" : path, err);
    *slash = '/';
    return rc;
}

static int check_folder(const char *path, lx_error *err)
{
    struct stat st;

    if (lx_io_get()->stat(path, &st) != 0)
        return lx_fail_errno(err, errno, "%s", path);
    return S_ISDIR(st.st_mode)
               ? LX_OK
               : lx_fail(err, LX_EEXISTS, "%s: is a file, a folder is needed", path);
}

/* Like mkdir -p, each new name durable in its parent. */
static int make_durable(const char *path, lx_error *err)
{
    char *copy;
    int rc = LX_OK;

    if (lx_file_is_dir(path))
        return LX_OK;
    if (!(copy = lx_strdup(path)))
        return lx_oom(err);
    for (char *p = copy + 1; rc == LX_OK; p++) {
        char c = *p;
        if (c != '/' && c)
            continue;
        *p = '\0';
        if (p[-1] != '/')
            rc = make_one(copy, err);
        *p = c;
        if (!c)
            break;
    }
    lx_free(copy);
    return rc < 0 ? rc : check_folder(path, err);
}

/* All that a new store needs before its database (3). */
static int make_folders(const lx_store *s, lx_error *err)
{
    lx_str path = LX_STR_INIT;
    char *end; /* of "objects" */
    int rc;

    lx_str_printf(&path, "%s/objects/00", s->path);
    if ((rc = lx_str_check(&path, err)) < 0)
        goto done;
    end = path.data + path.len - 3;
    *end = '\0';
    rc = make_durable(path.data, err);
    for (int i = 0; i < 256 && rc == LX_OK; i++) {
        snprintf(end, 4, "/%02x", i);
        if (lx_io_get()->mkdir(path.data, 0777) != 0 && errno != EEXIST)
            rc = lx_fail_errno(err, errno, "%s: cannot make the folder", path.data);
    }
    *end = '\0';
    if (rc == LX_OK)
        rc = store__sync_folder(path.data, err);
done:
    lx_str_release(&path);
    return rc;
}

/* ---- reading where nothing can be written ----------------------------------------- */

static int copy_file(const char *from, const char *to, lx_error *err)
{
    const lx_io *io = lx_io_get();
    int in = io->open(from, O_RDONLY, 0), out = -1, rc = LX_OK;
    char chunk[16384];
    ssize_t got = 0;

    if (in < 0 || (out = io->open(to, O_WRONLY | O_CREAT | O_EXCL, 0600)) < 0) {
        rc = lx_fail_errno(err, errno, "%s", in < 0 ? from : to);
        goto done;
    }
    while (rc == LX_OK && (got = io->read(in, chunk, sizeof chunk)) > 0)
        for (ssize_t put, at = 0; at < got; at += put)
            if ((put = io->write(out, chunk + at, (size_t)(got - at))) <= 0) {
                rc = lx_fail_errno(err, errno, "%s", to);
                break;
            }
    if (got < 0)
        rc = lx_fail_errno(err, errno, "%s", from);
done:
    if (in >= 0)
        io->close(in);
    if (out >= 0)
        io->close(out);
    return rc;
}

static const char *const copied[] = {"store.db", "store.db-wal", "store.db-shm"};

/* Also where there is no memory: the copy would stay. */
static void remove_copy(lx_store *s)
{
    char path[4096]; /* no file has a longer one */

    if (!s->copy)
        return;
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++) {
        snprintf(path, sizeof path, "%s/%s", s->copy, copied[i]);
        lx_io_get()->unlink(path);
    }
    rmdir(s->copy);
    lx_free(s->copy);
    s->copy = NULL;
}

/* Database and WAL as they are between two transactions of others. */
static int make_copy(lx_store *s, lx_error *err)
{
    lx_str from = LX_STR_INIT, to = LX_STR_INIT;
    int lock_fd, rc;

    lx_str_printf(&to, "%s/lx-copy-XXXXXX", lx_temporary_folder());
    lx_str_printf(&from, "%s/lock", s->path);
    if ((rc = lx_str_check(&to, err)) < 0 || (rc = lx_str_check(&from, err)) < 0)
        goto done;
    s->copy =
        lx_str_detach(&to); /* before it is made: then whatever happens it is removed */
    if (!mkdtemp(s->copy)) {
        rc = lx_fail_errno(err, errno, "%s", s->copy);
        lx_free(s->copy);
        s->copy = NULL;
        goto done;
    }
    if ((lock_fd = lx_io_get()->open(from.data, O_RDONLY, 0)) >= 0)
        lx_io_get()->lock(lock_fd, 0, 1);
    for (size_t i = 0; i < 2 && rc == LX_OK; i++) {
        lx_str_clear(&from);
        lx_str_clear(&to);
        lx_str_printf(&from, "%s/%s", s->path, copied[i]);
        lx_str_printf(&to, "%s/%s", s->copy, copied[i]);
        if ((rc = lx_str_check(&from, err)) == LX_OK &&
            (rc = lx_str_check(&to, err)) == LX_OK)
            rc = copy_file(from.data, to.data, err);
    }
    if (lock_fd >= 0)
        lx_io_get()->close(lock_fd);
done:
    lx_str_release(&from);
    lx_str_release(&to);
    return rc;
}

/* A path as SQLite's URIs want it. */
static void put_uri(lx_str *out, const char *path)
{
    for (; *path; path++)
        if (strchr("%?#", *path))
            lx_str_printf(out, "%%%02x", (unsigned char)*path);
        else
            lx_str_putc(out, *path);
}

static bool has_wal(const lx_store *s)
{
    lx_str path = LX_STR_INIT;
    struct stat st;
    bool has;
    lx_str_printf(&path, "%s/store.db-wal", s->path);
    has = !path.failed && lx_io_get()->stat(path.data, &st) == 0 && st.st_size > 0;
    lx_str_release(&path);
    return has;
}

/* ---- opening ---------------------------------------------------------------------- */

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

static int open_sqlite(lx_store *s, const char *name, int flags, lx_error *err)
{
    flags |= SQLITE_OPEN_NOMUTEX; /* calls take turns by s->mutex */
    if (sqlite3_open_v2(name, &s->db, flags, NULL) != SQLITE_OK)
        return store__sql_error(s, "opening", err);
    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_busy_timeout(s->db, 2000);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    return LX_OK;
}

static void close_sqlite(lx_store *s)
{
    for (unsigned i = 0; i < STORE_STATEMENTS; i++) {
        sqlite3_finalize(s->statements[i].stmt);
        s->statements[i].stmt = NULL;
    }
    sqlite3_close_v2(s->db);
    s->db = NULL;
}

static int count_wal(void *context, sqlite3 *db, const char *name, int pages)
{
    (void)db;
    (void)name;
    ((lx_store *)context)->wal_pages = pages;
    return SQLITE_OK;
}

/* SQLite keeps another mode without an error where WAL cannot be. */
static int use_wal(lx_store *s, lx_error *err)
{
    sqlite3_stmt *stmt;
    int rc = store__query(&stmt, s, err, "PRAGMA journal_mode=WAL", "");
    if (store__row(&rc, s, stmt, err) && sqlite3_column_bytes(stmt, 0) != 3)
        rc = lx_fail(
            err, LX_EPLACE,
            "%s: the file system cannot hold a write-ahead log: choose another folder "
            "with --store DIR",
            s->path);
    store__finish(s, stmt);
    return rc;
}

/* What SQLite sorts may be large, and would then go into files of /var/tmp: a confined command may make none there. */
static int keep_temporaries_here(lx_store *s, lx_error *err)
{
    return store__exec(s, "PRAGMA temp_store=MEMORY", err);
}

static int open_for_writing(lx_store *s, const char *name, lx_error *err)
{
    int64_t version;
    int rc;
    if ((rc = open_sqlite(s, name, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, err)) <
            0 ||
        (rc = read_version(&version, s, err)) < 0 ||
        (rc = store__exec(s, "PRAGMA synchronous=EXTRA", err)) < 0 ||
        (rc = use_wal(s, err)) < 0 ||
        (rc = store__exec(s, "PRAGMA wal_autocheckpoint=0; PRAGMA foreign_keys=ON",
                          err)) < 0 ||
        (rc = keep_temporaries_here(s, err)) < 0)
        return rc;
    sqlite3_wal_hook(s->db, count_wal,
                     s); /* after the pragma, which sets a hook of its own */
    if ((rc = migrate(s, version, err)) < 0)
        return rc;
    return store__exec(s, "PRAGMA synchronous=FULL", err);
}

/*
 * WAL wants a -shm file, which a read-only medium may lack. Without a WAL the file alone
 * is the store (immutable=1 would leave a WAL out of account); with one a copy of both is
 * read.
 */
static int open_elsewhere(lx_store *s, const char *name, lx_error *err)
{
    lx_str other = LX_STR_INIT;
    int rc = LX_OK, flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_URI;

    close_sqlite(s);
    if (has_wal(s)) {
        flags = SQLITE_OPEN_READWRITE;
        if ((rc = make_copy(s, err)) == LX_OK)
            lx_str_printf(&other, "%s/store.db", s->copy);
    } else {
        lx_str_puts(&other, "file:");
        put_uri(&other, name);
        lx_str_puts(&other, "?immutable=1");
    }
    if (rc == LX_OK && (rc = lx_str_check(&other, err)) == LX_OK)
        rc = open_sqlite(s, other.data, flags, err);
    lx_str_release(&other);
    return rc;
}

static bool is_about_the_medium(const lx_store *s)
{
    int code = sqlite3_errcode(s->db) & 0xff;
    return code == SQLITE_CANTOPEN || code == SQLITE_READONLY || code == SQLITE_IOERR;
}

static int open_for_reading(lx_store *s, const char *name, lx_error *err)
{
    int64_t version;
    int rc = open_sqlite(s, name, SQLITE_OPEN_READONLY, err);

    if (rc == LX_OK)
        rc = read_version(&version, s, err);
    if (rc < 0 && rc != LX_ENOMEM && is_about_the_medium(s) &&
        (rc = open_elsewhere(s, name, err)) == LX_OK)
        rc = read_version(&version, s, err);
    if (rc < 0 || (rc = migrate(s, version, err)) < 0 ||
        (rc = keep_temporaries_here(s, err)) < 0)
        return rc;
    return store__exec(s, "PRAGMA query_only=1", err);
}

static int open_db(lx_store *s, lx_error *err)
{
    lx_str name = LX_STR_INIT;
    int rc;
    lx_str_printf(&name, "%s/store.db", s->path);
    if ((rc = lx_str_check(&name, err)) == LX_OK)
        rc = s->is_readonly ? open_for_reading(s, name.data, err)
                            : open_for_writing(s, name.data, err);
    lx_str_release(&name);
    return rc;
}

static int make_mutex(lx_store *s, lx_error *err)
{
    pthread_mutexattr_t recursive;
    if (pthread_mutexattr_init(&recursive) != 0)
        return lx_oom(err);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    s->has_mutex = pthread_mutex_init(&s->mutex, &recursive) == 0;
    pthread_mutexattr_destroy(&recursive);
    return s->has_mutex ? LX_OK : lx_oom(err);
}

static int open_store(lx_store *s, const char *path, bool must_exist, lx_error *err)
{
    lx_str found = LX_STR_INIT;
    bool is_there;
    int rc;

    if ((rc = lx_store_find(&found, path, err)) == LX_OK)
        s->path = lx_str_detach(&found);
    lx_str_release(&found);
    if (rc < 0 || (rc = make_mutex(s, err)) < 0)
        return rc;
    if (must_exist && lx_file_exists(s->path) && !lx_file_is_dir(s->path))
        return lx_fail(err, LX_ENOTFOUND, "%s is a file, and a store is a folder", s->path);
    if (must_exist && !lx_file_is_dir(s->path))
        return lx_fail(err, LX_ENOTFOUND, "no store at %s: nothing was recorded yet",
                       s->path);
    if ((rc = check_header(&is_there, s, err)) < 0)
        return rc;
    if (must_exist && !is_there)
        return lx_fail(err, LX_ENOTFOUND, "%s holds no runs yet", s->path);
    if (s->is_readonly)
        return open_db(s, err);
    if ((!is_there && (rc = make_folders(s, err)) < 0) ||
        (rc = check_place(s->path, err)) < 0 || (rc = open_lock(s, err)) < 0 ||
        (rc = store__lock(s, err)) < 0)
        return rc;
    rc = open_db(s, err);
    store__unlock(s);
    return rc;
}

static int open_as(lx_store **out, const char *path, bool is_readonly, bool must_exist,
                   lx_error *err)
{
    lx_store *s = lx_calloc(1, sizeof *s);
    int rc;

    *out = NULL;
    if (!s)
        return lx_oom(err);
    s->lock_fd = -1;
    s->patience = LX_STORE_PATIENCE;
    s->is_readonly = is_readonly;
    if ((rc = open_store(s, path, must_exist, err)) < 0) {
        lx_store_close(s);
        return rc;
    }
    s->is_ready = true;
    *out = s;
    return LX_OK;
}

int lx_store_open(lx_store **out, const char *path, bool is_readonly, lx_error *err)
{
    return open_as(out, path, is_readonly, is_readonly, err);
}

int lx_store_open_existing(lx_store **out, const char *path, lx_error *err)
{
    return open_as(out, path, false, true, err);
}

void lx_store_rest(lx_store *s)
{
    pthread_mutex_lock(&s->mutex);
    sqlite3_db_release_memory(s->db);
    pthread_mutex_unlock(&s->mutex);
}

void lx_store_close(lx_store *s)
{
    if (!s)
        return;
    if (s->is_ready && !s->is_readonly && !s->is_poisoned &&
        lx_io_get()->lock(s->lock_fd, 1, 0) == 0) {
        store__checkpoint(s, SQLITE_CHECKPOINT_TRUNCATE);
        lx_io_get()->unlock(s->lock_fd);
    }
    close_sqlite(s);
    remove_copy(s);
    if (s->lock_fd >= 0)
        lx_io_get()->close(s->lock_fd);
    if (s->has_mutex)
        pthread_mutex_destroy(&s->mutex);
    lx_free(s->path);
    lx_free(s);
}

const char *lx_store_path(const lx_store *s)
{
    return s->path;
}
