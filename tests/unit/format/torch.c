#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "src/base/file.h"
#include "tests/support/golden.h"

static bool has_note(const lx_tensor_file *file, const char *part)
{
    for (size_t i = 0; i < lx_tensor_file_note_count(file); i++)
        if (strstr(lx_tensor_file_note(file, i), part))
            return true;
    return false;
}

static void expect_equal(const lx_tensor_view *a, const lx_tensor_view *b)
{
    assert_int_equal(a->dtype, b->dtype);
    assert_int_equal(a->n_dims, b->n_dims);
    assert_memory_equal(a->shape, b->shape, sizeof a->shape);
    assert_int_equal(a->bytes, b->bytes);
    if (a->bytes)
        assert_memory_equal(a->data, b->data, a->bytes);
}

/* Views of one storage, a transposed one, a Parameter, empty, scalar, seven dtypes. */
static void test_format_torch__odd_tensors_equal_their_safetensors(void **state)
{
    lx_tensor_file *pickled = lx_golden_open("model/odd_tensors.ckpt");
    lx_tensor_file *plain = lx_golden_open("model/odd_tensors.safetensors");

    assert_string_equal(lx_tensor_file_format(pickled), "torch zip");
    assert_string_equal(lx_tensor_file_format(plain), "safetensors");
    assert_true(has_note(pickled, "state_dict"));
    assert_int_equal(lx_tensor_file_count(pickled), lx_tensor_file_count(plain));
    for (size_t i = 0; i < lx_tensor_file_count(plain); i++) {
        const lx_tensor_view *want = lx_tensor_file_at(plain, i);
        expect_equal(lx_golden_find(pickled, "%s", want->name), want);
    }
    lx_tensor_file_close(pickled);
    lx_tensor_file_close(plain);
}

static void test_format_torch__the_form_before_zip_is_read(void **state)
{
    lx_tensor_file *file = lx_golden_open("model/legacy_nonzip.ckpt");
    const lx_tensor_view *scalar = lx_golden_find(file, "scalar");

    assert_string_equal(lx_tensor_file_format(file), "torch legacy");
    assert_int_equal(scalar->n_dims, 0);
    assert_int_equal(scalar->n_elements, 1);
    assert_int_equal(lx_golden_find(file, "f32")->dtype, LX_F32);
    lx_tensor_file_close(file);
}

static void test_format_torch__a_whole_checkpoint_is_read(void **state)
{
    lx_tensor_file *file = lx_golden_open("model/nano.ckpt");

    assert_true(lx_tensor_file_count(file) >= 959);
    assert_non_null(lx_golden_find(file, "model.diffusion_model.time_embed.0.weight"));
    assert_true(has_note(file, "state_dict"));
    lx_tensor_file_close(file);
}

/* A zip as torch writes it, of one pickle and one storage of eight floats 0..7. */
static void put(lx_str *out, uint32_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        lx_str_putc(out, (char)(i < 4 ? value >> (8 * i) : 0));
}

static void put_member(lx_str *zip, lx_str *directory, const char *name, const char *bytes,
                       size_t n)
{
    uint32_t crc = (uint32_t)crc32(crc32(0, NULL, 0), (const Bytef *)bytes, (uInt)n);
    size_t at = zip->len;

    for (int is_central = 0; is_central < 2; is_central++) {
        lx_str *out = is_central ? directory : zip;
        lx_str_puts(out, is_central ? "PK\1\2" : "PK\3\4");
        put(out, 0, is_central ? 4 : 2); /* versions */
        put(out, 0, 8);                  /* flags, method, time, date */
        put(out, crc, 4);
        put(out, (uint32_t)n, 4);
        put(out, (uint32_t)n, 4);
        put(out, (uint32_t)strlen(name), 2);
        put(out, 0, is_central ? 12 : 2);
        if (is_central)
            put(out, (uint32_t)at, 4);
        lx_str_puts(out, name);
    }
    lx_str_append(zip, bytes, n);
}

static int open_pickle(lx_tensor_file **out, const char *pickle, size_t n, lx_error *err)
{
    static const float floats[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    lx_str zip = LX_STR_INIT, directory = LX_STR_INIT;
    char path[] = "/tmp/lx-test-torch-XXXXXX";
    size_t at;
    int rc;

    close(mkstemp(path));
    put_member(&zip, &directory, "archive/data.pkl", pickle, n);
    put_member(&zip, &directory, "archive/data/0", (const char *)floats, sizeof floats);
    at = zip.len;
    lx_str_append(&zip, directory.data, directory.len);
    lx_str_puts(&zip, "PK\5\6");
    put(&zip, 0, 4);
    put(&zip, 2, 2);
    put(&zip, 2, 2);
    put(&zip, (uint32_t)directory.len, 4);
    put(&zip, (uint32_t)at, 4);
    put(&zip, 0, 2);
    assert_int_equal(lx_file_write(path, zip.data, zip.len, NULL), 0);
    rc = lx_tensor_file_open(out, path, err);
    unlink(path);
    lx_str_release(&zip);
    lx_str_release(&directory);
    return rc;
}

/* Of a float storage "0" with 8 elements: offset, then size and strides as opcodes of tuples. */
#define TENSOR(offset, size, stride)                                                     \
    "ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\n"       \
    "X\1\0\0\0" "0X\3\0\0\0cpuK\10tQK" offset size stride "\x89"                        \
    "ccollections\nOrderedDict\n)RtR"
#define KEY(n, name) "X" n "\0\0\0" name

#define OPEN(file, pickle, err) open_pickle(file, pickle, sizeof(pickle) - 1, err)

static void expect_floats(const lx_tensor_file *file, const char *name, size_t n,
                          const float *want)
{
    const lx_tensor_view *view = lx_golden_find(file, "%s", name);
    assert_int_equal(view->n_elements, n);
    assert_memory_equal(view->data, want, n * sizeof *want);
}

static void test_format_torch__views_of_every_kind(void **state)
{
    lx_tensor_file *file;
    lx_error err = {0};

    if (OPEN(&file,
             "\x80\2}(" KEY("\1", "a") TENSOR("\2", "K\3\x85", "K\1\x85") /* 2 3 4 */
             KEY("\1", "b") TENSOR("\0", "K\2K\3\x86", "K\1K\2\x86")      /* transposed */
             KEY("\1", "c") TENSOR("\5", "K\4\x85", "K\0\x85")            /* expanded */
             KEY("\1", "d") TENSOR("\7", ")", ")")                        /* scalar */
             KEY("\1", "e") TENSOR("\11", "K\0K\2\x86", "K\2K\1\x86")     /* empty, anywhere */
             KEY("\1", "f") TENSOR("\1", "K\1K\2\x86", "K\77K\1\x86")     /* size 1: any stride */
             "u.",
             &err) < 0)
        fail_msg("%s", err.text);
    expect_floats(file, "a", 3, (const float[]){2, 3, 4});
    expect_floats(file, "b", 6, (const float[]){0, 2, 4, 1, 3, 5});
    expect_floats(file, "c", 4, (const float[]){5, 5, 5, 5});
    expect_floats(file, "d", 1, (const float[]){7});
    expect_floats(file, "e", 0, NULL);
    expect_floats(file, "f", 2, (const float[]){1, 2});
    lx_tensor_file_close(file);
}

#define ONES "K\1K\1K\1K\1K\1K\1K\1K\1"

static void test_format_torch__many_dimensions(void **state)
{
#define SHAPE_64(last) "(" ONES ONES ONES ONES ONES ONES ONES "K\1K\1K\1K\1K\1K\1K\2" last "t"
    lx_tensor_file *file = NULL;
    const lx_tensor_view *view;
    lx_error err = {0};
    int n;

    (void)state;
    if (OPEN(&file,
             "\x80\2}" KEY("\1", "a") TENSOR("\1", SHAPE_64("K\2"), SHAPE_64("K\3")) "s.",
             &err) < 0)
        fail_msg("%s", err.text);
    view = lx_tensor_file_at(file, 0);
    assert_int_equal(view->n_dims, 8);
    assert_int_equal(view->shape[7], 4);
    assert_int_equal(lx_tensor_view_shape(&n, view)[62], 2);
    assert_int_equal(n, 64);
    expect_floats(file, "a", 4, (const float[]){1, 4, 3, 6}); /* strides 2 and 3 */
    assert_true(has_note(file, "\"a\" has 64 dimensions"));
    lx_tensor_file_close(file);
    assert_int_equal(OPEN(&file,
                          "\x80\2}" KEY("\1", "a")
                              TENSOR("\1", SHAPE_64("K\2K\1"), SHAPE_64("K\3K\1")) "s.",
                          &err),
                     LX_ELIMIT);
    assert_non_null(strstr(err.text, "tensor of 65 dimensions, more than 64, at byte"));
}

/* The form before zip, of one object and one storage "0" of eight floats 0..7. */
static int open_legacy(lx_tensor_file **out, const char *pickle, size_t n, lx_error *err)
{
    static const char head[] = "\x80\2\x8A\12\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19."
                               "\x80\2M\xE9\3.\x80\2}.";
    static const char keys[] = "\x80\2]X\1\0\0\0" "0a.";
    static const float floats[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    lx_str text = LX_STR_INIT;
    char path[] = "/tmp/lx-test-torch-XXXXXX";
    int rc;

    close(mkstemp(path));
    lx_str_append(&text, head, sizeof head - 1);
    lx_str_append(&text, pickle, n);
    lx_str_append(&text, keys, sizeof keys - 1);
    put(&text, 8, 8);
    lx_str_append(&text, (const char *)floats, sizeof floats);
    assert_int_equal(lx_file_write(path, text.data, text.len, NULL), 0);
    rc = lx_tensor_file_open(out, path, err);
    unlink(path);
    lx_str_release(&text);
    return rc;
}

/* A tensor whose storage is a view of "0": its key, the view's offset and size, then as above. */
#define OF_VIEW(view, offset, size, stride)                                              \
    "ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\n"       \
    "X\1\0\0\0" "0X\3\0\0\0cpuK\10" view "tQK" offset size stride "\x89"               \
    "ccollections\nOrderedDict\n)RtR"
#define VIEW(key, offset, size) "X\1\0\0\0" key "K" offset "K" size "\x87"

/* numel is the whole storage's, as torch wrote it when it had views of storages. */
static void test_format_torch__views_of_storages_begin_at_their_offset(void **state)
{
    lx_tensor_file *file = NULL;
    lx_error err = {0};
    static const char fine[] =
        "\x80\2}(" KEY("\1", "a") OF_VIEW("N", "\0", "K\10\x85", "K\1\x85")
        KEY("\1", "b") OF_VIEW(VIEW("1", "\3", "\4"), "\0", "K\4\x85", "K\1\x85")
        KEY("\1", "c") OF_VIEW(VIEW("1", "\3", "\4"), "\1", "K\2\x85", "K\2\x85")
        KEY("\1", "d") OF_VIEW(VIEW("2", "\10", "\0"), "\0", "K\0\x85", "K\1\x85") "u.";
    static const char beyond_view[] = "\x80\2}" KEY("\1", "w")
        OF_VIEW(VIEW("1", "\3", "\4"), "\1", "K\4\x85", "K\1\x85") "s.";
    static const char beyond_storage[] = "\x80\2}" KEY("\1", "w")
        OF_VIEW(VIEW("1", "\5", "\4"), "\0", "K\1\x85", "K\1\x85") "s.";

    if (open_legacy(&file, fine, sizeof fine - 1, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(lx_tensor_file_format(file), "torch legacy");
    expect_floats(file, "a", 8, (const float[]){0, 1, 2, 3, 4, 5, 6, 7});
    expect_floats(file, "b", 4, (const float[]){3, 4, 5, 6});
    expect_floats(file, "c", 2, (const float[]){4, 6});
    expect_floats(file, "d", 0, NULL);
    lx_tensor_file_close(file);
    file = NULL;
    assert_int_equal(open_legacy(&file, beyond_view, sizeof beyond_view - 1, &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "past the storage"));
    assert_int_equal(open_legacy(&file, beyond_storage, sizeof beyond_storage - 1, &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "elements 5 to 9 of storage \"0\", which has 8"));
    assert_null(file);
}

static void test_format_torch__names_come_from_the_dictionaries(void **state)
{
    lx_tensor_file *file;
    lx_error err = {0};

    /* nested dictionaries are joined; an integer key is its number; other values are left out */
    assert_int_equal(OPEN(&file,
                          "\x80\2}(" KEY("\1", "p") "}(" KEY("\1", "*")
                              TENSOR("\0", "K\1\x85", "K\1\x85") "K\5"
                              TENSOR("\1", "K\1\x85", "K\1\x85") "u" KEY("\1", "s") "K\7"
                              KEY("\1", "t") "](K\1K\2eu.",
                          &err),
                     0);
    assert_int_equal(lx_tensor_file_count(file), 2);
    expect_floats(file, "p.*", 1, (const float[]){0});
    expect_floats(file, "p.5", 1, (const float[]){1});
    lx_tensor_file_close(file);

    /* a wrapper's siblings are left out; an OrderedDict keeps its state to itself */
    assert_int_equal(OPEN(&file,
                          "\x80\2}(" KEY("\5", "epoch") "K\1" KEY("\12", "state_dict")
                              "ccollections\nOrderedDict\n)R(" KEY("\1", "w")
                              TENSOR("\3", "K\1\x85", "K\1\x85") "u}" KEY("\11", "_metadata")
                              "}sb" KEY("\3", "opt") "}" KEY("\1", "m")
                              TENSOR("\0", "K\1\x85", "K\1\x85") "su.",
                          &err),
                     0);
    assert_int_equal(lx_tensor_file_count(file), 1);
    expect_floats(file, "w", 1, (const float[]){3});
    assert_true(has_note(file, "\"state_dict\""));
    lx_tensor_file_close(file);
}

static void test_format_torch__a_dictionary_within_itself_ends(void **state)
{
    lx_tensor_file *file;
    lx_error err = {0};

    assert_int_equal(OPEN(&file,
                          "\x80\2}q\0(" KEY("\1", "a") TENSOR("\0", "K\1\x85", "K\1\x85")
                              KEY("\4", "self") "h\0u.",
                          &err),
                     0);
    assert_int_equal(lx_tensor_file_count(file), 1);
    lx_tensor_file_close(file);
    assert_int_equal(OPEN(&file, "\x80\2}q\0" KEY("\12", "state_dict") "h\0s.", &err), 0);
    assert_int_equal(lx_tensor_file_count(file), 0);
    lx_tensor_file_close(file);
}

static void test_format_torch__what_asks_for_too_much_is_refused(void **state)
{
    lx_tensor_file *file = NULL;
    lx_error err = {0};

    /* 2^30 elements out of one by a stride of 0 */
    assert_int_equal(OPEN(&file,
                          "\x80\2}" KEY("\1", "w")
                              TENSOR("\0", "J\0\0\0\x40\x85", "K\0\x85") "s.",
                          &err),
                     LX_ELIMIT);
    assert_int_equal(OPEN(&file,
                          "\x80\2}" KEY("\1", "w") TENSOR("\0", "K\11\x85", "K\1\x85") "s.",
                          &err),
                     LX_EFORMAT);
    assert_non_null(strstr(err.text, "past the storage"));
    assert_int_equal(OPEN(&file,
                          "\x80\2}" KEY("\1", "w")
                              TENSOR("\0", "K\2\x85", "\x8A\10\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F\x85")
                              "s.",
                          &err),
                     LX_EFORMAT);
    assert_int_equal(OPEN(&file,
                          "\x80\2}" KEY("\1", "w") TENSOR("\0", "K\2\x85", "J\xFF\xFF\xFF\xFF\x85")
                              "s.",
                          &err),
                     LX_EFORMAT);
    assert_non_null(strstr(err.text, "negative"));
    assert_int_equal(OPEN(&file, "\x80\2}r\xFF\xFF\xFF\x7F.", &err), LX_ELIMIT);
    assert_null(file);
}

static void test_format_torch__ambiguous_files_are_refused(void **state)
{
    lx_tensor_file *file = NULL;
    lx_error err = {0};

    assert_int_equal(OPEN(&file,
                          "\x80\2}(" KEY("\1", "w") TENSOR("\0", "K\1\x85", "K\1\x85")
                              KEY("\1", "w") TENSOR("\1", "K\1\x85", "K\1\x85") "u.",
                          &err),
                     LX_EFORMAT);
    assert_non_null(strstr(err.text, "two tensors are named \"w\""));
    assert_int_equal(OPEN(&file, "\x80\2}.N.", &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "2 bytes after its end at byte 4"));
    assert_int_equal(OPEN(&file, "\x80\2N.", &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "no dictionary"));
    assert_int_equal(OPEN(&file, "\x80\2}" KEY("\3", "a\0b") TENSOR("\0", "K\1\x85", "K\1\x85") "s.",
                          &err),
                     LX_EFORMAT);
}

/* Every bit of the file: a flip is noticed, or changes nothing but names and shapes. */
static void test_format_torch__damaged_weights_are_noticed(void **state)
{
    lx_str text;
    char path[] = "/tmp/lx-test-torch-XXXXXX";
    lx_tensor_file *file;
    lx_error err = {0};
    size_t at;

    assert_int_equal(lx_file_read(&text, lx_golden_need("model/odd_tensors.ckpt"), 1 << 20, NULL),
                     0);
    close(mkstemp(path));
    for (at = 2000; at < text.len; at += 9973) {
        text.data[at] ^= 16;
        assert_int_equal(lx_file_write(path, text.data, text.len, NULL), 0);
        if (lx_tensor_file_open(&file, path, &err) == LX_OK) {
            /* padding between members: no tensor is touched */
            lx_tensor_file_close(file);
        } else {
            assert_int_equal(err.code, LX_EFORMAT);
        }
        text.data[at] ^= 16;
    }
    unlink(path);
    lx_str_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format_torch__odd_tensors_equal_their_safetensors),
        cmocka_unit_test(test_format_torch__the_form_before_zip_is_read),
        cmocka_unit_test(test_format_torch__a_whole_checkpoint_is_read),
        cmocka_unit_test(test_format_torch__views_of_every_kind),
        cmocka_unit_test(test_format_torch__many_dimensions),
        cmocka_unit_test(test_format_torch__views_of_storages_begin_at_their_offset),
        cmocka_unit_test(test_format_torch__names_come_from_the_dictionaries),
        cmocka_unit_test(test_format_torch__a_dictionary_within_itself_ends),
        cmocka_unit_test(test_format_torch__what_asks_for_too_much_is_refused),
        cmocka_unit_test(test_format_torch__ambiguous_files_are_refused),
        cmocka_unit_test(test_format_torch__damaged_weights_are_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
