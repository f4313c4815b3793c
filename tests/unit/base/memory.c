/* base/alloc, base/arena, base/error and base/sha256 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/base/arena.h"
#include "src/base/error.h"
#include "src/base/sha256.h"

static void test_base_alloc__sizes_do_not_wrap(void **state)
{
    size_t out = 7, capacity = 0;
    int *array = NULL;

    assert_false(lx_mul_size(&out, SIZE_MAX, 2));
    assert_false(lx_add_size(&out, SIZE_MAX, 1));
    assert_int_equal(out, 7);
    assert_true(lx_mul_size(&out, 3, 5) && out == 15);
    assert_int_equal(lx_grow(&array, &capacity, SIZE_MAX / 2, sizeof *array), LX_ENOMEM);
    assert_null(array);
    assert_int_equal(lx_grow(&array, &capacity, 9, sizeof *array), LX_OK);
    assert_true(capacity >= 9);
    lx_free(array);
    assert_null(lx_alloc_aligned(SIZE_MAX));
}

static void test_base_alloc__the_nth_fails(void **state)
{
    void *a, *b, *c;
    lx_alloc_fail_at(2, false);
    a = lx_alloc(0);
    b = lx_calloc(1, 1);
    c = lx_alloc_aligned(1);
    assert_int_equal(lx_alloc_count(), 3);
    lx_alloc_fail_at(0, false);
    assert_true(a && !b && c && (uintptr_t)c % 64 == 0);
    lx_free(a);
    lx_free_aligned(c);
}

static void test_base_arena__hands_out_aligned_memory_until_freed(void **state)
{
    lx_arena *arena = lx_arena_new();
    unsigned char *blocks[300];

    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < 300; i++) {
            size_t n = i % 7 == 0 ? 40000 : i * 13;
            blocks[i] = lx_arena_alloc(arena, n);
            assert_true(blocks[i] && (uintptr_t)blocks[i] % 16 == 0);
            memset(blocks[i], (int)i, n);
        }
        for (size_t i = 1; i < 300; i++)
            if (i % 7)
                assert_int_equal(blocks[i][i * 13 - 1], (unsigned char)i);
        lx_arena_reset(arena);
    }
    assert_string_equal(lx_arena_printf(arena, "%s-%d", "x", 42), "x-42");
    assert_string_equal(lx_arena_strndup(arena, "abcdef", 3), "abc");
    assert_null(lx_arena_alloc(arena, SIZE_MAX - 4));
    assert_null(lx_arena_calloc(arena, SIZE_MAX, 2));
    lx_arena_free(arena);
    lx_arena_free(NULL);
}

static void test_base_error__text_gains_context_and_is_cut_not_overrun(void **state)
{
    lx_error err;
    assert_int_equal(lx_fail(&err, LX_EFORMAT, "at byte %d", 7), LX_EFORMAT);
    lx_within(&err, "%s", "a.safetensors");
    assert_string_equal(err.text, "a.safetensors: at byte 7");
    assert_int_equal(err.code, LX_EFORMAT);
    for (int i = 0; i < 400; i++)
        lx_within(&err, "context %d", i);
    assert_true(strlen(err.text) < sizeof err.text);
    assert_non_null(strstr(err.text, "context 399: context 398: "));
    assert_int_equal(lx_fail(NULL, LX_EIO, "x"), LX_EIO);
    lx_within(NULL, "x");
}

static void test_base_error__errno_becomes_a_code(void **state)
{
    lx_error err;
    assert_int_equal(lx_fail_errno(&err, ENOENT, "%s", "f"), LX_ENOTFOUND);
    assert_string_equal(err.text, "f: No such file or directory");
    assert_int_equal(lx_fail_errno(&err, EROFS, "f"), LX_EPERM);
    assert_int_equal(lx_fail_errno(&err, ENOSPC, "f"), LX_EIO);
    assert_int_equal(lx_fail_errno(&err, EEXIST, "f"), LX_EEXISTS);
    assert_int_equal(lx_exit_status(LX_OK), 0);
    assert_int_equal(lx_exit_status(LX_ELIMIT), 65);
    assert_int_equal(lx_exit_status(LX_EINTERRUPTED), 130);
    assert_int_equal(lx_exit_status(-99), 70);
}

/* FIPS 180-4 examples. */
static void test_base_sha256__published_digests(void **state)
{
    static const char want[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    char hex[LX_HASH_HEX + 1];
    lx_hash hash = lx_sha256_of("abc", 3), back;
    lx_sha256 h;

    lx_hash_hex(hex, &hash);
    assert_string_equal(hex, want);
    assert_true(lx_hash_from_hex(&back, hex) && lx_hash_equal(&back, &hash));
    lx_sha256_init(&h);
    lx_sha256_update(&h, "a", 1);
    lx_sha256_update(&h, "bc", 2);
    back = lx_sha256_final(&h);
    assert_true(lx_hash_equal(&back, &hash));
    hex[0] = 'B';
    assert_false(lx_hash_from_hex(&back, hex));
    assert_false(lx_hash_from_hex(&back, "ba78"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_alloc__sizes_do_not_wrap),
        cmocka_unit_test(test_base_alloc__the_nth_fails),
        cmocka_unit_test(test_base_arena__hands_out_aligned_memory_until_freed),
        cmocka_unit_test(test_base_error__text_gains_context_and_is_cut_not_overrun),
        cmocka_unit_test(test_base_error__errno_becomes_a_code),
        cmocka_unit_test(test_base_sha256__published_digests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
