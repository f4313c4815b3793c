/* What is asked of a store: live tails, glances, remarks, flags, artifacts, console, SQL.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "store/chunk.h"
#include "store/query.h"
#include "tests/support/expect.h"

static char folder[64];
static lx_store *store;
static lx_arena *arena;

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/lx-store-XXXXXX");
    if (!mkdtemp(folder) || lx_store_open(&store, folder, false, NULL) < 0)
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
