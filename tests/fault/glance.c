/* A header read and judged twice, the second time from its layout, with the n-th allocation failing, for
 * every n: an error of memory or the full answer, never another one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/lora/glance.h"
#include "tests/support/golden.h"

static int look(const char *path, lx_header_cache *cache, lx_arena *arena,
                size_t *n_tensors, lx_error *err)
{
    lx_tensor_file *file = NULL;
    lx_glance glance;
    int rc = lx_tensor_file_open_header(&file, cache, path, err);

    if (rc == LX_OK && (rc = lx_glance_of(&glance, file, path, arena, err)) == LX_OK)
        *n_tensors = glance.summary.n_tensors;
    lx_tensor_file_close(file);
    return rc;
}

static int look_twice(const char *path, size_t n_tensors[2], lx_error *err)
{
    lx_header_cache *cache = NULL;
    lx_arena *arena = lx_arena_new();
    int rc = arena ? lx_header_cache_new(&cache, NULL, err) : lx_oom(err);

    for (int i = 0; i < 2 && rc == LX_OK; i++)
        rc = look(path, cache, arena, &n_tensors[i], err);
    lx_header_cache_free(cache);
    lx_arena_free(arena);
    return rc;
}

static void each(const char *path)
{
    size_t wanted[2];

    assert_int_equal(look_twice(path, wanted, NULL), 0);
    for (int forever = 0; forever < 2; forever++)
        for (size_t n = 1;; n++) {
            size_t got[2] = {0}, asked;
            lx_error err = {0};
            int rc;
            lx_alloc_fail_at(n, forever);
            rc = look_twice(path, got, &err);
            asked = lx_alloc_count();
            lx_alloc_fail_at(0, false);
            if (rc == LX_OK && (got[0] != wanted[0] || got[1] != wanted[1]))
                fail_msg("%s, allocation %zu: another answer", path, n);
            if (rc != LX_OK && rc != LX_ENOMEM)
                fail_msg("%s, allocation %zu: %d \"%s\"", path, n, rc, err.text);
            if (asked < n)
                break;
        }
}

static void test_fault_glance__every_allocation_fails(void **state)
{
    const char *lora = lx_golden("lora/files/full_r4_a1_fp16.safetensors");

    each(lx_badfile_need("st_meta_ansi.safetensors"));
    each(lx_badfile_need("st_name_bidi.safetensors"));
    each(lx_badfile_need("st_lora_rank_mismatch.safetensors"));
    if (lora)
        each(lora);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault_glance__every_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
