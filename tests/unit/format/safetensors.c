#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/file.h"
#include "src/base/rng.h"
#include "src/format/safetensors.h"
#include "tests/support/golden.h"

static char path[64];

static int make_path(void **state)
{
    strcpy(path, "/tmp/lx-test-st-XXXXXX");
    close(mkstemp(path));
    return 0;
}

static int remove_path(void **state)
{
    return unlink(path);
}

static int append(void *context, const void *data, size_t n, lx_error *err)
{
    lx_str_append(context, data, n);
    return lx_str_check(context, err);
}

/* The bytes safetensors 0.8.0 writes for this, its hash map having put the metadata in order. */
static void test_format_safetensors__writes_the_reference_bytes(void **state)
{
    static const float w[4] = {1, 2, 3, 4};
    static const uint8_t b[2] = {7, 8};
    const lx_tensor_view tensors[] = {
        {"z\"\n\xC3\xA9", LX_U8, 1, {2}, 2, b, 2, NULL},
        {"b", LX_F32, 2, {2, 1}, 2, w + 2, 8, NULL},
        {"a", LX_F32, 0, {0}, 1, w, 4, NULL},
        {"e", LX_F16, 2, {0, 3}, 0, w, 0, NULL},
    };
    const lx_metadata_entry metadata[] = {{"y", "\x01\b"}, {"x", "1"}};
    static const char want[] =
        "{\"__metadata__\":{\"x\":\"1\",\"y\":\"\\u0001\\b\"},"
        "\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
        "\"b\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[4,12]},"
        "\"e\":{\"dtype\":\"F16\",\"shape\":[0,3],\"data_offsets\":[12,12]},"
        "\"z\\\"\\n\xC3\xA9\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[12,14]}}";
    lx_str out = LX_STR_INIT;
    size_t header;

    assert_int_equal(lx_safetensors_stream(append, &out, &header, tensors, 4, metadata, 2, NULL),
                     0);
    assert_int_equal(header % 8, 0);
    assert_int_equal(out.len, header + 14);
    assert_memory_equal(out.data + 8, want, sizeof want - 1);
    for (size_t i = 8 + sizeof want - 1; i < header; i++)
        assert_int_equal(out.data[i], ' ');
    assert_int_equal((unsigned char)out.data[0] | (unsigned char)out.data[1] << 8, header - 8);
    assert_memory_equal(out.data + header, w, 4);
    assert_memory_equal(out.data + header + 12, b, 2);
    lx_str_release(&out);
}

static void save_again(lx_str *out, const lx_tensor_file *file)
{
    size_t n = lx_tensor_file_count(file), m = lx_tensor_file_metadata_count(file), header;
    lx_metadata_entry *metadata = calloc(m + 1, sizeof *metadata);

    for (size_t i = 0; i < m; i++)
        lx_tensor_file_metadata_at(file, i, &metadata[i].key, &metadata[i].value);
    assert_int_equal(lx_safetensors_stream(append, out, &header,
                                           n ? lx_tensor_file_at(file, 0) : NULL, n, metadata, m,
                                           NULL),
                     0);
    free(metadata);
}

/* Save, load, save gives equal bytes, for random tensors in random order. */
static void test_format_safetensors__save_load_save_is_byte_equal(void **state)
{
    enum { N = 40 };
    static const lx_dtype dtypes[] = {LX_F32, LX_F16, LX_I64, LX_BOOL, LX_BF16, LX_F8_E4M3};
    lx_rng rng = lx_rng_stream(21, LX_RNG_TEST, 0, 0);
    unsigned char bytes[2048];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)lx_rng_u32(&rng);
    for (int round = 0; round < 50; round++) {
        lx_tensor_view views[N] = {{0}};
        char names[N][40];
        size_t n = lx_rng_below(&rng, N + 1), header;
        lx_str first = LX_STR_INIT, second = LX_STR_INIT;
        lx_tensor_file *file;
        lx_error err = {0};

        for (size_t i = 0; i < n; i++) {
            views[i].dtype = dtypes[lx_rng_below(&rng, 6)];
            views[i].n_dims = (int)lx_rng_below(&rng, 4);
            views[i].n_elements = 1;
            for (int d = 0; d < views[i].n_dims; d++) {
                views[i].shape[d] = (int64_t)lx_rng_below(&rng, 5);
                views[i].n_elements *= (size_t)views[i].shape[d];
            }
            views[i].bytes = views[i].n_elements * (size_t)lx_dtype_bits(views[i].dtype) / 8;
            views[i].data = bytes + lx_rng_below(&rng, 1000);
            snprintf(names[i], sizeof names[i], "%08x.%zu", lx_rng_u32(&rng), i);
            views[i].name = names[i];
        }
        assert_int_equal(
            lx_safetensors_stream(append, &first, &header, views, n, NULL, 0, NULL), 0);
        assert_int_equal(lx_safetensors_write(path, views, n, NULL, 0, NULL), 0);
        if (lx_tensor_file_open(&file, path, &err) < 0)
            fail_msg("round %d: %s", round, err.text);
        assert_int_equal(lx_tensor_file_count(file), n);
        for (size_t i = 0; i < n; i++) {
            const lx_tensor_view *v = lx_tensor_file_find(file, views[i].name);
            assert_non_null(v);
            assert_memory_equal(v->shape, views[i].shape, sizeof v->shape);
            if (v->bytes)
                assert_memory_equal(v->data, views[i].data, v->bytes);
        }
        assert_null(lx_tensor_file_find(file, "no such tensor"));
        save_again(&second, file);
        assert_int_equal(first.len, second.len);
        assert_memory_equal(first.data, second.data, first.len);
        lx_str_release(&first);
        lx_str_release(&second);
        lx_tensor_file_close(file);
    }
}

/* Written by the reference through diffusers, with one metadata entry: our bytes are its bytes. */
static void test_format_safetensors__a_reference_file_is_reproduced(void **state)
{
    const char *name = "lora/files/diffusers_r4.safetensors";
    lx_tensor_file *file = lx_golden_open(name);
    lx_str again = LX_STR_INIT, want;

    save_again(&again, file);
    assert_int_equal(lx_file_read(&want, lx_golden_need(name), 1 << 20, NULL), 0);
    assert_int_equal(again.len, want.len);
    assert_memory_equal(again.data, want.data, want.len);
    lx_str_release(&again);
    lx_str_release(&want);
    lx_tensor_file_close(file);
}

static void test_format_safetensors__what_could_not_be_read_is_not_written(void **state)
{
    const lx_tensor_view twice[] = {{"a", LX_U8, 1, {1}, 1, "x", 1, NULL}, {"a", LX_U8, 1, {1}, 1, "x", 1, NULL}};
    const lx_tensor_view reserved = {"__metadata__", LX_U8, 1, {1}, 1, "x", 1, NULL};
    const lx_tensor_view not_utf8 = {"\xFF", LX_U8, 1, {1}, 1, "x", 1, NULL};
    const lx_tensor_view wrong_size = {"a", LX_F32, 1, {2}, 2, "x", 4, NULL};
    const lx_metadata_entry same[] = {{"k", "1"}, {"k", "2"}};
    lx_str after;

    assert_int_equal(lx_file_write(path, "old", 3, NULL), 0);
    assert_int_equal(lx_safetensors_write(path, twice, 2, NULL, 0, NULL), LX_EFORMAT);
    assert_int_equal(lx_safetensors_write(path, &reserved, 1, NULL, 0, NULL), LX_EFORMAT);
    assert_int_equal(lx_safetensors_write(path, &not_utf8, 1, NULL, 0, NULL), LX_EFORMAT);
    assert_int_equal(lx_safetensors_write(path, &wrong_size, 1, NULL, 0, NULL), LX_EINTERNAL);
    assert_int_equal(lx_safetensors_write(path, twice, 1, same, 2, NULL), LX_EFORMAT);
    assert_int_equal(lx_file_read(&after, path, 99, NULL), 0);
    assert_string_equal(lx_str_text(&after), "old");
    lx_str_release(&after);
}

/* What the reference takes and other readers may trip over. */
static void test_format_safetensors__odd_but_legal_files(void **state)
{
    lx_tensor_file *file;
    lx_error err = {0};
    float x[4];

    assert_int_equal(
        lx_tensor_file_open(&file, lx_badfile_need("st_ok_unaligned.safetensors"), &err), 0);
    assert_int_equal(lx_to_f32(x, lx_tensor_file_at(file, 0)->data, LX_F32, 1), 0);
    lx_tensor_file_close(file);
    assert_int_equal(
        lx_tensor_file_open(&file, lx_badfile_need("st_ok_many_empty.safetensors"), &err), 0);
    assert_int_equal(lx_tensor_file_count(file), 3000);
    lx_tensor_file_close(file);
    assert_int_equal(
        lx_tensor_file_open(&file, lx_badfile_need("st_extra_field.safetensors"), &err), 0);
    assert_int_equal(lx_tensor_file_note_count(file), 1);
    assert_non_null(strstr(lx_tensor_file_note(file, 0), "unknown field"));
    lx_tensor_file_close(file);
}

/* A header as it stands, and n_data zeros behind it. */
static int open_header(lx_tensor_file **out, const char *header, size_t n_data, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    const size_t n = strlen(header);

    for (int i = 0; i < 8; i++)
        lx_str_putc(&text, (char)(n >> (8 * i)));
    lx_str_puts(&text, header);
    for (size_t i = 0; i < n_data; i++)
        lx_str_putc(&text, 0);
    assert_int_equal(lx_file_write(path, text.data, text.len, NULL), 0);
    lx_str_release(&text);
    return lx_tensor_file_open(out, path, err);
}

static int open_shape(lx_tensor_file **out, int n_dims, const char *first, const char *last, lx_error *err)
{
    char header[1024];
    int n = snprintf(header, sizeof header, "{\"a\":{\"dtype\":\"U8\",\"shape\":[%s", first);

    for (int i = 2; i < n_dims; i++)
        n += snprintf(header + n, sizeof header - (size_t)n, ",1");
    snprintf(header + n, sizeof header - (size_t)n, ",%s],\"data_offsets\":[0,6]}}", last);
    return open_header(out, header, 6, err);
}

/* What has more dimensions than lx computes with is read, and written as it was. */
static void test_format_safetensors__many_dimensions(void **state)
{
    lx_tensor_file *file = NULL;
    const lx_tensor_view *view;
    lx_str out = LX_STR_INIT;
    const int64_t *shape;
    size_t header;
    lx_error err = {0};
    int n;

    (void)state;
    assert_int_equal(open_shape(&file, 8, "2", "3", &err), 0);
    assert_null(lx_tensor_file_at(file, 0)->whole);
    assert_int_equal(lx_tensor_file_note_count(file), 0);
    lx_tensor_file_close(file);
    assert_int_equal(open_shape(&file, 64, "2", "3", &err), 0);
    view = lx_tensor_file_at(file, 0);
    assert_int_equal(view->n_dims, 8);
    assert_int_equal(view->shape[0], 2);
    assert_int_equal(view->shape[7], 3);
    assert_int_equal(view->n_elements, 6);
    shape = lx_tensor_view_shape(&n, view);
    assert_int_equal(n, 64);
    assert_int_equal(shape[7], 1);
    assert_int_equal(shape[63], 3);
    assert_non_null(strstr(lx_tensor_file_note(file, 0), "\"a\" has 64 dimensions"));
    assert_int_equal(lx_safetensors_stream(append, &out, &header, view, 1, NULL, 0, NULL), 0);
    assert_non_null(strstr(lx_str_text(&out) + 8, "\"shape\":[2,1,1,1,1,1,1,1,1,"));
    assert_non_null(strstr(lx_str_text(&out) + 8, ",1,3]"));
    lx_str_release(&out);
    lx_tensor_file_close(file);
    assert_int_equal(open_shape(&file, 65, "2", "3", &err), LX_ELIMIT);
    assert_non_null(strstr(err.text, "65 dimensions, more than 64, at byte "));
    assert_int_equal(open_shape(&file, 9, "0", "4611686018427387904,4", &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "overflows"));
}

/* Escapes mean the same in a dtype; a number that no double holds is refused wherever it stands. */
static void test_format_safetensors__escapes_and_numbers_of_the_header(void **state)
{
    lx_tensor_file *file = NULL;
    lx_error err = {0};

    (void)state;
    assert_int_equal(open_header(&file, "{\"a\":{\"dtype\":\"F\\u0033\\u0032\",\"shape\":[],"
                                        "\"data_offsets\":[0,4]}}", 4, &err), 0);
    assert_int_equal(lx_tensor_file_at(file, 0)->dtype, LX_F32);
    lx_tensor_file_close(file);
    assert_int_equal(open_header(&file, "{\"a\":{\"dtype\":\"F\\u0033\",\"shape\":[],"
                                        "\"data_offsets\":[0,4]}}", 4, &err), LX_EFORMAT);
    for (int i = 0; i < 4; i++) {
        static const char *const numbers[] = {"1E400", "[{\"x\":-1E400}]", "1E-400", "[1e308]"};
        char header[256];
        snprintf(header, sizeof header, "{\"a\":{\"more\":%s,\"dtype\":\"F32\",\"shape\":[],"
                                        "\"data_offsets\":[0,4]}}", numbers[i]);
        assert_int_equal(open_header(&file, header, 4, &err), i < 2 ? LX_EFORMAT : 0);
        if (i < 2)
            assert_non_null(strstr(err.text, i ? "out of range at byte 27" : "out of range at byte 21"));
        else
            lx_tensor_file_close(file);
    }
    /* No digits of C's are read behind a number of JSON's: the file may end there. */
    char hex[400] = "{\"a\":{\"more\":0x";
    memset(hex + strlen(hex), 'f', 380 - strlen(hex));
    assert_int_equal(open_header(&file, hex, 4, &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "',' is missing"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format_safetensors__writes_the_reference_bytes),
        cmocka_unit_test_setup_teardown(
            test_format_safetensors__save_load_save_is_byte_equal, make_path, remove_path),
        cmocka_unit_test(test_format_safetensors__a_reference_file_is_reproduced),
        cmocka_unit_test_setup_teardown(
            test_format_safetensors__what_could_not_be_read_is_not_written, make_path,
            remove_path),
        cmocka_unit_test(test_format_safetensors__odd_but_legal_files),
        cmocka_unit_test_setup_teardown(test_format_safetensors__many_dimensions, make_path,
                                        remove_path),
        cmocka_unit_test_setup_teardown(
            test_format_safetensors__escapes_and_numbers_of_the_header, make_path,
            remove_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
