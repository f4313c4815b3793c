/* What lx fsck tells of rows and objects that are not as lx writes them, and what a rebuild makes of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/json.h"
#include "store/dataset.h"
#include "store/internal.h"
#include "store/query.h"
#include "tests/support/expect.h"
#include "tests/support/tree.h"

static char folder[64];
static lx_store *store;
static lx_str told = LX_STR_INIT;

static void keep_line(void *context, const char *line)
{
    (void)context;
    lx_str_printf(&told, "%s\n", line);
}

static lx_check_report check(void)
{
    lx_check_report report;
    lx_error err = {0};

    lx_str_clear(&told);
    lx_assert_ok(lx_store_check(&report, store, keep_line, NULL, &err), &err);
    return report;
}

static void change(const char *sql)
{
    lx_error err = {0};
    lx_assert_ok(store__exec(store, "PRAGMA foreign_keys=0", &err), &err);
    lx_assert_ok(store__exec(store, sql, &err), &err);
}

/* A run with a dataset, a curve that ends in no number, and one without any. */
static int make_sound(void **state)
{
    lx_store_image image = {.name = "1.png", .caption = "a cat"};
    lx_store_folder data = {"1_cat", "cat", 1, false, &image, 1};
    lx_run_start start = {
        .name = "a", .kind = "train", .flags = "{\"a\":1,\"b\":[2],\"c\":0.5}"};
    lx_error err = {0};
    char *dataset;
    lx_run *run;

    (void)state;
    lx_make_folder(folder, sizeof folder, "lx-check");
    if (chdir(folder) < 0)
        return -1;
    lx_assert_ok(lx_store_open(&store, "sound", false, &err), &err);
    lx_assert_ok(lx_store_dataset_put(&dataset, store, &data, 1, &err), &err);
    start.dataset = dataset;
    lx_assert_ok(lx_run_begin(&run, store, &start, &err), &err);
    lx_free(dataset);
    for (int i = 0; i < 10; i++)
        lx_assert_ok(lx_run_log(run, "loss", i, i == 9 ? (double)NAN : i + 1.0, &err),
                     &err);
    lx_assert_ok(lx_run_flush(run, &err), &err);
    lx_assert_ok(lx_run_log(run, "none", 1, (double)NAN, &err), &err);
    lx_assert_ok(lx_run_end(run, "finished", NULL, &err), &err);
    lx_store_close(store);
    return 0;
}

static int drop_all(void **state)
{
    (void)state;
    lx_str_release(&told);
    lx_remove_tree(folder);
    return chdir("/");
}

static int set_up(void **state)
{
    (void)state;
    lx_remove_tree("store");
    lx_copy_tree("sound", "store");
    return lx_store_open(&store, "store", false, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    lx_store_close(store);
    return 0;
}

/* ---- what is told ---------------------------------------------------------------------- */

static void test_store_check__a_summary_that_disagrees(void **state)
{
    static const char *const changes[] = {
        "n=9",          "last_step=8",   "last_value=9", "min_value=0", "min_value=NULL",
        "max_value=10", "max_value=NULL"};

    (void)state;
    assert_int_equal(check().n_problems, 0);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        char sql[128];
        lx_error err = {0};
        snprintf(sql, sizeof sql, "UPDATE series_now SET %s WHERE series=1", changes[i]);
        change(sql);
        assert_true(check().n_problems > 0);
        if (!strstr(told.data, "curve loss: its summary is out of date"))
            fail_msg("%s: %s", changes[i], told.data);
        lx_assert_ok(lx_store_rebuild(store, &err), &err);
        assert_int_equal(check().n_problems, 0);
    }
    change("UPDATE series_now SET n=11 WHERE series=1");
    check();
    assert_non_null(strstr(told.data, "1 of its 11 points are gone"));
    change(
        "UPDATE series_now SET n=10, last_value=1 WHERE series=1;"
        "UPDATE series_now SET min_value=1 WHERE series=2"); /* numbers where none were */
    assert_int_equal(check().n_problems, 2);
}

/* A curve that has a name and no points yet is none to worry about. */
static void test_store_check__a_curve_without_points(void **state)
{
    lx_error err = {0};

    (void)state;
    change("INSERT INTO series(run, key) VALUES(1, 'empty')");
    assert_int_equal(check().n_problems, 0);
    lx_assert_ok(lx_store_rebuild(store, &err), &err);
    assert_int_equal(check().n_problems, 0);
}

static void test_store_check__names_that_are_none(void **state)
{
    lx_check_report report;

    (void)state;
    change("INSERT INTO object(hash, size, encoding, added, data) VALUES(x'00', 0, 0, 0, "
           "x'')");
    report = check();
    assert_int_equal(report.n_problems, 1);
    assert_non_null(strstr(told.data, "a name of 1 bytes"));
    change("DELETE FROM object WHERE hash=x'00'; UPDATE run SET git=x'0102'");
    check();
    assert_non_null(strstr(told.data, "its git has a name that is no hash"));
    change(
        "UPDATE run SET git=NULL; INSERT INTO remark VALUES(99, 7, 0, 'note', '', 'x')");
    report = check();
    assert_non_null(strstr(told.data, "dangling reference in remark"));
    assert_true(report.is_database_damaged);
}

/* ---- datasets that are not as lx writes them ---------------------------------------------- */

/* The run's dataset is this text. */
static void use_dataset(const char *text)
{
    lx_hash hash;
    lx_error err = {0};

    lx_assert_ok(lx_object_put(&hash, store, text, strlen(text), &err), &err);
    lx_assert_ok(store__do(store, &err, "UPDATE run SET dataset=?1", "h", &hash), &err);
}

#define NOBODY "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_store_check__datasets_of_any_form(void **state)
{
    static const struct {
        const char *text, *finding; /* "": none */
    } rows[] = {
        {"{", ""},
        {"[1,2]", ""},
        {"{\"folders\":7}", ""},
        {"{\"folders\":[7]}", ""},
        {"{\"folders\":[{\"object\":7}]}", ""},
        {"{\"folders\":[{\"object\":\"no hash\"}]}", ""},
        {"{\"folders\":[{\"object\":\"" NOBODY "\"}]}", "a folder of its dataset"}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        use_dataset(rows[i].text);
        assert_int_equal(check().n_problems, *rows[i].finding != 0);
        assert_non_null(strstr(lx_str_text(&told), rows[i].finding));
    }
}

static void test_store_check__folders_of_any_form(void **state)
{
    static const struct {
        const char *text, *finding;
    } rows[] = {{"{", ""},
                {"{\"images\":{}}", ""},
                {"{\"images\":[{\"caption\":null},{\"caption\":\"ABC\"}]}", ""},
                {"{\"images\":[{\"caption\":\"" NOBODY "\"},{\"caption\":\"" NOBODY
                 "\"}]}",
                 "a caption of its dataset"}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[160], hex[LX_HASH_HEX + 1];
        lx_hash hash;
        lx_error err = {0};
        lx_assert_ok(
            lx_object_put(&hash, store, rows[i].text, strlen(rows[i].text), &err), &err);
        lx_hash_hex(hex, &hash);
        snprintf(text, sizeof text, "{\"folders\":[{\"object\":\"%s\"}]}", hex);
        use_dataset(text);
        assert_int_equal(check().n_problems, *rows[i].finding ? 2 : 0);
        assert_non_null(strstr(lx_str_text(&told), rows[i].finding));
    }
}

/* A damaged one is told as an object, once; what it named is not known. */
static void test_store_check__a_damaged_dataset(void **state)
{
    (void)state;
    change("UPDATE object SET data=x'00' WHERE hash=(SELECT dataset FROM run)");
    assert_int_equal(check().n_problems, 1);
    change("DELETE FROM object WHERE hash=(SELECT dataset FROM run)");
    assert_int_equal(check().n_problems, 1);
    assert_non_null(strstr(told.data, "its dataset"));
}

static void test_store_check__datasets_are_read_back_or_refused(void **state)
{
    static const char *const texts[] = {"{\"folders\":[{\"object\":7}]}",
                                        "{\"folders\":[{\"object\":\"no hash\"}]}",
                                        "{\"folders\":[{}]}"};
    lx_arena *arena = lx_arena_new();
    lx_dataset_rows rows;
    lx_error err = {0};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(lx_store_dataset_get(&rows, store, texts[i], arena, &err),
                         LX_EFORMAT);
        assert_non_null(strstr(err.text, "names no object"));
    }
    assert_int_equal(lx_store_dataset_get(&rows, store,
                                          "{\"folders\":[{\"object\":\"" NOBODY "\"}]}",
                                          arena, &err),
                     LX_ENOTFOUND);
    assert_int_equal(lx_store_dataset_get(&rows, store, "{", arena, &err), LX_EFORMAT);
    lx_assert_ok(lx_store_dataset_get(&rows, store, "{}", arena, &err), &err);
    assert_int_equal(rows.n_folders, 0);
    lx_arena_free(arena);
}

/* A folder of images and one of regularisation images may have one name. */
static void test_store_check__two_folders_of_one_name(void **state)
{
    lx_arena *arena = lx_arena_new();
    lx_dataset_rows rows;
    lx_error err = {0};

    (void)state;
    for (int turn = 0; turn < 2; turn++) {
        lx_store_image a = {.name = "1.png", .caption = "a"},
                       b = {.name = "1.png", .caption = "b"};
        lx_store_folder folders[] = {{"1_cat", "cat", 1, turn != 0, turn ? &b : &a, 1},
                                     {"1_cat", "cat", 1, turn == 0, turn ? &a : &b, 1}};
        char *root;
        lx_assert_ok(lx_store_dataset_put(&root, store, folders, 2, &err), &err);
        lx_assert_ok(lx_store_dataset_get(&rows, store, root, arena, &err), &err);
        lx_free(root);
        assert_int_equal(rows.n_folders, 2);
        assert_true(!rows.folders[0].is_reg && rows.folders[1].is_reg);
    }
    lx_arena_free(arena);
}

static int put_dataset(lx_error *err)
{
    lx_store_image image = {.name = "1.png", .caption = "new"};
    lx_store_folder folders[] = {{"1_none", "none", 1, false, NULL, 0},
                                 {"1_dog", NULL, 1, false, &image, 1},
                                 {"2_none", "none", 1, true, NULL, 0}};
    char *root;
    int rc = lx_store_dataset_put(&root, store, folders, 3, err);

    assert_int_equal(root != NULL, rc == LX_OK);
    lx_free(root);
    return rc;
}

/* A failed allocation of JSON is told by the next document that is written (src/base/json.c): by this one. */
static void hear_of_json(void)
{
    lx_str text = LX_STR_INIT;
    cJSON *null = cJSON_CreateNull();

    lx_json_canonical(&text, null, NULL);
    cJSON_Delete(null);
    lx_str_release(&text);
}

/* Each allocation fails, alone and with all later ones: an error, or it is done. */
static void test_store_check__a_dataset_without_memory(void **state)
{
    (void)state;
    for (int forever = 0; forever < 2; forever++)
        for (size_t n = 1;; n++) {
            lx_error err = {0};
            int rc;
            lx_alloc_fail_at(n, forever);
            rc = put_dataset(&err);
            if (lx_alloc_count() < n) {
                lx_alloc_fail_at(0, false);
                lx_assert_ok(rc, &err);
                break;
            }
            lx_alloc_fail_at(0, false);
            hear_of_json();
            if (rc != LX_OK && rc != LX_ENOMEM)
                fail_msg("allocation %zu: %d %s", n, rc, err.text);
        }
    assert_int_equal(check().n_problems, 0);
}

/* ---- rebuild ------------------------------------------------------------------------------- */

/* What is damaged derives nothing; all the rest is there. */
static void test_store_check__a_rebuild_of_what_is_left(void **state)
{
    static const char *const changes[] = {
        "UPDATE chunk SET data=x'00' WHERE series=1",
        "UPDATE chunk SET n=5 WHERE series=1",
        "UPDATE chunk SET n=-1 WHERE series=1",
        "UPDATE object SET data=x'00' WHERE hash=(SELECT flags FROM run)",
        "DELETE FROM object WHERE hash=(SELECT flags FROM run)",
        "UPDATE object SET size=-1 WHERE hash=(SELECT flags FROM run)",
        "UPDATE run SET flags=x'0102'",
        "UPDATE run SET flags=NULL, flags_given=NULL"};

    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        int64_t n_flags, n_curves;
        lx_error err = {0};
        change(changes[i]);
        lx_assert_ok(lx_store_rebuild(store, &err), &err);
        lx_assert_ok(
            store__number(&n_flags, 0, store, &err, "SELECT count(*) FROM flags", ""),
            &err);
        lx_assert_ok(
            store__number(&n_curves, 0, store, &err, "SELECT count(*) FROM curves", ""),
            &err);
        assert_int_equal(n_flags, i < 3 ? 3 : 0);
        assert_int_equal(n_curves, i < 3 ? 1 : 2);
        tear_down(NULL);
        set_up(NULL);
    }
}

/* Flags of any form are recorded; those that are an object are rows as well. */
static void test_store_check__flags_of_any_form(void **state)
{
    static const struct {
        const char *flags;
        int n;
    } rows[] = {{"[1]", 0},
                {"7", 0},
                {"{", 0},
                {"{\"a\":true,\"b\":false,\"c\":null,\"d\":1e300,\"e\":-0.5,\"f\":{\"g\":"
                 "[]},\"h\":\"t\"}",
                 6},
                {"{\"a\":9007199254740993,\"b\":1}", 2}};
    lx_error err = {0};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const lx_run_start start = {.kind = "train", .flags = rows[i].flags};
        int64_t n;
        lx_run *run;
        lx_assert_ok(lx_run_begin(&run, store, &start, &err), &err);
        lx_assert_ok(store__number(&n, 0, store, &err,
                                   "SELECT count(*) FROM run_flag WHERE run=?1", "i",
                                   lx_run_seq(run)),
                     &err);
        assert_int_equal(n, rows[i].n);
        lx_assert_ok(lx_run_end(run, "finished", NULL, &err), &err);
    }
    assert_int_equal(check().n_problems, 0);
}

/* The curve that a run is listed with goes by one of three names. */
static void test_store_check__curves_that_stand_for_the_run(void **state)
{
    static const char *const keys[] = {"loss/current", "loss/average", "lr"};
    const lx_run_start start = {.kind = "train"};
    lx_error err = {0};

    (void)state;
    for (int i = 0; i < 3; i++) {
        sqlite3_stmt *stmt;
        int64_t seq;
        lx_run *run;
        int rc;
        lx_assert_ok(lx_run_begin(&run, store, &start, &err), &err);
        seq = lx_run_seq(run);
        lx_assert_ok(lx_run_log(run, keys[i], 1, 0.5, &err), &err);
        lx_assert_ok(lx_run_end(run, "finished", NULL, &err), &err);
        rc =
            store__query(&stmt, store, &err,
                         "SELECT loss, loss_average FROM run_now WHERE run=?1", "i", seq);
        assert_true(store__row(&rc, store, stmt, &err));
        assert_int_equal(store__real(stmt, 0) == 0.5, i == 0);
        assert_int_equal(store__real(stmt, 1) == 0.5, i == 1);
        store__finish(store, stmt);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_store_check__a_summary_that_disagrees),
        TEST(test_store_check__a_curve_without_points),
        TEST(test_store_check__names_that_are_none),
        TEST(test_store_check__datasets_of_any_form),
        TEST(test_store_check__folders_of_any_form),
        TEST(test_store_check__a_damaged_dataset),
        TEST(test_store_check__datasets_are_read_back_or_refused),
        TEST(test_store_check__two_folders_of_one_name),
        TEST(test_store_check__a_dataset_without_memory),
        TEST(test_store_check__a_rebuild_of_what_is_left),
        TEST(test_store_check__flags_of_any_form),
        TEST(test_store_check__curves_that_stand_for_the_run),
    };
    return cmocka_run_group_tests(tests, make_sound, drop_all);
}
