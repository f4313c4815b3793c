/* Recording and reading back: objects, runs, curves, datasets, secrets, damage. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "store/chunk.h"
#include "store/dataset.h"
#include "store/privacy.h"
#include "store/query.h"
#include "store/transfer.h"
#include "src/base/scrub.h"

static char folder[64];

static int new_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/lx-store-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static lx_store *open_store(bool is_readonly)
{
    lx_store *store = NULL;
    lx_error err = {0};
    if (lx_store_open(&store, folder, is_readonly, &err) < 0)
        fail_msg("%s", err.text);
    return store;
}

static lx_run *begin(lx_store *store, const char *name)
{
    const lx_run_start start = {.name = name,
                                .kind = "train",
                                .command_line = "lx train --learning_rate 1e-4",
                                .flags_given = "{}",
                                .spec = "{\"a\":1}",
                                .seed = 18446744073709551615u,
                                .has_seed = true};
    lx_run *run = NULL;
    lx_error err = {0};
    if (lx_run_begin(&run, store, &start, &err) < 0)
        fail_msg("%s", err.text);
    return run;
}

static void count_line(void *context, const char *line)
{
    (void)line;
    ++*(int *)context;
}

static int n_problems(lx_store *store)
{
    lx_check_report report;
    int lines = 0;
    assert_int_equal(lx_store_check(&report, store, count_line, &lines, NULL), 0);
    assert_int_equal(lines, report.n_problems);
    return lines;
}

static void test_store_object__comes_back_and_is_stored_once(void **state)
{
    const size_t sizes[] = {0, 1, 100, 70000, 1 << 20};
    lx_store *store = open_store(false);
    char *bytes = lx_alloc(1 << 20);
    lx_str got = LX_STR_INIT;
    (void)state;
    for (size_t i = 0; i < 1 << 20; i++)
        bytes[i] = (char)(i * 2654435761u >> 13);
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        lx_hash once, twice;
        assert_int_equal(lx_object_put(&once, store, bytes, sizes[k], NULL), 0);
        assert_int_equal(lx_object_put(&twice, store, bytes, sizes[k], NULL), 0);
        assert_true(lx_hash_equal(&once, &twice));
        assert_int_equal(lx_object_get(&got, store, &once, NULL), 0);
        assert_int_equal(got.len, sizes[k]);
        assert_memory_equal(lx_str_text(&got), bytes, sizes[k]);
    }
    assert_int_equal(n_problems(store), 0);
    lx_str_release(&got);
    lx_free(bytes);
    lx_store_close(store);
}

static void test_store_run__curves_and_texts_come_back(void **state)
{
    lx_store *store = open_store(false);
    lx_arena *arena = lx_arena_new();
    lx_run *run = begin(store, "hifumi");
    char id[17];
    lx_run_row row;
    lx_run_texts texts;
    lx_curve *curves;
    lx_artifact_row *artifacts;
    size_t n;
    (void)state;
    snprintf(id, sizeof id, "%s", lx_run_id(run));
    for (int i = 1; i <= 10000; i++)
        assert_int_equal(lx_run_log(run, "loss", i, 1.0 / i, NULL), 0);
    assert_int_equal(lx_run_log(run, "odd", -5, (double)NAN, NULL), 0);
    assert_int_equal(
        lx_run_artifact(run, "lora", "hifumi.safetensors", "abc", 3, 7, NULL), 0);
    assert_int_equal(lx_run_end(run, "finished", NULL, NULL), 0);

    id[6] = '\0'; /* the beginning is enough */
    assert_int_equal(lx_query_find(&row, store, id, arena, NULL), 0);
    assert_string_equal(row.status, "finished");
    assert_string_equal(row.seed, "18446744073709551615");
    assert_int_equal(row.last_step, 10000);
    assert_int_equal(lx_query_find(&row, store, "hifumi", arena, NULL), 0);
    assert_int_equal(lx_query_texts(&texts, store, &row, arena, NULL), 0);
    assert_string_equal(texts.spec, "{\"a\":1}");
    assert_null(texts.dataset);
    assert_int_equal(lx_query_curves(&curves, &n, store, &row, arena, NULL), 0);
    assert_int_equal(n, 2);
    assert_string_equal(curves[0].key, "loss");
    assert_int_equal(curves[0].n, 10000);
    for (int i = 1; i <= 10000; i++) {
        assert_int_equal(curves[0].steps[i - 1], i);
        assert_true(curves[0].values[i - 1] == 1.0 / i);
    }
    assert_true(isnan(curves[1].values[0]) && curves[1].steps[0] == -5);
    assert_int_equal(lx_query_artifacts(&artifacts, &n, store, &row, arena, NULL), 0);
    assert_int_equal(n, 1);
    assert_int_equal(artifacts[0].size, 3);
    assert_int_equal(n_problems(store), 0);
    lx_arena_free(arena);
    lx_store_close(store);
}

static void test_store_run__killed_one_keeps_its_curve(void **state)
{
    lx_arena *arena = lx_arena_new();
    lx_store *store;
    lx_run_row row;
    int pipe_fds[2], status;
    char byte;
    pid_t child;
    (void)state;
    lx_store_close(open_store(false));
    assert_int_equal(pipe(pipe_fds), 0);
    if ((child = fork()) == 0) {
        store = open_store(false);
        lx_run *run = begin(store, "killed");
        for (int i = 1; i <= 100; i++)
            lx_run_log(run, "loss", i, i, NULL);
        if (lx_run_flush(run, NULL) == 0 && write(pipe_fds[1], "x", 1) == 1)
            pause();
        _exit(1);
    }
    assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
    store = open_store(true);
    assert_int_equal(lx_query_find(&row, store, "killed", arena, NULL), 0);
    assert_string_equal(row.status, "running");
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    assert_int_equal(lx_query_find(&row, store, "killed", arena, NULL), 0);
    assert_string_equal(row.status, "interrupted");
    assert_int_equal(row.last_step, 100);
    assert_int_equal(n_problems(store), 0);
    lx_store_close(store);
    lx_arena_free(arena);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

/* Killed at random moments: what was flushed is there, fsck is clean. */
static void test_store_run__kill_loop_loses_nothing_committed(void **state)
{
    (void)state;
    for (int round = 0; round < 40; round++) {
        lx_arena *arena = lx_arena_new();
        lx_store *store;
        lx_run_row row;
        int fds[2], status;
        long long durable = 0, got;
        char name[32];
        pid_t child;
        snprintf(name, sizeof name, "round-%d", round);
        assert_int_equal(pipe(fds), 0);
        if ((child = fork()) == 0) {
            store = open_store(false);
            lx_run *run = begin(store, name);
            for (long long i = 1;; i++) {
                lx_run_log(run, "loss", i, (double)i, NULL);
                if (lx_run_flush(run, NULL) < 0 || write(fds[1], &i, sizeof i) < 0)
                    _exit(1);
            }
        }
        close(fds[1]);
        usleep((useconds_t)(20000 + round * 777 % 15000));
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        while (read(fds[0], &got, sizeof got) == sizeof got)
            durable = got;
        close(fds[0]);
        if (durable) {
            store = open_store(false);
            assert_int_equal(lx_query_find(&row, store, name, arena, NULL), 0);
            assert_true(row.last_step >= durable);
            if (round % 10 == 9)
                assert_int_equal(n_problems(store), 0);
            lx_store_close(store);
        }
        lx_arena_free(arena);
    }
}

static void test_store_dataset__order_does_not_matter(void **state)
{
    lx_store *store = open_store(false);
    lx_store_image a[2] = {{.name = "1.png", .bytes = 5, .caption = "x, y"},
                           {.name = "2.png", .bytes = 6, .caption = NULL}};
    lx_store_image b[2] = {a[1], a[0]};
    lx_store_image c[1] = {{.name = "9.png", .caption = ""}}, d[1] = {c[0]};
    lx_store_folder one[2] = {{"10_x", "x", 10, false, a, 2},
                              {"1_r", "r", 1, true, c, 1}};
    lx_store_folder two[2] = {{"1_r", "r", 1, true, d, 1},
                              {"10_x", "x", 10, false, b, 2}};
    char *first, *second, *third;
    (void)state;
    assert_int_equal(lx_store_dataset_put(&first, store, one, 2, NULL), 0);
    assert_int_equal(lx_store_dataset_put(&second, store, two, 2, NULL), 0);
    assert_string_equal(first, second);
    b[0].caption = "changed";
    assert_int_equal(lx_store_dataset_put(&third, store, two, 2, NULL), 0);
    assert_string_not_equal(first, third);
    lx_free(first);
    lx_free(second);
    lx_free(third);
    lx_store_close(store);
}

static void change_database(const char *sql)
{
    char path[128];
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/store.db", folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void test_store_open__newer_one_is_refused_by_name(void **state)
{
    lx_store *store = NULL;
    lx_error err;
    (void)state;
    lx_store_close(open_store(false));
    change_database("PRAGMA user_version=999");
    assert_int_equal(lx_store_open(&store, folder, false, &err), LX_ECONFIG);
    assert_non_null(strstr(err.text, "999"));
    assert_int_equal(lx_store_open(&store, folder, true, &err), LX_ECONFIG);
}

static void test_store_open__absent_one_is_not_made_for_reading(void **state)
{
    lx_store *store = NULL;
    char path[128];
    (void)state;
    snprintf(path, sizeof path, "%s/none", folder);
    assert_int_equal(lx_store_open(&store, path, true, NULL), LX_ENOTFOUND);
    assert_false(lx_file_exists(path));
}

static void test_store_check__damaged_object_is_named(void **state)
{
    lx_store *store = open_store(false);
    lx_str got = LX_STR_INIT;
    lx_error err;
    lx_hash hash;
    (void)state;
    assert_int_equal(lx_object_put(&hash, store, "precious", 8, NULL), 0);
    lx_store_close(store);
    change_database("UPDATE object SET data=x'70726563696f7573'||x'00' WHERE size=8");
    store = open_store(true);
    assert_int_equal(n_problems(store), 1);
    assert_int_equal(lx_object_get(&got, store, &hash, &err), LX_EFORMAT);
    lx_str_release(&got);
    lx_store_close(store);
}

static void test_store_chunk__costs_few_bytes_and_survives_damage(void **state)
{
    enum { N = LX_CHUNK_POINTS };
    static int64_t steps[N], got_steps[N];
    static double values[N], got[N];
    lx_str out = LX_STR_INIT;
    size_t n;
    (void)state;
    for (int i = 0; i < N; i++) {
        steps[i] = i + 1;
        values[i] = (double)(float)(0.1 + 0.05 * sin(i * 12.9898) * cos(i * 78.233));
    }
    assert_int_equal(store__chunk_encode(&out, steps, values, N, NULL), 0);
    assert_true(out.len <= 6 * N);
    assert_int_equal(store__chunk_decode(got_steps, got, &n, N, out.data, out.len, NULL),
                     0);
    assert_int_equal(n, N);
    assert_memory_equal(got, values, sizeof got);
    assert_memory_equal(got_steps, steps, sizeof steps);
    for (size_t i = 0; i < out.len; i += 97) { /* never a crash, whatever comes out */
        out.data[i] ^= 0x55;
        store__chunk_decode(got_steps, got, &n, N, out.data, out.len, NULL);
        out.data[i] ^= 0x55;
    }
    for (size_t i = 0; i < out.len; i += 101)
        assert_true(store__chunk_decode(got_steps, got, &n, N, out.data, i, NULL) < 0);
    lx_str_release(&out);
}

static void test_store_scrub__secrets_do_not_pass(void **state)
{
    static const char *const argv[] = {"accelerate",
                                       "--wandb_api_key",
                                       "1234567890",
                                       "--huggingface_token=abcdef",
                                       "--keep_tokens",
                                       "1",
                                       "--max_token_length",
                                       "225",
                                       "https://me:pass@host/x",
                                       "hf_abcdefghijklmnopqrstuvwxyz",
                                       "a b"};
    lx_str out = LX_STR_INIT;
    (void)state;
    lx_scrub_command(&out, 11, argv);
    assert_string_equal(
        lx_str_text(&out),
        "accelerate --wandb_api_key *** --huggingface_token=*** --keep_tokens 1 "
        "--max_token_length 225 https://***@host/x *** 'a b'");
    lx_str_release(&out);
}

/* ---- what is recorded can leave ------------------------------------------------------ */

static void check_refused(int rc, const lx_error *err, const char *problem)
{
    if (rc != LX_EUSAGE || !strstr(err->text, problem))
        fail_msg("%s: %d %s", problem, rc, err->text);
}

static void test_store_run__what_no_store_would_take_is_refused(void **state)
{
    static const char *const words[] = {
        "", "Eval", "eval run", "a/b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL};
    static char many[4098], long_note[(16 << 20) + 2];
    lx_store *store = open_store(false);
    lx_run *run = begin(store, "a"), *other;
    const int64_t seq = lx_run_seq(run);
    lx_run_start start = {.kind = "x", .name = many};
    lx_artifact file = {.role = "x", .name = many, .data = "a", .n = 1};
    lx_error err = {0};

    (void)state;
    memset(many, 'a', sizeof many - 1);
    memset(long_note, 'a', sizeof long_note - 1);
    check_refused(lx_run_begin(&other, store, &start, &err), &err, "the name \"aaa");
    check_refused(lx_run_attach(NULL, store, seq, &file, &err), &err, "file's name");
    check_refused(lx_run_tag(store, seq, many, "", &err), &err, "the key");
    check_refused(lx_run_note(store, seq, long_note, &err), &err, "the text");
    file.name = start.name = many + 1; /* as long as it may be */
    assert_int_equal(lx_run_begin(&other, store, &start, &err), LX_OK);
    lx_run_abandon(other);
    assert_int_equal(lx_run_attach(NULL, store, seq, &file, &err), LX_OK);
    assert_int_equal(lx_run_tag(store, seq, many + 1, "", &err), LX_OK);
    file.path = start.origin = many;
    check_refused(lx_run_begin(&other, store, &start, &err), &err, "the origin");
    check_refused(lx_run_attach(NULL, store, seq, &file, &err), &err, "file's path");
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        start = (lx_run_start){.kind = words[i]};
        file = (lx_artifact){.role = words[i], .name = "", .data = "a", .n = 1};
        check_refused(lx_run_begin(&other, store, &start, &err), &err, "the kind");
        assert_null(other);
        check_refused(lx_run_attach(NULL, store, seq, &file, &err), &err, "the role");
    }
    lx_run_abandon(run);
    lx_store_close(store);
}

/* Of an import, in milliseconds or in no unit at all. */
static void test_store_run__a_time_that_is_none_is_now(void **state)
{
    static const double times[] = {1.7e12, 1e300, -5, NAN, INFINITY};
    lx_store *store = open_store(false);
    lx_arena *arena = lx_arena_new();
    lx_privacy *privacy;
    lx_transfer *t;
    lx_error err = {0};

    (void)state;
    assert_int_equal(lx_privacy_new(&privacy, true, &err), LX_OK);
    assert_int_equal(lx_transfer_new(&t, store, privacy, arena, &err), LX_OK);
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        const lx_run_start start = {
            .kind = "import", .started = times[i], .is_historic = true};
        const lx_artifact file = {
            .role = "log", .name = "", .at = times[i], .data = "a", .n = 1};
        lx_run *run;
        lx_run_row row;
        int64_t seq;
        assert_int_equal(lx_run_begin(&run, store, &start, &err), LX_OK);
        seq = lx_run_seq(run);
        assert_int_equal(lx_run_attach(NULL, store, seq, &file, &err), LX_OK);
        assert_int_equal(lx_run_end_at(run, "finished", NULL, times[i], &err), LX_OK);
        assert_int_equal(lx_query_run(&row, store, seq, arena, &err), LX_OK);
        assert_true(row.started > 1.6e9 && row.started < 1e11);
        assert_true(row.ended > 1.6e9 && row.ended < 1e11);
        if (lx_transfer_add(t, &row, &err) < 0)
            fail_msg("%g: %s", times[i], err.text);
    }
    lx_transfer_free(t);
    lx_privacy_free(privacy);
    lx_arena_free(arena);
    lx_store_close(store);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, new_folder, drop_folder)
    const struct CMUnitTest tests[] = {
        TEST(test_store_object__comes_back_and_is_stored_once),
        TEST(test_store_run__curves_and_texts_come_back),
        TEST(test_store_run__killed_one_keeps_its_curve),
        TEST(test_store_run__kill_loop_loses_nothing_committed),
        TEST(test_store_dataset__order_does_not_matter),
        TEST(test_store_open__newer_one_is_refused_by_name),
        TEST(test_store_open__absent_one_is_not_made_for_reading),
        TEST(test_store_check__damaged_object_is_named),
        TEST(test_store_chunk__costs_few_bytes_and_survives_damage),
        TEST(test_store_scrub__secrets_do_not_pass),
        TEST(test_store_run__what_no_store_would_take_is_refused),
        TEST(test_store_run__a_time_that_is_none_is_now),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
