/*
 * A new database of all rows that can still be read.
 *
 * A table is read upwards by rowid until a page of it fails. When only the payload of one
 * row is damaged, the next rowid is still found and reading goes on behind it; when a page
 * of the tree itself is, the table is read downwards from its end, and what is between is
 * asked for row by row. SQLite's own .recover does more (rows of pages that hang in no
 * tree), but is in no library of Debian's.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "store/internal.h"
#include "store/repair.h"

enum { MOST_PROBES = 1000000, NEW_DB = 0, OLD_DB = 1, BLOCK = 4096, PIECE = 1 << 18 };

typedef struct salvage {
    lx_salvage_report *report;
    lx_repair_tell tell;
    void *context;
    char *folder;
    int lock_fd;
    sqlite3 *db[2];
    lx_str work, fresh; /* paths: a copy of the damaged database; the new one */
} salvage;

static void say(const salvage *s, const char *fmt, ...) LX_PRINTF(2, 3);

static void say(const salvage *s, const char *fmt, ...)
{
    char line[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    s->tell(s->context, line);
}

/* Of the new database: what it says is an error. */
static int fail_new(salvage *s, const char *doing, lx_error *err)
{
    int code = sqlite3_errcode(s->db[NEW_DB]) & 0xff;
    if (code == SQLITE_NOMEM)
        return lx_oom(err);
    return lx_fail(err, LX_EIO, "%s: %s: %s", lx_str_text(&s->fresh), doing,
                   sqlite3_errmsg(s->db[NEW_DB]));
}

static int exec_new(salvage *s, const char *sql, lx_error *err)
{
    return sqlite3_exec(s->db[NEW_DB], sql, NULL, NULL, NULL) == SQLITE_OK
               ? LX_OK
               : fail_new(s, "writing", err);
}

/* ---- one table --------------------------------------------------------------------- */

typedef struct table {
    const char *name;
    lx_str columns, keys; /* "a", "b"; of a table without rowids those of its key */
    int n_columns;
    bool has_rowid;
    sqlite3_stmt *insert;
    size_t n_rows, n_lost, n_again;
    bool is_broken; /* a page of its tree cannot be read */
} table;

static void release_table(table *t)
{
    sqlite3_finalize(t->insert);
    lx_str_release(&t->columns);
    lx_str_release(&t->keys);
}

static int describe(table *t, salvage *s, lx_error *err)
{
    sqlite3_stmt *stmt = NULL;
    lx_str sql = LX_STR_INIT;
    int code, rc = LX_OK;

    if (sqlite3_prepare_v2(
            s->db[NEW_DB],
            "SELECT c.name, c.pk, l.wr FROM pragma_table_info(?1) c,"
            " pragma_table_list(?1) l WHERE l.schema='main' ORDER BY c.cid",
            -1, &stmt, NULL) != SQLITE_OK)
        return fail_new(s, "reading its schema", err);
    sqlite3_bind_text(stmt, 1, t->name, -1, SQLITE_STATIC);
    while ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(stmt, 0);
        if (!name)
            break;
        lx_str_printf(&t->columns, "%s\"%s\"", t->n_columns++ ? ", " : "", name);
        if (sqlite3_column_int(stmt, 1))
            lx_str_printf(&t->keys, "%s\"%s\"", t->keys.len ? ", " : "", name);
        t->has_rowid = !sqlite3_column_int(stmt, 2);
    }
    sqlite3_finalize(stmt);
    if (code == SQLITE_ROW)
        return lx_oom(err);
    if (code != SQLITE_DONE)
        return fail_new(s, "reading its schema", err);
    lx_str_printf(&sql, "INSERT INTO \"%s\"(%s) VALUES(", t->name,
                  lx_str_text(&t->columns));
    for (int i = 0; i < t->n_columns; i++)
        lx_str_puts(&sql, i ? ", ?" : "?");
    lx_str_putc(&sql, ')');
    if ((rc = lx_str_check(&t->columns, err)) == LX_OK &&
        (rc = lx_str_check(&t->keys, err)) == LX_OK &&
        (rc = lx_str_check(&sql, err)) == LX_OK &&
        sqlite3_prepare_v2(s->db[NEW_DB], sql.data, -1, &t->insert, NULL) != SQLITE_OK)
        rc = fail_new(s, "preparing", err);
    lx_str_release(&sql);
    return rc;
}

/* The columns of a row from number `from` on. One that was read before, from the other end, is there already; one that
 * the schema refuses is lost. */
static int insert_row(table *t, salvage *s, sqlite3_stmt *row, int from, lx_error *err)
{
    int code;

    for (int i = 0; i < t->n_columns; i++)
        if (sqlite3_bind_value(t->insert, i + 1, sqlite3_column_value(row, from + i)) !=
            SQLITE_OK)
            return fail_new(s, "copying a row", err);
    code = sqlite3_step(t->insert);
    sqlite3_reset(t->insert);
    if (code == SQLITE_DONE)
        t->n_rows++;
    else if (code == SQLITE_CONSTRAINT_PRIMARYKEY)
        t->n_again++;
    else if ((code & 0xff) == SQLITE_CONSTRAINT)
        t->n_lost++;
    else
        return fail_new(s, "copying a row", err);
    return LX_OK;
}

/* Is it the bytes that are at fault? Want of memory and all else is an error, or sound rows
 * would be given up for lost. */
static int damage_or(int code, salvage *s, lx_error *err)
{
    switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_IOERR: /* a sector that cannot be read */
    case SQLITE_ERROR: /* a schema that cannot be: no such table */
        return code == SQLITE_IOERR_NOMEM ? lx_oom(err) : LX_OK;
    case SQLITE_NOMEM:
        return lx_oom(err);
    default:
        return lx_fail(err, LX_EIO, "%s: %s", lx_str_text(&s->work),
                       sqlite3_errstr(code));
    }
}

typedef enum reading { READ_ALL, READ_UNTIL_DAMAGE } reading;

/*
 * Rows of a query whose first column is the rowid (when there is one). *last: of the last
 * row read; a rowid that does not go on in `way` (1 or -1) is damage, for a tree of damaged
 * pages may lead in circles. Without rowids a row that comes again says so, or that what was
 * read from the other end begins.
 */
static int copy_rows(reading *how, int64_t *last, table *t, salvage *s, const char *sql,
                     int way, lx_error *err)
{
    sqlite3_stmt *stmt = NULL;
    int code, rc = LX_OK;

    *how = READ_UNTIL_DAMAGE;
    if ((code = sqlite3_prepare_v2(s->db[OLD_DB], sql, -1, &stmt, NULL)) != SQLITE_OK)
        return damage_or(code, s, err);
    if (t->has_rowid)
        sqlite3_bind_int64(stmt, 1, *last);
    while (rc == LX_OK && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        int64_t at = sqlite3_column_int64(stmt, 0);
        if (t->has_rowid && (way > 0 ? at <= *last : at >= *last))
            break;
        rc = insert_row(t, s, stmt, t->has_rowid, err);
        if (!t->has_rowid && t->n_again)
            break;
        *last = at;
    }
    if (rc == LX_OK && code == SQLITE_DONE)
        *how = READ_ALL;
    else if (rc == LX_OK && code != SQLITE_ROW)
        rc = damage_or(code, s, err);
    sqlite3_finalize(stmt);
    return rc;
}

/* The rowid behind `after` (way 1) or before it (-1), without the row; *is_found: false at
 * the end, or where the tree is damaged. */
static int next_rowid(bool *is_found, int64_t *out, const table *t, salvage *s,
                      int64_t after, int way, lx_error *err)
{
    sqlite3_stmt *stmt = NULL;
    char sql[160];
    int code, rc = LX_OK;

    *is_found = false;
    snprintf(
        sql, sizeof sql,
        "SELECT rowid FROM \"%s\" NOT INDEXED WHERE rowid%c?1 ORDER BY rowid%s LIMIT 1",
        t->name, way > 0 ? '>' : '<', way > 0 ? "" : " DESC");
    if ((code = sqlite3_prepare_v2(s->db[OLD_DB], sql, -1, &stmt, NULL)) == SQLITE_OK) {
        sqlite3_bind_int64(stmt, 1, after);
        if ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
            *out = sqlite3_column_int64(stmt, 0);
            *is_found = way > 0 ? *out > after : *out < after;
        }
    }
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        rc = damage_or(code, s, err);
    sqlite3_finalize(stmt);
    return rc;
}

/* In one direction, past rows whose payload alone is damaged; *last is where it ended. */
static int copy_way(reading *how, int64_t *last, table *t, salvage *s, int way,
                    lx_error *err)
{
    lx_str sql = LX_STR_INIT;
    int rc;

    lx_str_printf(
        &sql, "SELECT rowid, %s FROM \"%s\" NOT INDEXED WHERE rowid%c?1 ORDER BY rowid%s",
        lx_str_text(&t->columns), t->name, way > 0 ? '>' : '<', way > 0 ? "" : " DESC");
    rc = lx_str_check(&sql, err);
    while (rc == LX_OK) {
        bool is_found;
        int64_t damaged;
        if ((rc = copy_rows(how, last, t, s, sql.data, way, err)) < 0 ||
            *how == READ_ALL ||
            (rc = next_rowid(&is_found, &damaged, t, s, *last, way, err)) < 0 ||
            !is_found)
            break;
        *last = damaged;
        t->n_lost++;
    }
    lx_str_release(&sql);
    return rc;
}

/* Between the last row read upwards and the last one read downwards. */
static int probe(table *t, salvage *s, int64_t low, int64_t high, lx_error *err)
{
    lx_str sql = LX_STR_INIT;
    sqlite3_stmt *stmt = NULL;
    int code, rc;

    lx_str_printf(&sql, "SELECT rowid, %s FROM \"%s\" NOT INDEXED WHERE rowid=?1",
                  lx_str_text(&t->columns), t->name);
    if ((rc = lx_str_check(&sql, err)) < 0)
        goto done;
    if ((code = sqlite3_prepare_v2(s->db[OLD_DB], sql.data, -1, &stmt, NULL)) !=
        SQLITE_OK) {
        rc = damage_or(code, s, err);
        goto done;
    }
    for (int64_t i = low + 1; i < high && i - low <= MOST_PROBES && rc == LX_OK; i++) {
        sqlite3_bind_int64(stmt, 1, i);
        if ((code = sqlite3_step(stmt)) == SQLITE_ROW)
            rc = insert_row(t, s, stmt, 1, err);
        else if (code != SQLITE_DONE)
            rc = damage_or(code, s, err);
        sqlite3_reset(stmt);
    }
done:
    sqlite3_finalize(stmt);
    lx_str_release(&sql);
    return rc;
}

static int copy_by_rowid(table *t, salvage *s, lx_error *err)
{
    int64_t low = INT64_MIN, high = INT64_MAX;
    reading how;
    int rc = copy_way(&how, &low, t, s, 1, err);

    if (rc < 0 || how == READ_ALL)
        return rc;
    t->is_broken = true;
    if ((rc = copy_way(&how, &high, t, s, -1, err)) < 0 || how == READ_ALL)
        return rc;
    /* Rowids of the record start at 1. Where neither end can be read there is little hope. */
    low = low < 0 ? 0 : low;
    high = high == INT64_MAX ? low + MOST_PROBES / 10 : high;
    return probe(t, s, low, high, err);
}

static int copy_by_key(table *t, salvage *s, lx_error *err)
{
    static const char *const ways[] = {"", " DESC"};
    reading how = READ_UNTIL_DAMAGE;
    int64_t unused;
    int rc = LX_OK;

    for (int i = 0; i < 2 && rc == LX_OK && how != READ_ALL; i++) {
        lx_str sql = LX_STR_INIT;
        /* DESC of the first member is enough: the key is read backwards by it. */
        lx_str_printf(&sql, "SELECT %s FROM \"%s\" ORDER BY %.*s%s",
                      lx_str_text(&t->columns), t->name,
                      (int)strcspn(lx_str_text(&t->keys), ","), lx_str_text(&t->keys),
                      ways[i]);
        t->n_again = 0;
        if ((rc = lx_str_check(&sql, err)) == LX_OK)
            rc = copy_rows(&how, &unused, t, s, sql.data, 1, err);
        t->is_broken = t->is_broken || how != READ_ALL;
        lx_str_release(&sql);
    }
    return rc;
}

static int copy_table(salvage *s, const char *name, lx_error *err)
{
    table t = {.name = name};
    int rc = describe(&t, s, err);

    if (rc == LX_OK)
        rc = t.has_rowid ? copy_by_rowid(&t, s, err) : copy_by_key(&t, s, err);
    if (rc == LX_OK && (t.is_broken || t.n_lost)) {
        s->report->has_lost = true;
        say(s, "table %s: %zu row%s could be read%s", name, t.n_rows, lx_plural(t.n_rows),
            t.is_broken ? ", and parts of it cannot be" : "");
        if (t.n_lost)
            say(s, "table %s: %zu row%s damaged", name, t.n_lost, t.n_lost == 1 ? " is" : "s are");
    }
    s->report->n_rows += t.n_rows;
    s->report->n_lost += t.n_lost;
    release_table(&t);
    return rc;
}

/* ---- all of them ------------------------------------------------------------------- */

/* Those of the record; what follows from it is made again afterwards. */
static int copy_tables(salvage *s, lx_error *err)
{
    sqlite3_stmt *stmt = NULL;
    int code = SQLITE_DONE, rc = LX_OK;

    if (sqlite3_prepare_v2(
            s->db[NEW_DB],
            "SELECT name FROM sqlite_schema WHERE type='table' AND name NOT"
            " LIKE 'sqlite_%' AND name NOT IN ('run_now', 'series_now',"
            " 'flag_value', 'run_flag') ORDER BY rowid",
            -1, &stmt, NULL) != SQLITE_OK)
        return fail_new(s, "reading its schema", err);
    while (rc == LX_OK && (code = sqlite3_step(stmt)) == SQLITE_ROW)
        rc = copy_table(s, (const char *)sqlite3_column_text(stmt, 0), err);
    if (rc == LX_OK && code != SQLITE_DONE)
        rc = fail_new(s, "reading its schema", err);
    sqlite3_finalize(stmt);
    return rc;
}

/* Numbers that were given out are not given again. */
static int keep_numbers(salvage *s, lx_error *err)
{
    sqlite3_stmt *stmt = NULL;
    int code, rc = LX_OK;

    code = sqlite3_prepare_v2(s->db[OLD_DB], "SELECT name, seq FROM sqlite_sequence", -1,
                              &stmt, NULL);
    if (code != SQLITE_OK)
        rc = damage_or(code, s, err);
    else
        while (rc == LX_OK && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
            char *sql = sqlite3_mprintf(
                "UPDATE sqlite_sequence SET seq=max(seq, %lld) WHERE name=%Q",
                sqlite3_column_int64(stmt, 1), sqlite3_column_text(stmt, 0));
            rc = sql ? exec_new(s, sql, err) : lx_oom(err);
            sqlite3_free(sql);
        }
    if (rc == LX_OK && code != SQLITE_DONE)
        rc = damage_or(code, s, err);
    sqlite3_finalize(stmt);
    return rc;
}

/* Rows of runs and curves whose own row is lost say nothing any more. */
static int drop_orphans(salvage *s, lx_error *err)
{
    static const char *const tables[][3] = {
        {"series", "run", "run"},          {"run_end", "run", "run"},
        {"remark", "run", "run"},          {"artifact", "run", "run"},
        {"tail_text", "run", "run"},       {"chunk", "series", "series"},
        {"tail_point", "series", "series"}};
    int rc = LX_OK;

    for (size_t i = 0; i < sizeof tables / sizeof *tables && rc == LX_OK; i++) {
        char sql[160];
        int n;
        snprintf(sql, sizeof sql, "DELETE FROM %s WHERE %s NOT IN (SELECT %s FROM %s)",
                 tables[i][0], tables[i][1],
                 strcmp(tables[i][2], "run") == 0 ? "seq" : "id", tables[i][2]);
        rc = exec_new(s, sql, err);
        n = sqlite3_changes(s->db[NEW_DB]);
        if (rc == LX_OK && n) {
            s->report->has_lost = true;
            say(s, "table %s: %d rows are of a %s whose own row is lost", tables[i][0], n,
                strcmp(tables[i][2], "run") == 0 ? "run" : "curve");
        }
    }
    return rc;
}

static int fill_new(salvage *s, lx_error *err)
{
    char sql[80];
    int rc = exec_new(s, "PRAGMA synchronous=EXTRA; BEGIN", err);

    for (int i = 0; i < store__the_schema.count && rc == LX_OK; i++)
        rc = exec_new(s, store__the_schema.sql[i], err);
    snprintf(sql, sizeof sql, "PRAGMA user_version=%d; PRAGMA application_id=%d",
             store__the_schema.count, STORE_APPLICATION_ID);
    if (rc == LX_OK && (rc = exec_new(s, sql, err)) == LX_OK &&
        (rc = copy_tables(s, err)) == LX_OK && (rc = keep_numbers(s, err)) == LX_OK &&
        (rc = drop_orphans(s, err)) == LX_OK)
        rc = exec_new(s, "COMMIT", err);
    return rc;
}

/* ---- that rows were lost ----------------------------------------------------------- */

void store__lost_path(lx_str *out, const char *folder)
{
    lx_str_clear(out);
    lx_str_printf(out, "%s/damaged/rows-are-missing", folder);
}

int store__has_lost(bool *has_lost, const char *folder, lx_error *err)
{
    lx_str path = LX_STR_INIT;
    struct stat st;
    int rc;

    store__lost_path(&path, folder);
    if ((rc = lx_str_check(&path, err)) == LX_OK) {
        *has_lost = lx_io_get()->stat(path.data, &st) == 0;
        if (!*has_lost && errno != ENOENT && errno != ENOTDIR)
            rc = lx_fail_errno(err, errno, "%s", path.data);
    }
    lx_str_release(&path);
    return rc;
}

static int remember_lost(salvage *s, lx_error *err)
{
    static const char text[] = "lx fsck --repair-from SOURCE looks for what is gone\n";
    lx_str path = LX_STR_INIT;
    int rc;

    store__lost_path(&path, s->folder);
    if ((rc = lx_str_check(&path, err)) == LX_OK)
        rc = lx_file_write(path.data, text, sizeof text - 1, err);
    lx_str_release(&path);
    return rc;
}

/* ---- files ------------------------------------------------------------------------- */

static ssize_t read_at(int fd, char *to, size_t n, int64_t at)
{
    ssize_t got;
    do
        got = lx_io_get()->pread(fd, to, n, (off_t)at);
    while (got < 0 && errno == EINTR);
    return got;
}

/* A piece of which a part cannot be read, block by block: what cannot is zeros. */
static int read_blocks(char *piece, ssize_t *got, int64_t *n_lost, int fd, int64_t at,
                       size_t n, lx_error *err)
{
    *got = 0;
    for (size_t i = 0; i < n; i += BLOCK) {
        size_t wanted = n - i < BLOCK ? n - i : BLOCK;
        ssize_t part = read_at(fd, piece + i, wanted, at + (int64_t)i);
        if (part < 0 && errno != EIO)
            return lx_fail_errno(err, errno, "cannot read");
        if (part < 0) {
            memset(piece + i, 0, wanted);
            part = (ssize_t)wanted;
            ++*n_lost;
        }
        *got += part;
        if ((size_t)part < wanted)
            break;
    }
    return LX_OK;
}

static int copy_pieces(lx_new_file *to, int64_t *n_lost, int fd, size_t size,
                       lx_error *err)
{
    char *piece = lx_alloc(PIECE);
    int rc = piece ? LX_OK : lx_oom(err);

    for (size_t at = 0; at < size && rc == LX_OK;) {
        size_t n = size - at < PIECE ? size - at : PIECE;
        ssize_t got = read_at(fd, piece, n, (int64_t)at);
        if (got < 0 && errno != EIO)
            rc = lx_fail_errno(err, errno, "cannot read");
        else if (got < 0)
            rc = read_blocks(piece, &got, n_lost, fd, (int64_t)at, n, err);
        if (rc < 0 || got == 0)
            break;
        rc = lx_new_file_write(to, piece, (size_t)got, err);
        at += (size_t)got;
    }
    lx_free(piece);
    return rc;
}

int store__copy_readable(int64_t *n_lost, const char *to, const char *from, lx_error *err)
{
    lx_new_file *file = NULL;
    size_t size;
    int fd, rc;

    *n_lost = 0;
    if ((rc = lx_file_open_regular(&fd, &size, from, err)) < 0) {
        lx_within(err, "%s", from);
        return rc;
    }
    if ((rc = lx_new_file_open(&file, to, err)) == LX_OK) {
        int64_t n_blocks = (int64_t)((size + BLOCK - 1) / BLOCK);
        if ((rc = copy_pieces(file, n_lost, fd, size, err)) == LX_OK && *n_lost &&
            *n_lost >= (n_blocks + 1) / 2)
            rc = lx_fail(err, LX_EIO, "%lld of %lld blocks cannot be read",
                         (long long)*n_lost, (long long)n_blocks);
        if (rc < 0)
            lx_within(err, "%s", from);
        else
            rc = lx_new_file_commit(file, err);
    }
    lx_new_file_close(file);
    lx_io_get()->close(fd);
    return rc;
}

/* What is told, and kept as it is: others may get more out of it. */
static int keep_unreadable(const salvage *s, const char *from, const char *copy,
                           int64_t n_lost, lx_error *err)
{
    lx_str to = LX_STR_INIT;
    int rc;

    lx_str_printf(&to, "%s.unread", copy);
    if ((rc = lx_str_check(&to, err)) == LX_OK && lx_io_get()->link(from, to.data) != 0 &&
        errno != EEXIST)
        rc = lx_fail_errno(err, errno, "%s", to.data);
    if (rc == LX_OK)
        say(s,
            "%lld blocks of %s cannot be read and count as empty; the file stays as %s",
            (long long)n_lost, from, to.data);
    lx_str_release(&to);
    return rc;
}

/* Database and WAL as they are, to damaged/store-DATE and to the copy that is read. */
static int copy_aside(salvage *s, lx_error *err)
{
    static const char *const ends[] = {"", "-wal"};
    lx_str from = LX_STR_INIT, to = LX_STR_INIT;
    time_t now = time(NULL);
    char date[32];
    struct tm utc = {0};
    int64_t n_lost;
    int rc;

    gmtime_r(&now, &utc);
    strftime(date, sizeof date, "%Y%m%dT%H%M%S", &utc);
    lx_str_printf(&to, "%s/damaged", s->folder);
    if ((rc = lx_str_check(&to, err)) == LX_OK)
        rc = lx_make_dirs(to.data, err);
    lx_str_clear(&to);
    lx_str_printf(&to, "%s/tmp", s->folder);
    if (rc == LX_OK && (rc = lx_str_check(&to, err)) == LX_OK)
        rc = lx_make_dirs(to.data, err);
    for (int i = 0; i < 2 && rc == LX_OK; i++) {
        lx_str_clear(&from);
        lx_str_clear(&to);
        lx_str_printf(&from, "%s/store.db%s", s->folder, ends[i]);
        lx_str_printf(&to, "%s/damaged/store-%s.db%s", s->folder, date, ends[i]);
        if ((rc = lx_str_check(&from, err)) < 0 || (rc = lx_str_check(&to, err)) < 0 ||
            (i && !lx_file_exists(from.data)))
            continue;
        if ((rc = store__copy_readable(&n_lost, to.data, from.data, err)) == LX_OK && !i)
            say(s, "the database as it was is kept in %s", to.data);
        if (rc == LX_OK && n_lost)
            rc = keep_unreadable(s, from.data, to.data, n_lost, err);
        lx_str_clear(&from);
        lx_str_printf(&from, "%s%s", lx_str_text(&s->work), ends[i]);
        if (rc == LX_OK && (rc = lx_str_check(&from, err)) == LX_OK)
            rc = store__copy_readable(&n_lost, from.data, to.data, err);
    }
    lx_str_release(&from);
    lx_str_release(&to);
    return rc;
}

static void remove_work(salvage *s)
{
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    lx_str path = LX_STR_INIT;

    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 4; i++) {
            lx_str_clear(&path);
            lx_str_printf(&path, "%s%s", lx_str_text(k ? &s->fresh : &s->work), ends[i]);
            if (!path.failed && path.len)
                lx_io_get()->unlink(path.data);
        }
    lx_str_release(&path);
}

/* An open SQLite holds a lock on bytes of the file, also between transactions (in WAL
 * mode; SQLite's os_unix.c, "shared lock"). */
static bool is_open_elsewhere(const char *path)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0x40000000, .l_len = 512};
    int fd = open(path, O_RDWR | O_CLOEXEC);
    bool is_held =
        fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;

    if (fd >= 0)
        close(fd);
    return is_held;
}

/* Under the store's lock, so that no writer comes; (1) of store.h. */
static int take_lock(salvage *s, lx_error *err)
{
    const lx_io *io = lx_io_get();
    lx_str path = LX_STR_INIT;
    int rc;

    lx_str_printf(&path, "%s/lock", s->folder);
    if ((rc = lx_str_check(&path, err)) < 0)
        goto done;
    if ((s->lock_fd = io->open(path.data, O_RDWR | O_CREAT, 0666)) < 0)
        rc = lx_fail_errno(err, errno, "%s", path.data);
    else if (io->lock(s->lock_fd, 1, 0) != 0)
        rc = lx_fail(err, LX_EBUSY, "%s: another process writes to it", s->folder);
    if (rc < 0)
        goto done;
    lx_str_clear(&path);
    lx_str_printf(&path, "%s/store.db", s->folder);
    if ((rc = lx_str_check(&path, err)) == LX_OK && is_open_elsewhere(path.data))
        rc = lx_fail(err, LX_EBUSY,
                     "%s is open in another program: end it first (a training, lx serve)",
                     path.data);
done:
    lx_str_release(&path);
    return rc;
}

/*
 * The new database in the place of the old one. A WAL belongs to the file it was written
 * for: it goes first. What it held is in the new database, and aside; killed between the
 * two, the next salvage starts from the copy that is aside no worse than from this one,
 * for what the WAL held has been moved into the old file before.
 */
static int replace(salvage *s, lx_error *err)
{
    static const char *const ends[] = {"-wal", "-shm", ""};
    const lx_io *io = lx_io_get();
    lx_str path = LX_STR_INIT;
    sqlite3 *old = NULL;
    int rc = LX_OK;

    lx_str_printf(&path, "%s/store.db", s->folder);
    if ((rc = lx_str_check(&path, err)) < 0)
        goto done;
    if (sqlite3_open_v2(path.data, &old, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK)
        sqlite3_wal_checkpoint_v2(old, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    sqlite3_close_v2(old);
    for (int i = 0; i < 2; i++) {
        lx_str_clear(&path);
        lx_str_printf(&path, "%s/store.db%s", s->folder, ends[i]);
        if (!path.failed)
            io->unlink(path.data);
    }
    lx_str_clear(&path);
    lx_str_printf(&path, "%s/store.db", s->folder);
    if ((rc = lx_str_check(&path, err)) == LX_OK &&
        io->rename(lx_str_text(&s->fresh), path.data) != 0)
        rc = lx_fail_errno(err, errno, "%s", path.data);
    if (rc == LX_OK)
        rc = store__sync_folder(s->folder, err);
done:
    lx_str_release(&path);
    return rc;
}

/* What a pragma says of the old database, or `other` where it cannot be asked. */
static int ask_old(const salvage *s, const char *pragma, int other)
{
    sqlite3_stmt *stmt = NULL;

    if (sqlite3_prepare_v2(s->db[OLD_DB], pragma, -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW)
        other = sqlite3_column_int(stmt, 0);
    sqlite3_finalize(stmt);
    return other;
}

/* Rows of another version have other columns; a file of 0 bytes has none, and no version. */
static int check_version(salvage *s, lx_error *err)
{
    const int version = ask_old(s, "PRAGMA user_version", store__the_schema.count);

    return version == store__the_schema.count || ask_old(s, "PRAGMA page_count", 1) == 0
               ? LX_OK
               : lx_fail(err, LX_ECONFIG,
                         "%s has schema version %d, and only version %d is repaired",
                         s->folder, version, store__the_schema.count);
}

static int make_new(salvage *s, lx_error *err)
{
    int code, rc = copy_aside(s, err);

    if (rc < 0)
        return rc;
    /* One that is no database at all opens, and has no rows. */
    if ((code = sqlite3_open_v2(lx_str_text(&s->work), &s->db[OLD_DB],
                                SQLITE_OPEN_READWRITE, NULL)) != SQLITE_OK)
        return code == SQLITE_NOMEM
                   ? lx_oom(err)
                   : lx_fail(err, LX_EIO, "%s: %s", lx_str_text(&s->work),
                             sqlite3_errstr(code));
    if (sqlite3_open_v2(lx_str_text(&s->fresh), &s->db[NEW_DB],
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK)
        return s->db[NEW_DB] ? fail_new(s, "making it", err) : lx_oom(err);
    sqlite3_extended_result_codes(s->db[NEW_DB], 1);
    if ((rc = check_version(s, err)) < 0 || (rc = fill_new(s, err)) < 0)
        return rc;
    if (sqlite3_close(s->db[NEW_DB]) != SQLITE_OK)
        return fail_new(s, "closing", err);
    s->db[NEW_DB] = NULL;
    if (s->report->has_lost && (rc = remember_lost(s, err)) < 0)
        return rc;
    return replace(s, err);
}

int lx_store_check_emptied(const char *path, lx_error *err)
{
    lx_str folder = LX_STR_INIT, db = LX_STR_INIT;
    struct stat st;
    int rc = lx_store_find(&folder, path, err);

    lx_str_printf(&db, "%s/store.db", lx_str_text(&folder));
    if (rc == LX_OK && (rc = lx_str_check(&db, err)) == LX_OK &&
        lx_io_get()->stat(lx_str_text(&db), &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0)
        rc = lx_fail(err, LX_EFORMAT, "%s has 0 bytes: it was emptied, or its making was cut off", lx_str_text(&db));
    lx_str_release(&folder);
    lx_str_release(&db);
    return rc;
}

int lx_store_salvage(lx_salvage_report *out, const char *path, lx_repair_tell tell,
                     void *context, lx_error *err)
{
    salvage s = {.report = out,
                 .tell = tell,
                 .context = context,
                 .lock_fd = -1,
                 .work = LX_STR_INIT,
                 .fresh = LX_STR_INIT};
    lx_str found = LX_STR_INIT;
    int rc;

    *out = (lx_salvage_report){0};
    if ((rc = lx_store_find(&found, path, err)) < 0)
        goto done;
    lx_str_printf(&s.work, "%s/tmp/salvage.db", lx_str_text(&found));
    lx_str_printf(&s.fresh, "%s/store.db.new", lx_str_text(&found));
    if ((rc = lx_str_check(&s.work, err)) < 0 || (rc = lx_str_check(&s.fresh, err)) < 0)
        goto done;
    s.folder = lx_str_detach(&found);
    if ((rc = take_lock(&s, err)) < 0)
        goto done;
    remove_work(&s); /* of one that was killed */
    rc = make_new(&s, err);
    sqlite3_close_v2(s.db[NEW_DB]);
    sqlite3_close_v2(s.db[OLD_DB]);
    remove_work(&s);
done:
    if (s.lock_fd >= 0)
        lx_io_get()->close(s.lock_fd);
    lx_free(s.folder);
    lx_str_release(&s.work);
    lx_str_release(&s.fresh);
    lx_str_release(&found);
    return rc;
}
