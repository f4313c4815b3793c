#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/import/mlflow.h"
#include "store/mlflow_db.h"

static char root[256];

static void put(const char *where, const char *text)
{
    char path[512], *slash;
    lx_error err = {0};

    snprintf(path, sizeof path, "%s/%s", root, where);
    slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(lx_make_dirs(path, &err), LX_OK);
    *slash = '/';
    assert_int_equal(lx_file_write(path, text, strlen(text), &err), LX_OK);
}

#define RUN "1/0123456789abcdef0123456789abcdef/"

static int make_store(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/lx-mlruns-XXXXXX");
    if (!mkdtemp(root))
        return -1;
    put("1/meta.yaml",
        "artifact_location: file:///x/mlruns/1\ncreation_time: 1700000000000\n"
        "experiment_id: '1'\nlifecycle_stage: active\nname: lora-style\n");
    put(RUN "meta.yaml",
        "end_time: 1700000100000\nexperiment_id: '1'\nlifecycle_stage: active\n"
        "run_id: 0123456789abcdef0123456789abcdef\n"
        "run_name: a long name that PyYAML\n  folds at eighty columns\n" /* one scalar */
        "start_time: 1700000000000\nstatus: 3\ntags: []\nuser_id: somebody\n");
    put(RUN "metrics/loss/average",
        "1700000001000 0.125 1\n1700000002000 nan 2\n"
        "1700000003000 inf 3\nnonsense\n1700000004000 1e-3 4\n"
        "1 2 99999999999999999999\n1 2 -3\n1 2 \n1 2 3x");
    put(RUN "metrics/old", "1700000001000 7\n");
    put(RUN "params/learning_rate", "0.0001");
    put(RUN "params/network_module", "networks.lora");
    put(RUN "params/prompt", "two\nlines");
    put(RUN "tags/mlflow.user", "somebody");
    put(RUN "tags/mlflow.note.content", "a *note*");
    put(RUN "tags/mlflow.source.git.commit", "abc123");
    put(RUN "tags/mine", "yes");
    put("1/deleted/meta.yaml", "lifecycle_stage: deleted\nrun_id: deleted\nstatus: 3\n");
    put("1/damaged/meta.yaml", "run_id: [never closed\n");
    put("1/called/meta.yaml", "!!python/object/apply:os.system [\"x\"]\n");
    put("1/empty/meta.yaml", "# nothing\n");
    put("2/meta.yaml", "experiment_id: '2'\nlifecycle_stage: deleted\nname: gone\n");
    put("2/run/meta.yaml", "run_id: inside_a_deleted_one\nlifecycle_stage: active\n");
    put("models/m/meta.yaml", "name: m\n");
    put(".trash/3/meta.yaml", "name: trash\n");
    return 0;
}

static int remove_store(void **state)
{
    char command[300];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

static bool has_problem(const lx_history *h, const char *part)
{
    for (size_t i = 0; i < h->n_problems; i++)
        if (strstr(h->problems[i], part))
            return true;
    return false;
}

static void check_problems(const lx_history *h)
{
    assert_int_equal(h->n_problems, 4);
    assert_true(has_problem(h, "1/damaged/meta.yaml: line 2:"));
    assert_true(has_problem(h, "1/called/meta.yaml: line 1: a mapping of names to values"));
    assert_true(has_problem(h, "1/empty/meta.yaml: nothing of MLflow's in it"));
    assert_true(has_problem(h, "metric loss/average: 5 lines are not of MLflow's shape"));
}

static void check_run(const lx_history *h, bool is_file)
{
    const lx_history_run *run;
    lx_str flags = LX_STR_INIT;

    assert_int_equal(h->count, 1);
    run = h->runs[0];
    assert_string_equal(run->origin, "mlflow:0123456789abcdef0123456789abcdef");
    assert_string_equal(run->name, "a long name that PyYAML folds at eighty columns");
    assert_string_equal(run->group, "lora-style");
    assert_string_equal(run->status, "finished");
    assert_true(run->started == 1700000000.0 && run->ended == 1700000100.0);
    assert_int_equal(lx_json_canonical(&flags, run->flags, NULL), LX_OK);
    assert_string_equal(lx_str_text(&flags),
                        "{\"learning_rate\":0.0001,\"network_module\":\"networks.lora\","
                        "\"prompt\":\"two\\nlines\"}");
    lx_str_release(&flags);
    assert_int_equal(run->n_curves, 2);
    assert_string_equal(run->curves[0].key, "loss/average");
    assert_int_equal(run->curves[0].n, 4);
    assert_true(run->curves[0].values[0] == 0.125 && isnan(run->curves[0].values[1]) &&
                isinf(run->curves[0].values[2]) && run->curves[0].values[3] == 1e-3);
    assert_int_equal(run->curves[0].steps[3], 4);
    assert_int_equal(run->curves[1].steps[0], 0);
    assert_int_equal(run->n_tags, 1);
    assert_string_equal(run->tags[0].value, "yes");
    assert_string_equal(run->notes[0], "a *note*");
    assert_int_equal(run->n_facts, 1); /* the user is private */
    assert_string_equal(run->facts[0].key, "git.commit");
    if (is_file)
        check_problems(h);
}

static void test_import_mlflow__a_file_store(void **state)
{
    lx_history *h;
    lx_error err = {0};

    (void)state;
    assert_true(lx_mlflow_is_folder(root));
    assert_false(lx_mlflow_is_folder("/etc"));
    assert_int_equal(lx_history_new(&h, &err), LX_OK);
    assert_int_equal(lx_import_mlflow(h, root, &err), LX_OK);
    check_run(h, true);
    lx_history_free(h);
}

/* What a stranger's link leads to, a file or a whole disk, is neither read nor walked. */
static void test_import_mlflow__links_are_not_followed(void **state)
{
    static const char *const links[] = {RUN "params/usr", RUN "tags/passwd", "1/run", "3"};
    static const char *const targets[] = {"/usr", "/etc/passwd", "/", "/"};
    lx_history *h;
    lx_error err = {0};
    char path[512];

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", root, links[i]);
        assert_int_equal(symlink(targets[i], path), 0);
    }
    assert_int_equal(lx_history_new(&h, &err), LX_OK);
    assert_int_equal(lx_import_mlflow(h, root, &err), LX_OK);
    check_run(h, false);
    assert_int_equal(h->n_problems, 4 + 4);
    lx_history_free(h);
}

/* ---- the same as SQLite ------------------------------------------------------------ */

static const char *make_db(const char *sql)
{
    static char path[300];
    sqlite3 *db;
    char *problem = NULL;

    snprintf(path, sizeof path, "%s/mlflow.db", root);
    unlink(path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &problem) != SQLITE_OK)
        fail_msg("%s", problem);
    sqlite3_close(db);
    return path;
}

#define TABLES                                                                          \
    "CREATE TABLE experiments(experiment_id INTEGER, name TEXT, lifecycle_stage TEXT);" \
    "CREATE TABLE params(key TEXT, value TEXT, run_uuid TEXT);"                         \
    "CREATE TABLE tags(key TEXT, value TEXT, run_uuid TEXT);"

/* What was told, one line a call. */
static int on_run(void *context, const lx_mlflow_run *run, lx_error *err)
{
    lx_str_printf(context, "run %s '%s' of '%s' %s by '%s' %.0f %.0f\n", run->id,
                  run->name, run->experiment, run->status, run->user, run->started,
                  run->ended);
    return lx_str_check(context, err);
}

static int on_param(void *context, const char *key, const char *value, lx_error *err)
{
    lx_str_printf(context, "param %s=%s\n", key, value);
    return lx_str_check(context, err);
}

static int on_tag(void *context, const char *key, const char *value, lx_error *err)
{
    lx_str_printf(context, "tag %s=%s\n", key, value);
    return lx_str_check(context, err);
}

static int on_point(void *context, const char *key, int64_t step, double value,
                    lx_error *err)
{
    lx_str_printf(context, "point %s %lld %g\n", key, (long long)step, value);
    return lx_str_check(context, err);
}

static void expect_db(const char *path, const char *wanted)
{
    lx_str seen = LX_STR_INIT;
    const lx_mlflow_sink sink = {&seen, on_run, on_param, on_tag, on_point};
    lx_error err = {0};

    if (lx_mlflow_db_read(path, &sink, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(lx_str_text(&seen), wanted);
    lx_str_release(&seen);
}

static void test_import_mlflow__a_database(void **state)
{
    const char *path = make_db(
        TABLES
        "CREATE TABLE runs(run_uuid TEXT, name TEXT, user_id TEXT, status TEXT,"
        " start_time INTEGER, end_time INTEGER, lifecycle_stage TEXT, experiment_id "
        "INTEGER);"
        "CREATE TABLE metrics(key TEXT, value REAL, timestamp INTEGER, run_uuid TEXT,"
        " step INTEGER, is_nan INTEGER);"
        "INSERT INTO experiments VALUES(1, 'e', 'active'), (2, 'gone', 'deleted');"
        "INSERT INTO runs VALUES('a', 'n', 'u', 'FINISHED', 1000, 3000, 'active', 1),"
        " ('b', 'n', 'u', 'FAILED', 500, NULL, 'deleted', 1),"
        " ('c', 'n', 'u', 'FAILED', 500, NULL, 'active', 2),"
        " ('d', NULL, NULL, 'RUNNING', 9000, NULL, 'active', 1);"
        "INSERT INTO params VALUES('lr', '1e-4', 'a'), ('lr', '2', 'b');"
        "INSERT INTO tags VALUES('mlflow.runName', 'n', 'a');"
        "INSERT INTO metrics VALUES('loss', 0.5, 2, 'a', 2, 0), ('loss', 0, 1, 'a', 1, "
        "1),"
        " ('loss', 1.7976931348623157e308, 3, 'a', 3, 0);");

    (void)state;
    assert_true(lx_mlflow_db_is(path));
    expect_db(
        path,
        "run a 'n' of 'e' FINISHED by 'u' 1 3\nparam lr=1e-4\ntag mlflow.runName=n\n"
        "point loss 1 nan\npoint loss 2 0.5\npoint loss 3 inf\n"
        "run d '' of 'e' RUNNING by '' 9 0\n");
}

/* Before names, steps and NaN had columns. */
static void test_import_mlflow__an_old_database(void **state)
{
    (void)state;
    expect_db(
        make_db(TABLES
                "CREATE TABLE runs(run_uuid TEXT, user_id TEXT, status TEXT,"
                " start_time INTEGER, end_time INTEGER, lifecycle_stage TEXT,"
                " experiment_id INTEGER);"
                "CREATE TABLE metrics(key TEXT, value REAL, timestamp INTEGER,"
                " run_uuid TEXT);"
                "INSERT INTO runs VALUES('a', 'u', 'FINISHED', 1000, 3000, 'active', 1);"
                "INSERT INTO metrics VALUES('loss', 0.5, 2, 'a');"),
        "run a '' of '' FINISHED by 'u' 1 3\npoint loss 0 0.5\n");
}

/* A view in a table's place may compute for ever: it is no store of MLflow's. */
static void test_import_mlflow__databases_of_others(void **state)
{
    lx_str seen = LX_STR_INIT;
    const lx_mlflow_sink sink = {&seen, on_run, on_param, on_tag, on_point};
    const char *path = make_db(
        TABLES
        "CREATE TABLE runs(run_uuid TEXT);"
        "CREATE VIEW metrics AS WITH RECURSIVE c(key) AS (SELECT 1 UNION ALL SELECT key "
        "+ 1"
        " FROM c) SELECT key, 1 AS value, 1 AS timestamp, 'a' AS run_uuid FROM c;");
    lx_error err = {0};

    (void)state;
    assert_false(lx_mlflow_db_is(path));
    assert_int_equal(lx_mlflow_db_read(path, &sink, &err), LX_EFORMAT);
    assert_false(lx_mlflow_db_is("/etc/passwd"));
    assert_false(lx_mlflow_db_is("/no/such/file"));
    assert_int_equal(lx_mlflow_db_read("/etc/passwd", &sink, &err), LX_EFORMAT);
    lx_str_release(&seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_import_mlflow__a_file_store, make_store,
                                        remove_store),
        cmocka_unit_test_setup_teardown(test_import_mlflow__links_are_not_followed,
                                        make_store, remove_store),
        cmocka_unit_test_setup_teardown(test_import_mlflow__a_database, make_store,
                                        remove_store),
        cmocka_unit_test_setup_teardown(test_import_mlflow__an_old_database, make_store,
                                        remove_store),
        cmocka_unit_test_setup_teardown(test_import_mlflow__databases_of_others,
                                        make_store, remove_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
