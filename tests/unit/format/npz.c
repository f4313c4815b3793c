/* numpy's archives: what lx writes it reads, and what a header may not say (numpy's own reader: tests/peers). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/file.h"
#include "src/format/npz.h"
#include "src/format/zip_write.h"
#include "tests/support/golden.h"
#include "tests/support/model.h"

static char path[] = "/tmp/lx-test-npz-XXXXXX";

static int make_path(void **state)
{
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
    return unlink(path);
}

static void test_format_npz__what_was_written_is_read_back(void **state)
{
    static const lx_dtype dtypes[] = {LX_F32, LX_F16,  LX_F64, LX_I64, LX_I32,
                                      LX_I16, LX_I8,   LX_U64, LX_U32, LX_U16,
                                      LX_U8,  LX_BOOL, LX_C64};
    enum { N = sizeof dtypes / sizeof *dtypes };
    static const unsigned char data[8 * 6] = {1, 0, 1, 1, 0, 0, 0, 0, 7, 8, 9};
    lx_tensor_view views[N + 2] = {{0}};
    char names[N][8];
    lx_tensor_file *file;
    lx_error err = {0};

    for (size_t i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "a%zu", N - i);
        views[i] = (lx_tensor_view){.name = names[i],
                                    .dtype = dtypes[i],
                                    .n_dims = 2,
                                    .shape = {2, 3},
                                    .data = data};
        views[i].n_elements = 6;
        views[i].bytes = 6 * (size_t)lx_dtype_bits(dtypes[i]) / 8;
    }
    views[N] = (lx_tensor_view){
        .name = "scalar", .dtype = LX_F32, .n_elements = 1, .bytes = 4, .data = data};
    views[N + 1] = (lx_tensor_view){
        .name = "empty", .dtype = LX_F32, .n_dims = 1, .shape = {0}, .data = data};
    lx_assert_ok(lx_npz_write(path, views, N + 2, &err), &err);
    lx_assert_ok(lx_tensor_file_open(&file, path, &err), &err);
    assert_string_equal(lx_tensor_file_format(file), "npz");
    assert_int_equal(lx_tensor_file_count(file), N + 2);
    for (size_t i = 0; i < N + 2; i++) {
        const lx_tensor_view *got = lx_tensor_file_find(file, views[i].name);
        assert_non_null(got);
        assert_int_equal(got->dtype, views[i].dtype);
        assert_int_equal(got->n_dims, views[i].n_dims);
        assert_memory_equal(got->shape, views[i].shape, sizeof got->shape);
        assert_int_equal(got->bytes, views[i].bytes);
        assert_memory_equal(got->data, views[i].data, got->bytes);
    }
    lx_tensor_file_close(file);
    views[0].dtype = LX_BF16;
    views[0].bytes = 12;
    assert_int_equal(lx_npz_write(path, views, 1, &err), LX_EUNSUPPORTED);
}

/* A file of one array "a" whose header is `text`, with n bytes of data. */
static int open_with(const char *text, int version, size_t n, lx_error *err)
{
    static const char zeros[64];
    unsigned char head[12] = "\x93NUMPY";
    lx_tensor_file *file = NULL;
    lx_zip_writer *zip = NULL;
    lx_str member = LX_STR_INIT;
    size_t length = strlen(text);
    int rc;

    head[6] = (unsigned char)version;
    for (size_t i = 8; i < 12; i++, length >>= 8)
        head[i] = (unsigned char)(length & 0xFF);
    lx_str_append(&member, (char *)head, version == 1 ? 10 : 12);
    lx_str_puts(&member, text);
    lx_assert_ok(lx_zip_writer_open(&zip, path, err), err);
    lx_assert_ok(lx_zip_writer_add(zip, "a.npy", member.data, member.len, zeros, n, err),
                 err);
    lx_assert_ok(lx_zip_writer_commit(zip, err), err);
    lx_zip_writer_close(zip);
    lx_str_release(&member);
    rc = lx_tensor_file_open(&file, path, err);
    lx_tensor_file_close(file);
    return rc;
}

#define HEAD(descr, order, shape) \
    "{'descr': " descr ", 'fortran_order': " order ", 'shape': " shape ", }"

static void test_format_npz__headers(void **state)
{
    static const struct {
        const char *text;
        int version;
        size_t bytes;
        int rc;
        const char *says;
    } cases[] = {
        {HEAD("'<f4'", "False", "(2, 3)") "  \n", 1, 24, LX_OK, ""},
        {HEAD("'<f4'", "False", "(2, 3,)"), 2, 24, LX_OK, ""},
        {HEAD("'<f4'", "False", "()"), 3, 4, LX_OK, ""},
        {"{\"shape\":(3,),\"descr\":\"|u1\",\"fortran_order\":False}", 1, 3, LX_OK, ""},
        {HEAD("'<f4'", "False", "(2, 3)"), 4, 24, LX_EUNSUPPORTED, "format 4.0"},
        {HEAD("'<f4'", "True", "(2, 3)"), 1, 24, LX_EUNSUPPORTED, "Fortran"},
        {HEAD("'>f4'", "False", "(2, 3)"), 1, 24, LX_EUNSUPPORTED, "big-endian"},
        {HEAD("'|O'", "False", "(2,)"), 1, 16, LX_EUNSUPPORTED, "pickle"},
        {HEAD("'O'", "False", "(2,)"), 1, 16, LX_EUNSUPPORTED, "pickle"},
        {HEAD("'<U1'", "False", "(2,)"), 1, 8, LX_EUNSUPPORTED, "'<U1'"},
        {HEAD("[('x', '<f4')]", "False", "(2,)"), 1, 8, LX_EUNSUPPORTED, "structures"},
        {HEAD("'<f4'", "False", "(2, 3)"), 1, 23, LX_EFORMAT, "23 bytes"},
        {HEAD("'<f4'", "False", "(2, 3)"), 1, 25, LX_EFORMAT, "25 bytes"},
        {HEAD("'<f4'", "False", "(4611686018427387904, 4)"), 1, 0, LX_EFORMAT, "shape"},
        {HEAD("'<f4'", "False", "(0, 4611686018427387904, 4)"), 1, 0, LX_EFORMAT,
         "shape"},
        {HEAD("'<f4'", "False", "(92233720368547758079,)"), 1, 0, LX_EFORMAT, "2^63"},
        {HEAD("'<f4'", "False", "(1,1,1,1,1,1,1,1,1)"), 1, 4, LX_ELIMIT, "dimensions"},
        {HEAD("'<f4'", "False", "(-1,)"), 1, 4, LX_EFORMAT, "a size"},
        {HEAD("'<f4'", "False", "(3)"), 1, 12, LX_EFORMAT, "tuple"},
        {HEAD("'<f4'", "False", "(3 4)"), 1, 48, LX_EFORMAT, "')'"},
        {HEAD("'<f4'", "False", "[3]"), 1, 12, LX_EFORMAT, "tuple"},
        {HEAD("'<f4'", "exit()", "(3,)"), 1, 12, LX_EFORMAT, "True or False"},
        {HEAD("'<f\\x34'", "False", "(3,)"), 1, 12, LX_EFORMAT, "text"},
        {"{'descr': '<f4', 'shape': (1,)}", 1, 4, LX_EFORMAT, "without"},
        {"{'descr': '<f4', 'descr': '<f4'}", 1, 4, LX_EFORMAT, "twice"},
        {"{'descr': '<f4', 'offset': 3}", 1, 4, LX_EFORMAT, "unknown key"},
        {"{'descr' '<f4'}", 1, 4, LX_EFORMAT, "':'"},
        {"{}", 1, 4, LX_EFORMAT, "without"},
        {HEAD("'<f4'", "False", "(1,)") " x", 1, 4, LX_EFORMAT, "the end"},
        {"", 1, 4, LX_EFORMAT, "dictionary"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lx_error err = {0};
        int rc = open_with(cases[i].text, cases[i].version, cases[i].bytes, &err);
        if (rc != cases[i].rc || !strstr(err.text, cases[i].says))
            fail_msg("%s: %d, %s", cases[i].text, rc, err.text);
    }
}

static void test_format_npz__members_that_are_no_arrays(void **state)
{
    static const char *const names[] = {"a.npy", "b.npy", "c.txt"};
    lx_tensor_file *file = NULL;
    lx_zip_writer *zip = NULL;
    lx_error err = {0};

    for (int n = 1; n <= 3; n += 2) {
        lx_assert_ok(lx_zip_writer_open(&zip, path, &err), &err);
        for (int i = 0; i < n; i++)
            lx_assert_ok(lx_zip_writer_add(zip, names[i], "not numpy", 9, NULL, 0, &err),
                         &err);
        lx_assert_ok(lx_zip_writer_commit(zip, &err), &err);
        lx_zip_writer_close(zip);
        assert_int_equal(lx_tensor_file_open(&file, path, &err), LX_EFORMAT);
        assert_non_null(strstr(err.text, "array"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format_npz__what_was_written_is_read_back),
        cmocka_unit_test(test_format_npz__headers),
        cmocka_unit_test(test_format_npz__members_that_are_no_arrays),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
