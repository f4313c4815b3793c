/* What gc takes and what it leaves. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "store/dataset.h"
#include "store/gc.h"
#include "store/query.h"

static char folder[64];
static lx_store *store;
static const double later = 4e9; /* far in the future: nothing is young */

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

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_store_gc__runs_go_from_the_trash_only),
        TEST(test_store_gc__what_is_put_again_is_young),
        TEST(test_store_gc__files_of_a_crash_go_when_they_are_old),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
