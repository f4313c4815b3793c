/* Opening and writing tensor files with the n-th allocation failing, for every n. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/format/safetensors.h"
#include "src/format/torch_write.h"
#include "tests/support/golden.h"

static void fail_each_allocation(const char *path, bool forever)
{
    for (size_t n = 1;; n++) {
        lx_tensor_file *file = NULL;
        lx_error err = {0};
        int rc;

        lx_alloc_fail_at(n, forever);
        rc = lx_tensor_file_open(&file, path, &err);
        lx_alloc_fail_at(0, false);
        if (rc == LX_OK) {
            lx_tensor_file_close(file);
            assert_true(n > 5);
            return;
        }
        if (rc != LX_ENOMEM || !strstr(err.text, "out of memory"))
            fail_msg("%s, allocation %zu: %d \"%s\"", path, n, rc, err.text);
        assert_null(file);
    }
}

static void each(const char *path)
{
    fail_each_allocation(path, false);
    fail_each_allocation(path, true);
}

static void test_fault_format__safetensors(void **state)
{
    each(lx_golden_need("model/odd_tensors.safetensors"));
    each(lx_badfile_need("st_meta_ansi.safetensors"));
    each(lx_badfile_need("st_name_bidi.safetensors"));
    each(lx_badfile_need("st_extra_field.safetensors"));
}

static void test_fault_format__pickles(void **state)
{
    each(lx_golden_need("model/odd_tensors.ckpt"));
    each(lx_golden_need("model/legacy_nonzip.ckpt"));
    each(lx_badfile_need("ckpt_ok_deflated.ckpt"));
    each(lx_badfile_need("ckpt_numpy_scalar.ckpt"));
}

static int write_safetensors(const char *path, const lx_tensor_file *file, lx_error *err)
{
    const lx_metadata_entry metadata = {"k", "v"};
    return lx_safetensors_write(path, lx_tensor_file_at(file, 0),
                                lx_tensor_file_count(file), &metadata, 1, err);
}

static int write_torch(const char *path, const lx_tensor_file *file, lx_error *err)
{
    return lx_torch_write(path, lx_tensor_file_at(file, 0), lx_tensor_file_count(file),
                          err);
}

static void fail_each_write(int (*write)(const char *, const lx_tensor_file *,
                                         lx_error *))
{
    lx_tensor_file *file = lx_golden_open("model/odd_tensors.safetensors");
    char path[] = "/tmp/lx-test-fault-XXXXXX";
    int rc = -1;

    close(mkstemp(path));
    assert_int_equal(lx_file_write(path, "old", 3, NULL), 0);
    for (size_t n = 1; rc != LX_OK; n++) {
        lx_str text;
        lx_error err = {0};
        lx_alloc_fail_at(n, false);
        rc = write(path, file, &err);
        lx_alloc_fail_at(0, false);
        if (rc == LX_OK)
            break;
        assert_int_equal(rc, LX_ENOMEM);
        assert_int_equal(lx_file_read(&text, path, 3, NULL), 0);
        assert_string_equal(lx_str_text(&text), "old");
        lx_str_release(&text);
    }
    unlink(path);
    lx_tensor_file_close(file);
}

static void test_fault_format__a_failed_write_leaves_the_old_file(void **state)
{
    fail_each_write(write_safetensors);
    fail_each_write(write_torch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault_format__safetensors),
        cmocka_unit_test(test_fault_format__pickles),
        cmocka_unit_test(test_fault_format__a_failed_write_leaves_the_old_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
