/* lx fsck: is everything that was promised still there? */
#include <stdio.h>
#include <string.h>

#include "store/internal.h"
#include "store/query.h"

typedef struct check {
    lx_check_report *report;
    lx_store *store;
    void (*tell)(void *context, const char *line);
    void *context;
} check;

static void problem(check *c, const char *fmt, ...) LX_PRINTF(2, 3);

static void problem(check *c, const char *fmt, ...)
{
    char line[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    c->report->n_problems++;
    c->tell(c->context, line);
}

static int check_database(check *c, lx_error *err)
{
    static const char *const checks[] = {"PRAGMA integrity_check", "PRAGMA foreign_key_check"};
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        sqlite3_stmt *stmt;
        int rc = store__prepare(&stmt, c->store, checks[i], err);
        if (rc < 0)
            return rc;
        while (sqlite3_step(stmt) == SQLITE_ROW) {
            const char *text = (const char *)sqlite3_column_text(stmt, 0);
            if (i || !text || strcmp(text, "ok") != 0)
                problem(c, "database: %s%s", i ? "dangling reference in " : "",
                        text ? text : "?");
        }
        sqlite3_finalize(stmt);
    }
    return LX_OK;
}

static int check_objects(check *c, lx_error *err)
{
    sqlite3_stmt *stmt;
    lx_str bytes = LX_STR_INIT;
    int rc = store__prepare(&stmt, c->store, "SELECT hash, size FROM object", err);
    if (rc < 0)
        return rc;
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        lx_error why;
        lx_hash hash;
        if (sqlite3_column_bytes(stmt, 0) != 32) {
            problem(c, "object: a name of %d bytes", sqlite3_column_bytes(stmt, 0));
            continue;
        }
        memcpy(hash.bytes, sqlite3_column_blob(stmt, 0), 32);
        c->report->n_objects++;
        c->report->n_bytes += (size_t)sqlite3_column_int64(stmt, 1);
        if (lx_object_get(&bytes, c->store, &hash, &why) < 0)
            problem(c, "%s", why.text);
    }
    sqlite3_finalize(stmt);
    lx_str_release(&bytes);
    return LX_OK;
}

/* Every object that a run or an artifact names is there. */
static int check_references(check *c, lx_error *err)
{
    static const char *const columns[] = {"spec", "command_line", "flags_given", "flags",
                                          "dataset", "base_model", "environment", "git", "diff"};
    char sql[256];
    for (size_t i = 0; i <= sizeof columns / sizeof *columns; i++) {
        sqlite3_stmt *stmt;
        int rc;
        if (i < sizeof columns / sizeof *columns)
            snprintf(sql, sizeof sql,
                     "SELECT id, '%s' FROM run WHERE %s IS NOT NULL AND %s NOT IN"
                     " (SELECT hash FROM object)",
                     columns[i], columns[i], columns[i]);
        else
            snprintf(sql, sizeof sql,
                     "SELECT id, artifact.name FROM artifact JOIN run ON run.seq=artifact.run"
                     " WHERE object NOT IN (SELECT hash FROM object)");
        if ((rc = store__prepare(&stmt, c->store, sql, err)) < 0)
            return rc;
        while (sqlite3_step(stmt) == SQLITE_ROW)
            problem(c, "run %s: its %s is not in the store", sqlite3_column_text(stmt, 0),
                    sqlite3_column_text(stmt, 1));
        sqlite3_finalize(stmt);
    }
    return LX_OK;
}

static int check_curves(check *c, lx_error *err)
{
    lx_arena *arena = lx_arena_new();
    lx_run_list runs;
    int rc = arena ? lx_query_runs(&runs, c->store, NULL, arena, err) : lx_oom(err);

    for (size_t i = 0; rc == LX_OK && i < runs.count; i++) {
        lx_arena *scratch = lx_arena_new();
        lx_curve *curves;
        lx_error why;
        size_t n;
        if (!scratch)
            rc = lx_oom(err);
        else if (lx_query_curves(&curves, &n, c->store, &runs.rows[i], scratch, &why) < 0)
            problem(c, "run %s: %s", runs.rows[i].id, why.text);
        c->report->n_runs++;
        lx_arena_free(scratch);
    }
    lx_arena_free(arena);
    return rc;
}

int lx_store_check(lx_check_report *out, lx_store *store,
                   void (*tell)(void *context, const char *line), void *context, lx_error *err)
{
    check c = {out, store, tell, context};
    int rc;

    *out = (lx_check_report){0};
    if ((rc = check_database(&c, err)) < 0 || (rc = check_objects(&c, err)) < 0 ||
        (rc = check_references(&c, err)) < 0)
        return rc;
    return check_curves(&c, err);
}
