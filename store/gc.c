#include "store/gc.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "store/internal.h"

enum { GRACE_S = 2 * 24 * 3600 };
static const double MOST_LOCKED = 0.5; /* seconds, while files are removed */

typedef struct gc {
    lx_store *store;
    const lx_gc_options *options;
    lx_gc_report *report;
    double now;
    void (*tell)(void *context, const char *line);
    void *context;
    int64_t last_object; /* when marking began */
    double locked_at;    /* monotonic */
    bool is_locked;
} gc;

/* ---- runs ------------------------------------------------------------------------- */

static int find_doomed(gc *g, lx_error *err)
{
    lx_store *s = g->store;
    int rc = store__exec(s, "DELETE FROM temp.doomed", err);
    if (rc == LX_OK)
        rc = store__do(
            s, err,
            "INSERT INTO doomed SELECT seq FROM run WHERE"
            " (SELECT max(at) FROM remark m WHERE m.run=run.seq AND kind='trash')<=?1"
            " AND (SELECT value FROM remark m WHERE m.run=run.seq AND kind='trash'"
            "      ORDER BY m.seq DESC LIMIT 1) IS NOT NULL"
            " AND NOT EXISTS (SELECT 1 FROM remark m WHERE m.run=run.seq"
            "  AND kind IN ('pin', 'tag') AND value IS NOT NULL AND m.seq="
            "  (SELECT max(o.seq) FROM remark o WHERE o.run=m.run AND o.kind=m.kind"
            "   AND o.key=m.key))",
            "d", g->now - g->options->keep_days * 86400);
    return rc;
}

static int tell_doomed(gc *g, lx_error *err)
{
    lx_store *s = g->store;
    sqlite3_stmt *stmt;
    int rc =
        store__query(&stmt, s, err,
                     "SELECT id, coalesce(n.name, run.name, '') FROM run JOIN doomed d"
                     " ON d.run=seq LEFT JOIN run_now n ON n.run=seq ORDER BY seq",
                     "");
    while (store__row(&rc, s, stmt, err)) {
        char line[512];
        snprintf(line, sizeof line, "run %s %s", sqlite3_column_text(stmt, 0),
                 sqlite3_column_text(stmt, 1));
        g->report->n_runs++;
        g->tell(g->context, line);
    }
    store__finish(s, stmt);
    return rc;
}

/* ---- objects: mark ---------------------------------------------------------------- */

static int mark_roots(gc *g, lx_error *err)
{
    static const char *const columns[] = {"spec",        "command_line", "flags_given",
                                          "flags",       "dataset",      "base_model",
                                          "environment", "git",          "diff"};
    int rc = LX_OK;
    for (size_t i = 0; i < sizeof columns / sizeof *columns && rc == LX_OK; i++) {
        char sql[256];
        snprintf(
            sql, sizeof sql,
            "INSERT OR IGNORE INTO reached SELECT %s, 0 FROM run WHERE %s IS NOT NULL"
            " AND seq NOT IN (SELECT run FROM doomed)",
            columns[i], columns[i]);
        rc = store__do(g->store, err, sql, "");
    }
    return rc < 0
               ? rc
               : store__do(g->store, err,
                           "INSERT OR IGNORE INTO reached SELECT object, 0 FROM artifact"
                           " WHERE is_kept AND run NOT IN (SELECT run FROM doomed)",
                           "");
}

/* A text on its way through, in pieces. */
typedef struct scan {
    gc *g;
    bool has_begun;
    char digits[LX_HASH_HEX + 1];
    size_t n_digits; /* in a row up to here */
} scan;

static int mark_digits(scan *t, lx_error *err)
{
    lx_hash hash;

    if (t->n_digits != LX_HASH_HEX || !lx_hash_from_hex(&hash, t->digits))
        return LX_OK;
    return store__do(t->g->store, err,
                     "INSERT OR IGNORE INTO reached SELECT hash, 0 FROM object"
                     " WHERE hash=?1",
                     "h", &hash);
}

/* Only JSON names others. Names of objects stand in it as 64 hexadecimal digits: whatever looks like one and is one is
 * reached, whichever member holds it. */
static int mark_named(void *context, const void *bytes, size_t n, lx_error *err)
{
    const char *text = bytes;
    scan *t = context;
    int rc = LX_OK;

    if (!t->has_begun && *text != '{' && *text != '[')
        return 1;
    t->has_begun = true;
    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        if (isxdigit((unsigned char)text[i])) {
            if (t->n_digits < LX_HASH_HEX)
                t->digits[t->n_digits] = text[i];
            t->n_digits++;
        } else if (t->n_digits) {
            rc = mark_digits(t, err);
            t->n_digits = 0;
        }
    }
    return rc;
}

/* A damaged object names what it still does, that is nothing we know of. */
static int read_reached(gc *g, const lx_hash *hash, lx_error *err)
{
    scan t = {.g = g};
    int64_t size;
    int rc = store__number(&size, 0, g->store, err,
                           "SELECT size FROM object WHERE hash=?1", "h", hash);

    if (rc == LX_OK && size) {
        if ((rc = store__object_stream(g->store, hash, mark_named, &t, err)) == LX_OK)
            rc = mark_digits(&t, err);
        if (store__is_damage(rc))
            lx_within(err, "nothing is removed from a damaged store (lx fsck)");
    }
    return rc < 0 ? rc
                  : store__do(g->store, err, "UPDATE reached SET is_read=1 WHERE hash=?1",
                              "h", hash);
}

/* What is reached and has not been read, until nothing is left of it. */
static int read_all(gc *g, lx_error *err)
{
    bool has_more = true;
    int rc = LX_OK;
    while (rc == LX_OK && has_more) {
        sqlite3_stmt *stmt;
        lx_hash hash;
        rc = store__query(&stmt, g->store, err,
                          "SELECT hash FROM reached WHERE is_read=0 LIMIT 1", "");
        has_more = store__row(&rc, g->store, stmt, err) && store__hash(&hash, stmt, 0);
        store__finish(g->store, stmt);
        if (rc == LX_OK && has_more)
            rc = read_reached(g, &hash, err);
    }
    return rc;
}

/* Once more, under the lock: what came since is few. Marks only ever grow: what is reached no longer goes the next
 * time. Objects that came count as reached, whatever their age. */
static int mark_again(gc *g, lx_error *err)
{
    int rc = find_doomed(g, err);
    if (rc == LX_OK && (rc = mark_roots(g, err)) == LX_OK &&
        (rc = store__do(
             g->store, err,
             "INSERT OR IGNORE INTO reached SELECT hash, 0 FROM object WHERE id>?1", "i",
             g->last_object)) == LX_OK)
        rc = read_all(g, err);
    return rc;
}

static int mark_first(gc *g, lx_error *err)
{
    int rc = store__exec(
        g->store,
        "DROP TABLE IF EXISTS temp.doomed; DROP TABLE IF EXISTS temp.reached;"
        "CREATE TEMP TABLE doomed(run INTEGER PRIMARY KEY);"
        "CREATE TEMP TABLE reached(hash BLOB PRIMARY KEY, is_read INTEGER) WITHOUT ROWID;"
        "CREATE INDEX temp.unread ON reached(hash) WHERE is_read=0",
        err);
    if (rc == LX_OK &&
        (rc = store__number(&g->last_object, 0, g->store, err,
                            "SELECT max(id) FROM object", "")) == LX_OK &&
        (rc = find_doomed(g, err)) == LX_OK && (rc = mark_roots(g, err)) == LX_OK)
        rc = read_all(g, err);
    return rc;
}

/*
 * Reading all that is reached takes long in a large store, and others that want to write give up after some seconds:
 * so the most is done before the lock is taken. What another gc takes away meanwhile looks like damage here; what it is
 * shows under the lock.
 */
static int mark_unlocked(gc *g, lx_error *err)
{
    lx_error damage = {0};
    int rc = mark_first(g, &damage);

    return store__is_damage(rc) ? LX_OK : lx_fail_as(err, rc, &damage);
}

/* ---- objects: sweep --------------------------------------------------------------- */

typedef struct hashes {
    lx_hash *items;
    size_t count, capacity;
} hashes;

/* Those to be removed that have a file of their own are gathered. */
static int find_unreached(gc *g, hashes *files, lx_error *err)
{
    lx_store *s = g->store;
    sqlite3_stmt *stmt;
    int rc = store__query(&stmt, s, err,
                          "SELECT hash, length(data) FROM object WHERE added<?1"
                          " AND hash NOT IN (SELECT hash FROM reached)",
                          "i", (int64_t)(g->now - GRACE_S));
    while (store__row(&rc, s, stmt, err)) {
        lx_hash hash;
        if (!store__hash(&hash, stmt, 0))
            continue;
        g->report->n_objects++;
        g->report->n_bytes += sqlite3_column_int64(stmt, 1);
        if (sqlite3_column_type(stmt, 1) != SQLITE_NULL)
            continue;
        if (lx_grow(&files->items, &files->capacity, files->count + 1, sizeof hash) < 0)
            rc = lx_oom(err);
        else
            files->items[files->count++] = hash;
    }
    store__finish(s, stmt);
    return rc;
}

static int remove_rows(gc *g, lx_error *err)
{
    static const char *const of_runs[] = {
        "DELETE FROM chunk WHERE series IN (SELECT id FROM series JOIN doomed "
        "USING(run))",
        "DELETE FROM tail_point WHERE series IN (SELECT id FROM series JOIN doomed "
        "USING(run))",
        "DELETE FROM series_now WHERE series IN (SELECT id FROM series JOIN doomed "
        "USING(run))",
        "DELETE FROM series WHERE run IN (SELECT run FROM doomed)",
        "DELETE FROM tail_text WHERE run IN (SELECT run FROM doomed)",
        "DELETE FROM artifact WHERE run IN (SELECT run FROM doomed)",
        "DELETE FROM remark WHERE run IN (SELECT run FROM doomed)",
        "DELETE FROM run_end WHERE run IN (SELECT run FROM doomed)",
        "DELETE FROM run_flag WHERE run IN (SELECT run FROM doomed)",
        "DELETE FROM run_now WHERE run IN (SELECT run FROM doomed)",
        "DELETE FROM run WHERE seq IN (SELECT run FROM doomed)",
        "DELETE FROM flag_value WHERE id NOT IN (SELECT flag FROM run_flag)"};
    int rc = LX_OK;
    for (size_t i = 0; i < sizeof of_runs / sizeof *of_runs && rc == LX_OK; i++)
        rc = store__do(g->store, err, of_runs[i], "");
    return rc < 0 ? rc
                  : store__do(g->store, err,
                              "DELETE FROM object WHERE added<?1"
                              " AND hash NOT IN (SELECT hash FROM reached)",
                              "i", (int64_t)(g->now - GRACE_S));
}

/* ---- files ------------------------------------------------------------------------ */

/* Files go under the lock, where those who put objects look a last time; those that only are told need none. */
static int lock_files(gc *g, lx_error *err)
{
    int rc = g->options->prunes ? store__lock(g->store, err) : LX_OK;

    g->is_locked = rc == LX_OK && g->options->prunes;
    g->locked_at = store__monotonic();
    return rc;
}

static void unlock_files(gc *g)
{
    if (g->is_locked)
        store__unlock(g->store);
    g->is_locked = false;
}

/* Between two files: others that wait for the lock have it in between. */
static int breathe(gc *g, lx_error *err)
{
    const struct timespec pause = {0, 20 * 1000 * 1000};

    if (!g->is_locked || store__monotonic() - g->locked_at < MOST_LOCKED)
        return LX_OK;
    unlock_files(g);
    nanosleep(&pause, NULL);
    return lock_files(g, err);
}

static void remove_file(gc *g, const char *path, bool counts_as_file)
{
    struct stat st;
    if (lx_io_get()->stat(path, &st) != 0)
        return;
    g->report->n_bytes += st.st_size;
    g->report->n_files += counts_as_file;
    if (g->options->prunes)
        lx_io_get()->unlink(path); /* what stays is a stray, for the next time */
}

/* Unless someone has put the object again meanwhile. */
static int remove_object_files(gc *g, const hashes *files, lx_error *err)
{
    lx_str path = LX_STR_INIT;
    int rc = LX_OK;
    for (size_t i = 0; i < files->count && rc == LX_OK; i++) {
        bool is_there = false;
        store__object_path(&path, g->store, &files->items[i]);
        if ((rc = lx_str_check(&path, err)) < 0)
            break;
        if (g->options->prunes)
            rc = lx_object_exists(&is_there, g->store, &files->items[i], err);
        if (rc == LX_OK && !is_there)
            remove_file(g, path.data, false);
        if (rc == LX_OK)
            rc = breathe(g, err);
    }
    lx_str_release(&path);
    return rc;
}

/* A file that no row names: of a crash between the file and its row, or a temporary one.
 */
static int check_stray(gc *g, const char *folder, const char *prefix, const char *name,
                       lx_error *err)
{
    lx_str path = LX_STR_INIT, hex = LX_STR_INIT;
    struct stat st;
    bool is_there = false;
    lx_hash hash;
    int rc = LX_OK;

    lx_str_printf(&path, "%s/%s", folder, name);
    lx_str_printf(&hex, "%s%s", prefix, name);
    if ((rc = lx_str_check(&path, err)) == LX_OK &&
        (rc = lx_str_check(&hex, err)) == LX_OK &&
        lx_io_get()->stat(path.data, &st) == 0 &&
        (double)st.st_mtime < g->now - GRACE_S) {
        if (lx_hash_from_hex(&hash, hex.data))
            rc = lx_object_exists(&is_there, g->store, &hash, err);
        else
            is_there = !lx_ends_with(name, ".tmp"); /* not ours: let it be */
        if (rc == LX_OK && !is_there)
            remove_file(g, path.data, true);
    }
    lx_str_release(&path);
    lx_str_release(&hex);
    return rc;
}

static int remove_strays(gc *g, lx_error *err)
{
    int rc = LX_OK;
    for (int i = 0; i < 256 && rc == LX_OK; i++) {
        lx_str folder = LX_STR_INIT;
        char prefix[3];
        lx_dir dir = {0};
        snprintf(prefix, sizeof prefix, "%02x", i);
        lx_str_printf(&folder, "%s/objects/%s", g->store->path, prefix);
        if ((rc = lx_str_check(&folder, err)) == LX_OK && lx_file_is_dir(folder.data) &&
            (rc = lx_dir_list(&dir, folder.data, err)) == LX_OK)
            for (size_t k = 0; k < dir.count && rc == LX_OK; k++)
                if ((rc = check_stray(g, folder.data, prefix, dir.names[k], err)) ==
                    LX_OK)
                    rc = breathe(g, err);
        lx_dir_free(&dir);
        lx_str_release(&folder);
    }
    return rc;
}

/* ---- tails ------------------------------------------------------------------------ */

/* Of runs that will not go on. */
static int pack_tails(gc *g, lx_error *err)
{
    lx_store *s = g->store;
    sqlite3_stmt *stmt;
    int rc = store__query(&stmt, s, err,
                          "SELECT s.id, r.boot_id, r.pid, r.pid_start FROM series s"
                          " JOIN run r ON r.seq=s.run"
                          " WHERE EXISTS (SELECT 1 FROM tail_point WHERE series=s.id)",
                          "");
    while (store__row(&rc, s, stmt, err)) {
        if (store__is_alive((const char *)sqlite3_column_text(stmt, 1),
                            sqlite3_column_int64(stmt, 2), sqlite3_column_int64(stmt, 3)))
            continue;
        g->report->n_packed++;
        if (g->options->prunes)
            rc = store__pack_series(s, sqlite3_column_int64(stmt, 0), err);
    }
    store__finish(s, stmt);
    return rc;
}

/* Gives the room back when a quarter of the file is empty. */
static int shrink(lx_store *s, lx_error *err)
{
    int64_t n_free, n;
    int rc;
    if ((rc = store__number(&n_free, 0, s, err, "PRAGMA freelist_count", "")) < 0 ||
        (rc = store__number(&n, 0, s, err, "PRAGMA page_count", "")) < 0 ||
        n_free < n / 4)
        return rc;
    if ((rc = store__lock(s, err)) < 0)
        return rc;
    rc = store__exec(s, "VACUUM", err);
    store__unlock(s);
    return rc;
}

/* ---- the whole -------------------------------------------------------------------- */

/* Files go after the commit, so that a crash leaves strays and never a row without its
 * file; and under the lock, where those who put objects look a last time. */
static int remove_files(gc *g, const hashes *files, lx_error *err)
{
    int rc = lock_files(g, err);
    if (rc == LX_OK && (rc = remove_object_files(g, files, err)) == LX_OK)
        rc = remove_strays(g, err);
    unlock_files(g);
    return rc;
}

static int collect(gc *g, hashes *files, lx_error *err)
{
    int rc = mark_again(g, err);
    if (rc == LX_OK && (rc = tell_doomed(g, err)) == LX_OK &&
        (rc = find_unreached(g, files, err)) == LX_OK &&
        (rc = pack_tails(g, err)) == LX_OK && g->options->prunes)
        rc = remove_rows(g, err);
    return rc;
}

/* One that only tells writes nothing: it wants no more than to see all as of one moment. */
static int look(gc *g, hashes *files, lx_error *err)
{
    lx_store *s = g->store;
    bool is_ours = false;
    int rc;

    pthread_mutex_lock(&s->mutex);
    if ((rc = store__begin_reading(&is_ours, s, err)) == LX_OK)
        rc = collect(g, files, err);
    store__end_reading(s, is_ours);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

static int remove_all(gc *g, hashes *files, lx_error *err)
{
    int rc = store__begin(g->store, err);

    if (rc == LX_OK)
        rc = store__end(g->store, collect(g, files, err), err);
    return rc;
}

int lx_store_gc(lx_gc_report *out, lx_store *store, const lx_gc_options *options,
                void (*tell)(void *context, const char *line), void *context,
                lx_error *err)
{
    gc g = {.store = store,
            .options = options,
            .report = out,
            .now = options->now > 0 ? options->now : store__now(),
            .tell = tell,
            .context = context};
    hashes files = {0};
    int rc;

    *out = (lx_gc_report){0};
    if ((rc = mark_unlocked(&g, err)) == LX_OK)
        rc = options->prunes ? remove_all(&g, &files, err) : look(&g, &files, err);
    if (rc == LX_OK)
        rc = remove_files(&g, &files, err);
    if (rc == LX_OK && options->prunes)
        rc = shrink(store, err);
    lx_free(files.items);
    return rc;
}
