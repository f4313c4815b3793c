/* What lx writes in torch's format, read back by lx (torch's own reader: tests/peers). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/format/torch_write.h"
#include "src/format/zip.h"
#include "tests/support/golden.h"
#include "tests/support/model.h"

static char path[] = "/tmp/lx-test-torch-write-XXXXXX";

static int make_path(void **state)
{
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
    return unlink(path);
}

static lx_tensor_view view_of(const char *name, lx_dtype dtype, int n_dims, int64_t a,
                              int64_t b, const void *data)
{
    lx_tensor_view view = {
        .name = name, .dtype = dtype, .n_dims = n_dims, .shape = {a, b}};
    view.n_elements = (size_t)(n_dims > 0 ? a : 1) * (size_t)(n_dims > 1 ? b : 1);
    view.bytes = view.n_elements * (size_t)lx_dtype_bits(dtype) / 8;
    view.data = data;
    return view;
}

static void read_all(lx_str *out)
{
    lx_error err = {0};
    lx_assert_ok(lx_file_read(out, path, 1 << 24, &err), &err);
}

/* Every dtype that torch has a storage class for, scalars and empty tensors. */
static void test_format_torch_write__what_was_written_is_read_back(void **state)
{
    lx_tensor_file *golden = lx_golden_open("model/odd_tensors.safetensors"), *back;
    lx_error err = {0};

    lx_assert_ok(lx_torch_write(path, lx_tensor_file_at(golden, 0),
                                lx_tensor_file_count(golden), &err),
                 &err);
    lx_assert_ok(lx_tensor_file_open(&back, path, &err), &err);
    assert_string_equal(lx_tensor_file_format(back), "torch zip");
    assert_int_equal(lx_tensor_file_note_count(back), 0);
    assert_int_equal(lx_tensor_file_count(back), lx_tensor_file_count(golden));
    for (size_t i = 0; i < lx_tensor_file_count(golden); i++) {
        const lx_tensor_view *want = lx_tensor_file_at(golden, i);
        const lx_tensor_view *got = lx_golden_find(back, "%s", want->name);

        assert_int_equal(got->dtype, want->dtype);
        assert_int_equal(got->n_dims, want->n_dims);
        assert_memory_equal(got->shape, want->shape, sizeof want->shape);
        assert_int_equal(got->bytes, want->bytes);
        if (want->bytes)
            assert_memory_equal(got->data, want->data, want->bytes);
    }
    lx_tensor_file_close(back);
    lx_tensor_file_close(golden);
}

static void test_format_torch_write__the_order_of_tensors_does_not_matter(void **state)
{
    const float a[6] = {1, 2, 3, 4, 5, 6}, b = 7;
    lx_tensor_view views[2] = {view_of("b.weight", LX_F32, 2, 2, 3, a),
                               view_of("a.alpha", LX_F32, 0, 0, 0, &b)};
    const lx_tensor_view turned[2] = {views[1], views[0]};
    lx_error err = {0};
    lx_str first, second;

    lx_assert_ok(lx_torch_write(path, views, 2, &err), &err);
    read_all(&first);
    lx_assert_ok(lx_torch_write(path, turned, 2, &err), &err);
    read_all(&second);
    assert_int_equal(first.len, second.len);
    assert_memory_equal(first.data, second.data, first.len);
    lx_str_release(&first);
    lx_str_release(&second);
}

static void test_format_torch_write__storages_begin_at_multiples_of_64(void **state)
{
    const float data[3] = {1, 2, 3};
    lx_tensor_view views[3] = {view_of("x", LX_F32, 1, 1, 0, data),
                               view_of("longer.name", LX_F32, 1, 3, 0, data),
                               view_of("empty", LX_F32, 1, 0, 0, data)};
    lx_arena *arena = lx_arena_new();
    lx_error err = {0};
    lx_zip zip;
    lx_str all;

    lx_assert_ok(lx_torch_write(path, views, 3, &err), &err);
    read_all(&all);
    lx_assert_ok(lx_zip_open(&zip, arena, (const unsigned char *)all.data, all.len, &err),
                 &err);
    assert_int_equal(zip.count, 5);
    for (size_t i = 0; i < zip.count; i++) {
        assert_int_equal(zip.entries[i].data_at % 64, 0);
        assert_int_equal(zip.entries[i].method, LX_ZIP_STORED);
        lx_assert_ok(lx_zip_check(&zip, &zip.entries[i], &err), &err);
    }
    assert_non_null(lx_zip_find(&zip, "archive/version"));
    lx_str_release(&all);
    lx_arena_free(arena);
}

static void test_format_torch_write__refusals_leave_the_old_file(void **state)
{
    const float data[2] = {1, 2};
    const struct {
        lx_tensor_view views[2];
        const char *says;
        int code;
    } cases[] = {
        {{view_of("x", LX_F32, 1, 2, 0, data), view_of("x", LX_F32, 1, 2, 0, data)},
         "two tensors are named \"x\"",
         LX_EFORMAT},
        {{view_of("x", LX_F32, 1, 2, 0, data), view_of("y", LX_F8_E4M3, 1, 2, 0, data)},
         "\"y\": F8_E4M3 has no storage class in torch",
         LX_EUNSUPPORTED},
        {{view_of("x\xff", LX_F32, 1, 2, 0, data), view_of("y", LX_F32, 1, 2, 0, data)},
         "is not UTF-8",
         LX_EFORMAT},
    };

    assert_int_equal(lx_file_write(path, "old", 3, NULL), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lx_error err = {0};
        lx_str all;

        assert_int_equal(lx_torch_write(path, cases[i].views, 2, &err), cases[i].code);
        assert_non_null(strstr(err.text, cases[i].says));
        read_all(&all);
        assert_string_equal(lx_str_text(&all), "old");
        lx_str_release(&all);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format_torch_write__what_was_written_is_read_back),
        cmocka_unit_test(test_format_torch_write__the_order_of_tensors_does_not_matter),
        cmocka_unit_test(test_format_torch_write__storages_begin_at_multiples_of_64),
        cmocka_unit_test(test_format_torch_write__refusals_leave_the_old_file),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
