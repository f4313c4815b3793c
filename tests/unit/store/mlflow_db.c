/* MLflow's databases that are none, are damaged, are in use, or whose reader gives up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "store/mlflow_db.h"
#include "tests/support/expect.h"
#include "tests/support/sqlite_shim.h"
#include "tests/support/tree.h"

static char folder[64];

static void change(const char *sql)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open("mlflow.db", &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}

static int set_up(void **state)
{
    (void)state;
    lx_make_folder(folder, sizeof folder, "lx-mlflow");
    if (chdir(folder) < 0)
        return -1;
    change(
        "CREATE TABLE experiments(experiment_id INTEGER, name TEXT, lifecycle_stage "
        "TEXT);"
        "CREATE TABLE runs(run_uuid TEXT, name TEXT, user_id TEXT, status TEXT, "
        "start_time INTEGER,"
        " end_time INTEGER, lifecycle_stage TEXT, experiment_id INTEGER);"
        "CREATE TABLE params(key TEXT, value TEXT, run_uuid TEXT);"
        "CREATE TABLE tags(key TEXT, value TEXT, run_uuid TEXT);"
        "CREATE TABLE metrics(key TEXT, value REAL, timestamp INTEGER, run_uuid TEXT, "
        "step INTEGER,"
        " is_nan INTEGER);"
        "INSERT INTO experiments VALUES(1, 'style', 'active'), (2, 'gone', 'deleted');"
        "INSERT INTO runs VALUES('a', 'one', 'u', 'FINISHED', 1000, 3000, 'active', 1),"
        " ('b', NULL, NULL, NULL, NULL, NULL, NULL, NULL), ('c', 'x', 'u', 'FAILED', 5, "
        "6, 'deleted', 1),"
        " ('d', 'x', 'u', 'FAILED', 5, 6, 'active', 2);"
        "INSERT INTO params VALUES('lr', '1', 'a'), ('p', NULL, 'a');"
        "INSERT INTO tags VALUES('t', '1', 'a');"
        "INSERT INTO metrics VALUES('loss', 0.5, 1, 'a', 1, 0), ('loss', 0, 2, 'a', 2, "
        "1),"
        " ('loss', 1.7976931348623157e308, 3, 'a', 3, 0), ('loss', "
        "-1.7976931348623157e308, 4, 'a', 4, 0),"
        " ('text', 'no number', 1, 'b', 'none', NULL)");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    lx_remove_tree(folder);
    return chdir("/");
}

/* What a reader is given, and which of it makes it give up. */
static struct {
    int n_runs, n_params, n_tags, n_points, gives_up_at, n;
    double values[8];
} seen;

static int go_on(lx_error *err)
{
    return ++seen.n == seen.gives_up_at ? lx_fail(err, LX_EINTERRUPTED, "enough") : LX_OK;
}

static int take_run(void *context, const lx_mlflow_run *run, lx_error *err)
{
    (void)context;
    assert_true(strcmp(run->id, "a") == 0
                    ? run->started == 1 && run->ended == 3
                    : !*run->name && !*run->user && run->started == 0);
    seen.n_runs++;
    return go_on(err);
}

static int take_param(void *context, const char *key, const char *value, lx_error *err)
{
    (void)context;
    assert_true(*key && (*value || *key == 'p'));
    seen.n_params++;
    return go_on(err);
}

static int take_tag(void *context, const char *key, const char *value, lx_error *err)
{
    (void)context;
    assert_true(*key && *value);
    seen.n_tags++;
    return go_on(err);
}

static int take_point(void *context, const char *key, int64_t step, double value,
                      lx_error *err)
{
    (void)context;
    (void)step;
    assert_true(*key);
    seen.values[seen.n_points++ % 8] = value;
    return go_on(err);
}

static const lx_mlflow_sink sink = {NULL, take_run, take_param, take_tag, take_point};

static int read_all(int gives_up_at, lx_error *err)
{
    memset(&seen, 0, sizeof seen);
    seen.gives_up_at = gives_up_at;
    *err = (lx_error){0};
    return lx_mlflow_db_read("mlflow.db", &sink, err);
}

static void test_store_mlflow_db__all_of_it_or_until_it_is_enough(void **state)
{
    lx_error err;
    int total;

    (void)state;
    lx_assert_ok(read_all(0, &err), &err);
    assert_true(seen.n_runs == 2 && seen.n_params == 2 && seen.n_tags == 1 &&
                seen.n_points == 5);
    assert_true(seen.values[0] == 0 && seen.values[1] == 0.5 && isnan(seen.values[2]) &&
                seen.values[3] == INFINITY && seen.values[4] == -INFINITY);
    total = seen.n;
    for (int n = 1; n <= total; n++) {
        assert_int_equal(read_all(n, &err), LX_EINTERRUPTED);
        assert_string_equal(err.text, "mlflow.db: enough");
        assert_int_equal(seen.n, n);
    }
}

static void test_store_mlflow_db__what_is_none(void **state)
{
    static const char *const changes[] = {"ALTER TABLE runs RENAME TO other",
                                          "ALTER TABLE other RENAME TO runs;"
                                          "ALTER TABLE runs RENAME run_uuid TO other",
                                          "ALTER TABLE runs RENAME other TO run_uuid;"
                                          "ALTER TABLE metrics RENAME key TO other"};
    lx_error err;

    (void)state;
    assert_true(lx_mlflow_db_is("mlflow.db"));
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        change(changes[i]);
        assert_false(lx_mlflow_db_is("mlflow.db"));
        assert_int_equal(read_all(0, &err), LX_EFORMAT);
        assert_string_equal(err.text, "mlflow.db: not a store of MLflow's");
    }
    change("ALTER TABLE metrics RENAME other TO key");
    lx_assert_ok(read_all(0, &err), &err);
    assert_false(lx_mlflow_db_is("nowhere"));
    assert_true(lx_mlflow_db_read("nowhere", &sink, &err) < 0);
    lx_assert_shell("printf 'no database at all, whatever it is called' >mlflow.db");
    assert_false(lx_mlflow_db_is("mlflow.db"));
    assert_int_equal(read_all(0, &err), LX_EFORMAT);
}

/* Columns that every MLflow has are asked for by their names. */
static void test_store_mlflow_db__columns_that_are_missing(void **state)
{
    static const char *const columns[][2] = {{"metrics", "value"},
                                             {"params", "value"},
                                             {"tags", "key"},
                                             {"runs", "status"},
                                             {"experiments", "name"}};
    char sql[128];
    lx_error err;

    (void)state;
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        snprintf(sql, sizeof sql, "ALTER TABLE %s RENAME %s TO other", columns[i][0],
                 columns[i][1]);
        change(sql);
        assert_int_equal(read_all(0, &err), LX_EFORMAT);
        assert_non_null(strstr(err.text, "no such column"));
        snprintf(sql, sizeof sql, "ALTER TABLE %s RENAME other TO %s", columns[i][0],
                 columns[i][1]);
        change(sql);
    }
    change("ALTER TABLE metrics DROP step; ALTER TABLE metrics DROP is_nan; ALTER TABLE "
           "runs DROP name");
    lx_assert_ok(read_all(0, &err), &err); /* of an old one */
    assert_int_equal(seen.n_points, 5);
}

/* ---- what the system says ------------------------------------------------------------------- */

static int code, n_reads, fails_from;

static int coded_read(sqlite3_file *f, void *data, int n, sqlite3_int64 at)
{
    return code && ++n_reads >= fails_from
               ? code
               : shim_real(f)->pMethods->xRead(shim_real(f), data, n, at);
}

/* SQLite waits for whoever holds a file: nobody does here. */
int usleep(useconds_t us)
{
    (void)us;
    return 0;
}

static void test_store_mlflow_db__every_read_fails_once(void **state)
{
    static const struct {
        int code, wanted;
    } rows[] = {{SQLITE_IOERR_READ, LX_EIO},
                {SQLITE_BUSY, LX_EBUSY},
                {SQLITE_CORRUPT, LX_EFORMAT}};
    const shim_changes changes = {.methods = {.xRead = coded_read}};
    lx_error err;

    (void)state;
    shim_install(&changes);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (fails_from = 1;; fails_from++) {
            int rc;
            n_reads = 0;
            code = rows[i].code;
            rc = read_all(0, &err);
            if (n_reads < fails_from) {
                code = 0;
                lx_assert_ok(rc, &err);
                assert_int_equal(seen.n_runs, 2);
                break;
            }
            n_reads = 0;
            if (lx_mlflow_db_is("mlflow.db") && n_reads >= fails_from)
                fail_msg("%d at %d passes unnoticed", rows[i].code, fails_from);
            code = 0;
            if (rc != rows[i].wanted)
                fail_msg("%d at %d: %d %s", rows[i].code, fails_from, rc, err.text);
        }
    shim_remove();
}

static void test_store_mlflow_db__lives_through_want_of_memory(void **state)
{
    (void)state;
    for (size_t n = 1;; n++) {
        lx_error err;
        int rc;
        lx_alloc_fail_at(n, true);
        rc = read_all(0, &err);
        lx_alloc_fail_at(0, false);
        if (rc == LX_OK)
            break;
        if (rc != LX_ENOMEM)
            fail_msg("allocation %zu: %d %s", n, rc, err.text);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_store_mlflow_db__all_of_it_or_until_it_is_enough),
        TEST(test_store_mlflow_db__what_is_none),
        TEST(test_store_mlflow_db__columns_that_are_missing),
        TEST(test_store_mlflow_db__every_read_fails_once),
        TEST(test_store_mlflow_db__lives_through_want_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
