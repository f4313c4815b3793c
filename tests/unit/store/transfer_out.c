/* Runs on their way out of a store in which something is missing or changes meanwhile, and what of them is private. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/json.h"
#include "store/query.h"
#include "store/transfer.h"
#include "tests/support/expect.h"

static char folder[64];
static lx_store *store;
static lx_arena *arena;
static lx_privacy *privacy;
static lx_transfer *transfer;

static int set_up(void **state)
{
    (void)state;
    lx_make_folder(folder, sizeof folder, "lx-leave");
    setenv("USER", "wren", 1);
    if (lx_store_open(&store, folder, false, NULL) < 0)
        return -1;
    arena = lx_arena_new();
    return lx_privacy_new(&privacy, false, NULL) < 0 ||
                   lx_transfer_new(&transfer, store, privacy, arena, NULL) < 0
               ? -1
               : 0;
}

static int tear_down(void **state)
{
    (void)state;
    lx_transfer_free(transfer);
    lx_privacy_free(privacy);
    lx_store_close(store);
    lx_arena_free(arena);
    lx_assert_shell("rm -rf '%s'", folder);
    return 0;
}

static lx_run *begin(const char *dataset)
{
    const lx_run_start start = {.name = "a", .kind = "train", .dataset = dataset};
    lx_error err = {0};
    lx_run *run;
    lx_assert_ok(lx_run_begin(&run, store, &start, &err), &err);
    return run;
}

/* Its record on its way. */
static const cJSON *leave(int64_t seq)
{
    lx_error err = {0};
    lx_run_row row;
    lx_assert_ok(lx_query_run(&row, store, seq, arena, &err), &err);
    lx_assert_ok(lx_transfer_add(transfer, &row, &err), &err);
    return lx_transfer_records(transfer)->child->prev; /* the last */
}

static void test_store_transfer_out__a_run_that_is_gone_meanwhile(void **state)
{
    lx_run *run = begin(NULL);
    lx_error err = {0};
    lx_run_row row;
    (void)state;

    lx_assert_ok(lx_query_run(&row, store, lx_run_seq(run), arena, &err), &err);
    lx_run_abandon(run);
    row.seq = 99;
    assert_int_equal(lx_transfer_add(transfer, &row, &err), LX_ENOTFOUND);
    assert_non_null(strstr(err.text, row.id));
    assert_int_equal(cJSON_GetArraySize(lx_transfer_records(transfer)), 0);
}

static void test_store_transfer_out__a_live_run_takes_its_console_along(void **state)
{
    lx_run *silent = begin(NULL), *loud = begin(NULL);
    const lx_transfer_object *objects;
    const char *hex;
    lx_hash hash = lx_sha256_of("by user\n", 8);
    char wanted[LX_HASH_HEX + 1];
    size_t n;
    (void)state;

    lx_hash_hex(wanted, &hash);
    assert_int_equal(lx_run_console(loud, "by wren\n", 8, NULL), 0);
    assert_int_equal(lx_run_flush(loud, NULL), 0);
    assert_null(cJSON_GetObjectItem(leave(lx_run_seq(silent)), "console"));
    hex = lx_json_text(leave(lx_run_seq(loud)), "console");
    assert_string_equal(hex, wanted);
    objects = lx_transfer_objects(transfer, &n);
    while (n && !lx_hash_equal(&objects[n - 1].hash, &hash))
        n--;
    assert_int_not_equal(n, 0);
    lx_run_abandon(silent);
    lx_run_abandon(loud);
}

/* What cannot be rewritten is told by its name. What only a dataset names has none. */
static void test_store_transfer_out__private_words_in_bytes_are_told(void **state)
{
    const lx_artifact picture = {
        .role = "sample", .name = "c.png", .step = -1, .data = "PNG\0wren", .n = 8};
    char hex[LX_HASH_HEX + 1], dataset[160];
    const char *const *left;
    lx_run *run;
    lx_error err = {0};
    lx_hash hash;
    size_t n;
    (void)state;

    lx_assert_ok(lx_object_put(&hash, store, "GIF\xff\0wren", 9, &err), &err);
    lx_hash_hex(hex, &hash);
    snprintf(dataset, sizeof dataset, "{\"a\":\"%s\"}", hex);
    run = begin(dataset);
    lx_assert_ok(lx_run_attach(NULL, store, lx_run_seq(run), &picture, &err), &err);
    leave(lx_run_seq(run));
    left = lx_transfer_left(transfer, &n);
    assert_int_equal(n, 1);
    assert_string_equal(left[0], "c.png");
    lx_run_abandon(run);
}

/* A curve keeps its name, and that it has something private is told, each name once. */
static void test_store_transfer_out__private_names_of_curves_are_told(void **state)
{
    static const char *const keys[] = {"wren/loss", "wren/lr", "loss"};
    const char *const *left;
    lx_run *run = begin(NULL);
    size_t n;
    (void)state;

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_int_equal(lx_run_log(run, keys[i], 1, 0.5, NULL), 0);
    assert_int_equal(lx_run_flush(run, NULL), 0);
    for (int times = 0; times < 2; times++) {
        leave(lx_run_seq(run));
        left = lx_transfer_curves(transfer, &n);
        assert_int_equal(n, 2);
        assert_string_equal(left[0], "user/loss");
        assert_string_equal(left[1], "user/lr");
    }
    lx_run_abandon(run);
}

/* Texts that name one another: as far as a dataset's reach, and no farther. */
static void test_store_transfer_out__texts_are_followed_so_far(void **state)
{
    enum { N = 9, REACH = 7 };
    char text[96] = "the last", hex[LX_HASH_HEX + 1];
    lx_transfer_object const *objects;
    lx_error err = {0};
    lx_hash all[N];
    lx_run *run;
    size_t n;
    (void)state;

    for (int i = 0; i < N; i++) {
        lx_assert_ok(lx_object_put(&all[i], store, text, strlen(text), &err), &err);
        lx_hash_hex(hex, &all[i]);
        snprintf(text, sizeof text, "[\"%s\"]", hex);
    }
    run = begin(text);
    leave(lx_run_seq(run));
    objects = lx_transfer_objects(transfer, &n);
    for (int i = 0; i < N; i++) {
        bool is_there = false;
        for (size_t k = 0; k < n; k++)
            is_there |= lx_hash_equal(&objects[k].hash, &all[i]);
        assert_true(is_there == (i >= N - REACH + 1));
    }
    lx_run_abandon(run);
}

/* What another store would not take is not sent. */
static void test_store_transfer_out__a_name_that_is_too_long(void **state)
{
    static char name[5000];
    lx_run *run = begin(NULL);
    lx_run_row row;
    lx_error err = {0};
    (void)state;

    memset(name, 'a', sizeof name - 1);
    lx_assert_ok(lx_query_run(&row, store, lx_run_seq(run), arena, &err), &err);
    row.origin = name;
    assert_int_equal(lx_transfer_add(transfer, &row, &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "its name or origin"));
    lx_run_abandon(run);
}

/* A run that goes on, with points and a console: any allocation fails. */
static void test_store_transfer_out__no_memory_on_the_way(void **state)
{
    bool has_failed = true;
    lx_run *run = begin("{\"a\":1}");
    lx_run_row row;
    (void)state;

    assert_int_equal(lx_run_log(run, "loss", 1, 0.5, NULL), 0);
    assert_int_equal(lx_run_console(run, "by wren\n", 8, NULL), 0);
    assert_int_equal(lx_run_flush(run, NULL), 0);
    assert_int_equal(lx_query_run(&row, store, lx_run_seq(run), arena, NULL), LX_OK);
    leave(
        row.seq); /* its statements are prepared from then on, and each try asks for as much */
    for (size_t n = 1; has_failed; n++) {
        lx_arena *own = lx_arena_new();
        lx_transfer *one = NULL;
        lx_privacy *fresh; /* one that lacked memory once tells so for ever */
        lx_error err = {0};
        int rc;

        lx_assert_ok(lx_privacy_new(&fresh, false, &err), &err);
        lx_alloc_fail_at(n, false);
        if ((rc = lx_transfer_new(&one, store, fresh, own, &err)) == LX_OK)
            rc = lx_transfer_add(one, &row, &err);
        has_failed = lx_alloc_has_failed();
        lx_alloc_fail_at(0, false);
        if (rc != LX_OK && (rc != LX_ENOMEM || !*err.text))
            fail_msg("allocation %zu: %d %s", n, rc, err.text);
        assert_in_range(n, 1, 5000);
        lx_transfer_free(one);
        lx_privacy_free(fresh);
        lx_arena_free(own);
    }
    lx_run_abandon(run);
}

static const char lora[] =
    "\x68\0\0\0\0\0\0\0"
    "{\"__metadata__\":{\"ss_training_comment\":\"by wren\"},"
    "\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}"
    "  xyz";

/* A LoRA file is rewritten once for its hash and once more when it leaves: names that are learned in between would
 * make two of it. */
static void test_store_transfer_out__all_is_learned_before_anything_leaves(void **state)
{
    const lx_artifact file = {
        .role = "lora", .name = "a", .step = -1, .data = lora, .n = sizeof lora - 1};
    const lx_transfer_object *objects;
    lx_str room = LX_STR_INIT;
    const void *data;
    lx_error err = {0};
    lx_run *run = begin(NULL);
    size_t n, size;
    (void)state;

    lx_assert_ok(lx_run_attach(NULL, store, lx_run_seq(run), &file, &err), &err);
    leave(lx_run_seq(run));
    objects = lx_transfer_objects(transfer, &n);
    while (n && (objects[n - 1].data ||
                 lx_hash_equal(&objects[n - 1].hash, &objects[n - 1].from)))
        n--;
    assert_int_not_equal(n, 0);
    lx_assert_ok(lx_transfer_bytes(&data, &size, &room, transfer, &objects[n - 1], &err),
                 &err);
    assert_int_equal(size, objects[n - 1].size);
    lx_privacy_learn_name(privacy, LX_PRIVATE_USER, "training");
    assert_int_equal(
        lx_transfer_bytes(&data, &size, &room, transfer, &objects[n - 1], &err),
        LX_EINTERNAL);
    lx_str_release(&room);
    lx_run_abandon(run);
}

int main(void)
{
#define TEST(f) \
    cmocka_unit_test_setup_teardown(test_store_transfer_out__##f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_run_that_is_gone_meanwhile),
        TEST(a_live_run_takes_its_console_along),
        TEST(private_words_in_bytes_are_told),
        TEST(all_is_learned_before_anything_leaves),
        TEST(private_names_of_curves_are_told),
        TEST(texts_are_followed_so_far),
        TEST(a_name_that_is_too_long),
        TEST(no_memory_on_the_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
