/* What gc takes and what it leaves. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "store/dataset.h"
#include "store/gc.h"
#include "store/internal.h"
#include "store/query.h"
#include "tests/support/expect.h"
#include "tests/support/tree.h"

static char folder[64];
static lx_store *store;
static const double later = 4e9; /* far in the future: nothing is young */

static int set_up(void **state)
{
    (void)state;
    lx_make_folder(folder, sizeof folder, "lx-gc");
    return lx_store_open(&store, folder, false, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    lx_store_close(store);
    lx_remove_tree(folder);
    return 0;
}

static void fail_line(void *context, const char *line)
{
    (void)context;
    fail_msg("fsck: %s", line);
}

static void ignore_line(void *context, const char *line)
{
    (void)context;
    (void)line;
}

static lx_gc_report collect(bool prunes, double now)
{
    const lx_gc_options options = {.prunes = prunes, .keep_days = 14, .now = now};
    lx_check_report check;
    lx_gc_report report;
    lx_error err;
    if (lx_store_gc(&report, store, &options, ignore_line, NULL, &err) < 0)
        fail_msg("%s", err.text);
    if (lx_store_check(&check, store, fail_line, NULL, &err) < 0)
        fail_msg("%s", err.text);
    return report;
}

static bool is_there(const lx_hash *hash)
{
    bool there;
    assert_int_equal(lx_object_exists(&there, store, hash, NULL), 0);
    return there;
}

/* A run with a data set, curves and a large artifact of its own. */
static int64_t add_run(const char *name, lx_hash *artifact)
{
    static unsigned char bytes[100 * 1024];
    lx_store_image image = {.name = "1.png", .caption = name};
    lx_store_folder data = {"10_x", "x", 10, false, &image, 1};
    lx_run_start start = {.name = name, .kind = "train", .flags = "{\"a\":1}"};
    lx_artifact a = {.role = "lora", .name = "l", .data = bytes, .n = sizeof bytes};
    char *dataset;
    lx_run *run;
    uint32_t x = (uint32_t)name[0];
    int64_t seq;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)((x = x * 1664525 + 1013904223) >> 24);
    assert_int_equal(lx_store_dataset_put(&dataset, store, &data, 1, NULL), 0);
    start.dataset = dataset;
    assert_int_equal(lx_run_begin(&run, store, &start, NULL), 0);
    lx_free(dataset);
    seq = lx_run_seq(run);
    assert_int_equal(lx_run_attach(artifact, store, seq, &a, NULL), 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(lx_run_log(run, "loss", i, i, NULL), 0);
    assert_int_equal(lx_run_end(run, "finished", NULL, NULL), 0);
    return seq;
}

static void test_store_gc__runs_go_from_the_trash_only(void **state)
{
    lx_hash kept, dropped, pinned, tagged, stray, caption = lx_sha256_of("drop", 4);
    int64_t drop, pin, tag;
    lx_gc_report r;
    lx_arena *arena = lx_arena_new();
    lx_run_list list;
    (void)state;
    add_run("keep", &kept);
    drop = add_run("drop", &dropped);
    pin = add_run("pin", &pinned);
    tag = add_run("tag", &tagged);
    assert_int_equal(lx_object_put(&stray, store, "nobody names this", 17, NULL), 0);
    assert_int_equal(lx_run_trash(store, drop, true, NULL), 0);
    assert_int_equal(lx_run_pin(store, pin, true, NULL), 0);
    assert_int_equal(lx_run_trash(store, pin, true, NULL), 0);
    assert_int_equal(lx_run_tag(store, tag, "good", NULL, NULL), 0);
    assert_int_equal(lx_run_trash(store, tag, true, NULL), 0);

    r = collect(true, 0); /* all is young */
    assert_int_equal(r.n_runs + r.n_objects + r.n_files, 0);
    assert_true(is_there(&stray) && is_there(&dropped));

    r = collect(false, later);
    assert_int_equal(r.n_runs, 1);
    assert_true(is_there(&stray) && is_there(&dropped));
    r = collect(true, later);
    assert_int_equal(r.n_runs, 1);
    assert_false(is_there(&stray) || is_there(&dropped) || is_there(&caption));
    assert_true(is_there(&kept) && is_there(&pinned) && is_there(&tagged));
    assert_int_equal(
        lx_query_runs(&list, store, &(lx_run_filter){.has_trashed = true}, arena, NULL),
        0);
    assert_int_equal(list.count, 3);
    r = collect(true, later);
    assert_int_equal(r.n_runs + r.n_objects + r.n_files, 0);
    lx_arena_free(arena);
}

static void test_store_gc__what_is_put_again_is_young(void **state)
{
    lx_hash hash;
    (void)state;
    assert_int_equal(lx_object_put(&hash, store, "again", 5, NULL), 0);
    collect(true, 0);
    assert_int_equal(lx_object_put(&hash, store, "again", 5, NULL), 0);
    collect(true, 0);
    assert_true(is_there(&hash));
    collect(true, later);
    assert_false(is_there(&hash));
}

static void test_store_gc__files_of_a_crash_go_when_they_are_old(void **state)
{
    char temporary[160], object[160], other[160];
    lx_gc_report r;
    (void)state;
    snprintf(temporary, sizeof temporary, "%s/objects/ab/.lx-1-2.tmp", folder);
    snprintf(object, sizeof object, "%s/objects/ab/%062d", folder, 7);
    snprintf(other, sizeof other, "%s/objects/ab/README", folder);
    assert_int_equal(lx_file_write(temporary, "x", 1, NULL), 0);
    assert_int_equal(lx_file_write(object, "x", 1, NULL), 0);
    assert_int_equal(lx_file_write(other, "x", 1, NULL), 0);
    r = collect(true, 0);
    assert_int_equal(r.n_files, 0);
    r = collect(true, later);
    assert_int_equal(r.n_files, 2);
    assert_false(lx_file_exists(temporary) || lx_file_exists(object));
    assert_true(lx_file_exists(other));
}

/* An object with this text is named by the run, and so is what its text names. */
static void name_in_spec(const char *text)
{
    const lx_run_start start = {.name = "names", .kind = "train", .spec = text};
    lx_error err = {0};
    lx_run *run;
    lx_assert_ok(lx_run_begin(&run, store, &start, &err), &err);
    lx_assert_ok(lx_run_end(run, "finished", NULL, &err), &err);
}

/* What looks like the name of an object keeps it: 64 small hexadecimal digits, and nothing else. */
static void test_store_gc__names_in_texts_keep_what_they_name(void **state)
{
    static const struct {
        const char *before, *after;
        int n; /* digits of the name */
    } forms[] = {{"[\"", "\"]", 64},    {"[\"a", "\"]", 64}, {"[\"", "f\"]", 64},
                 {"{\"x\":\"", "", 64}, {"", "", 64},        {"[\"", "\"]", 63},
                 {"[\"", "\"]", 64}};
    enum { N = sizeof forms / sizeof *forms };
    lx_hash hashes[N];
    lx_error err = {0};

    (void)state;
    for (int i = 0; i < N; i++) {
        char object[16], hex[LX_HASH_HEX + 1], text[128];
        snprintf(object, sizeof object, "object %d", i);
        lx_assert_ok(lx_object_put(&hashes[i], store, object, strlen(object), &err),
                     &err);
        lx_hash_hex(hex, &hashes[i]);
        if (i == N - 1)
            for (char *p = hex; *p; p++)
                *p = (char)toupper((unsigned char)*p);
        snprintf(text, sizeof text, "%s%.*s%s", forms[i].before, forms[i].n, hex,
                 forms[i].after);
        name_in_spec(text);
    }
    name_in_spec("");
    collect(true, later);
    for (int i = 0; i < N; i++)
        assert_int_equal(is_there(&hashes[i]), i == 0 || i == 3);
}

/* `n` bytes of text with a name at its end, in an object and in a file. */
static char *large_text(const lx_hash *named, size_t n)
{
    char *text = malloc(n + 1);

    assert_non_null(text);
    memset(text, ' ', n);
    text[0] = '{';
    lx_hash_hex(text + n - LX_HASH_HEX, named);
    return text;
}

/* A folder of 90,000 captions is a text of 20 MB: what it names stays, whichever way it came. */
static void test_store_gc__large_texts_keep_what_they_name(void **state)
{
    enum { SIZE = 17 << 20 };
    char path[96], *text;
    lx_artifact a = {.role = "state", .name = "s", .step = -1, .path = path};
    lx_hash named[2], large;
    lx_error err = {0};

    (void)state;
    name_in_spec("{}");
    snprintf(path, sizeof path, "%s/large.json", folder);
    for (int i = 0; i < 2; i++) {
        lx_assert_ok(lx_object_put(&named[i], store, "named" + i, 5 - (size_t)i, &err),
                     &err);
        text = large_text(&named[i], SIZE);
        lx_assert_ok(lx_file_write(path, text, SIZE, &err), &err);
        a.data = i ? text : NULL; /* compressed, else as it is */
        a.n = i ? SIZE : 0;
        lx_assert_ok(lx_run_attach(&large, store, 1, &a, &err), &err);
        free(text);
        collect(true, later);
        assert_true(is_there(&large) && is_there(&named[i]));
    }
    assert_true(is_there(&named[0]));
}

/* A name that lies across two pieces of the reading. */
static void test_store_gc__names_at_any_place_of_large_texts(void **state)
{
    enum { PIECE = 1 << 18, SIZE = 17 << 20 };
    char path[96], *text;
    lx_artifact a = {.role = "state", .name = "s", .step = -1, .path = path};
    lx_hash named;
    lx_error err = {0};

    (void)state;
    name_in_spec("{}");
    lx_assert_ok(lx_object_put(&named, store, "named", 5, &err), &err);
    snprintf(path, sizeof path, "%s/large.json", folder);
    text = large_text(&named, SIZE);
    memmove(text + PIECE - 20, text + SIZE - LX_HASH_HEX, LX_HASH_HEX);
    memset(text + SIZE - LX_HASH_HEX, ' ', LX_HASH_HEX);
    lx_assert_ok(lx_file_write(path, text, SIZE, &err), &err);
    free(text);
    lx_assert_ok(lx_run_attach(NULL, store, 1, &a, &err), &err);
    collect(true, later);
    assert_true(is_there(&named));
}

/* Weights and pictures name nothing, and are not read to their ends. */
static void test_store_gc__what_is_no_text_is_not_read(void **state)
{
    const lx_gc_options options = {.prunes = true, .keep_days = 14, .now = later};
    lx_str path = LX_STR_INIT;
    lx_gc_report report;
    lx_hash weights;
    lx_error err = {0};

    (void)state;
    add_run("keep", &weights);
    store__object_path(&path, store, &weights);
    lx_assert_shell("printf x | dd of='%s' bs=1 seek=99000 conv=notrunc status=none",
                    path.data);
    lx_str_release(&path);
    lx_assert_ok(lx_store_gc(&report, store, &options, ignore_line, NULL, &err), &err);
    assert_true(is_there(&weights));
}

/* A damaged text may have named anything. */
static void test_store_gc__nothing_goes_from_a_damaged_store(void **state)
{
    const lx_gc_options options = {.prunes = true, .keep_days = 14, .now = later};
    lx_gc_report report;
    lx_hash stray;
    lx_error err = {0};

    (void)state;
    name_in_spec("{\"a\":1}");
    lx_assert_ok(lx_object_put(&stray, store, "stray", 5, &err), &err);
    for (int i = 0; i < 2; i++) {
        lx_assert_ok(store__do(store, &err,
                               i ? "UPDATE object SET data=NULL WHERE size=7"
                                 : "UPDATE object SET data=x'00' WHERE size=7",
                               ""),
                     &err);
        assert_int_equal(lx_store_gc(&report, store, &options, ignore_line, NULL, &err),
                         i ? LX_ENOTFOUND : LX_EFORMAT);
        assert_non_null(strstr(err.text, "nothing is removed from a damaged store"));
        assert_true(is_there(&stray));
    }
}

/* Tails are packed of runs that will not go on; of one that is recorded here and now they are left. */
static void test_store_gc__tails_of_the_living_stay(void **state)
{
    const lx_run_start start = {.name = "alive", .kind = "train"};
    lx_error err = {0};
    lx_gc_report r;
    lx_run *run;

    (void)state;
    lx_assert_ok(lx_run_begin(&run, store, &start, &err), &err);
    lx_assert_ok(lx_run_log(run, "loss", 1, 0.5, &err), &err);
    lx_assert_ok(lx_run_flush(run, &err), &err);
    assert_int_equal(collect(true, 0).n_packed, 0);
    lx_run_abandon(run);
    lx_assert_ok(store__do(store, &err, "UPDATE run SET boot_id='another', pid=1", ""),
                 &err);
    r = collect(false, 0);
    assert_int_equal(r.n_packed, 1);
    r = collect(true, 0);
    assert_int_equal(r.n_packed, 1);
    assert_int_equal(collect(true, 0).n_packed, 0);
}

/* ---- others at that moment ------------------------------------------------------------- */

static int n_locks, meddles_at, refuses_at;
static unsigned char noise[100 * 1024]; /* an object with a file of its own */

static int meddling_lock(int fd, int exclusive, int wait)
{
    lx_store *other;
    lx_hash hash;

    n_locks++;
    if (n_locks == refuses_at) {
        errno = ENOLCK;
        return -1;
    }
    if (n_locks == meddles_at) {
        lx_io_set(NULL);
        assert_int_equal(lx_store_open(&other, folder, false, NULL), 0);
        assert_int_equal(lx_object_put(&hash, other, noise, sizeof noise, NULL), 0);
        lx_store_close(other);
    }
    return lx_io_system.lock(fd, exclusive, wait);
}

static int collect_among_others(int meddles, int refuses, lx_error *err)
{
    const lx_gc_options options = {.prunes = true, .keep_days = 14, .now = later};
    lx_io io = lx_io_system;
    lx_gc_report report;
    int rc;

    io.lock = meddling_lock;
    n_locks = 0;
    meddles_at = meddles;
    refuses_at = refuses;
    lx_io_set(&io);
    rc = lx_store_gc(&report, store, &options, ignore_line, NULL, err);
    lx_io_set(NULL);
    return rc;
}

static void put_noise(lx_hash *hash)
{
    uint32_t x = 7;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (unsigned char)((x = x * 1664525 + 1013904223) >> 24);
    assert_int_equal(lx_object_put(hash, store, noise, sizeof noise, NULL), 0);
}

/* Its row has gone, its file has not yet: whoever puts it at that moment keeps it. */
static void test_store_gc__what_is_put_meanwhile_stays(void **state)
{
    lx_str bytes = LX_STR_INIT;
    lx_error err = {0};
    lx_hash hash;

    (void)state;
    put_noise(&hash);
    lx_assert_ok(collect_among_others(2, 0, &err), &err);
    lx_assert_ok(lx_object_get(&bytes, store, &hash, &err), &err);
    lx_str_release(&bytes);
}

/* One that only tells leaves the lock to others. */
static void test_store_gc__a_look_takes_no_lock(void **state)
{
    const lx_gc_options options = {.keep_days = 14, .now = later};
    lx_io io = lx_io_system;
    lx_gc_report report;
    lx_hash hash;
    lx_error err = {0};

    (void)state;
    put_noise(&hash);
    add_run("keep", &hash);
    io.lock = meddling_lock;
    n_locks = meddles_at = refuses_at = 0;
    lx_io_set(&io);
    lx_assert_ok(lx_store_gc(&report, store, &options, ignore_line, NULL, &err), &err);
    lx_io_set(NULL);
    assert_int_equal(report.n_objects, 1);
    assert_int_equal(n_locks, 0);
}

static const char *spec_meanwhile;

static int recording_lock(int fd, int exclusive, int wait)
{
    const lx_run_start start = {.name = "b", .kind = "train", .spec = spec_meanwhile};
    lx_store *other;
    lx_run *run;

    if (n_locks++ == 0) {
        lx_io_set(NULL);
        assert_int_equal(lx_store_open(&other, folder, false, NULL), 0);
        assert_int_equal(lx_run_begin(&run, other, &start, NULL), 0);
        assert_int_equal(lx_run_end(run, "finished", NULL, NULL), 0);
        lx_store_close(other);
    }
    return lx_io_system.lock(fd, exclusive, wait);
}

/* Between the reading of all that is reached and the lock a run begins, and names what nobody had named. */
static void test_store_gc__what_is_named_meanwhile_stays(void **state)
{
    const lx_gc_options options = {.prunes = true, .keep_days = 14, .now = later};
    char hex[LX_HASH_HEX + 1], text[100];
    lx_io io = lx_io_system;
    lx_gc_report report;
    lx_hash old, stray, spec;
    lx_error err = {0};

    (void)state;
    lx_assert_ok(lx_object_put(&old, store, "old", 3, &err), &err);
    lx_assert_ok(lx_object_put(&stray, store, "stray", 5, &err), &err);
    lx_hash_hex(hex, &old);
    snprintf(text, sizeof text, "[\"%s\"]", hex);
    spec_meanwhile = text;
    spec = lx_sha256_of(text, strlen(text));
    io.lock = recording_lock;
    n_locks = 0;
    lx_io_set(&io);
    lx_assert_ok(lx_store_gc(&report, store, &options, ignore_line, NULL, &err), &err);
    lx_io_set(NULL);
    assert_true(is_there(&spec) && is_there(&old));
    assert_false(is_there(&stray));
    collect(true, later);
    assert_true(is_there(&spec) && is_there(&old));
}

/* Each lock of it refused once: an error, and the next try ends it. */
static void test_store_gc__locks_that_are_refused(void **state)
{
    lx_error err = {0};
    lx_hash hash;
    int n, rc;

    (void)state;
    for (n = 1;; n++) {
        put_noise(&hash);
        for (int i = 0; i < 400; i++) { /* so much that room is given back */
            char text[64];
            lx_hash unused;
            snprintf(text, sizeof text, "%d of a number of small objects, each in a row",
                     i);
            lx_assert_ok(lx_object_put(&unused, store, text, strlen(text), &err), &err);
        }
        rc = collect_among_others(0, n, &err);
        if (n_locks < n)
            break;
        assert_int_equal(rc, LX_EIO);
        collect(true, later);
        assert_false(is_there(&hash));
    }
    lx_assert_ok(rc, &err);
    assert_in_range(n, 4, 10);
}

/* Someone took the file of an object away: its row goes as well. */
static void test_store_gc__files_that_are_gone_already(void **state)
{
    lx_str path = LX_STR_INIT;
    lx_error err = {0};
    lx_hash hash;

    (void)state;
    put_noise(&hash);
    store__object_path(&path, store, &hash);
    assert_int_equal(unlink(path.data), 0);
    lx_str_release(&path);
    lx_assert_ok(collect_among_others(0, 0, &err), &err);
    assert_false(is_there(&hash));
}

static int slow_unlink(const char *path)
{
    const struct timespec pause = {0, 300 * 1000 * 1000};

    nanosleep(&pause, NULL);
    return lx_io_system.unlink(path);
}

/* Locks taken by a gc that removes four objects with files. */
static int locks_of_gc(bool is_slow)
{
    enum { N = 4 };
    const lx_gc_options options = {.prunes = true, .keep_days = 14, .now = later};
    lx_io io = lx_io_system;
    lx_gc_report report;
    lx_hash all[N];
    lx_error err = {0};

    for (int i = 0; i < N; i++) {
        noise[0] = (unsigned char)i;
        lx_assert_ok(lx_object_put(&all[i], store, noise, sizeof noise, &err), &err);
    }
    n_locks = meddles_at = refuses_at = 0;
    io.lock = meddling_lock;
    if (is_slow)
        io.unlink = slow_unlink;
    lx_io_set(&io);
    lx_assert_ok(lx_store_gc(&report, store, &options, ignore_line, NULL, &err), &err);
    lx_io_set(NULL);
    for (int i = 0; i < N; i++)
        assert_false(is_there(&all[i]));
    return n_locks;
}

/* Others that wait for the lock get it where the removal of files takes long, and not before. */
static void test_store_gc__slow_removals_let_others_in(void **state)
{
    lx_hash hash;
    int n_usual;

    (void)state;
    put_noise(&hash);
    n_usual = locks_of_gc(false);
    assert_true(locks_of_gc(true) > n_usual);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_store_gc__runs_go_from_the_trash_only),
        TEST(test_store_gc__what_is_put_again_is_young),
        TEST(test_store_gc__files_of_a_crash_go_when_they_are_old),
        TEST(test_store_gc__names_in_texts_keep_what_they_name),
        TEST(test_store_gc__large_texts_keep_what_they_name),
        TEST(test_store_gc__names_at_any_place_of_large_texts),
        TEST(test_store_gc__what_is_no_text_is_not_read),
        TEST(test_store_gc__nothing_goes_from_a_damaged_store),
        TEST(test_store_gc__tails_of_the_living_stay),
        TEST(test_store_gc__what_is_put_meanwhile_stays),
        TEST(test_store_gc__a_look_takes_no_lock),
        TEST(test_store_gc__what_is_named_meanwhile_stays),
        TEST(test_store_gc__locks_that_are_refused),
        TEST(test_store_gc__files_that_are_gone_already),
        TEST(test_store_gc__slow_removals_let_others_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
