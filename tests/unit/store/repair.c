/* Repair from sources that do not hold what they say, lie, or cannot be read; rows that were lost, brought back. */
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
#include "src/base/file.h"
#include "src/base/json.h"
#include "store/bundle.h"
#include "store/dataset.h"
#include "store/internal.h"
#include "store/repair.h"
#include "tests/support/expect.h"
#include "tests/support/tree.h"

static char folder[64];
static lx_store *store;

/* The bundle that was made of the sound store, and what a test changes of it. */
static struct {
    lx_bundle *bundle;
    cJSON *records; /* the test's own copy */
    int record_code,
        fetch_code; /* the error of every record, of every object; LX_OK: none */
    lx_hash other;  /* of what is given in the place of an object: */
    const void *bytes;
    size_t n;
} source;

static lx_str told = LX_STR_INIT;

static void keep_line(void *context, const char *line)
{
    (void)context;
    lx_str_printf(&told, "%s\n", line);
}

static int give_record(const cJSON **out, void *context, size_t i, lx_error *err)
{
    (void)context;
    *out = cJSON_GetArrayItem(source.records, (int)i);
    return source.record_code ? lx_fail(err, source.record_code, "no record %zu", i)
                              : LX_OK;
}

static int give_object(void *context, const void **data, size_t *n, const lx_hash *hash,
                       lx_error *err)
{
    (void)context;
    if (source.fetch_code)
        return lx_fail(err, source.fetch_code, "no object");
    if (!source.bytes || !lx_hash_equal(hash, &source.other))
        return lx_bundle_fetch(source.bundle, data, n, hash, err);
    *data = source.bytes;
    *n = source.n;
    return LX_OK;
}

static lx_repair_report report;

static int repair(lx_error *err)
{
    const lx_repair_source from = {"the source",
                                   (size_t)cJSON_GetArraySize(source.records),
                                   give_record, give_object, NULL};

    lx_str_clear(&told);
    *err = (lx_error){0};
    return lx_store_repair(&report, store, &from, keep_line, NULL, err);
}

static bool tells(const char *text)
{
    return strstr(lx_str_text(&told), text) != NULL;
}

/* ---- a sound store and a bundle of it ------------------------------------------------ */

enum { N_POINTS = 9000 }; /* two chunks and a bit */

static void record_run(const char *name, const char *dataset)
{
    const lx_run_start start = {
        .name = name, .kind = "train", .flags = "{\"a\":1}", .dataset = dataset};
    lx_error err = {0};
    lx_run *run;

    lx_assert_ok(lx_run_begin(&run, store, &start, &err), &err);
    for (int i = 0; i < N_POINTS; i++)
        lx_assert_ok(
            lx_run_log(run, "loss", i, i == 5 ? (double)NAN : 1.0 / (i + 1), &err), &err);
    lx_assert_ok(lx_run_flush(run, &err),
                 &err); /* so that it is the first of the series */
    lx_assert_ok(lx_run_log(run, "lr", 1, 0.5, &err), &err);
    lx_assert_ok(lx_run_note(store, lx_run_seq(run), name, &err), &err);
    lx_assert_ok(lx_run_end(run, "failed", "why", &err), &err);
}

static void make_bundle(const char *path)
{
    lx_arena *arena = lx_arena_new();
    lx_privacy *privacy;
    lx_transfer *t;
    lx_run_list runs;
    lx_error err = {0};

    lx_assert_ok(lx_privacy_new(&privacy, true, &err), &err);
    lx_assert_ok(lx_transfer_new(&t, store, privacy, arena, &err), &err);
    lx_assert_ok(lx_query_runs(&runs, store, NULL, arena, &err), &err);
    for (size_t i = 0; i < runs.count; i++)
        lx_assert_ok(lx_transfer_add(t, &runs.rows[i], &err), &err);
    lx_assert_ok(lx_bundle_write(path, t, privacy, arena, &err), &err);
    lx_transfer_free(t);
    lx_privacy_free(privacy);
    lx_arena_free(arena);
}

static int make_sound(void **state)
{
    lx_store_image image = {.name = "1.png", .caption = "a cat"};
    lx_store_folder data = {"1_cat", "cat", 1, false, &image, 1};
    char *dataset;
    lx_error err = {0};

    (void)state;
    lx_make_folder(folder, sizeof folder, "lx-repair");
    if (chdir(folder) < 0)
        return -1;
    lx_assert_ok(lx_store_open(&store, "sound", false, &err), &err);
    lx_assert_ok(lx_store_dataset_put(&dataset, store, &data, 1, &err), &err);
    record_run("a", dataset);
    record_run("b", NULL);
    lx_free(dataset);
    make_bundle("runs.lxb");
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

/* A copy of the sound store, and the source as it should be. */
static int set_up(void **state)
{
    lx_error err = {0};

    (void)state;
    lx_remove_tree("store");
    lx_copy_tree("sound", "store");
    lx_assert_ok(lx_store_open(&store, "store", false, &err), &err);
    memset(&source, 0, sizeof source);
    lx_assert_ok(lx_bundle_open(&source.bundle, "runs.lxb", ".", &err), &err);
    source.records = cJSON_Duplicate(lx_bundle_runs(source.bundle), true);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cJSON_Delete(source.records);
    lx_bundle_close(source.bundle);
    lx_store_close(store);
    return 0;
}

static void change(const char *sql)
{
    lx_error err = {0};
    lx_assert_ok(store__exec(store, "PRAGMA foreign_keys=0", &err), &err);
    lx_assert_ok(store__exec(store, sql, &err), &err);
}

static int64_t count(const char *sql)
{
    int64_t n;
    lx_error err = {0};
    lx_assert_ok(store__number(&n, 0, store, &err, sql, ""), &err);
    return n;
}

static cJSON *record_named(const char *name)
{
    cJSON *record;
    cJSON_ArrayForEach(record, source.records) if (strcmp(lx_json_text(record, "name"),
                                                          name) == 0) return record;
    return NULL;
}

static cJSON *curve_of(const char *name, const char *key)
{
    cJSON *curve;
    cJSON_ArrayForEach(
        curve, cJSON_GetObjectItemCaseSensitive(
                   record_named(name), "curves")) if (strcmp(lx_json_text(curve, "key"),
                                                             key) == 0) return curve;
    return NULL;
}

/* The points of a curve are these bytes, whatever their hash is. */
static void give_points(const char *name, const char *key, const void *bytes, size_t n)
{
    lx_hash_from_hex(&source.other, lx_json_text(curve_of(name, key), "points"));
    source.bytes = bytes;
    source.n = n;
}

/* ---- what cannot be taken ------------------------------------------------------------- */

static const char no_flags[] =
    "UPDATE object SET data=x'00' WHERE hash=(SELECT flags FROM run WHERE seq=1)";
static const char no_loss[] = "UPDATE chunk SET data=x'00' WHERE series=1 AND first=4096";

static bool has_lost(void)
{
    lx_error err = {0};
    bool has;

    lx_assert_ok(store__has_lost(&has, "store", &err), &err);
    return has;
}

static void test_store_repair__all_comes_back(void **state)
{
    lx_error err;

    (void)state;
    change(no_flags);
    change(no_loss);
    change("DELETE FROM object WHERE id IN (SELECT o.id FROM object o JOIN run ON"
           " o.hash=dataset)");
    lx_assert_ok(repair(&err), &err);
    assert_int_equal(report.n_objects, 2);
    assert_int_equal(report.n_curves, 1);
    assert_int_equal(report.n_left, 0);
    lx_assert_ok(repair(&err), &err);
    assert_int_equal(report.n_objects + report.n_curves + report.n_left, 0);
    assert_string_equal(lx_str_text(&told), "");
}

/* What the source does not hold is told, and what has no name is left to fsck. */
static void test_store_repair__some_come_back_and_some_do_not(void **state)
{
    lx_error err;

    (void)state;
    change(no_flags);
    change("UPDATE object SET data=x'00' WHERE hash=(SELECT environment FROM run WHERE "
           "seq=1)");
    change("INSERT INTO object(hash, size, encoding, added, data) VALUES(x'00', 0, 0, 0, "
           "x'')");
    source.other = lx_sha256_of("{\"a\":1}", 7);
    source.bytes = "";
    lx_assert_ok(repair(&err), &err);
    assert_int_equal(report.n_objects, 1);
    assert_int_equal(report.n_left, 1);
    assert_true(tells(": its environment)") && tells(": its flags) is damaged"));
}

static void test_store_repair__a_source_that_lies_is_not_believed(void **state)
{
    lx_error err;

    (void)state;
    change(no_flags);
    source.other = lx_sha256_of("{\"a\":1}", 7);
    source.bytes = "{\"a\":2}";
    source.n = 7;
    lx_assert_ok(repair(&err), &err);
    assert_int_equal(report.n_objects, 0);
    assert_int_equal(report.n_left, 1);
    assert_true(tells("is damaged, and the source does not hold it"));
}

static void
test_store_repair__what_keeps_the_source_from_answering_is_an_error(void **state)
{
    static const char *const damages[] = {no_flags, no_loss};
    lx_error err;

    (void)state;
    for (int i = 0; i < 2; i++) {
        change(damages[i]);
        source.record_code = LX_EIO;
        assert_int_equal(repair(&err), LX_EIO);
        assert_string_equal(err.text, "no record 0");
        source.record_code = LX_OK;
        source.fetch_code = LX_EIO;
        assert_int_equal(repair(&err), LX_EIO);
        assert_string_equal(err.text, "no object");
        source.fetch_code = LX_OK;
        lx_assert_ok(repair(&err), &err);
        assert_int_equal(report.n_left, 0);
    }
}

static void test_store_repair__records_that_cannot_be_are_passed_over(void **state)
{
    lx_error err;

    (void)state;
    change(no_flags);
    cJSON_ReplaceItemInObject(record_named("a"), "kind", cJSON_CreateString("no kind!"));
    lx_assert_ok(repair(&err), &err);
    assert_true(tells("its kind cannot be"));
    assert_int_equal(report.n_left, 0); /* run b has the same flags */
    change(no_flags);
    source.record_code = LX_EFORMAT;
    lx_assert_ok(repair(&err), &err);
    assert_true(tells("no record 1"));
    assert_int_equal(report.n_left, 1);
}

/* ---- curves ---------------------------------------------------------------------------- */

static void test_store_repair__points_are_as_many_as_is_said(void **state)
{
    static const unsigned char bytes[16 * N_POINTS + 1];
    static const size_t sizes[] = {0, 16, 16 * N_POINTS + 1, 16 * N_POINTS - 16};
    lx_error err;

    (void)state;
    change(no_loss);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        give_points("a", "loss", bytes, sizes[i]);
        lx_assert_ok(repair(&err), &err);
        assert_true(tells("points, and") || tells("bytes for 9000 points"));
        assert_int_equal(report.n_curves, 0);
        assert_int_equal(report.n_left, 1);
    }
}

static void put_le(unsigned char *p, uint64_t x)
{
    for (int i = 0; i < 8; i++)
        p[i] = (unsigned char)(x >> (8 * i));
}

/* The points that were recorded, but for one step or one value; no change: -1. */
static void lay_points(unsigned char *out, int other_step, int other_value, double value)
{
    for (int i = 0; i < N_POINTS; i++) {
        double v = i == other_value ? value : i == 5 ? (double)NAN : 1.0 / (i + 1);
        uint64_t bits;
        memcpy(&bits, &v, 8);
        put_le(out + 8 * i, (uint64_t)(i + (i == other_step)));
        put_le(out + 8 * (N_POINTS + i), bits);
    }
}

/* Not a number is like another one, whatever its bits are; and unlike any number. */
static void test_store_repair__what_both_have_must_agree(void **state)
{
    static unsigned char bytes[16 * N_POINTS];
    static const struct {
        int step, at;
        double value;
        bool agrees;
    } rows[] = {{-1, -1, 0, true},     {-1, 5, -(double)NAN, true}, {7, -1, 0, false},
                {-1, 6, 0.25, false},  {-1, 6, (double)NAN, false}, {-1, 5, 0.5, false},
                {-1, 5000, 0.25, true} /* ours is lost: theirs is taken */};
    lx_error err;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        change(no_loss);
        lay_points(bytes, rows[i].step, rows[i].at, rows[i].value);
        give_points("a", "loss", bytes, sizeof bytes);
        lx_assert_ok(repair(&err), &err);
        assert_int_equal(report.n_curves, rows[i].agrees);
        assert_int_equal(tells("is another one there"), !rows[i].agrees);
        source.bytes = NULL;
        if (!rows[i].agrees)
            lx_assert_ok(repair(&err), &err);
        assert_int_equal(report.n_left, 0);
    }
}

/* Rows that say what cannot be: none of it is taken for a point. */
static void test_store_repair__rows_of_points_that_cannot_be(void **state)
{
    static const char *const rows[] = {
        "UPDATE chunk SET first=-5 WHERE series=1 AND first=4096",
        "UPDATE chunk SET n=-1 WHERE series=1 AND first=4096",
        "UPDATE chunk SET n=5 WHERE series=1 AND first=4096",
        "UPDATE chunk SET n=4097 WHERE series=1 AND first=4096",
        "UPDATE chunk SET data=x'' WHERE series=1 AND first=4096",
        "UPDATE chunk SET data=x'00' WHERE series=1 AND first=4096;"
        " INSERT INTO tail_point VALUES(1, -1, 0, 0)",
        "UPDATE chunk SET first=9223372036854775807, n=-9223372036854775807"
        " WHERE series=1 AND first=4096",
        "UPDATE chunk SET first=4611686018427387904, n=-4611686018427380000"
        " WHERE series=1 AND first=4096"};
    lx_error err;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        change("SAVEPOINT before");
        change("RELEASE before");
        change(rows[i]);
        lx_assert_ok(repair(&err), &err);
        if (report.n_left || report.n_curves != 1)
            fail_msg("%s: %s", rows[i], lx_str_text(&told));
        assert_int_equal(count("SELECT sum(n) FROM chunk WHERE series=1"), N_POINTS);
        assert_int_equal(count("SELECT count(*) FROM tail_point WHERE series=1"), 0);
    }
    change("UPDATE chunk SET n=1000000000 WHERE series=1 AND first=4096");
    lx_assert_ok(repair(&err), &err);
    assert_true(tells("a curve of 1000004096 points"));
    assert_int_equal(report.n_left, 1);
    change("UPDATE chunk SET n=9223372036854775807 WHERE series=1 AND first=4096");
    lx_assert_ok(repair(&err), &err);
    assert_int_equal(report.n_left, 1);
}

/* A source that has more points than were ever here gives those that are missing. */
static void test_store_repair__no_more_points_than_there_were(void **state)
{
    static unsigned char bytes[16 * (N_POINTS + 10)];
    lx_error err;

    (void)state;
    change(no_loss);
    for (int i = 0; i < N_POINTS + 10; i++) {
        double v = i == 5 ? (double)NAN : 1.0 / (i + 1);
        uint64_t bits;
        memcpy(&bits, &v, 8);
        put_le(bytes + 8 * i, (uint64_t)i);
        put_le(bytes + 8 * (N_POINTS + 10 + i), bits);
    }
    give_points("a", "loss", bytes, sizeof bytes);
    cJSON_ReplaceItemInObject(curve_of("a", "loss"), "n",
                              cJSON_CreateNumber(N_POINTS + 10));
    lx_assert_ok(repair(&err), &err);
    assert_int_equal(report.n_curves, 1);
    assert_int_equal(count("SELECT sum(n) FROM chunk WHERE series=1"), N_POINTS);
}

/* Points of the tail are as good as those of a chunk; a curve that was never here is not brought. */
static void test_store_repair__a_tail_behind_a_damaged_chunk(void **state)
{
    lx_error err;

    (void)state;
    change(no_loss);
    change(
        "INSERT INTO tail_point VALUES(1, 9000, 9000, 0.5); DELETE FROM series_now WHERE"
        " series=2; DELETE FROM chunk WHERE series=2; DELETE FROM series WHERE id=2");
    lx_assert_ok(repair(&err), &err);
    assert_int_equal(report.n_curves, 1);
    assert_int_equal(count("SELECT sum(n) FROM chunk WHERE series=1"), N_POINTS + 1);
    assert_int_equal(count("SELECT count(*) FROM tail_point"), 0);
    assert_int_equal(count("SELECT count(*) FROM series WHERE run=1"), 1);
}

/* ---- another writer ---------------------------------------------------------------------- */

static lx_store *other;
static const char *other_does; /* before the points are read that were counted */

static int meddle(unsigned kind, void *context, void *stmt, void *unused)
{
    char *sql = other_does ? sqlite3_expanded_sql(stmt) : NULL;
    const char *does = other_does;

    (void)kind;
    (void)context;
    (void)unused;
    if (sql && strcmp(sql, "SELECT first, n, data FROM chunk WHERE series=1") == 0) {
        other_does = NULL;
        assert_int_equal(store__exec(other, does, NULL), LX_OK);
    }
    sqlite3_free(sql);
    return 0;
}

/* More points than were counted a moment before: those that came have no room, and none of them is lost. */
static void test_store_repair__points_that_come_meanwhile(void **state)
{
    static const char *const rows[] = {
        "INSERT INTO chunk SELECT 1, 20000, n, data FROM chunk WHERE series=1 AND "
        "first=0",
        "INSERT INTO chunk SELECT 1, 8999, n, data FROM chunk WHERE series=1 AND first=0",
        "INSERT INTO tail_point VALUES(1, 9000, 9000, 0.5)"};
    lx_error err;

    (void)state;
    lx_assert_ok(lx_store_open(&other, "store", false, &err), &err);
    sqlite3_trace_v2(store->db, SQLITE_TRACE_STMT, meddle, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        change(no_loss);
        other_does = rows[i];
        assert_int_equal(repair(&err), LX_EBUSY);
        assert_non_null(strstr(err.text, "curve loss: is being recorded"));
        assert_null(other_does);
        assert_int_equal(count("SELECT count(*) FROM chunk WHERE series=1"),
                         i < 2 ? 4 : 3);
        assert_int_equal(count("SELECT count(*) FROM tail_point WHERE series=1"), i == 2);
        change("DELETE FROM chunk WHERE first IN (8999, 20000); DELETE FROM tail_point");
        lx_assert_ok(repair(&err), &err);
        assert_int_equal(report.n_curves, 1);
    }
    sqlite3_trace_v2(store->db, 0, NULL, NULL);
    lx_store_close(other);
}

static void test_store_repair__points_that_only_the_summary_knows(void **state)
{
    lx_error err;

    (void)state;
    change("DELETE FROM chunk WHERE series=1");
    lx_assert_ok(repair(&err), &err);
    assert_int_equal(report.n_curves, 1);
    change("DELETE FROM chunk WHERE series=1 AND first>4096; UPDATE series_now SET"
           " n=9001 WHERE series=1");
    lx_assert_ok(repair(&err), &err);
    assert_int_equal(report.n_curves, 0); /* one of them is nowhere */
    assert_true(tells("points are gone, and the source cannot give its points"));
    assert_int_equal(report.n_left, 1);
}

/* ---- after a salvage ------------------------------------------------------------------- */

static void remember_loss(void)
{
    lx_assert_shell("mkdir -p store/damaged && : >store/damaged/rows-are-missing");
}

static void test_store_repair__lost_rows_come_back(void **state)
{
    lx_error err;

    (void)state;
    remember_loss();
    change("DELETE FROM run_end WHERE run=1; DELETE FROM series WHERE id=1;"
           "DELETE FROM chunk WHERE series=1;"
           "DELETE FROM chunk WHERE series IN (SELECT id FROM series WHERE run=2);"
           "DELETE FROM series_now; DELETE FROM run_now; DELETE FROM remark WHERE run=2");
    lx_assert_ok(repair(&err), &err);
    assert_true(tells(": its end"));
    assert_true(tells(": remarks or files"));
    assert_int_equal(report.n_left, 0);
    assert_int_equal(count("SELECT count(*) FROM run_end WHERE message='why'"), 2);
    assert_int_equal(count("SELECT sum(n) FROM chunk"), 2 * N_POINTS + 2);
    assert_false(has_lost());
}

static void test_store_repair__lost_runs_come_back_if_they_can(void **state)
{
    lx_error err;

    (void)state;
    for (int what = 0; what < 3; what++) {
        remember_loss();
        change(
            "DELETE FROM run_end WHERE run=2; DELETE FROM chunk WHERE series IN (SELECT "
            "id"
            " FROM series WHERE run=2); DELETE FROM series_now WHERE series IN (SELECT id"
            " FROM series WHERE run=2); DELETE FROM series WHERE run=2; DELETE FROM "
            "run_now"
            " WHERE run=2; DELETE FROM run_flag WHERE run=2; DELETE FROM remark WHERE"
            " run=2; DELETE FROM artifact WHERE run=2; DELETE FROM run WHERE seq=2;"
            " UPDATE sqlite_sequence SET seq=1 WHERE name='run'");
        if (what == 0)
            source.fetch_code = LX_EIO;
        else if (what == 1) /* its points are not what they should be */
            give_points("b", "lr", "x", 1);
        if (what == 0) {
            assert_int_equal(repair(&err), LX_EIO);
            assert_true(has_lost());
        } else {
            lx_assert_ok(repair(&err), &err);
            assert_int_equal(report.n_runs, what == 2);
            assert_int_equal(report.n_left, what == 1);
            assert_true(tells(what == 2 ? "is back" : "not repaired: "));
        }
        source.fetch_code = LX_OK;
        source.bytes = NULL;
    }
    assert_int_equal(count("SELECT count(*) FROM run"), 2);
}

/* Two runs are here of one in the source whose row says another id: neither is what the other one was. */
static void test_store_repair__an_end_that_nobody_has_is_not_made_up(void **state)
{
    lx_error err;

    (void)state;
    remember_loss();
    change("DELETE FROM run_end WHERE run=1");
    cJSON_DeleteItemFromObject(record_named("a"), "end");
    lx_assert_ok(repair(&err), &err);
    assert_false(tells(": its end"));
    assert_int_equal(count("SELECT count(*) FROM run_end"), 1);
}

static void test_store_repair__further_points_of_the_source_are_wanted(void **state)
{
    lx_error err;

    (void)state;
    remember_loss();
    change("DELETE FROM chunk WHERE series=1 AND first=4096; UPDATE series_now SET n=4096"
           " WHERE series=1"); /* as a rebuild makes it */
    cJSON_ReplaceItemInObject(curve_of("b", "loss"), "n", cJSON_CreateNumber(3e8));
    lx_assert_ok(repair(&err), &err);
    assert_int_equal(count("SELECT sum(n) FROM chunk WHERE series=1"), N_POINTS);
    assert_true(tells("a curve of 300000000 points") || tells("cannot be used"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_store_repair__all_comes_back),
        TEST(test_store_repair__some_come_back_and_some_do_not),
        TEST(test_store_repair__a_source_that_lies_is_not_believed),
        TEST(test_store_repair__what_keeps_the_source_from_answering_is_an_error),
        TEST(test_store_repair__records_that_cannot_be_are_passed_over),
        TEST(test_store_repair__points_are_as_many_as_is_said),
        TEST(test_store_repair__what_both_have_must_agree),
        TEST(test_store_repair__rows_of_points_that_cannot_be),
        TEST(test_store_repair__no_more_points_than_there_were),
        TEST(test_store_repair__a_tail_behind_a_damaged_chunk),
        TEST(test_store_repair__points_that_come_meanwhile),
        TEST(test_store_repair__points_that_only_the_summary_knows),
        TEST(test_store_repair__lost_rows_come_back),
        TEST(test_store_repair__lost_runs_come_back_if_they_can),
        TEST(test_store_repair__an_end_that_nobody_has_is_not_made_up),
        TEST(test_store_repair__further_points_of_the_source_are_wanted),
    };
    return cmocka_run_group_tests(tests, make_sound, drop_all);
}
