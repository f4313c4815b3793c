/* Names of flags and curves over all runs, what runs were made from, datasets read back;
 * all of it also when memory runs out at any moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "store/dataset.h"
#include "store/query.h"

static char folder[64];
static lx_store *store;
static lx_arena *arena;
static char *root;

static void put_run(const char *flags, const char *curve, const char *dataset)
{
    const lx_run_start start = {.kind = "train", .flags = flags, .dataset = dataset};
    lx_error err = {0};
    lx_run *run;

    assert_int_equal(lx_run_begin(&run, store, &start, &err), 0);
    assert_int_equal(lx_run_log(run, curve, 1, 2.5, &err), 0);
    assert_int_equal(lx_run_end(run, "finished", NULL, &err), 0);
}

static int set_up(void **state)
{
    lx_hash hash = lx_sha256_of("x", 1);
    lx_store_image one[] = {{"b.png", hash, 10, 4, 3, "solo", NULL},
                            {"a.png", hash, 11, 5, 6, NULL, NULL}};
    lx_store_image two[] = {{"r.png", hash, 12, 7, 8, "", NULL}};
    lx_store_folder folders[] = {{"2_b", "b girl", 2, false, one, 2},
                                 {"1_a", NULL, 1, true, two, 1}};

    (void)state;
    snprintf(folder, sizeof folder, "/tmp/lx-inputs-XXXXXX");
    if (!mkdtemp(folder) || lx_store_open(&store, folder, false, NULL) < 0 ||
        lx_store_dataset_put(&root, store, folders, 2, NULL) < 0)
        return -1;
    arena = lx_arena_new();
    put_run("{\"network_dim\":4,\"shared\":true}", "loss", root);
    put_run("{\"network_dim\":8,\"shared\":true,\"alone\":\"x\"}", "val/loss", NULL);
    return 0;
}

static int tear_down(void **state)
{
    char command[128];
    (void)state;
    lx_store_close(store);
    lx_arena_free(arena);
    lx_free(root);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static void test_store_inputs__names_of_flags_and_curves(void **state)
{
    const char **names;
    size_t n;

    (void)state;
    assert_int_equal(lx_query_flag_keys(&names, &n, store, false, arena, NULL), 0);
    assert_int_equal(n, 3);
    assert_string_equal(names[0], "alone");
    assert_string_equal(names[2], "shared");
    assert_int_equal(lx_query_flag_keys(&names, &n, store, true, arena, NULL), 0);
    assert_int_equal(n, 1);
    assert_string_equal(names[0], "network_dim");
    assert_int_equal(lx_query_series_keys(&names, &n, store, arena, NULL), 0);
    assert_int_equal(n, 2);
    assert_string_equal(names[0], "loss");
}

static void test_store_inputs__by_hash(void **state)
{
    lx_hash hash = lx_sha256_of(root, strlen(root));
    lx_input_row *rows;
    size_t n;

    (void)state;
    assert_int_equal(lx_query_inputs(&rows, &n, store, arena, NULL), 0);
    assert_int_equal(n, 1);
    assert_true(rows[0].has_dataset && !rows[0].has_base_model);
    assert_true(lx_hash_equal(&rows[0].dataset, &hash));
}

static void test_store_inputs__a_dataset_comes_back(void **state)
{
    lx_dataset_rows d;
    lx_error err = {0};

    (void)state;
    assert_int_equal(lx_store_dataset_get(&d, store, root, arena, &err), 0);
    assert_true(d.n_folders == 2 && d.n_images == 3);
    assert_string_equal(d.folders[0].name, "1_a");
    assert_true(d.folders[0].is_reg && d.folders[0].n_images == 1 &&
                !d.folders[1].is_reg);
    assert_string_equal(d.folders[1].class_tokens, "b girl");
    assert_int_equal(d.folders[1].repeats, 2);
    assert_string_equal(d.folders[1].images[0].name, "a.png"); /* sorted */
    assert_string_equal(d.folders[1].images[0].caption, "");
    assert_int_equal(strlen(d.folders[1].images[1].caption), LX_HASH_HEX);
    assert_true(d.folders[1].images[1].width == 4 && d.folders[1].images[1].bytes == 10);
    assert_true(lx_store_dataset_get(&d, store, "{\"folders\":[{\"name\":\"x\"}]}", arena,
                                     &err) == LX_EFORMAT);
    assert_true(lx_store_dataset_get(&d, store, "[", arena, &err) < 0);
}

static int read_all(lx_arena *own, lx_error *err)
{
    const char **names;
    lx_input_row *rows;
    lx_dataset_rows d;
    size_t n;
    int rc;

    if ((rc = lx_query_flag_keys(&names, &n, store, true, own, err)) < 0 ||
        (rc = lx_query_series_keys(&names, &n, store, own, err)) < 0 ||
        (rc = lx_query_inputs(&rows, &n, store, own, err)) < 0)
        return rc;
    return lx_store_dataset_get(&d, store, root, own, err);
}

static void test_store_inputs__lives_through_want_of_memory(void **state)
{
    (void)state;
    lx_arena_use_blocks(1); /* each piece of an arena is an allocation */
    for (size_t n = 1;; n++) {
        lx_arena *own = lx_arena_new();
        lx_error err = {0};
        int rc;
        lx_alloc_fail_at(n, true);
        rc = read_all(own, &err);
        lx_alloc_fail_at(0, false);
        lx_arena_free(own);
        if (rc == LX_OK)
            break;
        if (rc != LX_ENOMEM)
            fail_msg("allocation %zu: %d %s", n, rc, err.text);
    }
    lx_arena_use_blocks(0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_inputs__names_of_flags_and_curves),
        cmocka_unit_test(test_store_inputs__by_hash),
        cmocka_unit_test(test_store_inputs__a_dataset_comes_back),
        cmocka_unit_test(test_store_inputs__lives_through_want_of_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
