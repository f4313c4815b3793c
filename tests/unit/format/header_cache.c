/* A header alone says what the whole file says, refuses what it refuses, and is parsed once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/format/header_cache.h"
#include "src/format/safetensors.h"
#include "tests/support/golden.h"

static void same(const lx_tensor_file *a, const lx_tensor_file *b)
{
    assert_int_equal(lx_tensor_file_count(a), lx_tensor_file_count(b));
    for (size_t i = 0; i < lx_tensor_file_count(a); i++) {
        const lx_tensor_view *x = lx_tensor_file_at(a, i), *y = lx_tensor_file_at(b, i);
        assert_string_equal(x->name, y->name);
        assert_int_equal(x->dtype, y->dtype);
        assert_int_equal(x->n_dims, y->n_dims);
        assert_memory_equal(x->shape, y->shape, (size_t)x->n_dims * sizeof *x->shape);
        assert_int_equal(x->bytes, y->bytes);
        assert_ptr_equal(lx_tensor_file_find(a, y->name), x);
    }
    assert_int_equal(lx_tensor_file_metadata_count(a), lx_tensor_file_metadata_count(b));
    for (size_t i = 0; i < lx_tensor_file_metadata_count(a); i++) {
        const char *ka, *va, *kb, *vb;
        lx_tensor_file_metadata_at(a, i, &ka, &va);
        lx_tensor_file_metadata_at(b, i, &kb, &vb);
        assert_string_equal(ka, kb);
        assert_string_equal(va, vb);
    }
    assert_int_equal(lx_tensor_file_note_count(a), lx_tensor_file_note_count(b));
    for (size_t i = 0; i < lx_tensor_file_note_count(a); i++)
        assert_string_equal(lx_tensor_file_note(a, i), lx_tensor_file_note(b, i));
}

/* Twice, so that the second time the layout is known. */
static void compare_folder(const char *folder)
{
    lx_header_cache *cache;
    lx_dir dir;
    size_t n = 0;

    assert_int_equal(lx_header_cache_new(&cache, NULL, NULL), 0);
    assert_int_equal(lx_dir_list(&dir, folder, NULL), 0);
    for (size_t i = 0; i < 2 * dir.count; i++) {
        lx_tensor_file *whole = NULL, *header = NULL;
        lx_error a = {0}, b = {0};
        char path[1024];
        int rc;
        snprintf(path, sizeof path, "%s/%s", folder, dir.names[i / 2]);
        rc = lx_tensor_file_open(&whole, path, &a);
        if (rc != lx_tensor_file_open_header(&header, cache, path, &b))
            fail_msg("%s: %s; %s", path, a.text, b.text);
        if (rc < 0) {
            assert_string_equal(a.text, b.text);
        } else {
            same(header, whole);
            n++;
        }
        lx_tensor_file_close(whole);
        lx_tensor_file_close(header);
    }
    assert_true(n > 10);
    lx_dir_free(&dir);
    lx_header_cache_free(cache);
}

static void test_format_header_cache__reads_and_refuses_the_same(void **state)
{
    const char *files = lx_golden("lora/files");

    compare_folder(LX_TEST_DIR "/badfiles");
    if (files)
        compare_folder(files);
}

static int n_released;

static void release(void *data)
{
    n_released += data != NULL;
}

static void test_format_header_cache__one_layout_serves_many_files(void **state)
{
    static float values[2][4] = {{1, 2, 3, 4}, {5, 6, 7, 8}};
    char path[] = "/tmp/lx-header-XXXXXX";
    lx_header_cache *cache;
    int attached = 0, fd = mkstemp(path);

    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(lx_header_cache_new(&cache, NULL, NULL), 0);
    for (int i = 0; i < 4; i++) {
        /* other values, other metadata, the same tensors; the last has one of another shape */
        lx_tensor_view views[] = {{"a.alpha", LX_F32, 0, {0}, 1, &values[i % 2][1], 4, NULL},
                                  {"b", LX_F32, 1, {3}, 3, values[i % 2], 12, NULL}};
        char text[] = "padding is longer";
        lx_metadata_entry entry = {"k", text};
        lx_tensor_file *file;
        double number;
        text[i] = '\0';
        if (i == 3)
            views[1] = (lx_tensor_view){"b", LX_F32, 2, {1, 3}, 3, values[0], 12, NULL};
        assert_int_equal(lx_safetensors_write(path, views, 2, &entry, 1, NULL), 0);
        assert_int_equal(lx_tensor_file_open_header(&file, cache, path, NULL), 0);
        assert_string_equal(lx_tensor_file_metadata(file, "k"), text);
        assert_null(lx_tensor_file_find(file, "b")->data);
        assert_int_equal(lx_tensor_file_number(
                             &number, file, lx_tensor_file_find(file, "a.alpha"), NULL),
                         0);
        assert_true(number == values[i % 2][1]);
        assert_int_equal(
            lx_tensor_file_number(&number, file, lx_tensor_file_find(file, "b"), NULL),
            LX_EFORMAT);
        assert_ptr_equal(lx_tensor_file_attached(file),
                         i == 0 || i == 3 ? NULL : &attached);
        if (i == 0)
            assert_true(lx_tensor_file_attach(file, &attached, release));
        if (i < 2)
            assert_false(lx_tensor_file_attach(file, path, release));
        lx_tensor_file_close(file);
    }
    lx_header_cache_free(cache);
    assert_int_equal(n_released, 1);
    unlink(path);
}

/* Threads look at the same files, each through its own cache: what is parsed once serves all. */
enum { THREADS = 4, LAYOUTS = 5, ROUNDS = 40 };

static char shared_folder[] = "/tmp/lx-headers-XXXXXX";
static int facts[LAYOUTS]; /* what is attached, known by the layout */
static atomic_int n_freed;

static void count_release(void *data)
{
    (void)data;
    atomic_fetch_add(&n_freed, 1);
}

static void *look_at_all(void *cache)
{
    long wrong = 0;

    for (int turn = 0; turn < ROUNDS * LAYOUTS; turn++) {
        const int which = turn % LAYOUTS;
        lx_tensor_file *file;
        char path[64];
        void *known;
        snprintf(path, sizeof path, "%s/%d", shared_folder, which);
        if (lx_tensor_file_open_header(&file, cache, path, NULL) < 0)
            return (void *)1;
        wrong += lx_tensor_file_at(file, 0)->n_elements != (size_t)which + 1;
        if ((known = lx_tensor_file_attached(file)))
            wrong += known != &facts[which];
        else
            lx_tensor_file_attach(file, &facts[which], count_release);
        lx_tensor_file_close(file);
    }
    return (void *)wrong;
}

static void test_format_header_cache__threads_share_what_they_parsed(void **state)
{
    static const float values[LAYOUTS];
    lx_header_cache *caches[THREADS] = {NULL};
    pthread_t threads[THREADS];
    char path[64];

    assert_non_null(mkdtemp(shared_folder));
    for (int i = 0; i < LAYOUTS; i++) {
        const lx_tensor_view view = {
            "a", LX_F32, 1, {i + 1}, (size_t)i + 1, values, 4 * (size_t)(i + 1), NULL};
        snprintf(path, sizeof path, "%s/%d", shared_folder, i);
        assert_int_equal(lx_safetensors_write(path, &view, 1, NULL, 0, NULL), 0);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(lx_header_cache_new(&caches[i], caches[0], NULL), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, look_at_all, caches[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    for (int i = 0; i < THREADS; i++)
        lx_header_cache_free(caches[i]);
    /* One a layout that was kept, and one at most of each file that lost the race to keep one. */
    assert_in_range(atomic_load(&n_freed), LAYOUTS, LAYOUTS * THREADS);
    for (int i = 0; i < LAYOUTS; i++) {
        snprintf(path, sizeof path, "%s/%d", shared_folder, i);
        unlink(path);
    }
    rmdir(shared_folder);
}

/* Until whoever met a layout first goes on to another file, one that defers leaves the like for later. */
static void test_format_header_cache__what_another_reads_is_left_for_later(void **state)
{
    static const float values[3] = {1, 2, 3};
    const lx_tensor_view view = {"a", LX_F32, 1, {3}, 3, values, 12, NULL},
                         other = {"b", LX_F32, 1, {3}, 3, values, 12, NULL};
    lx_header_cache *first, *second;
    lx_tensor_file *a, *b;
    lx_error err;
    char paths[2][64];

    (void)state;
    for (int i = 0; i < 2; i++) {
        snprintf(paths[i], sizeof paths[i], "/tmp/lx-later-%ld-%d", (long)getpid(), i);
        assert_int_equal(
            lx_safetensors_write(paths[i], i ? &other : &view, 1, NULL, 0, NULL), 0);
    }
    assert_int_equal(lx_header_cache_new(&first, NULL, NULL), 0);
    assert_int_equal(lx_header_cache_new(&second, first, NULL), 0);
    assert_int_equal(lx_tensor_file_open_header(&a, first, paths[0], &err), 0);
    lx_header_cache_defer(second, true);
    assert_int_equal(lx_tensor_file_open_header(&b, second, paths[0], &err), LX_EBUSY);
    assert_int_equal(lx_tensor_file_open_header(&b, second, paths[1], &err), 0);
    lx_tensor_file_close(b);
    assert_int_equal(lx_tensor_file_open_header(&b, second, paths[0], &err), LX_EBUSY);
    lx_tensor_file_close(a);
    assert_int_equal(lx_tensor_file_open_header(&a, first, paths[1], &err), 0);
    assert_int_equal(lx_tensor_file_open_header(&b, second, paths[0], &err), 0);
    lx_tensor_file_close(a);
    lx_tensor_file_close(b);
    lx_header_cache_free(first);
    lx_header_cache_free(second);
    unlink(paths[0]);
    unlink(paths[1]);
}

/* What a header without metadata ends with, behind metadata and no comma. */
static void test_format_header_cache__a_missing_comma_is_seen(void **state)
{
    static const char *const begins[] = {"{", "{\"__metadata__\":{\"a\":\"b\"},",
                                         "{\"__metadata__\":{\"a\":\"b\"}"};
    lx_header_cache *cache;

    (void)state;
    assert_int_equal(lx_header_cache_new(&cache, NULL, NULL), 0);
    for (int i = 0; i < 3; i++) {
        char path[64], bytes[256] = {0};
        lx_tensor_file *file = NULL;
        const int n = snprintf(bytes + 8, sizeof bytes - 24,
                               "%s\"w\":{\"dtype\":\"F32\",\"shape\":[2,2],"
                               "\"data_offsets\":[0,16]}}",
                               begins[i]);
        snprintf(path, sizeof path, "/tmp/lx-comma-%ld.safetensors", (long)getpid());
        bytes[0] = (char)n;
        assert_int_equal(lx_file_write(path, bytes, 8 + (size_t)n + 16, NULL), 0);
        assert_int_equal(lx_tensor_file_open_header(&file, cache, path, NULL),
                         i < 2 ? 0 : LX_EFORMAT);
        lx_tensor_file_close(file);
        unlink(path);
    }
    lx_header_cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format_header_cache__reads_and_refuses_the_same),
        cmocka_unit_test(test_format_header_cache__a_missing_comma_is_seen),
        cmocka_unit_test(test_format_header_cache__one_layout_serves_many_files),
        cmocka_unit_test(test_format_header_cache__threads_share_what_they_parsed),
        cmocka_unit_test(test_format_header_cache__what_another_reads_is_left_for_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
