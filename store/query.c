#include "store/query.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "store/chunk.h"
#include "store/internal.h"

/* Rows gathered in a growing array, copied into the arena at the end. */
typedef struct rows {
    char *items;
    size_t count, capacity, item;
} rows;

static int add_row(rows *r, const void *row, lx_error *err)
{
    char *grown = r->items;
    if (lx_grow(&grown, &r->capacity, r->count + 1, r->item) < 0)
        return lx_oom(err);
    r->items = grown;
    memcpy(r->items + r->count++ * r->item, row, r->item);
    return LX_OK;
}

/* Ends the statement and the rows; *out is theirs when rc is LX_OK. */
static int give_rows(void *out_pointer, size_t *count, rows *r, lx_store *s,
                     sqlite3_stmt *stmt, int rc, lx_arena *arena, lx_error *err)
{
    void *out = NULL;

    store__finish(s, stmt);
    *count = 0;
    if (rc == LX_OK && !(out = lx_arena_alloc(arena, r->count * r->item)))
        rc = lx_oom(err);
    if (rc == LX_OK) {
        if (r->count)
            memcpy(out, r->items, r->count * r->item);
        *count = r->count;
    } else {
        out = NULL;
    }
    memcpy(out_pointer, &out, sizeof out);
    lx_free(r->items);
    return rc;
}

double lx_run_seconds(const lx_run_row *run, double now)
{
    bool is_running = strcmp(run->status, "running") == 0;
    double seconds = run->ended > 0 ? run->ended - run->started
                     : is_running   ? now - run->started
                                    : (double)NAN;
    return seconds >= 0 ? seconds : (double)NAN;
}

/* ---- runs ------------------------------------------------------------------------- */

#define RUN_COLUMNS                                                                 \
    "r.seq, r.id, r.kind, coalesce(n.name, r.name), r.started, e.ended, e.status, " \
    "e.message,"                                                                    \
    " r.spec, r.seed, r.boot_id, r.pid, r.pid_start, n.last_step,"                  \
    " coalesce(n.loss_average, n.loss), n.grp, r.origin, r.parent, n.is_pinned,"    \
    " n.is_trashed, n.n_points"
#define RUN_TABLES \
    " FROM run r LEFT JOIN run_end e ON e.run=r.seq LEFT JOIN run_now n ON n.run=r.seq "
/*
 * Newest first is not by seq alone: that is the order of arrival, and old runs of others arrive late (pull, import).
 * Nor is it by started alone: a clock may be set back, and what was recorded here last is the newest here. So a run
 * that began here (it has a boot_id) stands at the latest start that was recorded up to it, one that came from
 * elsewhere at its own.
 */
#define RUN_MOMENTS                                                                       \
    " JOIN (SELECT seq, iif(boot_id IS NULL, started,"                                    \
    " max(iif(boot_id IS NULL, 0, started)) OVER (ORDER BY seq)) AS moment FROM run) m" \
    " ON m.seq=r.seq "
#define RUN_ORDER " ORDER BY m.moment DESC, r.seq DESC"

static const char *status_of(sqlite3_stmt *stmt, lx_arena *arena)
{
    if (sqlite3_column_type(stmt, 6) != SQLITE_NULL)
        return store__text(arena, stmt, 6);
    return store__is_alive((const char *)sqlite3_column_text(stmt, 10),
                           sqlite3_column_int64(stmt, 11), sqlite3_column_int64(stmt, 12))
               ? "running"
               : "interrupted";
}

static int read_run(lx_run_row *row, sqlite3_stmt *stmt, lx_arena *arena, lx_error *err)
{
    *row = (lx_run_row){
        .seq = sqlite3_column_int64(stmt, 0),
        .id = store__text(arena, stmt, 1),
        .kind = store__text(arena, stmt, 2),
        .name = store__text(arena, stmt, 3),
        .started = sqlite3_column_double(stmt, 4),
        .ended = sqlite3_column_double(stmt, 5),
        .status = status_of(stmt, arena),
        .message = store__text(arena, stmt, 7),
        .spec = store__hex(arena, stmt, 8),
        .seed = store__text(arena, stmt, 9),
        .last_step = sqlite3_column_type(stmt, 13) == SQLITE_NULL
                         ? -1
                         : sqlite3_column_int64(stmt, 13),
        .loss = store__real(stmt, 14),
        .group = store__text(arena, stmt, 15),
        .origin = store__text(arena, stmt, 16),
        .parent = store__text(arena, stmt, 17),
        .is_pinned = sqlite3_column_int(stmt, 18),
        .is_trashed = sqlite3_column_int(stmt, 19),
        .n_points = sqlite3_column_int64(stmt, 20),
    };
    return row->id && row->kind && row->name && row->status && row->message &&
                   row->spec && row->seed && row->group && row->origin && row->parent
               ? LX_OK
               : lx_oom(err);
}

static int collect_runs(lx_run_list *out, lx_store *s, sqlite3_stmt *stmt, int rc,
                        const lx_run_filter *f, lx_arena *arena, lx_error *err)
{
    rows r = {.item = sizeof(lx_run_row)};
    lx_run_row row;

    while ((!f || !f->limit || (int64_t)r.count < f->limit) &&
           store__row(&rc, s, stmt, err)) {
        if ((rc = read_run(&row, stmt, arena, err)) < 0)
            break;
        if (f && f->status && strcmp(f->status, row.status) != 0)
            continue;
        rc = add_row(&r, &row, err);
    }
    return give_rows(&out->rows, &out->count, &r, s, stmt, rc, arena, err);
}

int lx_query_runs(lx_run_list *out, lx_store *s, const lx_run_filter *filter,
                  lx_arena *arena, lx_error *err)
{
    static const lx_run_filter everything = {0};
    const lx_run_filter *f = filter ? filter : &everything;
    sqlite3_stmt *stmt;
    int rc = store__query(
        &stmt, s, err,
        "SELECT " RUN_COLUMNS RUN_TABLES RUN_MOMENTS "WHERE (?1 IS NULL OR r.kind=?1)"
        " AND (?2 IS NULL OR coalesce(n.name, r.name)=?2)"
        " AND (?3 IS NULL OR n.grp=?3)"
        " AND (?4 IS NULL OR EXISTS (SELECT 1 FROM remark m WHERE m.run=r.seq"
        "  AND m.kind='tag' AND m.key=?4 AND m.value IS NOT NULL AND m.seq="
        "  (SELECT max(seq) FROM remark o WHERE o.run=m.run AND o.kind='tag'"
        "   AND o.key=?4)))"
        " AND (?5 OR NOT coalesce(n.is_trashed, 0))" RUN_ORDER,
        "tttti", f->kind, f->name, f->group, f->tag, (int64_t)f->has_trashed);
    return collect_runs(out, s, stmt, rc, f, arena, err);
}

/* One run, or LX_ENOTFOUND. */
static int one_run(lx_run_row *out, lx_store *s, sqlite3_stmt *stmt, int rc,
                   const char *what, lx_arena *arena, lx_error *err)
{
    lx_run_list list = {0};
    rc = collect_runs(&list, s, stmt, rc, NULL, arena, err);
    if (rc == LX_OK && !list.count)
        return lx_fail(err, LX_ENOTFOUND, "no run \"%s\" in %s; lx runs lists all", what,
                       s->path);
    if (rc == LX_OK)
        *out = list.rows[0];
    return rc;
}

int lx_query_origin(lx_run_row *out, lx_store *s, const char *origin, lx_arena *arena,
                    lx_error *err)
{
    sqlite3_stmt *stmt;
    int rc = store__query(
        &stmt, s, err, "SELECT " RUN_COLUMNS RUN_TABLES "WHERE r.origin=?1", "t", origin);
    return one_run(out, s, stmt, rc, origin, arena, err);
}

int lx_query_run(lx_run_row *out, lx_store *s, int64_t run, lx_arena *arena,
                 lx_error *err)
{
    sqlite3_stmt *stmt;
    int rc = store__query(&stmt, s, err,
                          "SELECT " RUN_COLUMNS RUN_TABLES "WHERE r.seq=?1", "i", run);
    return one_run(out, s, stmt, rc, "of this number", arena, err);
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

int lx_query_find(lx_run_row *out, lx_store *s, const char *text, lx_arena *arena,
                  lx_error *err)
{
    lx_run_list list = {0};
    sqlite3_stmt *stmt;
    int rc = LX_OK;

    /* A name like "a" or "cafe" is meant when there is one, as git means a branch; a whole id is not
     * a name. Each table is searched by itself: joined, ten thousand runs take five times as long. */
    if (!is_hex(text) || strlen(text) < 16) {
        rc = store__query(
            &stmt, s, err,
            "SELECT " RUN_COLUMNS RUN_TABLES RUN_MOMENTS "WHERE r.seq IN ("
            "SELECT run FROM run_now WHERE name=?1 UNION ALL"
            " SELECT seq FROM run WHERE name=?1 AND NOT EXISTS"
            " (SELECT 1 FROM run_now o WHERE o.run=seq AND o.name IS NOT NULL))" RUN_ORDER
            " LIMIT 1",
            "t", text);
        rc = collect_runs(&list, s, stmt, rc, NULL, arena, err);
    }
    if (rc == LX_OK && !list.count && is_hex(text)) {
        rc = store__query(&stmt, s, err,
                          "SELECT " RUN_COLUMNS RUN_TABLES
                          "WHERE r.id>=?1 AND r.id<?1||'g' ORDER BY r.seq DESC",
                          "t", text);
        rc = collect_runs(&list, s, stmt, rc, NULL, arena, err);
    }
    if (rc < 0)
        return rc;
    if (!list.count)
        return lx_fail(err, LX_ENOTFOUND, "no run \"%s\" in %s; lx runs lists all", text,
                       s->path);
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
    int rc =
        store__query(&stmt, s, err,
                     "SELECT command_line, flags_given, flags, spec, dataset, base_model,"
                     " environment, git, diff FROM run WHERE seq=?1",
                     "i", run->seq);

    *out = (lx_run_texts){0};
    if (!store__row(&rc, s, stmt, err) && rc == LX_OK)
        rc = lx_fail(err, LX_ENOTFOUND, "%s: no such run", s->path);
    for (size_t i = 0; rc == LX_OK && i < sizeof texts / sizeof *texts; i++) {
        lx_hash hash;
        if (!store__hash(&hash, stmt, (int)i))
            continue;
        if ((rc = lx_object_get(&bytes, s, &hash, err)) == LX_OK &&
            !(*texts[i] = lx_arena_strndup(arena, lx_str_text(&bytes), bytes.len)))
            rc = lx_oom(err);
    }
    store__finish(s, stmt);
    lx_str_release(&bytes);
    return rc;
}

int lx_query_version(int64_t *out, lx_store *s, lx_error *err)
{
    return store__number(out, 0, s, err, "PRAGMA data_version", "");
}

/* ---- flags, remarks, artifacts, console ------------------------------------------- */

static double number_of(sqlite3_stmt *stmt, int column)
{
    const char *text;
    char *end = NULL;
    double x;
    if (sqlite3_column_type(stmt, column) != SQLITE_TEXT)
        return sqlite3_column_double(stmt, column);
    text = (const char *)sqlite3_column_text(stmt, column);
    if (!text || !*text)
        return (double)NAN;
    x = strtod(text, &end);
    return *end ? (double)NAN : x;
}

/* One value of a flag is often many runs': it is copied once for all that follow. */
static int read_flag(lx_flag_row *row, int64_t *id, sqlite3_stmt *stmt, lx_arena *arena,
                     lx_error *err)
{
    int64_t last = *id;

    row->run = sqlite3_column_int64(stmt, 0);
    *id = sqlite3_column_int64(stmt, 3);
    if (row->key && *id == last)
        return LX_OK;
    row->is_text = sqlite3_column_type(stmt, 2) == SQLITE_TEXT;
    row->number = number_of(stmt, 2);
    row->key = store__text(arena, stmt, 1);
    row->text = store__text(arena, stmt, 2);
    return row->key && row->text ? LX_OK : lx_oom(err);
}

int lx_query_flags(lx_flag_row **out, size_t *count, lx_store *s, int64_t run,
                   const char *key, lx_arena *arena, lx_error *err)
{
    rows r = {.item = sizeof(lx_flag_row)};
    lx_flag_row row = {0};
    sqlite3_stmt *stmt;
    int64_t id = 0;
    static const char of_run[] =
        "SELECT f.run, v.key, v.value, v.id FROM run_flag f JOIN flag_value v"
        " ON v.id=f.flag WHERE f.run=?1 AND (?2 IS NULL OR v.key=?2)"
        " ORDER BY v.key";
    static const char of_key[] =
        "SELECT f.run, v.key, v.value, v.id FROM flag_value v CROSS JOIN run_flag f"
        " ON v.id=f.flag WHERE ?1=0 AND v.key=?2";
    int rc = store__query(&stmt, s, err, run ? of_run : of_key, "it", run, key);

    while (store__row(&rc, s, stmt, err))
        if ((rc = read_flag(&row, &id, stmt, arena, err)) == LX_OK)
            rc = add_row(&r, &row, err);
    return give_rows(out, count, &r, s, stmt, rc, arena, err);
}

static int collect_names(const char ***out, size_t *count, lx_store *s, const char *sql,
                         lx_arena *arena, lx_error *err)
{
    rows r = {.item = sizeof(const char *)};
    sqlite3_stmt *stmt;
    int rc = store__query(&stmt, s, err, sql, "");

    while (store__row(&rc, s, stmt, err)) {
        const char *name = store__text(arena, stmt, 0);
        rc = name ? add_row(&r, &name, err) : lx_oom(err);
    }
    return give_rows(out, count, &r, s, stmt, rc, arena, err);
}

int lx_query_flag_keys(const char ***out, size_t *count, lx_store *s, bool only_varied,
                       lx_arena *arena, lx_error *err)
{
    return collect_names(out, count, s,
                         only_varied ? "SELECT key FROM flag_value GROUP BY key"
                                       " HAVING count(*)>1 ORDER BY key"
                                     : "SELECT DISTINCT key FROM flag_value ORDER BY key",
                         arena, err);
}

int lx_query_series_keys(const char ***out, size_t *count, lx_store *s, lx_arena *arena,
                         lx_error *err)
{
    return collect_names(out, count, s, "SELECT DISTINCT key FROM series ORDER BY key",
                         arena, err);
}

int lx_query_kinds(const char ***out, size_t *count, lx_store *s, lx_arena *arena,
                   lx_error *err)
{
    return collect_names(out, count, s, "SELECT DISTINCT kind FROM run ORDER BY kind", arena,
                         err);
}

int lx_query_inputs(lx_input_row **out, size_t *count, lx_store *s, lx_arena *arena,
                    lx_error *err)
{
    rows r = {.item = sizeof(lx_input_row)};
    sqlite3_stmt *stmt;
    int rc =
        store__query(&stmt, s, err,
                     "SELECT seq, dataset, base_model FROM run WHERE dataset IS NOT NULL"
                     " OR base_model IS NOT NULL ORDER BY seq DESC",
                     "");

    while (store__row(&rc, s, stmt, err)) {
        lx_input_row row = {.run = sqlite3_column_int64(stmt, 0)};
        row.has_dataset = store__hash(&row.dataset, stmt, 1);
        row.has_base_model = store__hash(&row.base_model, stmt, 2);
        rc = add_row(&r, &row, err);
    }
    return give_rows(out, count, &r, s, stmt, rc, arena, err);
}

int lx_query_remarks(lx_remark_row **out, size_t *count, lx_store *s, int64_t run,
                     const char *kind, lx_arena *arena, lx_error *err)
{
    rows r = {.item = sizeof(lx_remark_row)};
    sqlite3_stmt *stmt;
    int rc =
        store__query(&stmt, s, err,
                     "SELECT m.run, m.kind, m.key, m.value, m.at FROM remark m"
                     " WHERE (?1=0 OR m.run=?1) AND (?2 IS NULL OR m.kind=?2)"
                     " AND m.value IS NOT NULL AND (m.kind='note' OR m.seq="
                     " (SELECT max(seq) FROM remark o WHERE o.run=m.run AND o.kind=m.kind"
                     "  AND o.key=m.key)) ORDER BY m.seq",
                     "it", run, kind);

    while (store__row(&rc, s, stmt, err)) {
        lx_remark_row row = {.run = sqlite3_column_int64(stmt, 0),
                             .kind = store__text(arena, stmt, 1),
                             .key = store__text(arena, stmt, 2),
                             .value = store__text(arena, stmt, 3),
                             .at = sqlite3_column_double(stmt, 4)};
        rc = row.kind && row.key && row.value ? add_row(&r, &row, err) : lx_oom(err);
    }
    return give_rows(out, count, &r, s, stmt, rc, arena, err);
}

#define ARTIFACT_COLUMNS                                                               \
    "SELECT run, role, name, object, step, size, is_kept, path, tensor_hash, at FROM " \
    "artifact "

static int collect_artifacts(lx_artifact_row **out, size_t *count, lx_store *s,
                             sqlite3_stmt *stmt, int rc, lx_arena *arena, lx_error *err)
{
    rows r = {.item = sizeof(lx_artifact_row)};
    while (store__row(&rc, s, stmt, err)) {
        lx_artifact_row row = {.run = sqlite3_column_int64(stmt, 0),
                               .role = store__text(arena, stmt, 1),
                               .name = store__text(arena, stmt, 2),
                               .object = store__hex(arena, stmt, 3),
                               .step = sqlite3_column_type(stmt, 4) == SQLITE_NULL
                                           ? -1
                                           : sqlite3_column_int64(stmt, 4),
                               .size = sqlite3_column_int64(stmt, 5),
                               .is_kept = sqlite3_column_int(stmt, 6),
                               .path = store__text(arena, stmt, 7),
                               .tensor_hash = store__hex(arena, stmt, 8),
                               .at = sqlite3_column_double(stmt, 9)};
        rc = row.role && row.name && row.object && row.path && row.tensor_hash
                 ? add_row(&r, &row, err)
                 : lx_oom(err);
    }
    return give_rows(out, count, &r, s, stmt, rc, arena, err);
}

int lx_query_artifacts(lx_artifact_row **out, size_t *count, lx_store *s,
                       const lx_run_row *run, lx_arena *arena, lx_error *err)
{
    sqlite3_stmt *stmt;
    int rc = store__query(&stmt, s, err, ARTIFACT_COLUMNS "WHERE run=?1 ORDER BY seq",
                          "i", run->seq);
    return collect_artifacts(out, count, s, stmt, rc, arena, err);
}

int lx_query_artifacts_of(lx_artifact_row **out, size_t *count, lx_store *s,
                          const lx_hash *hash, const lx_hash *tensor_hash,
                          lx_arena *arena, lx_error *err)
{
    sqlite3_stmt *stmt;
    int rc = store__query(&stmt, s, err,
                          ARTIFACT_COLUMNS
                          "WHERE object=?1 OR tensor_hash=?2 ORDER BY at DESC, seq DESC",
                          "hh", hash, tensor_hash);
    return collect_artifacts(out, count, s, stmt, rc, arena, err);
}

/* While it is live, from the tail. */
static int live_console(lx_str *out, lx_store *s, int64_t run, size_t from, lx_error *err)
{
    sqlite3_stmt *stmt;
    int rc =
        store__query(&stmt, s, err,
                     "SELECT at, data FROM tail_text WHERE run=?1 AND at+length(data)>?2"
                     " ORDER BY at",
                     "ii", run, (int64_t)from);
    while (store__row(&rc, s, stmt, err)) {
        int64_t at = sqlite3_column_int64(stmt, 0);
        const char *data = sqlite3_column_blob(stmt, 1);
        size_t n = (size_t)sqlite3_column_bytes(stmt, 1);
        size_t skip = at < (int64_t)from ? from - (size_t)at : 0;
        if (data && skip < n)
            lx_str_append(out, data + skip, n - skip);
    }
    store__finish(s, stmt);
    return rc < 0 ? rc : lx_str_check(out, err);
}

int lx_query_console(lx_str *out, lx_store *s, int64_t run, size_t from, lx_error *err)
{
    sqlite3_stmt *stmt;
    lx_hash hash;
    bool has_ended = false;
    int rc = store__query(
        &stmt, s, err,
        "SELECT object FROM artifact WHERE run=?1 AND role='console' AND is_kept"
        " ORDER BY seq DESC LIMIT 1",
        "i", run);
    lx_str_clear(out);
    if (store__row(&rc, s, stmt, err))
        has_ended = store__hash(&hash, stmt, 0);
    store__finish(s, stmt);
    if (rc < 0 || !has_ended)
        return rc < 0 ? rc : live_console(out, s, run, from, err);
    if ((rc = lx_object_get(out, s, &hash, err)) == LX_OK && from) {
        from = from < out->len ? from : out->len;
        memmove(out->data, out->data + from, out->len - from + 1);
        out->len -= from;
    }
    return rc;
}

/* ---- curves ----------------------------------------------------------------------- */

int lx_query_series(lx_series_row **out, size_t *count, lx_store *s, int64_t run,
                    const char *key, lx_arena *arena, lx_error *err)
{
    rows r = {.item = sizeof(lx_series_row)};
    sqlite3_stmt *stmt;
    int rc = store__query(
        &stmt, s, err,
        run ? "SELECT s.run, s.key, n.n, n.first_step, n.last_step, n.last_value,"
              " n.min_value, n.max_value, n.min_step FROM series s"
              " JOIN series_now n ON n.series=s.id"
              " WHERE s.run=?1 AND (?2 IS NULL OR s.key=?2) ORDER BY s.key"
            : "SELECT s.run, s.key, n.n, n.first_step, n.last_step, n.last_value,"
              " n.min_value, n.max_value, n.min_step FROM series s"
              " JOIN series_now n ON n.series=s.id"
              " WHERE ?1=0 AND (?2 IS NULL OR s.key=?2) ORDER BY s.run, s.key",
        "it", run, key);
    while (store__row(&rc, s, stmt, err)) {
        lx_series_row row = {.run = sqlite3_column_int64(stmt, 0),
                             .key = store__text(arena, stmt, 1),
                             .n = sqlite3_column_int64(stmt, 2),
                             .first_step = sqlite3_column_int64(stmt, 3),
                             .last_step = sqlite3_column_int64(stmt, 4),
                             .last_value = store__real(stmt, 5),
                             .min_value = store__real(stmt, 6),
                             .max_value = store__real(stmt, 7),
                             .min_step = sqlite3_column_int64(stmt, 8)};
        rc = row.key ? add_row(&r, &row, err) : lx_oom(err);
    }
    return give_rows(out, count, &r, s, stmt, rc, arena, err);
}

/* Room for n more points at the end of two arrays. */
typedef struct points {
    int64_t *steps;
    double *values;
    size_t n, steps_capacity, values_capacity;
} points;

static int reserve(points *p, size_t more, lx_error *err)
{
    if (lx_grow(&p->steps, &p->steps_capacity, p->n + more, sizeof *p->steps) < 0 ||
        lx_grow(&p->values, &p->values_capacity, p->n + more, sizeof *p->values) < 0)
        return lx_oom(err);
    return LX_OK;
}

static int read_chunks(points *p, int64_t *end, lx_store *s, int64_t series, size_t from,
                       lx_error *err)
{
    sqlite3_stmt *stmt;
    int rc =
        store__query(&stmt, s, err,
                     "SELECT first, n, data FROM chunk WHERE series=?1 AND first+n>?2"
                     " ORDER BY first",
                     "ii", series, (int64_t)from);
    *end = 0;
    while (store__row(&rc, s, stmt, err)) {
        int64_t first = sqlite3_column_int64(stmt, 0), n = sqlite3_column_int64(stmt, 1);
        size_t got, skip = first < (int64_t)from ? from - (size_t)first : 0;
        const void *data = sqlite3_column_blob(stmt, 2);
        if (n <= 0 || n > LX_CHUNK_POINTS || first < 0 ||
            (*end ? first != *end : first > (int64_t)from)) {
            rc = lx_fail(err, LX_EFORMAT,
                         "points %lld to %lld are not where they should be",
                         (long long)*end, (long long)first);
            break;
        }
        if ((rc = reserve(p, (size_t)n, err)) < 0)
            break;
        rc = store__chunk_decode(p->steps + p->n, p->values + p->n, &got, (size_t)n,
                                 data ? data : "", (size_t)sqlite3_column_bytes(stmt, 2),
                                 err);
        if (rc == LX_OK && got != (size_t)n)
            rc = lx_fail(err, LX_EFORMAT, "a chunk of %lld points has %zu", (long long)n,
                         got);
        if (rc < 0)
            break;
        memmove(p->steps + p->n, p->steps + p->n + skip, (got - skip) * sizeof *p->steps);
        memmove(p->values + p->n, p->values + p->n + skip,
                (got - skip) * sizeof *p->values);
        p->n += got - skip;
        *end = first + n;
    }
    store__finish(s, stmt);
    return rc;
}

static int read_tail(points *p, lx_store *s, int64_t series, size_t from, lx_error *err)
{
    sqlite3_stmt *stmt;
    int rc = store__query(&stmt, s, err,
                          "SELECT step, value FROM tail_point WHERE series=?1 AND at>=?2"
                          " ORDER BY at",
                          "ii", series, (int64_t)from);
    while (store__row(&rc, s, stmt, err)) {
        if ((rc = reserve(p, 1, err)) < 0)
            break;
        p->steps[p->n] = sqlite3_column_int64(stmt, 0);
        p->values[p->n++] = store__real(stmt, 1);
    }
    store__finish(s, stmt);
    return rc;
}

/* Chunks and tail as of one moment: a flush between the two would move points. */
int store__read_series(int64_t **steps, double **values, size_t *n, lx_store *s,
                       int64_t series, size_t from, lx_error *err)
{
    bool is_ours;
    points p = {0};
    int64_t end;
    int rc;

    *steps = NULL;
    *values = NULL;
    *n = 0;
    pthread_mutex_lock(&s->mutex);
    if ((rc = store__begin_reading(&is_ours, s, err)) == LX_OK) {
        if ((rc = read_chunks(&p, &end, s, series, from, err)) == LX_OK)
            rc = read_tail(&p, s, series, from, err);
        store__end_reading(s, is_ours);
    }
    pthread_mutex_unlock(&s->mutex);
    if (rc < 0) {
        lx_free(p.steps);
        lx_free(p.values);
        return rc;
    }
    *steps = p.steps;
    *values = p.values;
    *n = p.n;
    return LX_OK;
}

static int read_curve(lx_curve *c, lx_store *s, int64_t series, size_t from,
                      lx_arena *arena, lx_error *err)
{
    int64_t *steps;
    double *values;
    size_t n;
    int rc = store__read_series(&steps, &values, &n, s, series, from, err);

    if (rc < 0) {
        lx_within(err, "curve %s", c->key);
        return rc;
    }
    c->n = n;
    c->steps = lx_arena_calloc(arena, n, sizeof *steps);
    c->values = lx_arena_calloc(arena, n, sizeof *values);
    if (!c->steps || !c->values) {
        rc = lx_oom(err);
    } else if (n) {
        memcpy(c->steps, steps, n * sizeof *steps);
        memcpy(c->values, values, n * sizeof *values);
    }
    lx_free(steps);
    lx_free(values);
    return rc;
}

int lx_query_curve(lx_curve *out, lx_store *s, int64_t run, const char *key, size_t from,
                   lx_arena *arena, lx_error *err)
{
    int64_t series;
    int rc;

    *out = (lx_curve){.key = lx_arena_strdup(arena, key)};
    if (!out->key)
        return lx_oom(err);
    rc = store__number(&series, 0, s, err,
                       "SELECT id FROM series WHERE run=?1 AND key=?2", "it", run, key);
    return rc < 0 || !series ? rc : read_curve(out, s, series, from, arena, err);
}

int lx_query_curves(lx_curve **out, size_t *count, lx_store *s, const lx_run_row *run,
                    lx_arena *arena, lx_error *err)
{
    rows r = {.item = sizeof(lx_curve)};
    sqlite3_stmt *stmt;
    int rc = store__query(&stmt, s, err,
                          "SELECT id, key FROM series WHERE run=?1 ORDER BY key", "i",
                          run->seq);
    while (store__row(&rc, s, stmt, err)) {
        lx_curve c = {.key = store__text(arena, stmt, 1)};
        rc = c.key ? read_curve(&c, s, sqlite3_column_int64(stmt, 0), 0, arena, err)
                   : lx_oom(err);
        if (rc == LX_OK)
            rc = add_row(&r, &c, err);
    }
    return give_rows(out, count, &r, s, stmt, rc, arena, err);
}
