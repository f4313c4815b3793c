#include "store/query.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "store/chunk.h"
#include "store/internal.h"

static const char *copy(lx_arena *arena, sqlite3_stmt *stmt, int column)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    return lx_arena_strdup(arena, text ? text : "");
}

static const char *copy_hash(lx_arena *arena, sqlite3_stmt *stmt, int column)
{
    char hex[LX_HASH_HEX + 1] = "";
    lx_hash hash;
    if (sqlite3_column_bytes(stmt, column) == 32) {
        memcpy(hash.bytes, sqlite3_column_blob(stmt, column), 32);
        lx_hash_hex(hex, &hash);
    }
    return lx_arena_strdup(arena, hex);
}

/* Of the newest chunk of one curve of a run. */
#define LAST_OF(what, key)                                                                   \
    "(SELECT c." what " FROM series s JOIN chunk c ON c.series=s.id"                         \
    " WHERE s.run=run.seq AND s.key='" key "' ORDER BY c.id DESC LIMIT 1)"

#define RUN_COLUMNS                                                                          \
    "seq, id, kind, name, started, ended, status, message, spec, seed, boot_id, pid,"        \
    " pid_start, " LAST_OF("last_step", "loss") ", "                                         \
    "coalesce(" LAST_OF("last_value", "loss/average") ", " LAST_OF("last_value", "loss") ")"

static int read_row(lx_run_row *row, sqlite3_stmt *stmt, lx_arena *arena, lx_error *err)
{
    const char *status = (const char *)sqlite3_column_text(stmt, 6);
    *row = (lx_run_row){
        .seq = sqlite3_column_int64(stmt, 0),
        .id = copy(arena, stmt, 1),
        .kind = copy(arena, stmt, 2),
        .name = copy(arena, stmt, 3),
        .started = sqlite3_column_double(stmt, 4),
        .ended = sqlite3_column_double(stmt, 5),
        .message = copy(arena, stmt, 7),
        .spec = copy_hash(arena, stmt, 8),
        .seed = copy(arena, stmt, 9),
        .last_step =
            sqlite3_column_type(stmt, 13) == SQLITE_NULL ? -1 : sqlite3_column_int64(stmt, 13),
        .loss = sqlite3_column_type(stmt, 14) == SQLITE_NULL ? (double)NAN
                                                             : sqlite3_column_double(stmt, 14),
    };
    if (status)
        row->status = lx_arena_strdup(arena, status);
    else
        row->status = store__is_alive((const char *)sqlite3_column_text(stmt, 10),
                                      sqlite3_column_int64(stmt, 11),
                                      sqlite3_column_int64(stmt, 12))
                          ? "running"
                          : "interrupted";
    return row->id && row->kind && row->name && row->message && row->spec && row->seed &&
                   row->status
               ? LX_OK
               : lx_oom(err);
}

static int collect(lx_run_list *out, lx_store *s, sqlite3_stmt *stmt, const char *status,
                   int64_t limit, lx_arena *arena, lx_error *err)
{
    size_t capacity = 0;
    lx_run_row *rows = NULL;
    int rc = LX_OK, got;

    *out = (lx_run_list){0};
    while ((got = sqlite3_step(stmt)) == SQLITE_ROW && (!limit || (int64_t)out->count < limit)) {
        lx_run_row row;
        if ((rc = read_row(&row, stmt, arena, err)) < 0)
            break;
        if (status && strcmp(status, row.status) != 0)
            continue;
        if (lx_grow(&rows, &capacity, out->count + 1, sizeof row) < 0) {
            rc = lx_oom(err);
            break;
        }
        rows[out->count++] = row;
    }
    if (rc == LX_OK && got != SQLITE_ROW && got != SQLITE_DONE)
        rc = store__sql_error(s, "reading runs", err);
    if (rc == LX_OK && !(out->rows = lx_arena_alloc(arena, out->count * sizeof *rows)))
        rc = lx_oom(err);
    if (rc == LX_OK && out->count)
        memcpy(out->rows, rows, out->count * sizeof *rows);
    lx_free(rows);
    return rc;
}

int lx_query_runs(lx_run_list *out, lx_store *s, const lx_run_filter *filter, lx_arena *arena,
                  lx_error *err)
{
    static const char sql[] = "SELECT " RUN_COLUMNS " FROM run LEFT JOIN run_end ON run=seq"
                              " WHERE (?1 IS NULL OR kind=?1) AND (?2 IS NULL OR name=?2)"
                              " AND (?3 IS NULL OR spec=?3) ORDER BY seq DESC";
    sqlite3_stmt *stmt;
    lx_hash spec;
    int rc = store__prepare(&stmt, s, sql, err);

    if (rc < 0)
        return rc;
    sqlite3_bind_text(stmt, 1, filter ? filter->kind : NULL, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, filter ? filter->name : NULL, -1, SQLITE_STATIC);
    if (filter && filter->spec && lx_hash_from_hex(&spec, filter->spec))
        sqlite3_bind_blob(stmt, 3, spec.bytes, 32, SQLITE_STATIC);
    rc = collect(out, s, stmt, filter ? filter->status : NULL, filter ? filter->limit : 0, arena,
                 err);
    sqlite3_finalize(stmt);
    return rc;
}

static bool is_hex(const char *text)
{
    for (const char *p = text; *p; p++)
        if (!isxdigit((unsigned char)*p))
            return false;
    return *text != '\0';
}

static int fail_ambiguous(const lx_run_list *list, const char *text, lx_error *err)
{
    lx_str names = LX_STR_INIT;
    for (size_t i = 0; i < list->count && i < 5; i++)
        lx_str_printf(&names, "%s%s", i ? ", " : "", list->rows[i].id);
    lx_fail(err, LX_EUSAGE, "\"%s\" could be any of %s%s: give more digits", text,
            lx_str_text(&names), list->count > 5 ? ", ..." : "");
    lx_str_release(&names);
    return LX_EUSAGE;
}

int lx_query_find(lx_run_row *out, lx_store *s, const char *text, lx_arena *arena, lx_error *err)
{
    static const char by_id[] = "SELECT " RUN_COLUMNS " FROM run LEFT JOIN run_end ON run=seq"
                                " WHERE id>=?1 AND id<?1||'g' ORDER BY seq DESC";
    const lx_run_filter by_name = {.name = text, .limit = 1};
    lx_run_list list = {0};
    sqlite3_stmt *stmt;
    int rc = LX_OK;

    if (is_hex(text)) {
        if ((rc = store__prepare(&stmt, s, by_id, err)) < 0)
            return rc;
        sqlite3_bind_text(stmt, 1, text, -1, SQLITE_STATIC);
        rc = collect(&list, s, stmt, NULL, 0, arena, err);
        sqlite3_finalize(stmt);
    }
    if (rc == LX_OK && !list.count)
        rc = lx_query_runs(&list, s, &by_name, arena, err);
    if (rc < 0)
        return rc;
    if (!list.count)
        return lx_fail(err, LX_ENOTFOUND, "no run \"%s\" in %s; lx runs lists all", text, s->path);
    if (list.count > 1)
        return fail_ambiguous(&list, text, err);
    *out = list.rows[0];
    return LX_OK;
}

int lx_query_texts(lx_run_texts *out, lx_store *s, const lx_run_row *run, lx_arena *arena,
                   lx_error *err)
{
    const char **const texts[] = {&out->command_line, &out->flags_given, &out->flags,
                                  &out->spec,         &out->dataset,     &out->base_model,
                                  &out->environment,  &out->git,         &out->diff};
    sqlite3_stmt *stmt;
    lx_str bytes = LX_STR_INIT;
    int rc = store__prepare(&stmt, s,
                            "SELECT command_line, flags_given, flags, spec, dataset, base_model,"
                            " environment, git, diff FROM run WHERE seq=?1",
                            err);

    *out = (lx_run_texts){0};
    if (rc < 0)
        return rc;
    sqlite3_bind_int64(stmt, 1, run->seq);
    if (sqlite3_step(stmt) != SQLITE_ROW)
        rc = store__sql_error(s, "reading a run", err);
    for (size_t i = 0; rc == LX_OK && i < sizeof texts / sizeof *texts; i++) {
        lx_hash hash;
        if (sqlite3_column_bytes(stmt, (int)i) != 32)
            continue;
        memcpy(hash.bytes, sqlite3_column_blob(stmt, (int)i), 32);
        if ((rc = lx_object_get(&bytes, s, &hash, err)) == LX_OK &&
            !(*texts[i] = lx_arena_strndup(arena, lx_str_text(&bytes), bytes.len)))
            rc = lx_oom(err);
    }
    sqlite3_finalize(stmt);
    lx_str_release(&bytes);
    return rc;
}

/* ---- curves ------------------------------------------------------------------------------ */

static int read_chunks(lx_curve *curve, lx_store *s, int64_t series, lx_error *err)
{
    sqlite3_stmt *stmt;
    size_t capacity = curve->n;
    int rc = store__prepare(&stmt, s, "SELECT data FROM chunk WHERE series=?1 ORDER BY id", err);

    if (rc < 0)
        return rc;
    sqlite3_bind_int64(stmt, 1, series);
    curve->n = 0;
    while (rc == LX_OK && sqlite3_step(stmt) == SQLITE_ROW) {
        size_t n;
        rc = store__chunk_decode(curve->steps + curve->n, curve->values + curve->n, &n,
                                 capacity - curve->n, sqlite3_column_blob(stmt, 0),
                                 (size_t)sqlite3_column_bytes(stmt, 0), err);
        if (rc == LX_OK)
            curve->n += n;
    }
    sqlite3_finalize(stmt);
    if (rc < 0)
        lx_within(err, "curve %s", curve->key);
    return rc;
}

int lx_query_curves(lx_curve **out, size_t *count, lx_store *s, const lx_run_row *run,
                    lx_arena *arena, lx_error *err)
{
    sqlite3_stmt *stmt;
    lx_curve *curves = NULL;
    size_t capacity = 0;
    int rc = store__prepare(&stmt, s,
                            "SELECT series.id, key, sum(n) FROM series JOIN chunk"
                            " ON chunk.series=series.id WHERE run=?1 GROUP BY series.id"
                            " ORDER BY key",
                            err);

    *out = NULL;
    *count = 0;
    if (rc < 0)
        return rc;
    sqlite3_bind_int64(stmt, 1, run->seq);
    while (rc == LX_OK && sqlite3_step(stmt) == SQLITE_ROW) {
        int64_t n = sqlite3_column_int64(stmt, 2);
        lx_curve *c;
        if (n < 0 || lx_grow(&curves, &capacity, *count + 1, sizeof *curves) < 0) {
            rc = lx_oom(err);
            break;
        }
        c = &curves[(*count)++];
        c->key = copy(arena, stmt, 1);
        c->n = (size_t)n;
        c->steps = lx_arena_calloc(arena, c->n, sizeof *c->steps);
        c->values = lx_arena_calloc(arena, c->n, sizeof *c->values);
        rc = c->key && c->steps && c->values
                 ? read_chunks(c, s, sqlite3_column_int64(stmt, 0), err)
                 : lx_oom(err);
    }
    sqlite3_finalize(stmt);
    if (rc == LX_OK && !(*out = lx_arena_alloc(arena, *count * sizeof **out)))
        rc = lx_oom(err);
    if (rc == LX_OK && *count)
        memcpy(*out, curves, *count * sizeof **out);
    lx_free(curves);
    return rc;
}

int lx_query_artifacts(lx_artifact_row **out, size_t *count, lx_store *s, const lx_run_row *run,
                       lx_arena *arena, lx_error *err)
{
    sqlite3_stmt *stmt;
    lx_artifact_row *rows = NULL;
    size_t capacity = 0;
    int rc = store__prepare(&stmt, s,
                            "SELECT role, name, artifact.object, step, size FROM artifact"
                            " JOIN object ON object.hash=artifact.object WHERE run=?1"
                            " ORDER BY seq",
                            err);

    *out = NULL;
    *count = 0;
    if (rc < 0)
        return rc;
    sqlite3_bind_int64(stmt, 1, run->seq);
    while (rc == LX_OK && sqlite3_step(stmt) == SQLITE_ROW) {
        if (lx_grow(&rows, &capacity, *count + 1, sizeof *rows) < 0) {
            rc = lx_oom(err);
            break;
        }
        rows[(*count)++] = (lx_artifact_row){
            .role = copy(arena, stmt, 0),
            .name = copy(arena, stmt, 1),
            .object = copy_hash(arena, stmt, 2),
            .step = sqlite3_column_int64(stmt, 3),
            .size = sqlite3_column_int64(stmt, 4),
        };
    }
    sqlite3_finalize(stmt);
    if (rc == LX_OK && !(*out = lx_arena_alloc(arena, *count * sizeof **out)))
        rc = lx_oom(err);
    if (rc == LX_OK && *count)
        memcpy(*out, rows, *count * sizeof **out);
    lx_free(rows);
    return rc;
}
