/* SQLite as the store uses it: statements that are kept, what its errors become, the lock, transactions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/io.h"
#include "store/internal.h"
#include "tests/support/expect.h"
#include "tests/support/sqlite_shim.h"
#include "tests/support/tree.h"

static char folder[64];
static lx_store *store;

static int set_up(void **state)
{
    (void)state;
    lx_make_folder(folder, sizeof folder, "lx-statements");
    return lx_store_open(&store, folder, false, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    lx_store_close(store);
    lx_remove_tree(folder);
    return 0;
}

/* ---- statements -------------------------------------------------------------------- */

/* More than are kept, all under way at once, and afterwards more than are kept one after another. */
static void test_store_statements__more_than_are_kept(void **state)
{
    enum { N = STORE_STATEMENTS + 6 };
    sqlite3_stmt *stmts[N];
    lx_error err = {0};
    char sql[32];
    int64_t n;

    (void)state;
    for (int i = 0; i < N; i++) {
        int rc;
        snprintf(sql, sizeof sql, "SELECT %d", i);
        rc = store__query(&stmts[i], store, &err, sql, "");
        assert_true(store__row(&rc, store, stmts[i], &err));
        lx_assert_ok(rc, &err);
    }
    for (int i = 0; i < N; i++) {
        assert_int_equal(sqlite3_column_int(stmts[i], 0), i);
        store__finish(store, stmts[i]);
    }
    for (int i = 0; i < 3 * N; i++) {
        snprintf(sql, sizeof sql, "SELECT %d", i);
        lx_assert_ok(store__number(&n, -1, store, &err, sql, ""), &err);
        assert_int_equal(n, i);
    }
    lx_assert_ok(store__number(&n, 7, store, &err, "SELECT NULL", ""), &err);
    assert_int_equal(n, 7);
}

/* ---- errors ------------------------------------------------------------------------ */

static int write_code, sync_code;

static int coded_write(sqlite3_file *f, const void *data, int n, sqlite3_int64 at)
{
    return write_code ? write_code
                      : shim_real(f)->pMethods->xWrite(shim_real(f), data, n, at);
}

static int coded_sync(sqlite3_file *f, int flags)
{
    return sync_code ? sync_code : shim_real(f)->pMethods->xSync(shim_real(f), flags);
}

/* A write that fails leaves it open what is on the disk: nothing more is written by this handle (4). */
static void test_store_statements__what_a_failed_write_becomes(void **state)
{
    static const struct {
        int code, wanted;
        bool poisons;
    } rows[] = {{SQLITE_IOERR_WRITE, LX_EIO, true},
                {SQLITE_IOERR_FSYNC, LX_EIO, true},
                {SQLITE_IOERR_DIR_FSYNC, LX_EIO, true},
                {SQLITE_IOERR_TRUNCATE, LX_EIO, true},
                {SQLITE_IOERR_DELETE, LX_EIO, true},
                {SQLITE_IOERR_CLOSE, LX_EIO, true},
                {SQLITE_IOERR_LOCK, LX_EIO, false},
                {SQLITE_IOERR_NOMEM, LX_ENOMEM, false},
                {SQLITE_NOMEM, LX_ENOMEM, false},
                {SQLITE_FULL, LX_EIO, false},
                {SQLITE_PERM, LX_EPERM, false},
                {SQLITE_READONLY_DIRECTORY, LX_EPERM, false},
                {SQLITE_BUSY_RECOVERY, LX_EBUSY, false},
                {SQLITE_LOCKED, LX_EBUSY, false},
                {SQLITE_CORRUPT, LX_EFORMAT, false},
                {SQLITE_NOTADB, LX_EFORMAT, false},
                {SQLITE_INTERRUPT, LX_EINTERRUPTED, false},
                {SQLITE_PROTOCOL, LX_EIO, false}};
    const shim_changes changes = {
        .methods = {.xWrite = coded_write, .xSync = coded_sync}};
    lx_store *watched;
    lx_error err;

    (void)state;
    shim_install(&changes);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int rc, again;
        lx_assert_ok(lx_store_open(&watched, folder, false, &err), &err);
        err = (lx_error){0};
        *(i % 2 ? &write_code : &sync_code) = rows[i].code;
        rc = store__begin(watched, &err);
        if (rc == LX_OK)
            rc = store__end(
                watched, store__do(watched, &err, "CREATE TABLE IF NOT EXISTS t(a)", ""),
                &err);
        write_code = sync_code = 0;
        if (rc != rows[i].wanted || !err.text[0])
            fail_msg("SQLite's %d became %d: %s", rows[i].code, rc, err.text);
        again = store__begin(watched, &err);
        assert_int_equal(again, rows[i].poisons ? LX_EIO : LX_OK);
        if (again == LX_OK)
            lx_assert_ok(store__end(watched, LX_OK, &err), &err);
        lx_store_close(watched);
    }
    shim_remove();
}

static void test_store_statements__what_is_larger_than_sqlite_takes(void **state)
{
    unsigned char noise[222]; /* does not become smaller */
    uint32_t x = 1;
    lx_hash hash;
    lx_error err = {0};

    (void)state;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (unsigned char)((x = x * 1664525 + 1013904223) >> 24);
    sqlite3_limit(store->db, SQLITE_LIMIT_LENGTH, 200);
    assert_int_equal(lx_object_put(&hash, store, noise, sizeof noise, &err), LX_EIO);
    assert_non_null(strstr(err.text, "too big"));
    lx_assert_ok(lx_object_put(&hash, store, "small", 5, &err), &err);
}

static void test_store_statements__a_reader_writes_nothing(void **state)
{
    lx_store *reader;
    lx_error err = {0};

    (void)state;
    lx_assert_ok(lx_store_open(&reader, folder, true, &err), &err);
    assert_int_equal(lx_run_note(reader, 1, "x", &err), LX_EPERM);
    assert_non_null(strstr(err.text, "for reading only"));
    assert_int_equal(store__do(reader, &err, "DELETE FROM run", ""), LX_EPERM);
    lx_store_close(reader);
}

/* ---- the lock ---------------------------------------------------------------------- */

static double slept,
    slowness = 1; /* seconds; how much longer than it is told it sleeps */

/* Nobody waits here, but the clock that nobody sets shows it. */
int nanosleep(const struct timespec *time, struct timespec *left)
{
    (void)left;
    slept += slowness * ((double)time->tv_sec + (double)time->tv_nsec * 1e-9);
    return 0;
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
    int rc = (int)syscall(SYS_clock_gettime, clock, out);

    if (rc == 0 && clock == CLOCK_MONOTONIC) {
        double now = (double)out->tv_sec + (double)out->tv_nsec * 1e-9 + slept;
        *out = (struct timespec){(time_t)now, (long)((now - (double)(time_t)now) * 1e9)};
    }
    return rc;
}

static int lock_errors[3]; /* in turn; then the first lasts */
static int n_locks;

static int refusing_lock(int fd, int exclusive, int wait)
{
    (void)fd;
    (void)exclusive;
    (void)wait;
    errno = lock_errors[n_locks < 3 ? n_locks : 0];
    n_locks++;
    return -1;
}

static int try_lock(lx_error *err)
{
    lx_io io = lx_io_system;
    int rc;

    io.lock = refusing_lock;
    n_locks = 0;
    lx_io_set(&io);
    rc = store__begin(store, err);
    lx_io_set(NULL);
    return rc;
}

static void test_store_statements__a_lock_is_waited_for_and_not_for_ever(void **state)
{
    lx_error err = {0};

    (void)state;
    memcpy(lock_errors, (int[]){EAGAIN, EACCES, EINTR}, sizeof lock_errors);
    assert_int_equal(try_lock(&err), LX_EBUSY);
    assert_non_null(strstr(err.text, "another lx has been writing"));
    assert_in_range(n_locks, 900, 1002); /* every 5 ms of 5 s */
    slowness = 100;                      /* on a busy machine: 5 s all the same */
    assert_int_equal(try_lock(&err), LX_EBUSY);
    assert_in_range(n_locks, 5, 12);
    slowness = 1;
    lock_errors[1] = ENOLCK;
    assert_int_equal(try_lock(&err), LX_EIO);
    assert_int_equal(n_locks, 2);
}

/* ---- transactions ------------------------------------------------------------------ */

static void test_store_statements__a_group_that_sqlite_undid_is_told(void **state)
{
    lx_hash hash;
    lx_error err = {0};
    bool is_here;

    (void)state;
    lx_assert_ok(lx_store_group_begin(store, &err), &err);
    lx_assert_ok(lx_object_put(&hash, store, "in the group", 12, &err), &err);
    /* As SQLite does by itself when a disk is full. */
    assert_int_equal(sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(lx_store_group_end(store, LX_OK, &err), LX_EIO);
    assert_non_null(strstr(err.text, "undone by an earlier error"));
    lx_assert_ok(lx_object_exists(&is_here, store, &hash, &err), &err);
    assert_false(is_here);
    lx_assert_ok(lx_object_put(&hash, store, "afterwards", 10, &err), &err);
}

/* What could not be undone is undone by the next statement, or that is refused. */
static void test_store_statements__what_is_left_of_a_transaction_is_undone(void **state)
{
    sqlite3_stmt *stmt;
    bool is_ours;
    int64_t n;
    lx_error err = {0};

    (void)state;
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_LOOKASIDE, NULL, 0, 0);
    for (int way = 0; way < 3; way++) {
        assert_int_equal(
            sqlite3_exec(store->db, "BEGIN; CREATE TABLE half(a)", NULL, NULL, NULL),
            SQLITE_OK);
        lx_alloc_fail_at(1, true);
        if (way == 0)
            assert_int_equal(store__begin(store, &err), LX_ENOMEM);
        else if (way == 1)
            assert_int_equal(store__query(&stmt, store, &err, "SELECT 1", ""), LX_ENOMEM);
        else
            assert_int_equal(store__begin_reading(&is_ours, store, &err), LX_ENOMEM);
        lx_alloc_fail_at(0, false);
        lx_assert_ok(store__number(&n, 0, store, &err,
                                   "SELECT count(*) FROM sqlite_schema WHERE name='half'",
                                   ""),
                     &err);
        assert_int_equal(n, 0);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_store_statements__more_than_are_kept),
        TEST(test_store_statements__what_a_failed_write_becomes),
        TEST(test_store_statements__what_is_larger_than_sqlite_takes),
        TEST(test_store_statements__a_reader_writes_nothing),
        TEST(test_store_statements__a_lock_is_waited_for_and_not_for_ever),
        TEST(test_store_statements__a_group_that_sqlite_undid_is_told),
        TEST(test_store_statements__what_is_left_of_a_transaction_is_undone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
