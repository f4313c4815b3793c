/* One run logged by several threads while others read and write on the same handle. Worth
 * a build with -fsanitize=thread (docs/testing.md). */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/query.h"

enum { N_THREADS = 3, N_POINTS = 3000 };

static char folder[64];
static lx_store *store;

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/lx-store-XXXXXX");
    return mkdtemp(folder) && lx_store_open(&store, folder, false, NULL) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    char command[128];
    (void)state;
    lx_store_close(store);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static lx_run *begin(void)
{
    const lx_run_start start = {.kind = "train", .flags = "{\"a\":1}"};
    lx_run *run;
    lx_error err;
    if (lx_run_begin(&run, store, &start, &err) < 0)
        fail_msg("%s", err.text);
    return run;
}

typedef struct logger {
    pthread_t thread;
    lx_run *run;
    char key[8];
    int n_failed;
} logger;

static void *log_points(void *context)
{
    logger *l = context;
    for (int i = 0; i < N_POINTS; i++) {
        l->n_failed += lx_run_log(l->run, l->key, i, i, NULL) < 0;
        l->n_failed += i % 100 == 0 && lx_run_console(l->run, "a line\n", 7, NULL) < 0;
        if (i % 600 == 0)
            usleep(200000);
    }
    return NULL;
}

/* What another part of the program may do meanwhile. */
static void read_and_write(lx_run *run)
{
    lx_arena *arena = lx_arena_new();
    lx_series_row *series;
    lx_run_list list;
    lx_curve curve;
    int64_t seq = lx_run_seq(run);
    size_t n;
    assert_int_equal(lx_query_runs(&list, store, NULL, arena, NULL), 0);
    assert_int_equal(lx_query_curve(&curve, store, seq, "k1", 0, arena, NULL), 0);
    for (size_t i = 0; i < curve.n; i++)
        assert_int_equal(curve.steps[i], i);
    assert_int_equal(lx_query_series(&series, &n, store, 0, NULL, arena, NULL), 0);
    assert_int_equal(lx_run_note(store, seq, "seen", NULL), 0);
    assert_int_equal(lx_run_artifact(run, "log", "l", "abc", 3, 1, NULL), 0);
    lx_arena_free(arena);
}

static void test_store_threads__all_points_arrive_in_order(void **state)
{
    lx_run *run = begin();
    logger loggers[N_THREADS];
    lx_arena *arena = lx_arena_new();
    lx_curve *curves;
    lx_run_row row;
    size_t n;
    (void)state;
    for (int k = 0; k < N_THREADS; k++) {
        loggers[k] = (logger){.run = run};
        snprintf(loggers[k].key, sizeof loggers[k].key, "k%d", k);
        assert_int_equal(
            pthread_create(&loggers[k].thread, NULL, log_points, &loggers[k]), 0);
    }
    for (int i = 0; i < 20; i++) {
        read_and_write(run);
        if (i % 7 == 0)
            assert_int_equal(lx_run_flush(run, NULL), 0);
        usleep(30000);
    }
    for (int k = 0; k < N_THREADS; k++) {
        pthread_join(loggers[k].thread, NULL);
        assert_int_equal(loggers[k].n_failed, 0);
    }
    assert_int_equal(lx_query_run(&row, store, lx_run_seq(run), arena, NULL), 0);
    assert_int_equal(lx_run_end(run, "finished", NULL, NULL), 0);
    assert_int_equal(lx_query_curves(&curves, &n, store, &row, arena, NULL), 0);
    assert_int_equal(n, N_THREADS);
    for (size_t k = 0; k < n; k++) {
        assert_int_equal(curves[k].n, N_POINTS);
        for (int i = 0; i < N_POINTS; i++)
            assert_true(curves[k].steps[i] == i && curves[k].values[i] == i);
    }
    lx_arena_free(arena);
}

/* The group's thread holds the handle; the one that writes curves must not wait for it
 * for ever. */
static void test_store_threads__a_run_ends_within_a_group(void **state)
{
    lx_run *before = begin(), *within;
    (void)state;
    assert_int_equal(lx_run_log(before, "a", 1, 1, NULL), 0);
    assert_int_equal(lx_store_group_begin(store, NULL), 0);
    within = begin();
    assert_int_equal(lx_run_log(within, "a", 1, 1, NULL), 0);
    usleep(1000000); /* both of their threads want to write by now */
    assert_int_equal(lx_run_end(within, "finished", NULL, NULL), 0);
    assert_int_equal(lx_run_end(before, "finished", NULL, NULL), 0);
    assert_int_equal(lx_store_group_end(store, 0, NULL), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_store_threads__all_points_arrive_in_order),
        TEST(test_store_threads__a_run_ends_within_a_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
