/* What follows from the record and can be made again: schema/store/0002_derived.sql. */
#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/json.h"
#include "store/internal.h"
#include "store/query.h"

/* ---- curves at a glance ----------------------------------------------------------- */

store__glance store__glance_of(const int64_t *steps, const double *values, size_t n)
{
    store__glance g = {.n = (int64_t)n,
                       .last_value = (double)NAN,
                       .min_value = (double)NAN,
                       .max_value = (double)NAN};

    for (size_t i = 0; i < n; i++) {
        double v = values[i];
        if (v < g.min_value || (isnan(g.min_value) && !isnan(v))) {
            g.min_value = v;
            g.min_step = steps[i];
        }
        if (v > g.max_value || isnan(g.max_value))
            g.max_value = v;
    }
    if (n) {
        g.first_step = steps[0];
        g.last_step = steps[n - 1];
        g.last_value = values[n - 1];
    }
    return g;
}

int store__derive_points(lx_store *s, int64_t run, int64_t series, const char *key,
                         const store__glance *g, lx_error *err)
{
    bool is_loss = strcmp(key, "loss") == 0 || strcmp(key, "loss/current") == 0;
    bool is_average = strcmp(key, "loss/average") == 0;
    int rc = store__do(
        s, err,
        "INSERT INTO series_now VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
        " ON CONFLICT(series) DO UPDATE SET n=n+excluded.n, last_step=excluded.last_step,"
        " last_value=excluded.last_value,"
        " min_step=iif(min_value IS NULL OR excluded.min_value<min_value, "
        "excluded.min_step,"
        "              min_step),"
        " min_value=min(coalesce(min_value, excluded.min_value),"
        "               coalesce(excluded.min_value, min_value)),"
        " max_value=max(coalesce(max_value, excluded.max_value),"
        "               coalesce(excluded.max_value, max_value))",
        "iiiidd"
        "id",
        series, g->n, g->first_step, g->last_step, g->last_value, g->min_value,
        g->min_step, g->max_value);
    if (rc < 0)
        return rc;
    return store__do(
        s, err,
        "INSERT INTO run_now(run, n_points, last_step, loss, loss_average)"
        " VALUES(?1, ?2, ?3, iif(?4, ?6, NULL), iif(?5, ?6, NULL))"
        " ON CONFLICT(run) DO UPDATE SET n_points=n_points+excluded.n_points,"
        " last_step=max(coalesce(last_step, excluded.last_step), excluded.last_step),"
        " loss=iif(?4, ?6, loss), loss_average=iif(?5, ?6, loss_average)",
        "iiiiid", run, g->n, g->last_step, (int64_t)is_loss, (int64_t)is_average,
        g->last_value);
}

/* ---- flags as rows ---------------------------------------------------------------- */

/* As SQL has it: numbers as numbers, true as 1, lists and objects as JSON. NULL flags
 * have no row. */
static int bind_value(sqlite3_stmt *stmt, int at, const cJSON *value, lx_str *text)
{
    double x = value->valuedouble;
    if (cJSON_IsBool(value))
        return sqlite3_bind_int64(stmt, at, cJSON_IsTrue(value));
    if (cJSON_IsNumber(value))
        return x == floor(x) && fabs(x) < 0x1p53
                   ? sqlite3_bind_int64(stmt, at, (int64_t)x)
                   : sqlite3_bind_double(stmt, at, x);
    if (cJSON_IsString(value))
        return sqlite3_bind_text(stmt, at, value->valuestring, -1, SQLITE_STATIC);
    if (lx_json_canonical(text, value, NULL) < 0)
        return SQLITE_NOMEM;
    return sqlite3_bind_text(stmt, at, lx_str_text(text), -1, SQLITE_STATIC);
}

/* One of the statements below: the flag's key is ?1, the run ?2, its value ?3. */
static int with_flag(lx_store *s, const char *sql, int64_t run, const cJSON *flag,
                     lx_error *err)
{
    lx_str text = LX_STR_INIT;
    sqlite3_stmt *stmt;
    int rc = store__query(&stmt, s, err, sql, "ti", flag->string, run);

    if (rc == LX_OK && bind_value(stmt, 3, flag, &text) != SQLITE_OK)
        rc = lx_oom(err);
    store__row(&rc, s, stmt, err);
    store__finish(s, stmt);
    lx_str_release(&text);
    return rc;
}

static int derive_flags(lx_store *s, int64_t run, const char *text, lx_error *err)
{
    cJSON *flags = NULL;
    const cJSON *flag;
    int rc;

    if (!text)
        return LX_OK;
    if ((rc = lx_json_parse(&flags, text, strlen(text), err)) < 0)
        return rc == LX_ENOMEM ? rc
                               : LX_OK; /* the text itself is recorded all the same */
    if (cJSON_IsObject(flags))
        cJSON_ArrayForEach(flag, flags)
        {
            if (rc < 0 || cJSON_IsNull(flag))
                continue;
            if ((rc = with_flag(
                     s, "INSERT OR IGNORE INTO flag_value(key, value) VALUES(?1, ?3)",
                     run, flag, err)) == LX_OK)
                rc = with_flag(
                    s,
                    "INSERT OR IGNORE INTO run_flag SELECT ?2, id FROM flag_value"
                    " WHERE key=?1 AND value=?3",
                    run, flag, err);
        }
    cJSON_Delete(flags);
    return rc;
}

int store__derive_run(lx_store *s, int64_t run, const char *name, const char *flags,
                      lx_error *err)
{
    int rc = store__do(s, err, "INSERT OR IGNORE INTO run_now(run, name) VALUES(?1, ?2)",
                       "it", run, name);
    return rc < 0 ? rc : derive_flags(s, run, flags, err);
}

/* ---- remarks ---------------------------------------------------------------------- */

#define NEWEST                                                                         \
    "(SELECT value FROM remark WHERE run=?1 AND kind=?2 AND key='' ORDER BY seq DESC " \
    "LIMIT 1)"

int store__derive_remark(lx_store *s, int64_t run, const char *kind, lx_error *err)
{
    static const struct {
        const char *kind, *sql;
    } columns[] = {
        {"name", "UPDATE run_now SET name=coalesce(" NEWEST
                 ", (SELECT name FROM run WHERE seq=?1)) WHERE run=?1"},
        {"group", "UPDATE run_now SET grp=" NEWEST " WHERE run=?1"},
        {"pin", "UPDATE run_now SET is_pinned=" NEWEST " IS NOT NULL WHERE run=?1"},
        {"trash", "UPDATE run_now SET is_trashed=" NEWEST " IS NOT NULL WHERE run=?1"},
    };
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        if (strcmp(kind, columns[i].kind) == 0)
            return store__do(s, err, columns[i].sql, "it", run, kind);
    return LX_OK;
}

/* ---- all of it again -------------------------------------------------------------- */

static int drop_all(lx_store *s, lx_error *err)
{
    return store__exec(s,
                       "DROP VIEW IF EXISTS runs; DROP VIEW IF EXISTS curves;"
                       "DROP VIEW IF EXISTS tail; DROP VIEW IF EXISTS artifacts;"
                       "DROP VIEW IF EXISTS tags; DROP VIEW IF EXISTS notes;"
                       "DROP VIEW IF EXISTS facts; DROP VIEW IF EXISTS remarks;"
                       "DROP VIEW IF EXISTS flags; DROP TABLE IF EXISTS run_now;"
                       "DROP TABLE IF EXISTS series_now; DROP TABLE IF EXISTS run_flag;"
                       "DROP TABLE IF EXISTS flag_value",
                       err);
}

/* The text of an object, or NULL in *out when the column is NULL. A damaged one derives
 * nothing. */
static int text_of(lx_str *out, const char **text, lx_store *s, sqlite3_stmt *stmt,
                   int column, lx_error *err)
{
    lx_hash hash;
    int rc;
    *text = NULL;
    if (!store__hash(&hash, stmt, column))
        return LX_OK;
    if ((rc = lx_object_get(out, s, &hash, err)) == LX_OK)
        *text = lx_str_text(out);
    return store__is_damage(rc) ? LX_OK : rc;
}

static int derive_runs(lx_store *s, lx_error *err)
{
    static const char *const kinds[] = {"name", "group", "pin", "trash"};
    sqlite3_stmt *stmt;
    lx_str bytes = LX_STR_INIT;
    int rc = store__query(&stmt, s, err,
                          "SELECT seq, name, coalesce(flags, flags_given) FROM run", "");
    while (store__row(&rc, s, stmt, err)) {
        int64_t run = sqlite3_column_int64(stmt, 0);
        const char *flags;
        if ((rc = text_of(&bytes, &flags, s, stmt, 2, err)) == LX_OK)
            rc = store__derive_run(s, run, (const char *)sqlite3_column_text(stmt, 1),
                                   flags, err);
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds && rc == LX_OK; i++)
            rc = store__derive_remark(s, run, kinds[i], err);
    }
    store__finish(s, stmt);
    lx_str_release(&bytes);
    return rc;
}

static int derive_series(lx_store *s, lx_error *err)
{
    sqlite3_stmt *stmt;
    int rc = store__query(&stmt, s, err, "SELECT id, run, key FROM series", "");
    while (store__row(&rc, s, stmt, err)) {
        int64_t *steps, id = sqlite3_column_int64(stmt, 0);
        double *values;
        store__glance g;
        size_t n;
        rc = store__read_series(&steps, &values, &n, s, id, 0, err);
        if (store__is_damage(rc)) { /* fsck names it; the others are of use */
            rc = LX_OK;
            continue;
        }
        if (rc < 0)
            break;
        g = store__glance_of(steps, values, n);
        if (n)
            rc =
                store__derive_points(s, sqlite3_column_int64(stmt, 1), id,
                                     (const char *)sqlite3_column_text(stmt, 2), &g, err);
        lx_free(steps);
        lx_free(values);
    }
    store__finish(s, stmt);
    return rc;
}

int lx_store_rebuild(lx_store *s, lx_error *err)
{
    int rc = store__begin(s, err);
    if (rc < 0)
        return rc;
    if ((rc = drop_all(s, err)) == LX_OK &&
        (rc = store__exec(s, store__the_schema.sql[1], err)) == LX_OK &&
        (rc = derive_runs(s, err)) == LX_OK)
        rc = derive_series(s, err);
    return store__end(s, rc, err);
}
