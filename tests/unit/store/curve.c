/* Points and console text on their way: full tails, masses, backlogs, what the thread meets, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/base/alloc.h"
#include "src/base/io.h"
#include "store/chunk.h"
#include "store/internal.h"
#include "store/query.h"
#include "tests/support/expect.h"
#include "tests/support/sqlite_shim.h"
#include "tests/support/tree.h"

static char folder[64];
static lx_store *store;
static lx_run *run;

static int set_up(void **state)
{
    const lx_run_start start = {.name = "a", .kind = "train"};
    lx_error err = {0};

    (void)state;
    lx_make_folder(folder, sizeof folder, "lx-curve");
    lx_assert_ok(lx_store_open(&store, folder, false, &err), &err);
    lx_assert_ok(lx_run_begin(&run, store, &start, &err), &err);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    lx_io_set(NULL);
    lx_run_abandon(run);
    lx_store_close(store);
    lx_remove_tree(folder);
    return 0;
}

static void end_run(void)
{
    lx_error err = {0};
    lx_assert_ok(lx_run_end(run, "finished", NULL, &err), &err);
    run = NULL;
}

static int64_t count(const char *sql)
{
    int64_t n;
    lx_error err = {0};
    lx_assert_ok(store__number(&n, 0, store, &err, sql, ""), &err);
    return n;
}

/* The curve has points 0, 1, 2 ... n - 1 as they were logged here. */
static void check_points(const char *key, size_t n)
{
    lx_arena *arena = lx_arena_new();
    lx_curve curve;
    lx_error err = {0};

    lx_assert_ok(lx_query_curve(&curve, store, 1, key, 0, arena, &err), &err);
    assert_int_equal(curve.n, n);
    for (size_t i = 0; i < n; i++)
        if (curve.steps[i] != (int64_t)i || curve.values[i] != 0.5 * (double)i)
            fail_msg("point %zu is step %lld, %g", i, (long long)curve.steps[i],
                     curve.values[i]);
    lx_arena_free(arena);
}

static void log_points(const char *key, size_t from, size_t n)
{
    int64_t *steps = calloc(n, sizeof *steps);
    double *values = calloc(n, sizeof *values);
    lx_error err = {0};

    for (size_t i = 0; i < n; i++) {
        steps[i] = (int64_t)(from + i);
        values[i] = 0.5 * (double)(from + i);
    }
    lx_assert_ok(lx_run_log_many(run, key, steps, values, n, &err), &err);
    free(steps);
    free(values);
}

static void flush(void)
{
    lx_error err = {0};
    lx_assert_ok(lx_run_flush(run, &err), &err);
}

static void test_store_curve__a_full_tail_becomes_a_chunk(void **state)
{
    (void)state;
    log_points("loss", 0, 4000);
    flush();
    assert_int_equal(count("SELECT count(*) FROM chunk"), 0);
    log_points("loss", 4000, 95);
    flush();
    assert_int_equal(count("SELECT count(*) FROM tail_point"), 4095);
    log_points("loss", 4095, 1);
    flush();
    assert_int_equal(count("SELECT count(*) FROM chunk"), 1);
    assert_int_equal(count("SELECT count(*) FROM tail_point"), 0);
    log_points("loss", 4096, 5); /* a tail, then more than a chunk of it at once, twice */
    flush();
    log_points("loss", 4101, 2 * LX_CHUNK_POINTS + 7);
    flush();
    assert_int_equal(count("SELECT count(*) FROM chunk"), 4);
    assert_int_equal(count("SELECT count(*) FROM tail_point"), 7);
    check_points("loss", 4101 + 2 * LX_CHUNK_POINTS + 7);
    end_run();
    check_points("loss", 4101 + 2 * LX_CHUNK_POINTS + 7);
    assert_int_equal(count("SELECT count(*) FROM tail_point"), 0);
}

/* Whoever logs more than the thread could keep up with writes it himself. */
static void test_store_curve__masses_are_written_by_the_caller(void **state)
{
    const size_t n = (1 << 18) + 5;

    (void)state;
    log_points("loss", 0, n);
    assert_true(count("SELECT sum(n) FROM chunk") >= 1 << 18);
    end_run();
    check_points("loss", n);
}

/* ---- what fails and is tried again ---------------------------------------------------------- */

static volatile int lock_error; /* of the next locks; 0: none */

static int refusing_lock(int fd, int exclusive, int wait)
{
    if (!lock_error)
        return lx_io_system.lock(fd, exclusive, wait);
    errno = lock_error;
    return -1;
}

static void refuse_locks(int error)
{
    static lx_io io;

    io = lx_io_system;
    io.lock = refusing_lock;
    lock_error = error;
    lx_io_set(&io);
}

static void test_store_curve__a_backlog_is_written_with_what_came_since(void **state)
{
    lx_error err = {0};

    (void)state;
    refuse_locks(ENOLCK);
    log_points("loss", 0, 5);
    assert_int_equal(lx_run_flush(run, &err), LX_EIO);
    log_points("loss", 5, 5);
    log_points("lr", 0, 1);
    assert_int_equal(lx_run_flush(run, &err), LX_EIO);
    assert_int_equal(lx_run_flush(run, &err), LX_EIO); /* nothing came since */
    lock_error = 0;
    log_points("loss", 10, 3);
    end_run();
    check_points("loss", 13);
    check_points("lr", 1);
}

static void test_store_curve__a_backlog_that_finds_no_memory(void **state)
{
    lx_error err = {0};

    (void)state;
    refuse_locks(ENOLCK);
    log_points("loss", 0, 5);
    assert_int_equal(lx_run_flush(run, &err), LX_EIO);
    lock_error = 0;
    log_points("loss", 5, 100);
    for (size_t n = 1; n < 3; n++) {
        lx_alloc_fail_at(n, true);
        assert_int_equal(lx_run_flush(run, &err), LX_ENOMEM);
        lx_alloc_fail_at(0, false);
    }
    end_run();
    check_points("loss", 105);
}

static void nap(double seconds)
{
    const struct timespec t = {(time_t)seconds,
                               (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

/* What the thread meets is told by the next call, once; and it tries again. */
static void test_store_curve__what_the_thread_meets_is_told(void **state)
{
    lx_error err = {0};
    int rc = LX_OK;

    (void)state;
    refuse_locks(ENOLCK);
    log_points("loss", 0, 1);
    for (int i = 1; i < 300 && rc == LX_OK; i++) {
        nap(0.01);
        rc = lx_run_console(run, "x", 1, &err);
    }
    assert_int_equal(rc, LX_EIO);
    assert_non_null(strstr(err.text, "lock"));
    lock_error = 0;
    lx_assert_ok(lx_run_log(run, "loss", 1, 0.5, &err), &err);
    for (int i = 0; i < 300 && count("SELECT count(*) FROM tail_point") < 2; i++)
        nap(0.01);
    check_points("loss", 2);
    end_run();
}

/* The handle is someone else's for a while: the thread does not wait for it, and comes back. */
static void test_store_curve__the_thread_finds_the_store_taken(void **state)
{
    (void)state;
    pthread_mutex_lock(&store->mutex);
    log_points("loss", 0, 3);
    nap(0.8);
    pthread_mutex_unlock(&store->mutex);
    for (int i = 0; i < 300 && count("SELECT count(*) FROM tail_point") < 3; i++)
        nap(0.01);
    check_points("loss", 3);
    end_run();
}

static int sync_code;

static int coded_sync(sqlite3_file *f, int flags)
{
    return sync_code ? sync_code : shim_real(f)->pMethods->xSync(shim_real(f), flags);
}

/* After a sync that failed nothing is written any more (4), and the thread ends. */
static void test_store_curve__the_thread_ends_with_a_failed_sync(void **state)
{
    const shim_changes changes = {.methods = {.xSync = coded_sync}};
    lx_error err = {0};
    int rc = LX_OK;

    shim_install(&changes);
    tear_down(state);
    set_up(state);
    sync_code = SQLITE_IOERR_FSYNC;
    log_points("loss", 0, 1);
    for (int i = 1; i < 300 && rc == LX_OK; i++) {
        nap(0.01);
        rc = lx_run_log(run, "loss", i, 0.5 * i, &err);
    }
    sync_code = 0;
    assert_int_equal(rc, LX_EIO);
    assert_true(store->is_poisoned);
    assert_int_equal(lx_run_flush(run, &err), LX_EIO);
    assert_non_null(strstr(err.text, "start lx again"));
    tear_down(state);
    shim_remove();
    set_up(state);
}

/* ---- the console ------------------------------------------------------------------------------ */

static const char *console(void)
{
    static lx_str text = LX_STR_INIT;
    lx_error err = {0};

    lx_str_clear(&text);
    lx_assert_ok(lx_query_console(&text, store, 1, 0, &err), &err);
    return lx_str_text(&text);
}

static void say(const char *text)
{
    lx_error err = {0};
    lx_assert_ok(lx_run_console(run, text, strlen(text), &err), &err);
}

static void test_store_curve__lines_are_written_whole(void **state)
{
    static char line[70000]; /* longer than is waited for */

    (void)state;
    say("");
    flush();
    say("first\nhalf");
    flush();
    assert_string_equal(console(), "first\n");
    say(" done\rand");
    flush();
    assert_string_equal(console(), "first\nhalf done\r");
    flush();
    memset(line, 'x', sizeof line - 1);
    say(line);
    flush();
    assert_int_equal(strlen(console()), 6 + 10); /* no place to cut it */
    say(" and");
    flush();
    assert_int_equal(strlen(console()), 6 + 10 + 3 + sizeof line - 1 + 1);
    say("end");
    end_run();
    assert_int_equal(strlen(console()), 6 + 10 + 3 + sizeof line - 1 + 1 + 6);
}

/* However much has gathered: what has no end yet waits, or is cut where it can be. */
static void test_store_curve__no_secret_is_cut_in_two(void **state)
{
    static const char token[] = "hf_AbCdEfGhIjKlMnOpQrStUvWxYzAbCdEfGhIj";
    static char noise[70001];
    const char *const lasts[] = {"", "login ", "HF_TOKEN = ", "{\"api_key\": "};

    (void)state;
    for (size_t i = 0; i < 2 * sizeof lasts / sizeof *lasts; i++) {
        memset(noise, 'x', sizeof noise - 1);
        for (size_t k = 9; k < sizeof noise - 1; k += 10)
            noise[k] = i % 2 ? ' ' : '\n';
        say(noise);
        say(lasts[i / 2]);
        for (size_t k = 0; k < sizeof token - 1; k += 6) {
            char part[7];
            snprintf(part, sizeof part, "%.6s", token + k);
            say(part);
            flush();
        }
        say(" end\n");
        flush();
    }
    assert_null(strstr(console(), "hf_Ab"));
    assert_null(strstr(console(), "OpQrSt"));
    end_run();
    assert_null(strstr(console(), "hf_Ab"));
    assert_non_null(strstr(console(), "***"));
}

/* Where the last blanks of a line would all part a secret from its name, it waits for its end. */
static void test_store_curve__a_line_without_a_harmless_place_waits(void **state)
{
    static char line[70000];

    (void)state;
    memset(line, 'x', sizeof line - 1);
    line[100] = '\t';
    say(line);
    flush();
    assert_int_equal(strlen(console()), 101); /* up to the tab */
    say("\n");
    flush();
    memcpy(line + sizeof line - 41, " HF_TOKEN =                   abcdefghij", 41);
    say(line);
    flush();
    assert_int_equal(strlen(console()), sizeof line);
    say("klmno end\n");
    flush();
    assert_null(strstr(console(), "klmno"));
    assert_non_null(strstr(console(), "***"));
}

static void *let_go(void *unused)
{
    (void)unused;
    nap(0.6);
    lock_error = 0;
    return NULL;
}

/* What is not written at the end is lost: who writes meanwhile is waited for, far longer than else. */
static void test_store_curve__the_end_waits_for_others(void **state)
{
    lx_error err = {0};
    pthread_t other;

    (void)state;
    lx_store_patience(store, 0.05);
    refuse_locks(EAGAIN);
    log_points("loss", 0, 3);
    assert_int_equal(lx_run_flush(run, &err), LX_EBUSY);
    assert_non_null(strstr(err.text, "another lx has been writing for 0.05 s"));
    assert_int_equal(pthread_create(&other, NULL, let_go, NULL), 0);
    end_run();
    pthread_join(other, NULL);
    check_points("loss", 3);
}

/* A second process ends the run: what the first had logged is kept, and that it has ended is told. */
static void test_store_curve__ended_by_someone_else(void **state)
{
    lx_store *other;
    lx_run *again;
    lx_error err = {0};
    int64_t seq = lx_run_seq(run);
    int rc;

    (void)state;
    log_points("loss", 0, 2);
    flush();
    lx_assert_ok(lx_store_open(&other, folder, false, &err), &err);
    lx_assert_ok(lx_run_open(&again, other, seq, &err), &err);
    log_points("loss", 2, 1);
    say("the last words\n");
    lx_assert_ok(lx_run_end(again, "failed", NULL, &err), &err);
    lx_store_close(other);
    rc = lx_run_end(run, "finished", NULL, &err);
    run = NULL;
    assert_int_equal(rc, LX_EUSAGE);
    assert_non_null(strstr(err.text, "ended by someone else meanwhile (failed)"));
    check_points("loss", 3);
    assert_string_equal(console(), "the last words\n");
    assert_int_equal(count("SELECT count(*) FROM tail_point"), 0);
    assert_int_equal(count("SELECT count(*) FROM run_end WHERE status='failed'"), 1);
}

static void test_store_curve__a_console_ends_somewhere(void **state)
{
    enum { MIB = 1 << 20 };
    char *much = calloc(1, MIB);
    lx_error err = {0};

    (void)state;
    pthread_mutex_lock(&store->mutex); /* so that the thread takes nothing of it */
    memset(much, 'y', MIB);
    for (int i = 0; i < 63; i++)
        lx_run_console(run, much, MIB, &err);
    lx_run_console(run, much, MIB - 1, &err);
    lx_run_console(run, "abc", 3, &err);
    assert_int_equal(run->text_total, 64 << 20);
    assert_non_null(strstr(run->text_in.data + (64 << 20) - 2, "ya\n[lx keeps no more"));
    lx_assert_ok(lx_run_console(run, "z", 1, &err), &err);
    assert_int_equal(run->text_total, 64 << 20);
    /* With words: the last whole one of them. */
    lx_str_clear(&run->text_in);
    run->text_total = (64 << 20) - 8;
    lx_assert_ok(lx_run_console(run, "one two three", 13, &err), &err);
    assert_string_equal(run->text_in.data, "one two \n[lx keeps no more than 64 MiB of a console]\n");
    lx_str_clear(&run->text_in);
    free(much);
    store__stop_flusher(run);
    pthread_mutex_unlock(&store->mutex);
}

static void test_store_curve__a_console_without_memory(void **state)
{
    lx_error err = {0};

    (void)state;
    say("kept ");
    lx_alloc_fail_at(1, true);
    assert_int_equal(lx_run_console(run, folder, sizeof folder, &err), LX_ENOMEM);
    lx_alloc_fail_at(0, false);
    say("to the end\n");
    end_run();
    assert_string_equal(console(), "kept to the end\n");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_store_curve__a_full_tail_becomes_a_chunk),
        TEST(test_store_curve__masses_are_written_by_the_caller),
        TEST(test_store_curve__a_backlog_is_written_with_what_came_since),
        TEST(test_store_curve__a_backlog_that_finds_no_memory),
        TEST(test_store_curve__what_the_thread_meets_is_told),
        TEST(test_store_curve__the_thread_finds_the_store_taken),
        TEST(test_store_curve__the_thread_ends_with_a_failed_sync),
        TEST(test_store_curve__lines_are_written_whole),
        TEST(test_store_curve__no_secret_is_cut_in_two),
        TEST(test_store_curve__a_line_without_a_harmless_place_waits),
        TEST(test_store_curve__the_end_waits_for_others),
        TEST(test_store_curve__ended_by_someone_else),
        TEST(test_store_curve__a_console_ends_somewhere),
        TEST(test_store_curve__a_console_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
