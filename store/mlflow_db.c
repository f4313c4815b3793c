#include "store/mlflow_db.h"

#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/str.h"

enum { MOST_TEXT = 4 << 20 }; /* of a value; MLflow's own limits are thousands of characters */

static int fail(sqlite3 *db, lx_error *err)
{
    int code = sqlite3_errcode(db) & 0xff;

    return lx_fail(err,
                   code == SQLITE_NOMEM   ? LX_ENOMEM
                   : code == SQLITE_IOERR ? LX_EIO
                   : code == SQLITE_BUSY  ? LX_EBUSY
                                          : LX_EFORMAT,
                   "%s", sqlite3_errmsg(db));
}

static int open_db(sqlite3 **db, const char *path, lx_error *err)
{
    int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_PRIVATECACHE;

    if (sqlite3_open_v2(path, db, flags, NULL) != SQLITE_OK)
        return *db ? fail(*db, err) : lx_oom(err);
    sqlite3_db_config(*db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(*db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(*db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    sqlite3_db_config(*db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_limit(*db, SQLITE_LIMIT_LENGTH, MOST_TEXT);
    sqlite3_busy_timeout(*db, 2000); /* MLflow may be at work on it */
    return LX_OK;
}

static const char *text(sqlite3_stmt *stmt, int column)
{
    const unsigned char *value = sqlite3_column_text(stmt, column);
    return value ? (const char *)value : "";
}

/* *yes: has the statement with these two texts a row? That it could not be asked is not "no". */
static int ask(bool *yes, sqlite3 *db, const char *sql, const char *a, const char *b,
               lx_error *err)
{
    sqlite3_stmt *stmt = NULL;
    int step = SQLITE_ERROR, rc = LX_OK;

    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK) {
        sqlite3_bind_text(stmt, 1, a, -1, SQLITE_STATIC);
        sqlite3_bind_text(stmt, 2, b, -1, SQLITE_STATIC);
        step = sqlite3_step(stmt);
    }
    *yes = step == SQLITE_ROW;
    if (step != SQLITE_ROW && step != SQLITE_DONE)
        rc = fail(db, err);
    sqlite3_finalize(stmt);
    return rc;
}

static int has_table(bool *yes, sqlite3 *db, const char *name, lx_error *err)
{
    return ask(yes, db, "SELECT 1 FROM sqlite_schema WHERE name=?1 AND type=?2", name,
               "table", err);
}

static int has_column(bool *yes, sqlite3 *db, const char *table, const char *name,
                      lx_error *err)
{
    return ask(yes, db, "SELECT 1 FROM pragma_table_info(?1) WHERE name=?2", table, name,
               err);
}

static const char *const tables[] = {"experiments", "runs", "params", "tags", "metrics"};

/* What a column computes costs nothing to keep, and as much as one likes to read. */
static int refuse_computed(sqlite3 *db, lx_error *err)
{
    bool is_computed = false;
    int rc = LX_OK;

    for (size_t i = 0; i < sizeof tables / sizeof *tables && rc == LX_OK; i++) {
        rc = ask(&is_computed, db,
                 "SELECT 1 FROM pragma_table_xinfo(?1) WHERE hidden<>0 AND ?2=''", tables[i],
                 "", err);
        if (rc == LX_OK && is_computed)
            rc = lx_fail(err, LX_EFORMAT,
                         "table %s has a computed column, which is none of MLflow's",
                         tables[i]);
    }
    return rc;
}

static int is_mlflow(bool *yes, sqlite3 *db, lx_error *err)
{
    int rc = LX_OK;

    *yes = true;
    for (size_t i = 0; i < sizeof tables / sizeof *tables && *yes && rc == LX_OK; i++)
        rc = has_table(yes, db, tables[i], err);
    if (rc == LX_OK && *yes)
        rc = has_column(yes, db, "runs", "run_uuid", err);
    if (rc == LX_OK && *yes)
        rc = has_column(yes, db, "metrics", "key", err);
    return rc;
}

/* ---- one run ----------------------------------------------------------------------- */

typedef int (*pair_function)(void *context, const char *key, const char *value,
                             lx_error *err);

static int read_pairs(sqlite3 *db, const char *sql, const char *id, pair_function pair,
                      void *context, lx_error *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = LX_OK, step = SQLITE_DONE;

    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        return fail(db, err);
    sqlite3_bind_text(stmt, 1, id, -1, SQLITE_STATIC);
    while (rc == LX_OK && (step = sqlite3_step(stmt)) == SQLITE_ROW)
        rc = pair(context, text(stmt, 0), text(stmt, 1), err);
    if (rc == LX_OK && step != SQLITE_DONE)
        rc = fail(db, err);
    sqlite3_finalize(stmt);
    return rc;
}

/* The largest double stands for infinity, 0 with is_nan for NaN. */
static double value_of(sqlite3_stmt *stmt)
{
    double x = sqlite3_column_double(stmt, 2);

    if (sqlite3_column_int(stmt, 3))
        return NAN;
    return x >= 1.7976931348623157e308    ? INFINITY
           : x <= -1.7976931348623157e308 ? -INFINITY
                                          : x;
}

static int read_points(sqlite3 *db, const char *id, const lx_mlflow_sink *sink,
                       lx_error *err)
{
    sqlite3_stmt *stmt = NULL;
    char sql[256];
    bool has_step, has_nan;
    int rc, step = SQLITE_DONE;

    if ((rc = has_column(&has_step, db, "metrics", "step", err)) < 0 ||
        (rc = has_column(&has_nan, db, "metrics", "is_nan", err)) < 0)
        return rc;
    snprintf(sql, sizeof sql,
             "SELECT key, %s, value, %s FROM metrics WHERE run_uuid=?1 ORDER BY 1, 2, "
             "timestamp",
             has_step ? "step" : "0", has_nan ? "is_nan" : "0");
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        return fail(db, err);
    sqlite3_bind_text(stmt, 1, id, -1, SQLITE_STATIC);
    while (rc == LX_OK && (step = sqlite3_step(stmt)) == SQLITE_ROW)
        rc = sink->on_point(sink->context, text(stmt, 0), sqlite3_column_int64(stmt, 1),
                            value_of(stmt), err);
    if (rc == LX_OK && step != SQLITE_DONE)
        rc = fail(db, err);
    sqlite3_finalize(stmt);
    return rc;
}

static int read_run(sqlite3 *db, sqlite3_stmt *stmt, const lx_mlflow_sink *sink,
                    lx_error *err)
{
    const lx_mlflow_run run = {.id = text(stmt, 0),
                               .name = text(stmt, 1),
                               .experiment = text(stmt, 2),
                               .status = text(stmt, 3),
                               .user = text(stmt, 4),
                               .started = sqlite3_column_double(stmt, 5) / 1000,
                               .ended = sqlite3_column_double(stmt, 6) / 1000};
    int rc;

    if ((rc = sink->on_run(sink->context, &run, err)) < 0 ||
        (rc = read_pairs(db,
                         "SELECT key, value FROM params WHERE run_uuid=?1 ORDER BY key",
                         run.id, sink->on_param, sink->context, err)) < 0 ||
        (rc = read_pairs(db, "SELECT key, value FROM tags WHERE run_uuid=?1 ORDER BY key",
                         run.id, sink->on_tag, sink->context, err)) < 0)
        return rc;
    return read_points(db, run.id, sink, err);
}

/* ---- all of them ------------------------------------------------------------------- */

static int read_runs(sqlite3 *db, const lx_mlflow_sink *sink, lx_error *err)
{
    sqlite3_stmt *stmt = NULL;
    char sql[512];
    bool has_name;
    int rc = has_column(&has_name, db, "runs", "name", err), step = SQLITE_DONE;

    if (rc < 0)
        return rc;
    snprintf(
        sql, sizeof sql,
        "SELECT r.run_uuid, %s, e.name, r.status, r.user_id, r.start_time, r.end_time"
        " FROM runs r LEFT JOIN experiments e ON e.experiment_id = r.experiment_id"
        " WHERE coalesce(r.lifecycle_stage, 'active') <> 'deleted'"
        " AND coalesce(e.lifecycle_stage, 'active') <> 'deleted'"
        " ORDER BY r.start_time, r.run_uuid",
        has_name ? "r.name" : "''");
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        return fail(db, err);
    while (rc == LX_OK && (step = sqlite3_step(stmt)) == SQLITE_ROW)
        rc = read_run(db, stmt, sink, err);
    if (rc == LX_OK && step != SQLITE_DONE)
        rc = fail(db, err);
    sqlite3_finalize(stmt);
    return rc;
}

int lx_mlflow_db_read(const char *path, const lx_mlflow_sink *sink, lx_error *err)
{
    sqlite3 *db = NULL;
    bool is_one;
    int rc = open_db(&db, path, err);

    if (rc == LX_OK && (rc = is_mlflow(&is_one, db, err)) == LX_OK && !is_one)
        rc = lx_fail(err, LX_EFORMAT, "not a store of MLflow's");
    if (rc == LX_OK && (rc = refuse_computed(db, err)) == LX_OK)
        rc = read_runs(db, sink, err);
    if (rc < 0)
        lx_within(err, "%s", path);
    sqlite3_close(db);
    return rc;
}

bool lx_mlflow_db_is(const char *path)
{
    sqlite3 *db = NULL;
    bool is_one = false;

    if (open_db(&db, path, NULL) == LX_OK)
        is_mlflow(&is_one, db, NULL); /* what cannot be asked is none */

    sqlite3_close(db);
    return is_one;
}
