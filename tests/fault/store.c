/*
 * Every step of the store fails once, and then for ever: allocations, calls of the io
 * table, calls of SQLite's own file system. After each: an error and no crash, and a
 * store that is sound and holds all that was acknowledged.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/io.h"
#include "store/dataset.h"
#include "store/gc.h"
#include "store/query.h"
#include "tests/support/sqlite_shim.h"

/* ---- faults of the io table ------------------------------------------------------- */

typedef struct countdown {
    long n, at; /* at 0: nothing fails */
    bool forever;
    int code; /* errno or SQLite's */
} countdown;

static countdown io_fault, sql_fault;

static bool fails(countdown *c)
{
    c->n++;
    return c->at && (c->n == c->at || (c->forever && c->n > c->at));
}

static bool io_fails(void)
{
    if (!fails(&io_fault))
        return false;
    errno = io_fault.code;
    return true;
}

static int bad_open(const char *path, int flags, mode_t mode)
{
    return io_fails() ? -1 : lx_io_system.open(path, flags, mode);
}
static ssize_t bad_read(int fd, void *data, size_t n)
{
    return io_fails() ? -1 : lx_io_system.read(fd, data, n);
}
static ssize_t bad_write(int fd, const void *data, size_t n)
{
    if (!io_fails())
        return lx_io_system.write(fd, data, n);
    if (n > 1 && lx_io_system.write(fd, data, n / 2) < 0) /* half of it got there */
        return -1;
    errno = io_fault.code;
    return -1;
}
static int bad_sync(int fd)
{
    return io_fails() ? -1 : lx_io_system.sync(fd);
}
static int bad_rename(const char *from, const char *to)
{
    return io_fails() ? -1 : lx_io_system.rename(from, to);
}
static int bad_mkdir(const char *path, mode_t mode)
{
    return io_fails() ? -1 : lx_io_system.mkdir(path, mode);
}
static int bad_lock(int fd, int exclusive, int wait)
{
    return io_fails() ? -1 : lx_io_system.lock(fd, exclusive, wait);
}

/* ---- faults of SQLite's files ----------------------------------------------------- */

#define REAL(f) shim_real(f)->pMethods

static int bad_page_read(sqlite3_file *f, void *data, int n, sqlite3_int64 at)
{
    return fails(&sql_fault) ? SQLITE_IOERR_READ
                             : REAL(f)->xRead(shim_real(f), data, n, at);
}
static int bad_page_write(sqlite3_file *f, const void *data, int n, sqlite3_int64 at)
{
    if (!fails(&sql_fault))
        return REAL(f)->xWrite(shim_real(f), data, n, at);
    REAL(f)->xWrite(shim_real(f), data, n / 2, at); /* half of it got there */
    return sql_fault.code == SQLITE_FULL ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}
static int bad_page_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    return fails(&sql_fault) ? SQLITE_IOERR_TRUNCATE
                             : REAL(f)->xTruncate(shim_real(f), size);
}
static int bad_page_sync(sqlite3_file *f, int flags)
{
    return fails(&sql_fault) ? SQLITE_IOERR_FSYNC : REAL(f)->xSync(shim_real(f), flags);
}
static int bad_shm_map(sqlite3_file *f, int page, int size, int extend,
                       void volatile **out)
{
    return fails(&sql_fault) ? SQLITE_IOERR_SHMMAP
                             : REAL(f)->xShmMap(shim_real(f), page, size, extend, out);
}
static int may_open(void)
{
    return fails(&sql_fault) ? SQLITE_CANTOPEN : SQLITE_OK;
}
static int may_delete(void)
{
    return fails(&sql_fault) ? SQLITE_IOERR_DELETE : SQLITE_OK;
}

static void install_faults(void)
{
    const shim_changes changes = {.methods = {.xRead = bad_page_read,
                                              .xWrite = bad_page_write,
                                              .xTruncate = bad_page_truncate,
                                              .xSync = bad_page_sync,
                                              .xShmMap = bad_shm_map},
                                  .may_open = may_open,
                                  .may_delete = may_delete};
    static lx_io io;
    io = lx_io_system;
    io.open = bad_open;
    io.read = bad_read;
    io.write = bad_write;
    io.sync = bad_sync;
    io.rename = bad_rename;
    io.mkdir = bad_mkdir;
    io.lock = bad_lock;
    lx_io_set(&io);
    shim_install(&changes);
}

/* ---- what is done under faults ---------------------------------------------------- */

static char root[64], folder[128];

/* What a caller was told is there; checked after every round. */
typedef struct acknowledged {
    bool has_run, has_artifact, has_note, has_ended, has_imported, has_listed;
    int64_t seq, last_step;
    lx_hash artifact;
} acknowledged;

static unsigned char large[200 * 1024]; /* an object of its own file */

static int record(acknowledged *a, lx_store *store, lx_error *err)
{
    static const lx_run_start start = {.name = "x",
                                       .kind = "train",
                                       .command_line = "lx train",
                                       .flags = "{\"a\":1,\"b\":\"c\"}",
                                       .spec = "{\"s\":1}"};
    const lx_artifact artifact = {
        .role = "lora", .name = "l", .step = 1, .data = large, .n = sizeof large};
    lx_store_image image = {.name = "1.png", .caption = "a cat"};
    lx_store_folder data = {"10_x", "x", 10, false, &image, 1};
    lx_run_start with_data = start;
    char *dataset = NULL;
    lx_run *run = NULL;
    int rc;

    if ((rc = lx_store_dataset_put(&dataset, store, &data, 1, err)) < 0)
        return rc;
    with_data.dataset = dataset;
    rc = lx_run_begin(&run, store, &with_data, err);
    lx_free(dataset);
    if (rc < 0)
        return rc;
    a->has_run = true;
    a->seq = lx_run_seq(run);
    for (int i = 1; i <= 20 && rc == LX_OK; i++)
        if ((rc = lx_run_log(run, "loss", i, 1.0 / i, err)) == LX_OK && i % 10 == 0 &&
            (rc = lx_run_flush(run, err)) == LX_OK)
            a->last_step = i;
    if (rc == LX_OK && (rc = lx_run_console(run, "hello\n", 6, err)) == LX_OK &&
        (rc = lx_run_attach(&a->artifact, store, a->seq, &artifact, err)) == LX_OK)
        a->has_artifact = true;
    if (rc == LX_OK && (rc = lx_run_note(store, a->seq, "noted", err)) == LX_OK)
        a->has_note = true;
    if (rc < 0) {
        lx_run_abandon(run);
        return rc;
    }
    if ((rc = lx_run_end(run, "finished", NULL, err)) == LX_OK)
        a->has_ended = true;
    return rc;
}

/* Two runs in one transaction, one of them twice. */
static int import_some(lx_store *store, lx_error *err)
{
    int rc = lx_store_group_begin(store, err);
    if (rc < 0)
        return rc;
    for (int i = 0; i < 3 && rc == LX_OK; i++) {
        const lx_run_start start = {
            .kind = "import", .origin = i ? "lora:2" : "lora:1", .is_historic = true};
        lx_run *run;
        rc = lx_run_begin(&run, store, &start, err);
        if (i == 2 && rc == LX_EEXISTS) {
            rc = LX_OK;
        } else if (rc == LX_OK) {
            if ((rc = lx_run_log(run, "loss", 1, 1, err)) == LX_OK)
                rc = lx_run_end(run, "finished", NULL, err);
            else
                lx_run_abandon(run);
        }
    }
    return lx_store_group_end(store, rc, err);
}

static void ignore_line(void *context, const char *line)
{
    (void)context;
    (void)line;
}

/* The object of the artifact is young: gc must leave it. */
static int keep_house(lx_store *store, lx_error *err)
{
    const lx_gc_options gc = {.prunes = true, .keep_days = 14};
    lx_gc_report removed;
    int rc = lx_store_gc(&removed, store, &gc, ignore_line, NULL, err);
    return rc < 0 ? rc : lx_store_rebuild(store, err);
}

static int count_flags(void *context, int n, const char *const *columns,
                       const lx_sql_value *values, lx_error *err)
{
    (void)n;
    (void)columns;
    (void)err;
    if (values)
        *(size_t *)context = (size_t)values[0].integer;
    return LX_OK;
}

static int look(acknowledged *a, lx_store *store, lx_error *err)
{
    lx_arena *arena = lx_arena_new();
    lx_run_list list;
    lx_curve *curves;
    lx_run_texts texts;
    size_t n;
    int rc = arena ? lx_query_runs(&list, store, NULL, arena, err) : lx_oom(err);

    if (rc == LX_OK && (list.count != 3 || strcmp(list.rows[2].status, "finished") != 0))
        fail_msg("a list without an error has %zu runs", list.count);
    if (rc == LX_OK &&
        (rc = lx_query_curves(&curves, &n, store, &list.rows[2], arena, err)) == LX_OK &&
        (n != 1 || curves[0].n != 20))
        fail_msg("curves without an error have %zu keys", n);
    if (rc == LX_OK &&
        (rc = lx_query_texts(&texts, store, &list.rows[2], arena, err)) == LX_OK &&
        (!texts.flags || strcmp(texts.flags, "{\"a\":1,\"b\":\"c\"}") != 0 ||
         !texts.environment || !strstr(texts.environment, "\"versions\":{") ||
         !strstr(texts.environment, "\"kernel\":")))
        fail_msg("texts without an error lack something");
    if (rc == LX_OK)
        rc = lx_store_sql(store, "SELECT count(*) FROM flags", NULL, 0, count_flags, &n,
                          err);
    if (rc == LX_OK && n != 2)
        fail_msg("SQL without an error counts %zu flags", n);
    a->has_listed = rc == LX_OK;
    lx_arena_free(arena);
    return rc;
}

static int work(acknowledged *a, lx_error *err)
{
    lx_store *store = NULL;
    int rc;
    *a = (acknowledged){0};
    if ((rc = lx_store_open(&store, folder, false, err)) < 0)
        return rc;
    if ((rc = record(a, store, err)) == LX_OK &&
        (rc = import_some(store, err)) == LX_OK) {
        a->has_imported = true;
        rc = keep_house(store, err);
    }
    lx_store_close(store);
    if (rc < 0)
        return rc;
    if ((rc = lx_store_open(&store, folder, true, err)) < 0)
        return rc;
    rc = look(a, store, err);
    lx_store_close(store);
    return rc;
}

/* ---- and what must be so afterwards ----------------------------------------------- */

static void fail_line(void *context, const char *line)
{
    fail_msg("%s: fsck says: %s", (const char *)context, line);
}

static void check_run(const acknowledged *a, lx_store *store, const char *what)
{
    lx_arena *arena = lx_arena_new();
    lx_run_row row;
    lx_curve loss;
    lx_remark_row *notes;
    lx_str bytes = LX_STR_INIT;
    lx_error err;
    size_t n;

    if (lx_query_run(&row, store, a->seq, arena, &err) < 0)
        fail_msg("%s: the run is lost: %s", what, err.text);
    if (lx_query_curve(&loss, store, a->seq, "loss", 0, arena, &err) < 0 ||
        (int64_t)loss.n < a->last_step)
        fail_msg("%s: points are lost: %zu of %lld", what, loss.n,
                 (long long)a->last_step);
    for (size_t i = 0; i < loss.n; i++)
        if (loss.steps[i] != (int64_t)i + 1 || loss.values[i] != 1.0 / (double)(i + 1))
            fail_msg("%s: point %zu is another", what, i);
    if (a->has_artifact && lx_object_get(&bytes, store, &a->artifact, &err) < 0)
        fail_msg("%s: the artifact is lost: %s", what, err.text);
    if (a->has_note &&
        (lx_query_remarks(&notes, &n, store, a->seq, "note", arena, &err) < 0 || n != 1))
        fail_msg("%s: the note is lost", what);
    if (a->has_imported && lx_query_origin(&row, store, "lora:2", arena, &err) < 0)
        fail_msg("%s: an imported run is lost", what);
    if (lx_query_run(&row, store, a->seq, arena, &err) < 0)
        fail_msg("%s: the run is lost: %s", what, err.text);
    if (a->has_ended && strcmp(row.status, "finished") != 0)
        fail_msg("%s: the end is lost", what);
    lx_str_release(&bytes);
    lx_arena_free(arena);
}

static void check_store(const acknowledged *a, const char *what)
{
    lx_store *store = NULL;
    lx_check_report report;
    lx_error err;
    int rc =
        lx_store_open(&store, folder, false, &err); /* goes on from whatever is there */

    if (rc < 0)
        fail_msg("%s: cannot be opened afterwards: %s", what, err.text);
    if (lx_store_check(&report, store, fail_line, (void *)(uintptr_t)what, &err) < 0)
        fail_msg("%s: fsck: %s", what, err.text);
    if (a->has_run)
        check_run(a, store, what);
    lx_store_close(store);
}

static void remove_all(void)
{
    char command[160];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0)
        fail_msg("%s", command);
}

typedef struct kind {
    const char *name;
    int allowed[4]; /* codes; 0 ends */
    void (*arm)(long n, bool forever);
    long (*count)(void); /* steps since arming */
} kind;

static long count_alloc(void)
{
    return (long)lx_alloc_count();
}
static long count_io(void)
{
    return io_fault.n;
}
static long count_sql(void)
{
    return sql_fault.n;
}

static void arm_alloc(long n, bool forever)
{
    lx_alloc_fail_at((size_t)n, forever);
}
static void arm_io(long n, bool forever)
{
    io_fault = (countdown){.at = n, .forever = forever, .code = EIO};
}
static void arm_space(long n, bool forever)
{
    io_fault = (countdown){.at = n, .forever = forever, .code = ENOSPC};
}
static void arm_sql(long n, bool forever)
{
    sql_fault = (countdown){.at = n, .forever = forever, .code = SQLITE_IOERR};
}
static void arm_sql_space(long n, bool forever)
{
    sql_fault = (countdown){.at = n, .forever = forever, .code = SQLITE_FULL};
}

static bool is_allowed(const kind *k, int rc)
{
    for (size_t i = 0; i < 4 && k->allowed[i]; i++)
        if (k->allowed[i] == rc)
            return true;
    return false;
}

/* LX_TEST_FAULTS=all tries every n; else all of the first, then samples. */
static long step_after(long n)
{
    return getenv("LX_TEST_FAULTS") ? n + 1 : n + 1 + n / 32;
}

static void fail_each(const kind *k, bool forever)
{
    acknowledged a;
    lx_error err;
    char what[96];
    long n = 1, taken, n_failed = 0, n_passed = 0;
    bool is_reached;
    int rc;

    do {
        remove_all();
        err = (lx_error){0};
        k->arm(n, forever);
        rc = work(&a, &err);
        taken = k->count();
        k->arm(0, false);
        snprintf(what, sizeof what, "%s %ld%s", k->name, n,
                 forever ? " and all later ones" : "");
        if (rc < 0 && !is_allowed(k, rc))
            fail_msg("%s: code %d: %s", what, rc, err.text);
        if (rc < 0 && !err.text[0])
            fail_msg("%s: code %d without a word", what, rc);
        check_store(&a, what);
        n_failed += rc < 0;
        n_passed += rc == LX_OK;
        is_reached = taken >= n;
        n = step_after(n);
    } while (is_reached);
    printf("%s%s: %ld steps; %ld rounds failed, %ld got through\n", k->name,
           forever ? ", for ever" : "", taken, n_failed, n_passed);
}

static void test_fault_store__every_allocation(void **state)
{
    const kind k = {"allocation", {LX_ENOMEM}, arm_alloc, count_alloc};
    (void)state;
    fail_each(&k, false);
    fail_each(&k, true);
}

static void test_fault_store__every_io_call(void **state)
{
    const kind k = {"io call", {LX_EIO, LX_ENOTFOUND}, arm_io, count_io};
    const kind full = {"io call, disk full", {LX_EIO}, arm_space, count_io};
    (void)state;
    fail_each(&k, false);
    fail_each(&k, true);
    fail_each(&full, true);
}

static void test_fault_store__every_call_of_sqlites_files(void **state)
{
    const kind k = {
        "SQLite's file call", {LX_EIO, LX_EFORMAT, LX_EBUSY}, arm_sql, count_sql};
    const kind full = {"SQLite's file call, disk full",
                       {LX_EIO, LX_EFORMAT, LX_EBUSY},
                       arm_sql_space,
                       count_sql};
    (void)state;
    fail_each(&k, false);
    fail_each(&k, true);
    fail_each(&full, true);
}

static int set_up(void **state)
{
    uint32_t x = 1;
    (void)state;
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (unsigned char)((x = x * 1664525 + 1013904223) >> 24);
    /* In memory, if it can be: some thousand stores are made. */
    snprintf(root, sizeof root, "%s/lx-fault-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(root))
        return -1;
    snprintf(folder, sizeof folder, "%s/store", root);
    install_faults();
    return 0;
}

static int tear_down(void **state)
{
    char command[128];
    (void)state;
    lx_io_set(NULL);
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault_store__every_allocation),
        cmocka_unit_test(test_fault_store__every_io_call),
        cmocka_unit_test(test_fault_store__every_call_of_sqlites_files),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
