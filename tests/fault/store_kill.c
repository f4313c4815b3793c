/*
 * kill -9 at random moments of recording, importing, removing: what was acknowledged is
 * there, and the store is sound. 200 rounds on one store; LX_TEST_KILLS asks for another
 * number. And as often of the migration of an older store by a later lx: it is the old one
 * or the new one, and opens.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "store/dataset.h"
#include "store/gc.h"
#include "store/internal.h"
#include "store/query.h"
#include "tests/support/expect.h"
#include "tests/support/tree.h"

static char folder[64];

/* What the child says it has done; zero where it has not. */
typedef struct report {
    int64_t run;         /* seq of the run it records */
    int64_t n_points;    /* flushed */
    int64_t n_imported;  /* runs in committed groups, by origin */
    int64_t n_artifacts; /* of `run` */
} report;

static void ignore(void *context, const char *line)
{
    (void)context;
    (void)line;
}

/* Each artifact is another 80 KiB: a file. */
static void fill(unsigned char *bytes, size_t n, uint32_t x)
{
    for (size_t i = 0; i < n; i++)
        bytes[i] = (unsigned char)((x = x * 1664525 + 1013904223) >> 24);
}

static int import_some(lx_store *store, int round, int64_t *n)
{
    int rc = lx_store_group_begin(store, NULL);
    if (rc < 0)
        return rc;
    for (int i = 0; i < 3 && rc == 0; i++) {
        char origin[48];
        lx_run_start start = {.kind = "import", .origin = origin, .is_historic = true};
        lx_run *run;
        snprintf(origin, sizeof origin, "%d:%lld", round, (long long)*n + i);
        if ((rc = lx_run_begin(&run, store, &start, NULL)) == 0 &&
            (rc = lx_run_log(run, "loss", 1, i, NULL)) == 0)
            rc = lx_run_end(run, "finished", NULL, NULL);
    }
    if ((rc = lx_store_group_end(store, rc, NULL)) == 0)
        *n += 3;
    return rc;
}

static void tell(int fd, const report *r)
{
    if (write(fd, r, sizeof *r) != sizeof *r)
        _exit(6);
}

static void work(int round, int fd)
{
    static unsigned char bytes[80 * 1024];
    const lx_gc_options gc = {.prunes = true, .keep_days = 14};
    const lx_run_start start = {.kind = "train", .flags = "{\"a\":1}"};
    lx_gc_report removed;
    report r = {0};
    lx_store *store;
    lx_run *run;
    lx_hash stray;

    if (lx_store_open(&store, folder, false, NULL) < 0 ||
        lx_run_begin(&run, store, &start, NULL) < 0)
        _exit(1);
    r.run = lx_run_seq(run);
    tell(fd, &r);
    for (int i = 0;; i++) {
        for (int k = 0; k < 50; k++)
            if (lx_run_log(run, "loss", r.n_points + k, (double)(r.n_points + k), NULL) <
                0)
                _exit(2);
        if (lx_run_flush(run, NULL) < 0)
            _exit(3);
        r.n_points += 50;
        tell(fd, &r);
        fill(bytes, sizeof bytes, (uint32_t)(round * 1000 + i));
        if (lx_run_artifact(run, "state", "x", bytes, sizeof bytes, i, NULL) < 0)
            _exit(4);
        r.n_artifacts++;
        tell(fd, &r);
        if (import_some(store, round, &r.n_imported) < 0 ||
            lx_object_put(&stray, store, &i, sizeof i, NULL) < 0 ||
            lx_store_gc(&removed, store, &gc, ignore, NULL, NULL) < 0)
            _exit(5);
        tell(fd, &r);
        if (i % 4 == 3) { /* the store is closed and opened as well: checkpoints */
            lx_run_abandon(run);
            lx_store_close(store);
            if (lx_store_open(&store, folder, false, NULL) < 0 ||
                lx_run_open(&run, store, r.run, NULL) < 0)
                _exit(7);
        }
    }
}

static void fail_line(void *context, const char *line)
{
    fail_msg("round %d: fsck: %s", *(int *)context, line);
}

static void check_round(int round, const report *r)
{
    lx_arena *arena = lx_arena_new();
    lx_check_report found;
    lx_store *store;
    lx_run_row row;
    lx_curve loss;
    lx_artifact_row *artifacts;
    lx_error err = {0};
    char origin[48];
    size_t n;

    if (lx_store_open(&store, folder, round % 2, &err) < 0)
        fail_msg("round %d: %s", round, err.text);
    if (r->run) {
        assert_int_equal(lx_query_run(&row, store, r->run, arena, &err), 0);
        assert_string_equal(row.status, "interrupted");
        assert_int_equal(lx_query_curve(&loss, store, r->run, "loss", 0, arena, &err), 0);
        assert_true((int64_t)loss.n >= r->n_points);
        for (size_t i = 0; i < loss.n; i++)
            assert_true(loss.steps[i] == (int64_t)i && loss.values[i] == (double)i);
        assert_int_equal(lx_query_artifacts(&artifacts, &n, store, &row, arena, &err), 0);
        assert_true((int64_t)n >= r->n_artifacts);
        for (int64_t i = 0; i < r->n_imported; i++) {
            snprintf(origin, sizeof origin, "%d:%lld", round, (long long)i);
            assert_int_equal(lx_query_origin(&row, store, origin, arena, &err), 0);
            assert_string_equal(row.status, "finished");
        }
    }
    if (round % 20 == 19 && lx_store_check(&found, store, fail_line, &round, &err) < 0)
        fail_msg("round %d: fsck: %s", round, err.text);
    lx_store_close(store);
    lx_arena_free(arena);
}

static void test_fault_store_kill__nothing_acknowledged_is_lost(void **state)
{
    const char *asked = getenv("LX_TEST_KILLS");
    int n_rounds = asked ? atoi(asked) : 200, n_told = 0;
    uint32_t x = (uint32_t)getpid();
    (void)state;
    printf("seed %u\n", x);
    for (int round = 0; round < n_rounds; round++) {
        report r = {0}, got;
        int fds[2], status;
        pid_t child;
        assert_int_equal(pipe(fds), 0);
        if ((child = fork()) == 0)
            work(round, fds[1]);
        close(fds[1]);
        if (round % 10 && read(fds[0], &got, sizeof got) == sizeof got)
            r = got; /* every tenth may be killed before it has begun */
        usleep((useconds_t)((x = x * 1664525 + 1013904223) % 40000));
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        if (!WIFSIGNALED(status))
            fail_msg("round %d: the child ended by itself with %d", round,
                     WEXITSTATUS(status));
        while (read(fds[0], &got, sizeof got) == sizeof got)
            r = got;
        close(fds[0]);
        n_told += r.n_points != 0;
        check_round(round, &r);
    }
    printf("%d of %d had acknowledged points\n", n_told, n_rounds);
}

/* ---- migration --------------------------------------------------------------------- */

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* A store of this version with 300 runs, of which the next migration changes every one. */
static void make_old(const char *path)
{
    lx_store *store;
    lx_error err;

    if (lx_store_open(&store, path, false, &err) < 0 ||
        lx_store_group_begin(store, &err) < 0)
        fail_msg("%s", err.text);
    for (int i = 0; i < 300; i++) {
        const lx_run_start start = {
            .kind = "train", .flags = "{\"a\":1}", .is_historic = true};
        lx_run *run;
        if (lx_run_begin(&run, store, &start, &err) < 0 ||
            lx_run_log(run, "loss", 1, i, &err) < 0 ||
            lx_run_end(run, "finished", NULL, &err) < 0)
            fail_msg("%s", err.text);
    }
    if (lx_store_group_end(store, LX_OK, &err) < 0)
        fail_msg("%s", err.text);
    lx_store_close(store);
}

/* *version it was found in; it is the later one afterwards. */
static void check_migrated(const char *path, int round, int64_t *version)
{
    lx_check_report found;
    lx_store *store;
    lx_error err = {0};
    int64_t n;

    *version = 0;
    if (lx_store_open(&store, path, true, &err) == 0) {
        *version = store__the_schema.count;
        lx_store_close(store);
    } else if (err.code != LX_ECONFIG) {
        fail_msg("round %d: %s", round, err.text);
    }
    if (lx_store_open(&store, path, false, &err) < 0)
        fail_msg("round %d: %s", round, err.text);
    if (lx_store_check(&found, store, fail_line, &round, &err) < 0 ||
        found.n_runs != 300 || found.n_points != 300)
        fail_msg("round %d: %zu runs, %zu points: %s", round, found.n_runs,
                 found.n_points, err.text);
    if (store__number(&n, 0, store, &err, "SELECT count(*) FROM run WHERE mood='good'",
                      "") < 0 ||
        n != 300)
        fail_msg("round %d: %lld runs are of the new version", round, (long long)n);
    lx_store_close(store);
}

static void test_fault_store_kill__migration_leaves_old_or_new(void **state)
{
    static const char *later[16];
    const store__schema ours = store__the_schema;
    const char *asked = getenv("LX_TEST_KILLS");
    int n_rounds = asked ? atoi(asked) : 200, n_old = 0;
    uint32_t x = (uint32_t)getpid();
    char root[64], old[80], path[80];
    double whole;
    (void)state;

    lx_make_folder(root, sizeof root, "lx-migrate");
    snprintf(old, sizeof old, "%s/old", root);
    snprintf(path, sizeof path, "%s/store", root);
    make_old(old);
    memcpy(later, ours.sql, (size_t)ours.count * sizeof *later);
    later[ours.count] =
        "ALTER TABLE run ADD COLUMN mood TEXT; UPDATE run SET mood='good'";
    store__the_schema = (store__schema){later, ours.count + 1};
    lx_copy_tree(old, path);
    whole = seconds();
    check_migrated(path, -1, &(int64_t){0});
    whole = seconds() - whole; /* a little more than the migration */
    for (int round = 0; round < n_rounds; round++) {
        int64_t version;
        int status;
        pid_t child;
        lx_remove_tree(path);
        lx_copy_tree(old, path);
        if ((child = fork()) == 0) {
            lx_store *store;
            if (lx_store_open(&store, path, false, NULL) < 0)
                _exit(1);
            pause();
        }
        x = x * 1664525 + 1013904223;
        usleep((useconds_t)((double)(x >> 8) / 0x1p24 * 1.2e6 * whole));
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        assert_true(WIFSIGNALED(status));
        check_migrated(path, round, &version);
        n_old += version == 0;
    }
    store__the_schema = ours;
    printf("%d of %d migrations were killed before they were done\n", n_old, n_rounds);
    lx_remove_tree(root);
}

static int set_up(void **state)
{
    lx_store *store;
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/lx-kill-XXXXXX");
    if (!mkdtemp(folder) || lx_store_open(&store, folder, false, NULL) < 0)
        return -1;
    lx_store_close(store);
    return 0;
}

static int tear_down(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault_store_kill__nothing_acknowledged_is_lost),
        cmocka_unit_test(test_fault_store_kill__migration_leaves_old_or_new)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
