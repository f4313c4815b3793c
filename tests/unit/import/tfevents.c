#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/import/tfevents.h"
#include "tests/support/golden.h"

/* Records made by hand, read back by TensorBoard 2.21. */
static const char start[] =
    "1800000000000000a37f4b220900000040fc54d9411a0d627261696e2e4576656e743a32"
    "eced8f9d";
static const char simple[] =
    "220000000000000078113dfd0900004040fc54d94110012a150a130a0c6c6f73732f6176"
    "6572616765150000003e89b22fc6";
static const char tensor[] =
    "33000000000000000ca720560900008040fc54d94110022a260a240a076c722f756e6574"
    "420a080112002a040000003f4a0d0a090a077363616c6172732001336898bb";
static const char text[] =
    "4700000000000000bac3fb9b090000c040fc54d94110022a3a0a380a126e6f7465732f7465"
    "78745f73756d6d61727942160807120412020801420c68656c6c6f202a2a6d642a2a4a0a0a"
    "060a047465787420024874cd11";
static const char parameters[] = "82000000000000007b3fc35f0900000040fc54d9412a770a750a1c5"
                                 "f68706172616d735f2f73657373696f6e5f7374"
                                 "6172745f696e666f42060801120212004a4d0a4b0a0768706172616"
                                 "d7312401a3e0a180a0b6e6574776f726b5f6469"
                                 "6d12091100000000000030400a0c0a026c7212061a0431652d340a0"
                                 "b0a056361636865120220012900000040fc54d9"
                                 "41ebd0c3a2";

static size_t from_hex(unsigned char *out, const char *hex)
{
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++)
        sscanf(hex + 2 * i, "%2hhx", &out[i]);
    return n;
}

/* What was told, one line an event. */
static int write_down(void *context, const lx_tfevent *e, lx_error *err)
{
    static const char *const kinds[] = {"start", "scalar", "text", "parameter",
                                        "restart", "lost"};
    lx_str *out = context;

    lx_str_printf(out, "%s %.1f %lld %s ", kinds[e->kind], e->time, (long long)e->step,
                  e->tag);
    if (e->text)
        lx_str_append(out, e->text, e->n);
    else
        lx_str_printf(out, "%g", e->value);
    lx_str_puts(out, e->is_bool ? " bool\n" : "\n");
    return lx_str_check(out, err);
}

static void test_import_tfevents__records_by_hand(void **state)
{
    static const char *const records[] = {start, simple, tensor, text, parameters};
    unsigned char bytes[1024];
    lx_str seen = LX_STR_INIT;
    lx_error err = {0};
    size_t n = 0, used;

    (void)state;
    for (size_t i = 0; i < 5; i++)
        n += from_hex(bytes + n, records[i]);
    assert_int_equal(lx_tfevents_read(&used, NULL, bytes, n, 0, write_down, &seen, &err),
                     LX_OK);
    assert_int_equal(used, n);
    assert_string_equal(lx_str_text(&seen),
                        "start 1700000000.0 0  0\n"
                        "scalar 1700000001.0 1 loss/average 0.125\n"
                        "scalar 1700000002.0 2 lr/unet 0.5\n"
                        "text 1700000003.0 2 notes/text_summary hello **md**\n"
                        "parameter 1700000000.0 0 network_dim 16\n"
                        "parameter 1700000000.0 0 lr 1e-4\n"
                        "parameter 1700000000.0 0 cache 1 bool\n");
    lx_str_release(&seen);
    assert_int_equal(lx_crc32c("123456789", 9), 0xe3069283u);
    assert_true(lx_tfevents_is_content(bytes, n));
    assert_false(lx_tfevents_is_content(bytes + 1, n - 1));
    assert_true(lx_tfevents_is_name("events.out.tfevents.1.host"));
}

/* Cut anywhere, the whole records are told, and the reader asks for what is missing. */
static void test_import_tfevents__a_growing_file(void **state)
{
    unsigned char bytes[512];
    size_t first = from_hex(bytes, start), n = first + from_hex(bytes + first, simple),
           used, wanted;
    lx_error err = {0};

    (void)state;
    for (size_t cut = 0; cut <= n; cut++) {
        lx_str seen = LX_STR_INIT;
        assert_int_equal(
            lx_tfevents_read(&used, &wanted, bytes, cut, 0, write_down, &seen, &err),
            LX_OK);
        assert_int_equal(used, cut < first ? 0 : cut < n ? first : n);
        if (cut - used >= 12)
            assert_int_equal(wanted, cut < first ? first : n - first);
        else
            assert_int_equal(wanted, 0);
        lx_str_release(&seen);
    }
}

static size_t put_event(unsigned char *out, const void *event, size_t n)
{
    uint32_t crc;

    memset(out, 0, 8);
    out[0] = (unsigned char)n;
    crc = lx_crc32c_masked(out, 8);
    memcpy(out + 8, &crc, 4);
    memcpy(out + 12, event, n);
    crc = lx_crc32c_masked(event, n);
    memcpy(out + 12 + n, &crc, 4);
    return n + 16;
}

/* What cannot be read in a sound record is told with its place, and what comes after it is read. */
static void test_import_tfevents__what_is_lost_is_told(void **state)
{
#define TIME "\x09\0\0\0@\xfcT\xd9""A"
    static const struct {
        const char *event;
        size_t n;
        const char *why;
    } rows[] = {
#define ROW(event, why) {event, sizeof(event) - 1, why}
        ROW(TIME "\x10\1\x2a\x0b\x0a\x09\x0a\x02\x1b[\x15\0\0\0>", "control characters"),
        ROW(TIME "\x10\1\x2a\x0b\x0a\x09\x0a\x02\xff[\x15\0\0\0>", "not UTF-8"),
        ROW(TIME "\x10\1\x2a\x07\x0a\x05\x15\0\0\0>", "no tag"),
        ROW("\x09\0\0\0\0\0\0\xf0\x7f\x10\1", "time is no number"),
        ROW(TIME "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "damaged"),
        ROW(TIME "\x2a\x02\x0a\x09", "damaged"),
        ROW(TIME "\x2a\x04\x0a\x02\x0a\x09", "damaged"),
        ROW(TIME "\x2a\x04\x0a\x02\x0b\x0c", "damaged"), /* a group */
        ROW(TIME "\x10\1\x2a\x09\x0a\x07\x0a\x02\x1b[\x22\1x", NULL), /* a picture */
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        unsigned char bytes[1024];
        lx_str seen = LX_STR_INIT;
        lx_error err = {0};
        size_t n = from_hex(bytes, start), used;
        n += put_event(bytes + n, rows[i].event, rows[i].n);
        n += from_hex(bytes + n, simple);
        assert_int_equal(lx_tfevents_read(&used, NULL, bytes, n, 0, write_down, &seen, &err),
                         LX_OK);
        assert_int_equal(used, n);
        assert_int_equal(strstr(lx_str_text(&seen), "\nlost ") != NULL, rows[i].why != NULL);
        if (rows[i].why && !strstr(lx_str_text(&seen), rows[i].why))
            fail_msg("%zu: %s", i, lx_str_text(&seen));
        assert_non_null(strstr(lx_str_text(&seen), "scalar 1700000001.0 1 loss/average 0.125\n"));
        lx_str_release(&seen);
    }
}

/* Every flipped bit of two records is either refused with its place or harmless. */
static void test_import_tfevents__every_bit_flipped(void **state)
{
    unsigned char bytes[512];
    size_t n = from_hex(bytes, start), used;
    lx_error err = {0};

    (void)state;
    n += from_hex(bytes + n, parameters);
    for (size_t bit = 0; bit < 8 * n; bit++) {
        lx_str seen = LX_STR_INIT;
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        assert_int_equal(
            lx_tfevents_read(&used, NULL, bytes, n, 0, write_down, &seen, &err),
            LX_EFORMAT);
        assert_non_null(strstr(err.text, "record at byte "));
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        lx_str_release(&seen);
    }
}

/* ---- files of torch and tensorboardX ----------------------------------------------- */

typedef struct golden_check {
    const cJSON *event; /* of the file's list */
    const char *file;
    size_t n_scalars, n_texts;
} golden_check;

/* The next value that is a scalar or a text. */
static const cJSON *next_value(golden_check *g, int64_t *step)
{
    const cJSON *value;

    for (; g->event; g->event = g->event->next) {
        value = cJSON_GetArrayItem(cJSON_GetObjectItem(g->event, "values"), 0);
        *step = (int64_t)lx_json_number(g->event, "step", 0);
        if (value && (cJSON_GetObjectItem(value, "text") ||
                      (cJSON_IsString(cJSON_GetObjectItem(value, "kind")) &&
                       strcmp(lx_json_text(value, "kind"), "simple_value") == 0))) {
            g->event = g->event->next;
            return value;
        }
    }
    return NULL;
}

static int compare(void *context, const lx_tfevent *e, lx_error *err)
{
    golden_check *g = context;
    const cJSON *wanted;
    int64_t step;
    float got, want;

    (void)err;
    if (e->kind != LX_TFEVENT_SCALAR && e->kind != LX_TFEVENT_TEXT)
        return LX_OK;
    wanted = next_value(g, &step);
    assert_non_null(wanted);
    assert_string_equal(e->tag, lx_json_text(wanted, "tag"));
    assert_int_equal(e->step, step);
    if (e->kind == LX_TFEVENT_TEXT) {
        const char *words =
            cJSON_GetArrayItem(cJSON_GetObjectItem(wanted, "text"), 0)->valuestring;
        assert_int_equal(e->n, strlen(words));
        assert_memory_equal(e->text, words, e->n);
        g->n_texts++;
        return LX_OK;
    }
    got = (float)e->value;
    want = strtof(lx_json_text(wanted, "value"), NULL);
    assert_true(got == want || (isnan(got) && isnan(want)));
    g->n_scalars++;
    return LX_OK;
}

static void test_import_tfevents__files_of_torch_and_tensorboardX(void **state)
{
    cJSON *expected = lx_golden_json("lora/tensorboard/expected.json");
    const cJSON *file;
    size_t n_files = 0;

    (void)state;
    cJSON_ArrayForEach(file, cJSON_GetObjectItem(expected, "files"))
    {
        golden_check g = {.event = cJSON_GetObjectItem(file, "list")->child,
                          .file = lx_json_text(file, "file")};
        char path[256];
        lx_mapping map;
        lx_error err = {0};
        int64_t step;
        size_t used;
        snprintf(path, sizeof path, "lora/tensorboard/%s", g.file);
        assert_int_equal(lx_file_map(&map, lx_golden_need(path), &err), LX_OK);
        assert_int_equal(
            lx_tfevents_read(&used, NULL, map.data, map.size, 0, compare, &g, &err),
            LX_OK);
        assert_int_equal(used, map.size);
        assert_null(next_value(&g, &step)); /* nothing was left out */
        assert_true(g.n_scalars > 0);
        lx_file_unmap(&map);
        n_files++;
    }
    assert_int_equal(n_files, 3);
    cJSON_Delete(expected);
}

static int count(void *context, const lx_tfevent *e, lx_error *err)
{
    (void)e;
    (void)err;
    ++*(size_t *)context;
    return LX_OK;
}

/* As many records as TensorBoard reads; and, unlike TensorBoard, the damage is named. */
static void test_import_tfevents__damaged_files(void **state)
{
    static const struct {
        const char *path;
        size_t records; /* file_version, scalars and texts among them */
        int rc;
    } rows[] = {{"lora/tensorboard/damaged/cut.tfevents", 481, LX_OK},
                {"lora/tensorboard/damaged/bitflip.tfevents", 241, LX_EFORMAT}};

    (void)state;
    for (int i = 0; i < 2; i++) {
        lx_mapping map;
        lx_error err = {0};
        size_t used, n = 0;
        assert_int_equal(lx_file_map(&map, lx_golden_need(rows[i].path), &err), LX_OK);
        assert_int_equal(
            lx_tfevents_read(&used, NULL, map.data, map.size, 0, count, &n, &err),
            rows[i].rc);
        assert_int_equal(n, rows[i].records);
        lx_file_unmap(&map);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_import_tfevents__records_by_hand),
        cmocka_unit_test(test_import_tfevents__a_growing_file),
        cmocka_unit_test(test_import_tfevents__what_is_lost_is_told),
        cmocka_unit_test(test_import_tfevents__every_bit_flipped),
        cmocka_unit_test(test_import_tfevents__files_of_torch_and_tensorboardX),
        cmocka_unit_test(test_import_tfevents__damaged_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
