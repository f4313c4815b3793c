/* Objects that change, vanish or find no room while they are put, and runs that others record at that moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/base/io.h"
#include "store/internal.h"
#include "store/query.h"
#include "tests/support/expect.h"
#include "tests/support/tree.h"

static char folder[64];
static lx_store *store;
static unsigned char noise[100 * 1024]; /* a file of its own in the store */

static int set_up(void **state)
{
    uint32_t x = 1;
    lx_error err = {0};

    (void)state;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (unsigned char)((x = x * 1664525 + 1013904223) >> 24);
    lx_make_folder(folder, sizeof folder, "lx-object");
    if (chdir(folder) < 0)
        return -1;
    lx_assert_ok(lx_store_open(&store, "store", false, &err), &err);
    lx_assert_shell("truncate -s 17M large.bin"); /* more than goes through memory */
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    lx_io_set(NULL);
    lx_store_close(store);
    lx_remove_tree(folder);
    return chdir("/");
}

static const char *path_of(const lx_hash *hash)
{
    static lx_str path = LX_STR_INIT;
    store__object_path(&path, store, hash);
    return lx_str_text(&path);
}

/* ---- reading a large file ------------------------------------------------------------- */

static int n_reads, changes_at, fails_at, error_code;

static ssize_t changing_read(int fd, void *data, size_t n)
{
    ssize_t got;

    if (++n_reads == fails_at) {
        errno = error_code;
        return -1;
    }
    got = lx_io_system.read(fd, data, n);
    if (n_reads == changes_at && got > 0)
        *(char *)data ^= 1;
    return got;
}

static int put_large(int changes, int fails, int error, lx_error *err)
{
    lx_io io = lx_io_system;
    lx_hash hash;
    int rc;

    io.read = changing_read;
    n_reads = 0;
    changes_at = changes;
    fails_at = fails;
    error_code = error;
    lx_io_set(&io);
    rc = lx_object_put_file(&hash, store, "large.bin", err);
    lx_io_set(NULL);
    return rc;
}

static void test_store_object__a_file_that_changes_while_it_is_read(void **state)
{
    int in_all, first;
    lx_hash hash;
    lx_error err = {0};

    (void)state;
    lx_assert_ok(lx_file_hash(&hash, "large.bin", &err), &err);
    assert_int_equal(put_large(1 << 20, 1 << 20, 0, &err), LX_OK);
    in_all = n_reads;
    lx_assert_ok(store__do(store, &err, "DELETE FROM object", ""), &err);
    assert_int_equal(unlink(path_of(&hash)), 0);
    first = in_all - 1; /* of its last ones, which are the copy's */
    assert_int_equal(put_large(first, 0, 0, &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "changes while it is read"));
    assert_int_equal(put_large(0, first, EIO, &err), LX_EIO);
    assert_non_null(strstr(err.text, "large.bin"));
    assert_false(lx_file_exists(path_of(&hash)));
    lx_assert_ok(put_large(0, first, EINTR, &err), &err); /* a signal came */
    assert_true(lx_file_exists(path_of(&hash)));
}

/* ---- room ------------------------------------------------------------------------------ */

static ssize_t refusing_write(int fd, const void *data, size_t n)
{
    (void)fd;
    (void)data;
    (void)n;
    errno = error_code;
    return -1;
}

/* A disk or a quota that is full says nothing of what is on the disk: one may try again (4). */
static void test_store_object__no_room_is_no_failed_write(void **state)
{
    static const struct {
        int error;
        bool poisons;
    } rows[] = {
        {ENOSPC, false}, {EDQUOT, false}, {EFBIG, false}, {EACCES, false}, {EIO, true}};
    lx_io io = lx_io_system;
    lx_hash hash;
    lx_error err = {0};

    (void)state;
    io.write = refusing_write;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        error_code = rows[i].error;
        lx_io_set(&io);
        assert_true(lx_object_put(&hash, store, noise, sizeof noise, &err) < 0);
        lx_io_set(NULL);
        assert_int_equal(store->is_poisoned, rows[i].poisons);
    }
}

/* ---- others at that moment ---------------------------------------------------------------- */

static lx_store *other;
static const char *other_does; /* right before the lock is ours */
static lx_hash other_hash;

static int meddling_lock(int fd, int exclusive, int wait)
{
    const char *does = other_does;

    other_does = NULL;
    if (does && *does == '/')
        assert_int_equal(unlink(path_of(&other_hash)), 0);
    else if (does)
        assert_int_equal(store__do(other, NULL, does, ""), LX_OK);
    return lx_io_system.lock(fd, exclusive, wait);
}

static void meddle(const char *does)
{
    static lx_io io;

    io = lx_io_system;
    io.lock = meddling_lock;
    other_does = does;
    lx_io_set(&io);
}

static void test_store_object__gc_at_the_very_moment(void **state)
{
    lx_hash small, large;
    lx_error err = {0};
    bool is_here;

    (void)state;
    lx_assert_ok(lx_store_open(&other, "store", false, &err), &err);
    other_hash = lx_sha256_of(noise, sizeof noise);
    meddle("/"); /* the file is taken before its row is written */
    assert_int_equal(lx_object_put(&large, store, noise, sizeof noise, &err), LX_EBUSY);
    assert_non_null(strstr(err.text, "lx gc ran at this moment"));
    lx_assert_ok(lx_object_put(&large, store, noise, sizeof noise, &err), &err);
    lx_assert_ok(lx_object_put(&small, store, "small", 5, &err), &err);
    meddle("DELETE FROM object WHERE size=5"); /* the row is, after it was seen */
    assert_int_equal(lx_object_put(&small, store, "small", 5, &err), LX_EBUSY);
    lx_assert_ok(lx_object_exists(&is_here, store, &small, &err), &err);
    assert_false(is_here);
    lx_io_set(NULL);
    lx_store_close(other);
}

/* One that was put long ago is young again, and not written again for a day. */
static void test_store_object__known_ones_stay_young(void **state)
{
    lx_hash hash;
    lx_error err = {0};
    int64_t added;

    (void)state;
    lx_assert_ok(lx_object_put(&hash, store, "known", 5, &err), &err);
    for (int days = 0; days < 3; days += 2) {
        lx_assert_ok(store__do(store, &err, "UPDATE object SET added=?1", "i",
                               (int64_t)store__now() - 60 - days * 86400),
                     &err);
        lx_assert_ok(lx_object_put(&hash, store, "known", 5, &err), &err);
        lx_assert_ok(
            store__number(&added, 0, store, &err, "SELECT added FROM object", ""), &err);
        assert_int_equal((double)added > store__now() - 30, days == 2);
    }
}

/* The same run of another tool, imported by two at once: one of them is told. */
static void test_store_object__an_origin_is_recorded_once(void **state)
{
    const lx_run_start start = {
        .kind = "import", .origin = "lora:1", .is_historic = true};
    lx_run *run;
    lx_error err = {0};

    (void)state;
    lx_assert_ok(lx_store_open(&other, "store", false, &err), &err);
    meddle("INSERT INTO run(id, kind, origin, started, recorded) VALUES('0', 'import', "
           "'lora:1', 0, 0)");
    assert_int_equal(lx_run_begin(&run, store, &start, &err), LX_EEXISTS);
    assert_non_null(strstr(err.text, "lora:1: is here already"));
    assert_int_equal(lx_run_begin(&run, store, &start, &err), LX_EEXISTS);
    lx_io_set(NULL);
    lx_store_close(other);
}

/* ---- reading back -------------------------------------------------------------------------- */

static void test_store_object__rows_that_cannot_be(void **state)
{
    static const char *const changes[] = {"size=-1",   "size=6",   "encoding=7",
                                          "data=NULL", "data=x''", "data='text'",
                                          "encoding=1"};
    lx_str bytes = LX_STR_INIT;
    lx_hash hash;
    lx_error err = {0};

    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        char sql[64];
        int rc;
        lx_assert_ok(lx_object_put(&hash, store, "bytes", 5, &err), &err);
        snprintf(sql, sizeof sql, "UPDATE object SET %s", changes[i]);
        lx_assert_ok(store__do(store, &err, sql, ""), &err);
        rc = lx_object_get(&bytes, store, &hash, &err);
        if (rc != (strncmp(changes[i], "size=6", 6) == 0  ? LX_OK
                   : strcmp(changes[i], "data=NULL") == 0 ? LX_ENOTFOUND
                                                          : LX_EFORMAT))
            fail_msg("%s: %d %s", changes[i], rc, err.text);
        lx_assert_ok(store__do(store, &err, "DELETE FROM object", ""), &err);
    }
    lx_str_release(&bytes);
}

/* A folder of the store that someone took away is made again (3). */
static void test_store_object__folders_that_are_gone(void **state)
{
    lx_str bytes = LX_STR_INIT;
    lx_hash hash;
    lx_error err = {0};

    (void)state;
    lx_remove_tree("store/objects");
    lx_assert_ok(lx_object_put(&hash, store, noise, sizeof noise, &err), &err);
    lx_assert_ok(lx_object_get(&bytes, store, &hash, &err), &err);
    assert_int_equal(bytes.len, sizeof noise);
    lx_assert_ok(lx_object_get_file(store, &hash, "out.bin", &err), &err);
    lx_str_release(&bytes);
}

/* ---- files of runs ---------------------------------------------------------------------------- */

static void attach(const char *role, const char *path, const char *data, size_t n,
                   const char *wanted)
{
    const lx_artifact a = {
        .role = role, .name = "a", .step = -1, .path = path, .data = data, .n = n};
    const lx_run_start start = {.kind = "train"};
    lx_str bytes = LX_STR_INIT;
    lx_run *run;
    lx_hash hash;
    lx_error err = {0};

    lx_assert_ok(lx_run_begin(&run, store, &start, &err), &err);
    lx_assert_ok(lx_run_attach(&hash, store, lx_run_seq(run), &a, &err), &err);
    lx_assert_ok(lx_run_end(run, "finished", NULL, &err), &err);
    lx_assert_ok(lx_object_get(&bytes, store, &hash, &err), &err);
    assert_string_equal(lx_str_text(&bytes), wanted);
    lx_str_release(&bytes);
}

#define SECRET "--token=hf_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* Texts of some roles are scrubbed, whatever their encoding; what is another file of the user's stays. */
static void test_store_object__texts_are_scrubbed_and_files_are_not(void **state)
{
    lx_error err = {0};

    (void)state;
    lx_assert_ok(lx_file_write("text", SECRET, sizeof SECRET - 1, &err), &err);
    lx_assert_ok(lx_file_write("bytes", SECRET "\xff", sizeof SECRET, &err), &err);
    attach("log", NULL, SECRET, sizeof SECRET - 1, "--token=***");
    attach("console", "text", NULL, 0, "--token=***");
    attach("config", NULL, SECRET "\xff", sizeof SECRET, "--token=***");
    attach("config", "bytes", NULL, 0, "--token=***");
    attach("state", "bytes", NULL, 0, SECRET "\xff");
    attach("state", "text", NULL, 0, SECRET);
    attach("state", NULL, SECRET, sizeof SECRET - 1, SECRET);
    attach("log", NULL, NULL, 0, "");
}

static int check_file(const char *role, const char *path, lx_error *err)
{
    const lx_artifact a = {.role = role, .name = "a", .step = -1, .path = path};
    *err = (lx_error){0};
    return lx_run_check_artifact(&a, err);
}

/* What is larger than a text would be is kept as any file is; zeros in one that is none are told before a run begins. */
static void test_store_object__texts_that_are_none(void **state)
{
    const lx_run_start start = {.kind = "train"};
    const lx_hash absent = {{1}};
    lx_artifact a = {.role = "log", .name = "a", .step = -1, .path = "much"};
    lx_run *run;
    lx_hash hash, wanted;
    lx_error err = {0};

    (void)state;
    lx_assert_shell("truncate -s 257M much && printf '\\0\\377' >bytes && printf text >text");
    lx_assert_ok(lx_run_begin(&run, store, &start, &err), &err);
    lx_assert_ok(check_file("log", "much", &err), &err);
    lx_assert_ok(lx_run_attach(&hash, store, lx_run_seq(run), &a, &err), &err);
    lx_assert_ok(lx_file_hash(&wanted, "much", &err), &err);
    assert_true(lx_hash_equal(&hash, &wanted));
    lx_assert_ok(check_file("log", "text", &err), &err);
    lx_assert_ok(check_file("state", "bytes", &err), &err);
    assert_int_equal(check_file("log", "bytes", &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "bytes: byte 0 is zero"));
    assert_int_equal(check_file("log", "nowhere", &err), LX_ENOTFOUND);
    a = (lx_artifact){.role = "log", .name = "a name", .step = -1, .data = "\0\xff", .n = 2};
    lx_assert_ok(lx_run_check_artifact(&a, &err), &err);
    assert_int_equal(lx_run_attach(&hash, store, lx_run_seq(run), &a, &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "a name: byte 0"));
    a = (lx_artifact){.role = "log", .name = "a", .step = -1, .hash = &absent, .is_stored = true};
    lx_assert_ok(lx_run_check_artifact(&a, &err), &err);
    assert_int_equal(lx_run_attach(&hash, store, lx_run_seq(run), &a, &err), LX_ENOTFOUND);
    assert_non_null(strstr(err.text, "holds no such object"));
    a = (lx_artifact){.role = "log", .name = "a", .step = -1, .path = "bytes", .data = "x", .n = 1};
    lx_assert_ok(lx_run_check_artifact(&a, &err), &err);
    a = (lx_artifact){.role = "log", .name = "a", .step = -1, .hash = &absent}; /* only named */
    a.path = "bytes";
    lx_assert_ok(lx_run_check_artifact(&a, &err), &err);
    lx_run_abandon(run);
}

static void test_store_object__runs_that_have_ended_or_never_were(void **state)
{
    const lx_run_start start = {.kind = "train"};
    lx_artifact a = {.role = "log", .name = "a", .data = "x", .n = 1};
    lx_hash hash;
    lx_run *run;
    lx_error err = {0};

    (void)state;
    lx_assert_ok(lx_run_begin(&run, store, &start, &err), &err);
    lx_assert_ok(lx_run_end(run, "finished", NULL, &err), &err);
    assert_int_equal(lx_run_open(&run, store, 1, &err), LX_EUSAGE);
    assert_non_null(strstr(err.text, "has ended (finished)"));
    assert_int_equal(lx_run_open(&run, store, 2, &err), LX_ENOTFOUND);
    assert_int_equal(lx_run_attach(&hash, store, 2, &a, &err), LX_ENOTFOUND);
    assert_int_equal(lx_run_note(store, 2, "x", &err), LX_ENOTFOUND);
    a.data = NULL;
    a.path = "nowhere";
    assert_int_equal(lx_run_attach(&hash, store, 1, &a, &err), LX_ENOTFOUND);
    a.role = "state";
    assert_int_equal(lx_run_attach(&hash, store, 1, &a, &err), LX_ENOTFOUND);
}

static void ignore_line(void *context, const char *line)
{
    (void)context;
    (void)line;
}

static ino_t bad_file; /* of a medium that fails */

static ssize_t bad_read(int fd, void *data, size_t n)
{
    struct stat st;

    if (fstat(fd, &st) == 0 && st.st_ino == bad_file) {
        errno = EIO;
        return -1;
    }
    return lx_io_system.read(fd, data, n);
}

static void count_line(void *context, const char *line)
{
    *(int *)context += strstr(line, "cannot read") || strstr(line, "damaged");
}

/* A file under a bad sector is an error, and no signal; fsck tells it and looks at the others. */
static void test_store_object__a_file_that_cannot_be_read(void **state)
{
    lx_io io = lx_io_system;
    lx_str bytes = LX_STR_INIT;
    lx_check_report report;
    lx_hash bad, damaged;
    lx_error err = {0};
    struct stat st;
    int n_told = 0;

    (void)state;
    lx_assert_ok(lx_object_put(&bad, store, noise, sizeof noise, &err), &err);
    lx_assert_ok(lx_object_put(&damaged, store, "other", 5, &err), &err);
    lx_assert_ok(store__do(store, &err, "UPDATE object SET data=x'00' WHERE size=5", ""),
                 &err);
    assert_int_equal(stat(path_of(&bad), &st), 0);
    bad_file = st.st_ino;
    io.read = bad_read;
    lx_io_set(&io);
    assert_int_equal(lx_object_get(&bytes, store, &bad, &err), LX_EIO);
    assert_int_equal(lx_store_check(&report, store, count_line, &n_told, &err), LX_EIO);
    lx_io_set(NULL);
    assert_int_equal(n_told, 2);
    lx_assert_ok(lx_object_get(&bytes, store, &bad, &err), &err);
    lx_str_release(&bytes);
}

/* One that grew by a terabyte of nothing is damaged, and not read into memory. */
static void test_store_object__a_file_that_grew(void **state)
{
    lx_str bytes = LX_STR_INIT;
    lx_error err = {0};
    lx_hash hash;

    (void)state;
    lx_assert_ok(lx_object_put(&hash, store, noise, sizeof noise, &err), &err);
    chmod(path_of(&hash), 0600);
    assert_int_equal(truncate(path_of(&hash), (off_t)1 << 40), 0);
    assert_int_equal(lx_object_get(&bytes, store, &hash, &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "larger"));
    lx_str_release(&bytes);
}

/* Two processes put the same large text at the same moment, one from memory and one as a file: whichever is first with
 * its file and with its row, it is sound. */
static void test_store_object__two_ways_at_the_same_moment(void **state)
{
    enum { SIZE = (16 << 20) + 1 };
    char path[96], *text = malloc(SIZE);
    lx_str bytes = LX_STR_INIT;
    lx_check_report report;
    lx_error err = {0};

    (void)state;
    assert_non_null(text);
    snprintf(path, sizeof path, "%s/large.txt", folder);
    for (int i = 0; i < 4; i++) {
        store__batch whole = store__batch_of(store), pieces = whole;
        bool file_last = i & 1, file_wins = i & 2;
        lx_hash hash, same;
        int64_t size;

        for (uint32_t k = 0, x = (uint32_t)i; k < SIZE; k++)
            text[k] = (char)('a' + ((x = x * 1664525 + 1013904223) >> 28));
        lx_assert_ok(lx_file_write(path, text, SIZE, &err), &err);
        if (file_last)
            lx_assert_ok(store__batch_put(&hash, &whole, text, SIZE, &err), &err);
        lx_assert_ok(store__batch_put_file(&same, &size, &pieces, path, &err), &err);
        if (!file_last)
            lx_assert_ok(store__batch_put(&hash, &whole, text, SIZE, &err), &err);
        for (int k = 0; k < 2; k++) {
            lx_assert_ok(store__begin(store, &err), &err);
            lx_assert_ok(store__end(store,
                                    store__batch_add(
                                        (k == 0) == file_wins ? &pieces : &whole, &err),
                                    &err),
                         &err);
        }
        store__batch_release(&whole);
        store__batch_release(&pieces);
        assert_true(lx_hash_equal(&hash, &same));
        lx_assert_ok(lx_object_get(&bytes, store, &hash, &err), &err);
        assert_int_equal(bytes.len, SIZE);
        assert_memory_equal(bytes.data, text, SIZE);
    }
    lx_assert_ok(lx_store_check(&report, store, ignore_line, NULL, &err), &err);
    assert_int_equal(report.n_problems, 0);
    lx_str_release(&bytes);
    free(text);
}

/* ---- piece by piece ---------------------------------------------------------------------------- */

typedef struct seen {
    size_t n, enough; /* bytes; 0: all are looked at */
    int code;         /* what the last look tells */
} seen;

static int see(void *context, const void *bytes, size_t n, lx_error *err)
{
    seen *s = context;

    assert_non_null(bytes);
    assert_int_not_equal(n, 0);
    s->n += n;
    if (!s->enough || s->n < s->enough)
        return LX_OK;
    return s->code < 0 ? lx_fail(err, s->code, "seen") : s->code;
}

static int stream(const lx_hash *hash, seen *s, lx_error *err)
{
    s->n = 0;
    *err = (lx_error){0};
    return store__object_stream(store, hash, see, s, err);
}

enum { LARGE = 17 << 20, PACKED = 0, AS_IT_IS, IN_ROW, EMPTY, N_KINDS };

static void put_kinds(lx_hash kinds[N_KINDS])
{
    char *text = malloc(LARGE);
    uint32_t x = 3;
    lx_error err = {0};

    assert_non_null(text);
    for (size_t i = 0; i < LARGE; i++)
        text[i] = (char)('a' + ((x = x * 1664525 + 1013904223) >> 28));
    lx_assert_ok(lx_object_put(&kinds[PACKED], store, text, LARGE, &err), &err);
    lx_assert_ok(lx_object_put_file(&kinds[AS_IT_IS], store, "large.bin", &err), &err);
    lx_assert_ok(lx_object_put(&kinds[IN_ROW], store, "in its row", 10, &err), &err);
    lx_assert_ok(lx_object_put(&kinds[EMPTY], store, "", 0, &err), &err);
    free(text);
}

static void test_store_object__in_pieces_until_enough_was_seen(void **state)
{
    static const size_t sizes[N_KINDS] = {LARGE, LARGE, 10, 0};
    lx_hash kinds[N_KINDS];
    lx_error err = {0};

    (void)state;
    put_kinds(kinds);
    for (int i = 0; i < N_KINDS; i++) {
        seen all = {0}, some = {.enough = 5, .code = 1}, failed = {.enough = 5, .code = LX_EIO};
        lx_assert_ok(stream(&kinds[i], &all, &err), &err);
        assert_int_equal(all.n, sizes[i]);
        lx_assert_ok(stream(&kinds[i], &some, &err), &err);
        assert_in_range(some.n, 0, 1 << 18);
        assert_int_equal(stream(&kinds[i], &failed, &err), sizes[i] ? LX_EIO : LX_OK);
    }
}

static void test_store_object__in_pieces_that_cannot_be_read(void **state)
{
    lx_io io = lx_io_system;
    lx_hash kinds[N_KINDS];
    lx_error err = {0};

    (void)state;
    put_kinds(kinds);
    io.read = changing_read;
    for (int i = 0; i < 4; i++) {
        bool has_failed = true;
        error_code = i < 2 ? EINTR : EIO;
        for (fails_at = 1; has_failed; fails_at++) {
            seen all = {0};
            int rc;
            n_reads = changes_at = 0;
            lx_io_set(&io);
            rc = stream(&kinds[i % 2], &all, &err);
            lx_io_set(NULL);
            has_failed = n_reads >= fails_at;
            if (rc != (has_failed && error_code == EIO ? LX_EIO : LX_OK))
                fail_msg("read %d: %d %s", fails_at, rc, err.text);
        }
        assert_in_range(fails_at, 20, 200);
    }
    for (int i = 0; i < 2; i++)
        for (changes_at = 1; changes_at < 3; changes_at++) {
            seen all = {0};
            n_reads = fails_at = 0;
            lx_io_set(&io);
            assert_int_equal(stream(&kinds[i], &all, &err), LX_EFORMAT);
            lx_io_set(NULL);
        }
}

/* What comes first is whole, what is behind it is damaged: it ends there. */
static void test_store_object__in_pieces_of_which_one_is_damaged(void **state)
{
    lx_hash kinds[N_KINDS];
    lx_error err = {0};
    seen all = {0};

    (void)state;
    put_kinds(kinds);
    for (int i = PACKED; i <= AS_IT_IS; i++) {
        lx_assert_shell("chmod 600 %s && printf '%%64s' | tr ' ' '\\377' | "
                        "dd of=%s bs=1 seek=8 conv=notrunc 2>/dev/null",
                        path_of(&kinds[i]), path_of(&kinds[i]));
        assert_int_equal(stream(&kinds[i], &all, &err), LX_EFORMAT);
        lx_assert_shell("rm -f %s", path_of(&kinds[i]));
        assert_int_equal(stream(&kinds[i], &all, &err), LX_ENOTFOUND);
    }
    lx_assert_ok(store__do(store, &err, "UPDATE object SET data=x'00' WHERE size=10", ""), &err);
    assert_int_equal(stream(&kinds[IN_ROW], &all, &err), LX_EFORMAT);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_store_object__a_file_that_changes_while_it_is_read),
        TEST(test_store_object__no_room_is_no_failed_write),
        TEST(test_store_object__gc_at_the_very_moment),
        TEST(test_store_object__two_ways_at_the_same_moment),
        TEST(test_store_object__a_file_that_cannot_be_read),
        TEST(test_store_object__a_file_that_grew),
        TEST(test_store_object__known_ones_stay_young),
        TEST(test_store_object__an_origin_is_recorded_once),
        TEST(test_store_object__rows_that_cannot_be),
        TEST(test_store_object__folders_that_are_gone),
        TEST(test_store_object__texts_are_scrubbed_and_files_are_not),
        TEST(test_store_object__texts_that_are_none),
        TEST(test_store_object__runs_that_have_ended_or_never_were),
        TEST(test_store_object__in_pieces_until_enough_was_seen),
        TEST(test_store_object__in_pieces_that_cannot_be_read),
        TEST(test_store_object__in_pieces_of_which_one_is_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
