/* What is asked of a store: live tails, glances, remarks, flags, artifacts, console, SQL.
 */
#include <stdarg.h>
#include <setjmp.h>
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
#include "src/base/json.h"
#include "store/chunk.h"
#include "store/query.h"
#include "store/transfer.h"
#include "tests/support/expect.h"

static char folder[64];
static lx_store *store;
static lx_arena *arena;

static int set_up(void **state)
{
    (void)state;
    lx_make_folder(folder, sizeof folder, "lx-store");
    if (lx_store_open(&store, folder, false, NULL) < 0)
        return -1;
    arena = lx_arena_new();
    return 0;
}

static int tear_down(void **state)
{
    char command[128];
    (void)state;
    lx_store_close(store);
    lx_arena_free(arena);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static lx_run *begin(const char *name, const char *flags)
{
    const lx_run_start start = {.name = name, .kind = "train", .flags = flags};
    lx_run *run;
    lx_error err;
    lx_assert_ok(lx_run_begin(&run, store, &start, &err), &err);
    return run;
}

static void fail_line(void *context, const char *line)
{
    (void)context;
    fail_msg("fsck: %s", line);
}

static void check_sound(void)
{
    lx_check_report report;
    lx_error err;
    lx_assert_ok(lx_store_check(&report, store, fail_line, NULL, &err), &err);
}

/* One number by SQL, as another program would read it. */
static int keep_number(void *context, int n, const char *const *columns,
                       const lx_sql_value *values, lx_error *err)
{
    (void)columns;
    (void)err;
    assert_int_equal(n, 1);
    if (values)
        *(double *)context = values[0].type == LX_SQL_NULL ? (double)NAN : values[0].real;
    return LX_OK;
}

static double number(const char *sql)
{
    double x = -12345;
    lx_error err;
    lx_assert_ok(lx_store_sql(store, sql, NULL, 0, keep_number, &x, &err), &err);
    return x;
}

/* A second on a machine that has time; a busy one gets three. */
static void wait_for(double wanted, const char *sql)
{
    for (int i = 0; i < 60 && number(sql) != wanted; i++)
        usleep(50 * 1000);
    assert_true(number(sql) == wanted);
}

static void test_store_query__points_are_durable_without_another_call(void **state)
{
    lx_run *run = begin("live", NULL);
    lx_curve curve;
    (void)state;
    assert_int_equal(lx_run_log(run, "loss", 1, 0.5, NULL), 0);
    assert_int_equal(lx_run_log(run, "loss", 2, (double)NAN, NULL), 0);
    wait_for(2, "SELECT count(*) FROM tail WHERE key='loss'");
    assert_true(number("SELECT value FROM tail WHERE step=1") == 0.5);
    assert_true(isnan(number("SELECT value FROM tail WHERE step=2")));
    assert_int_equal(lx_run_log(run, "loss", 3, 0.25, NULL), 0);
    wait_for(3, "SELECT count(*) FROM tail WHERE key='loss'");
    assert_int_equal(
        lx_query_curve(&curve, store, lx_run_seq(run), "loss", 2, arena, NULL), 0);
    assert_int_equal(curve.n, 1); /* what a live view had not seen */
    assert_int_equal(curve.steps[0], 3);
    assert_int_equal(lx_run_end(run, "finished", NULL, NULL), 0);
    assert_true(number("SELECT count(*) FROM tail") == 0);
    check_sound();
}

static void test_store_query__masses_singles_and_tails_stay_in_order(void **state)
{
    enum { N = 3 * LX_CHUNK_POINTS + 100 };
    static int64_t steps[N];
    static double values[N];
    lx_run *run = begin("mixed", NULL);
    lx_series_row *series;
    lx_curve *curves, part;
    lx_run_row row;
    size_t n, done = 0;
    const size_t parts[] = {1, 10, LX_CHUNK_POINTS, 5, LX_CHUNK_POINTS + 50, 17};
    (void)state;
    for (size_t i = 0; i < N; i++) {
        steps[i] = (int64_t)i * 3 + 1;
        values[i] = sin((double)i);
    }
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        assert_int_equal(
            lx_run_log_many(run, "loss", steps + done, values + done, parts[i], NULL), 0);
        assert_int_equal(lx_run_flush(run, NULL), 0);
        done += parts[i];
    }
    assert_int_equal(
        lx_run_log_many(run, "loss", steps + done, values + done, N - done, NULL), 0);
    assert_int_equal(lx_query_run(&row, store, lx_run_seq(run), arena, NULL), 0);
    assert_int_equal(lx_run_end(run, "finished", NULL, NULL), 0);
    assert_int_equal(lx_query_curves(&curves, &n, store, &row, arena, NULL), 0);
    assert_int_equal(n, 1);
    assert_int_equal(curves[0].n, N);
    assert_memory_equal(curves[0].steps, steps, sizeof steps);
    assert_memory_equal(curves[0].values, values, sizeof values);
    assert_int_equal(lx_query_curve(&part, store, row.seq, "loss", 5000, arena, NULL), 0);
    assert_int_equal(part.n, N - 5000);
    assert_memory_equal(part.values, values + 5000, (N - 5000) * sizeof *values);
    assert_int_equal(lx_query_series(&series, &n, store, 0, "loss", arena, NULL), 0);
    assert_int_equal(n, 1);
    assert_int_equal(series[0].n, N);
    assert_int_equal(series[0].first_step, 1);
    assert_int_equal(series[0].last_step, steps[N - 1]);
    assert_true(series[0].last_value == values[N - 1]);
    assert_true(series[0].min_value >= -1 && series[0].min_value < -0.9999);
    check_sound();
    assert_int_equal(lx_store_rebuild(store, NULL), 0);
    check_sound();
}

static void test_store_query__remarks_are_records_and_the_newest_holds(void **state)
{
    lx_run *run = begin("first", NULL);
    int64_t seq = lx_run_seq(run);
    lx_remark_row *remarks;
    lx_run_list list;
    lx_run_row row;
    size_t n;
    (void)state;
    assert_int_equal(lx_run_end(run, "finished", NULL, NULL), 0);
    assert_int_equal(lx_run_name(store, seq, "second", NULL), 0);
    assert_int_equal(lx_run_group(store, seq, "sweep", NULL), 0);
    assert_int_equal(lx_run_tag(store, seq, "good", NULL, NULL), 0);
    assert_int_equal(lx_run_tag(store, seq, "bad", "1", NULL), 0);
    assert_int_equal(lx_run_untag(store, seq, "bad", NULL), 0);
    assert_int_equal(lx_run_note(store, seq, "one", NULL), 0);
    assert_int_equal(lx_run_note(store, seq, "two", NULL), 0);
    assert_int_equal(lx_run_pin(store, seq, true, NULL), 0);
    assert_int_equal(lx_run_note(store, seq + 1, "of none", NULL), LX_ENOTFOUND);
    assert_int_equal(lx_query_find(&row, store, "second", arena, NULL), 0);
    assert_string_equal(row.group, "sweep");
    assert_true(row.is_pinned);
    assert_int_equal(lx_query_remarks(&remarks, &n, store, seq, "tag", arena, NULL), 0);
    assert_int_equal(n, 1);
    assert_string_equal(remarks[0].key, "good");
    assert_int_equal(lx_query_remarks(&remarks, &n, store, 0, "note", arena, NULL), 0);
    assert_int_equal(n, 2);
    assert_int_equal(
        lx_query_runs(&list, store, &(lx_run_filter){.tag = "good"}, arena, NULL), 0);
    assert_int_equal(list.count, 1);
    assert_int_equal(
        lx_query_runs(&list, store, &(lx_run_filter){.tag = "bad"}, arena, NULL), 0);
    assert_int_equal(list.count, 0);
    assert_int_equal(lx_run_trash(store, seq, true, NULL), 0);
    assert_int_equal(lx_query_runs(&list, store, NULL, arena, NULL), 0);
    assert_int_equal(list.count, 0);
    assert_true(number("SELECT count(*) FROM notes") == 2);
    assert_int_equal(lx_store_rebuild(store, NULL), 0);
    assert_int_equal(lx_query_find(&row, store, "second", arena, NULL), 0);
    assert_true(row.is_trashed && row.is_pinned);
}

static void test_store_query__flags_are_rows(void **state)
{
    lx_run *a =
        begin("a", "{\"network_dim\":4,\"flip_aug\":true,\"unset\":null,\"lr\":1e-4}");
    lx_run *b =
        begin("b", "{\"network_dim\":32,\"caption_extension\":\".txt\",\"l\":[1,2]}");
    lx_flag_row *flags;
    size_t n;
    (void)state;
    assert_int_equal(lx_query_flags(&flags, &n, store, 0, "network_dim", arena, NULL), 0);
    assert_int_equal(n, 2);
    assert_true(flags[0].number == 4 && flags[1].number == 32);
    assert_int_equal(lx_query_flags(&flags, &n, store, lx_run_seq(a), NULL, arena, NULL),
                     0);
    assert_int_equal(n, 3);
    assert_true(
        number("SELECT count(*) FROM flags WHERE key='network_dim' AND value<10") == 1);
    assert_true(number("SELECT count(*) FROM flags WHERE value='[1,2]'") == 1);
    lx_run_abandon(a);
    lx_run_abandon(b);
}

static void test_store_query__an_origin_is_imported_once(void **state)
{
    const lx_run_start start = {
        .kind = "import", .origin = "lora:77", .started = 1e9, .is_historic = true};
    lx_run *run, *again;
    lx_run_row row;
    (void)state;
    assert_int_equal(lx_store_group_begin(store, NULL), 0);
    assert_int_equal(lx_run_begin(&run, store, &start, NULL), 0);
    assert_int_equal(lx_run_log(run, "loss", 1, 2, NULL), 0);
    assert_int_equal(lx_run_end_at(run, "finished", NULL, 1e9 + 60, NULL), 0);
    assert_int_equal(lx_run_begin(&again, store, &start, NULL), LX_EEXISTS);
    assert_int_equal(lx_store_group_end(store, 0, NULL), 0);
    assert_int_equal(lx_run_begin(&again, store, &start, NULL), LX_EEXISTS);
    assert_int_equal(lx_query_origin(&row, store, "lora:77", arena, NULL), 0);
    assert_true(row.started == 1e9 && row.ended == 1e9 + 60 && row.loss == 2);
    check_sound();
}

static void test_store_query__artifacts_are_found_by_bytes_and_by_tensors(void **state)
{
    lx_run *run = begin("a", NULL);
    const lx_hash tensors = lx_sha256_of("tensors", 7),
                  elsewhere = lx_sha256_of("big", 3);
    const lx_artifact kept = {.role = "lora",
                              .name = "x.safetensors",
                              .step = 5,
                              .data = "bytes",
                              .n = 5,
                              .tensor_hash = &tensors};
    const lx_artifact named = {.role = "lora",
                               .name = "big.safetensors",
                               .step = -1,
                               .hash = &elsewhere,
                               .size = 1 << 30,
                               .path = "/mnt/big.safetensors"};
    lx_artifact_row *rows;
    lx_hash hash;
    size_t n;
    bool is_there;
    (void)state;
    assert_int_equal(lx_run_attach(&hash, store, lx_run_seq(run), &kept, NULL), 0);
    assert_int_equal(lx_run_attach(NULL, store, lx_run_seq(run), &named, NULL), 0);
    assert_int_equal(lx_query_artifacts_of(&rows, &n, store, NULL, &tensors, arena, NULL),
                     0);
    assert_int_equal(n, 1);
    assert_true(rows[0].is_kept && rows[0].step == 5);
    assert_int_equal(
        lx_query_artifacts_of(&rows, &n, store, &elsewhere, NULL, arena, NULL), 0);
    assert_int_equal(n, 1);
    assert_true(!rows[0].is_kept && rows[0].size == 1 << 30 && rows[0].step == -1);
    assert_int_equal(lx_object_exists(&is_there, store, &elsewhere, NULL), 0);
    assert_false(is_there);
    assert_int_equal(lx_run_end(run, "finished", NULL, NULL), 0);
    check_sound();
}

static void test_store_query__console_is_live_and_then_an_artifact(void **state)
{
    lx_run *run = begin("a", NULL);
    int64_t seq = lx_run_seq(run);
    lx_str text = LX_STR_INIT;
    (void)state;
    assert_int_equal(lx_run_console(run, "one\nhf_abcdefghijk", 18, NULL), 0);
    assert_int_equal(lx_run_flush(run, NULL), 0);
    assert_int_equal(lx_query_console(&text, store, seq, 0, NULL), 0);
    assert_string_equal(lx_str_text(&text), "one\n"); /* the token is not whole yet */
    assert_int_equal(lx_run_console(run, "lmnopqrstuvwxyz\nlast", 20, NULL), 0);
    assert_int_equal(lx_run_flush(run, NULL), 0);
    assert_int_equal(lx_run_end(run, "finished", NULL, NULL), 0);
    assert_int_equal(lx_query_console(&text, store, seq, 2, NULL), 0);
    assert_string_equal(lx_str_text(&text), "e\n***\nlast");
    assert_true(number("SELECT count(*) FROM tail_text") == 0);
    assert_true(number("SELECT count(*) FROM artifacts WHERE role='console'") == 1);
    lx_str_release(&text);
    check_sound();
}

static void test_store_query__sql_reads_and_does_nothing_else(void **state)
{
    static const char *const refused[] = {"DELETE FROM run",
                                          "ATTACH 'x' AS y",
                                          "SELECT 1; SELECT 2",
                                          "PRAGMA journal_mode=DELETE",
                                          "CREATE TEMP TABLE t(a)",
                                          "SELECT load_extension('x')",
                                          "SELECT nothing FROM runs",
                                          "SELEC",
                                          "VACUUM",
                                          "",
                                          "SELECT ?1"};
    const lx_sql_value four = {.type = LX_SQL_INTEGER, .integer = 4};
    lx_error err;
    double x;
    (void)state;
    lx_run_abandon(begin("a", NULL));
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (lx_store_sql(store, refused[i], NULL, 0, keep_number, &x, &err) != LX_EUSAGE)
            fail_msg("%s: %s", refused[i], err.text);
    assert_int_equal(
        lx_store_sql(store, "SELECT ?1 + 1;", &four, 1, keep_number, &x, &err), 0);
    assert_true(x == 5);
    assert_true(number("SELECT count(*) FROM runs WHERE status IS NULL") == 1);
}

/* ---- what is asked wrongly, rows of a stranger ------------------------------------------------ */

static void bring_run(const char *id)
{
    char text[256];
    cJSON *record;
    lx_arrival how;
    lx_error err = {0};
    int64_t seq;

    snprintf(
        text, sizeof text,
        "{\"id\":\"%s\",\"kind\":\"train\",\"started\":1,\"texts\":{},\"remarks\":[],"
        "\"artifacts\":[],\"curves\":[]}",
        id);
    lx_assert_ok(lx_json_parse(&record, text, strlen(text), &err), &err);
    lx_assert_ok(lx_transfer_apply(&how, &seq, store, record, NULL, NULL, &err), &err);
    cJSON_Delete(record);
}

static void test_store_query__a_beginning_that_many_runs_have(void **state)
{
    lx_run_row row;
    lx_error err = {0};
    char id[17];
    (void)state;

    bring_run("abcd000000000000");
    lx_assert_ok(lx_query_find(&row, store, "abcd", arena, &err), &err);
    bring_run("abcd000000000001");
    assert_int_equal(lx_query_find(&row, store, "abcd", arena, &err), LX_EUSAGE);
    assert_non_null(strstr(err.text, "abcd000000000001, abcd000000000000: give more"));
    for (int i = 2; i < 6; i++) {
        snprintf(id, sizeof id, "abcd%012d", i);
        bring_run(id);
    }
    assert_int_equal(lx_query_find(&row, store, "abcd", arena, &err), LX_EUSAGE);
    assert_non_null(strstr(err.text, "abcd000000000001, ...: give more"));
    lx_assert_ok(lx_query_find(&row, store, "abcd000000000003", arena, &err), &err);
    assert_string_equal(row.id, "abcd000000000003");
}

static void test_store_query__of_a_run_that_is_gone(void **state)
{
    const lx_run_row gone = {.seq = 77};
    lx_run_texts texts;
    lx_run_row row;
    lx_curve curve;
    lx_error err = {0};
    (void)state;

    assert_int_equal(lx_query_texts(&texts, store, &gone, arena, &err), LX_ENOTFOUND);
    assert_int_equal(lx_query_run(&row, store, 77, arena, &err), LX_ENOTFOUND);
    lx_assert_ok(lx_query_curve(&curve, store, 77, "loss", 0, arena, &err), &err);
    assert_int_equal(curve.n, 0);
}

/* By the clock; one that was set back meanwhile says nothing. */
static void test_store_query__how_long_a_run_took(void **state)
{
    const lx_run_row ended = {.status = "finished", .started = 5, .ended = 8},
                     set_back = {.status = "finished", .started = 8, .ended = 5},
                     live = {.status = "running", .started = 5},
                     killed = {.status = "interrupted", .started = 5};
    (void)state;

    assert_true(lx_run_seconds(&ended, 100) == 3);
    assert_true(isnan(lx_run_seconds(&set_back, 100)));
    assert_true(lx_run_seconds(&live, 100) == 95);
    assert_true(isnan(lx_run_seconds(&killed, 100)));
}

static void test_store_query__flags_that_are_numbers_and_look_like_some(void **state)
{
    static const struct {
        const char *key;
        double number; /* NaN: none */
    } wanted[] = {{"e", (double)NAN}, {"n", 0.5}, {"t", 12}, {"x", (double)NAN}};
    lx_run *run = begin("a", "{\"n\":0.5,\"t\":\"12\",\"e\":\"\",\"x\":\"12 steps\"}");
    lx_flag_row *flags;
    size_t n;
    (void)state;

    lx_run_abandon(begin("b", "{\"n\":0.5}"));
    assert_int_equal(
        lx_query_flags(&flags, &n, store, lx_run_seq(run), NULL, arena, NULL), 0);
    assert_int_equal(n, 4);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(flags[i].key, wanted[i].key);
        assert_true(isnan(wanted[i].number) ? isnan(flags[i].number)
                                            : flags[i].number == wanted[i].number);
    }
    assert_int_equal(lx_query_flags(&flags, &n, store, 0, "n", arena, NULL), 0);
    assert_int_equal(n, 2);
    assert_true(flags[0].key == flags[1].key); /* one copy for all that have it */
    lx_run_abandon(run);
}

/* As another program would write it. */
static void write_row(const char *sql)
{
    char path[96], *message = NULL;
    sqlite3 *db;

    snprintf(path, sizeof path, "%s/store.db", folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message);
    sqlite3_close(db);
}

static void test_store_query__a_live_console_from_any_byte_on(void **state)
{
    lx_run *run = begin("a", NULL);
    int64_t seq = lx_run_seq(run);
    lx_str text = LX_STR_INIT;
    (void)state;

    assert_int_equal(lx_run_console(run, "one\ntwo\n", 8, NULL), 0);
    assert_int_equal(lx_run_flush(run, NULL), 0);
    assert_int_equal(lx_query_console(&text, store, seq, 5, NULL), 0);
    assert_string_equal(lx_str_text(&text), "wo\n");
    assert_int_equal(lx_query_console(&text, store, seq, 8, NULL), 0);
    assert_int_equal(text.len, 0);
    /* Places that are no whole numbers, and no bytes at all. */
    write_row("UPDATE tail_text SET at=0.5; INSERT INTO tail_text VALUES(1, 9, x'')");
    assert_int_equal(lx_query_console(&text, store, seq, 8, NULL), 0);
    assert_int_equal(text.len, 0);
    lx_run_abandon(run);
    lx_str_release(&text);
}

static void test_store_query__chunks_where_they_cannot_be(void **state)
{
    static const struct {
        const char *sql, *problem;
    } cases[] = {
        {"UPDATE chunk SET n=0 WHERE first=4096", "not where they should be"},
        {"UPDATE chunk SET n=-4095 WHERE first=4096", "not where they should be"},
        {"UPDATE chunk SET n=4097 WHERE first=0", "not where they should be"},
        {"UPDATE chunk SET first=-1 WHERE first=0", "not where they should be"},
        {"UPDATE chunk SET first=1 WHERE first=0", "not where they should be"},
        {"UPDATE chunk SET first=5000 WHERE first=4096", "not where they should be"},
        {"UPDATE chunk SET n=4095 WHERE first=0", "its row 4095"},
        {"UPDATE chunk SET data=x'' WHERE first=0", ""},
        {"UPDATE chunk SET data=(SELECT data FROM chunk WHERE first=8192)"
         " WHERE first=4096",
         "has 100"}};
    static double values[2 * LX_CHUNK_POINTS + 100];
    static int64_t steps[2 * LX_CHUNK_POINTS + 100];
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lx_run *run = begin("a", NULL);
        int64_t seq = lx_run_seq(run);
        lx_curve curve;
        lx_error err = {0};
        int rc;

        for (size_t k = 0; k < sizeof steps / sizeof *steps; k++)
            steps[k] = (int64_t)k;
        assert_int_equal(lx_run_log_many(run, "loss", steps, values,
                                         sizeof steps / sizeof *steps, NULL),
                         0);
        assert_int_equal(lx_run_end(run, "finished", NULL, NULL), 0);
        write_row("DELETE FROM chunk WHERE series<(SELECT max(id) FROM series)");
        write_row(cases[i].sql);
        rc = lx_query_curve(&curve, store, seq, "loss", 0, arena, &err);
        if ((rc != LX_EFORMAT && rc != LX_ELIMIT) || !strstr(err.text, cases[i].problem))
            fail_msg("%s: %s", cases[i].sql, err.text);
    }
}

/* ---- SQL ------------------------------------------------------------------------------------ */

static int keep_types(void *context, int n, const char *const *columns,
                      const lx_sql_value *values, lx_error *err)
{
    lx_sql_value *kept = context;
    (void)columns;
    (void)err;
    assert_int_equal(n, 6);
    for (int i = 0; values && i < n; i++) {
        kept[i] = values[i];
        assert_non_null(values[i].type >= LX_SQL_TEXT ? values[i].bytes : "");
        kept[i].bytes = NULL; /* borrowed */
    }
    return LX_OK;
}

static void test_store_query__arguments_and_values_of_every_type(void **state)
{
    const lx_sql_value args[] = {{.type = LX_SQL_NULL},
                                 {.type = LX_SQL_INTEGER, .integer = 7},
                                 {.type = LX_SQL_REAL, .real = 0.5},
                                 {.type = LX_SQL_TEXT, .bytes = "text", .n = 4},
                                 {.type = LX_SQL_BLOB, .bytes = "\0x", .n = 2},
                                 {.type = LX_SQL_BLOB, .bytes = "", .n = 0}};
    const lx_sql_value large[] = {{.type = LX_SQL_BLOB, .bytes = "x", .n = (size_t)3 << 30}, /* SQLite takes no such */
                                  {.type = LX_SQL_NULL}};
    lx_sql_value got[6];
    lx_error err = {0};
    (void)state;

    lx_assert_ok(lx_store_sql(store, "SELECT ?1, ?2, ?3, ?4, ?5, ?6", args, 6, keep_types,
                              got, &err),
                 &err);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(got[i].type, args[i].type);
        assert_int_equal(got[i].n, args[i].n);
    }
    assert_true(got[1].integer == 7 && got[1].real == 7 && got[2].real == 0.5);
    assert_int_equal(lx_store_sql(store, "SELECT ?1", args, 3, keep_types, got, &err),
                     LX_EUSAGE); /* two too many */
    assert_true(lx_store_sql(store, "SELECT ?1, ?2", large, 2, keep_types, got, &err) < 0);
}

/* Bytes that SQLite makes only when they are asked for; and all that is done before and after. */
static void test_store_query__sql_without_memory(void **state)
{
    static char letters[5000]; /* SQLite has room of its own for short ones */
    const lx_sql_value text = {
        .type = LX_SQL_TEXT, .bytes = letters, .n = sizeof letters - 1};
    bool has_failed = true;
    (void)state;

    memset(letters, 'a', sizeof letters);
    for (size_t n = 1; has_failed; n++) {
        lx_sql_value got[6] = {{0}};
        lx_error err = {0};
        int rc;
        lx_alloc_fail_at(n, false);
        rc = lx_store_sql(store, "SELECT zeroblob(5000), ?1, NULL, 1, 0.5, x''", &text, 1,
                          keep_types, got, &err);
        has_failed = lx_alloc_has_failed();
        lx_alloc_fail_at(0, false);
        if (rc == LX_OK) {
            assert_int_equal(got[0].n, 5000);
            assert_int_equal(got[1].n, sizeof letters - 1);
        } else if (rc != LX_ENOMEM || !*err.text) {
            fail_msg("allocation %zu: %d %s", n, rc, err.text);
        }
        assert_in_range(n, 1, 5000);
    }
}

static int stop_at_once(void *context, int n, const char *const *columns,
                        const lx_sql_value *values, lx_error *err)
{
    (void)context;
    (void)n;
    (void)columns;
    (void)values;
    return lx_fail(err, LX_EINTERRUPTED, "enough");
}

static int count_rows(void *context, int n, const char *const *columns,
                      const lx_sql_value *values, lx_error *err)
{
    (void)n;
    (void)columns;
    (void)err;
    *(int *)context += values != NULL;
    return LX_OK;
}

static void test_store_query__sql_may_ask_what_there_is_and_stop(void **state)
{
    static const char *const asks[] = {
        "PRAGMA table_info(run)", "PRAGMA table_xinfo(runs)", "PRAGMA data_version",
        "SELECT upper('a')",
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r WHERE n<3)"
        " SELECT * FROM r"};
    lx_error err = {0};
    int n = 0;
    (void)state;

    for (size_t i = 0; i < sizeof asks / sizeof *asks; i++, n = 0) {
        lx_assert_ok(lx_store_sql(store, asks[i], NULL, 0, count_rows, &n, &err), &err);
        assert_true(n > 0);
    }
    assert_int_equal(
        lx_store_sql(store, "PRAGMA wal_checkpoint", NULL, 0, count_rows, &n, &err),
        LX_EUSAGE);
    assert_int_equal(lx_store_sql(store, "SELECT 1", NULL, 0, stop_at_once, NULL, &err),
                     LX_EINTERRUPTED);
    /* An error that comes only when rows are made. */
    assert_int_equal(lx_store_sql(store, "SELECT abs(-9223372036854775808)", NULL, 0,
                                  count_rows, &n, &err),
                     LX_EUSAGE);
    assert_int_equal(n, 0);
}

/* A word of a command line is a number where it is written as SQLite writes it. */
static void test_store_sql__words_that_are_numbers(void **state)
{
    static const struct {
        const char *word;
        lx_sql_type type;
    } rows[] = {
        {"", LX_SQL_TEXT},      {"a", LX_SQL_TEXT},          {"12", LX_SQL_INTEGER},
        {"-7", LX_SQL_INTEGER}, {"007", LX_SQL_TEXT},        {"9223372036854775807", LX_SQL_INTEGER},
        {"1.5", LX_SQL_REAL},   {"9223372036854775808", LX_SQL_TEXT},
        {"1.10", LX_SQL_TEXT},  {"1.0e+20", LX_SQL_REAL},    {"1e999", LX_SQL_TEXT},
        {"-", LX_SQL_TEXT},     {"1.5-", LX_SQL_TEXT},       {"2.-1", LX_SQL_TEXT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lx_sql_value value = lx_sql_word(rows[i].word);
        if (value.type != rows[i].type)
            fail_msg("\"%s\" has type %d", rows[i].word, (int)value.type);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_store_query__points_are_durable_without_another_call),
        TEST(test_store_query__masses_singles_and_tails_stay_in_order),
        TEST(test_store_query__remarks_are_records_and_the_newest_holds),
        TEST(test_store_query__flags_are_rows),
        TEST(test_store_query__an_origin_is_imported_once),
        TEST(test_store_query__artifacts_are_found_by_bytes_and_by_tensors),
        TEST(test_store_query__console_is_live_and_then_an_artifact),
        TEST(test_store_query__sql_reads_and_does_nothing_else),
        TEST(test_store_query__a_beginning_that_many_runs_have),
        TEST(test_store_query__of_a_run_that_is_gone),
        TEST(test_store_query__how_long_a_run_took),
        TEST(test_store_query__flags_that_are_numbers_and_look_like_some),
        TEST(test_store_query__a_live_console_from_any_byte_on),
        TEST(test_store_query__chunks_where_they_cannot_be),
        TEST(test_store_query__arguments_and_values_of_every_type),
        TEST(test_store_query__sql_without_memory),
        TEST(test_store_query__sql_may_ask_what_there_is_and_stop),
        TEST(test_store_sql__words_that_are_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
