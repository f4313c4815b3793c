/* Settings in pictures: the goldens of lora/a1111, what lx writes itself, and hostile
 * files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/format/infotext.h"
#include "src/format/picture_text.h"
#include "src/format/png.h"
#include "tests/support/golden.h"
#include "tests/support/model.h"

static void check_info(const char *text, const cJSON *want)
{
    lx_arena *arena = lx_arena_new();
    const cJSON *settings = cJSON_GetObjectItem(want, "settings");
    lx_infotext info;
    lx_error err = {0};
    size_t n = 0;

    lx_assert_ok(lx_infotext_parse(&info, arena, text, &err), &err);
    assert_string_equal(info.prompt, lx_json_text(want, "prompt"));
    assert_string_equal(info.negative, lx_json_text(want, "negative_prompt"));
    for (const cJSON *s = settings->child; s; s = s->next, n++) {
        const char *value = lx_infotext_get(&info, s->string);
        if (!value)
            fail_msg("no %s", s->string);
        assert_string_equal(value, s->valuestring);
    }
    assert_int_equal(info.n_settings, n);
    /* Written again, it is the same text. */
    lx_str again = LX_STR_INIT;
    lx_infotext_write(&again, &info);
    assert_string_equal(lx_str_text(&again), text);
    lx_str_release(&again);
    lx_arena_free(arena);
}

static void test_format_picture_text__goldens(void **state)
{
    cJSON *all = lx_golden_json("lora/a1111/expected.json");

    for (const cJSON *want = all->child; want; want = want->next) {
        const char *text = lx_json_text(want, "parameters");
        lx_str got = LX_STR_INIT;
        char name[96];
        lx_error err = {0};
        bool is_there;

        snprintf(name, sizeof name, "lora/a1111/%s", want->string);
        if (!lx_golden(name))
            continue;
        lx_assert_ok(lx_picture_text_read(&got, &is_there, lx_golden(name), &err), &err);
        assert_int_equal(is_there, text != NULL);
        if (text)
            assert_string_equal(lx_str_text(&got), text);
        if (cJSON_GetObjectItem(want, "settings"))
            check_info(text, want);
        lx_str_release(&got);
    }
    cJSON_Delete(all);
}

static void test_format_picture_text__own_png_comes_back(void **state)
{
    static const char *const texts[] = {"plain, (a:1.2)\nSteps: 1", "caf\xc3\xa9",
                                        "岩倉玲音 \xf0\x9f\x98\x80", ""};
    unsigned char rgb[5 * 7 * 3];

    for (size_t i = 0; i < sizeof rgb; i++)
        rgb[i] = (unsigned char)(i * 37);
    for (size_t i = 0; i < 4; i++) {
        lx_str png = LX_STR_INIT, back = LX_STR_INIT;
        lx_error err = {0};
        bool is_there;

        lx_assert_ok(lx_png_encode(&png, rgb, 7, 5, "parameters", texts[i], &err), &err);
        lx_assert_ok(lx_picture_text_parse(&back, &is_there, (unsigned char *)png.data,
                                           png.len, &err),
                     &err);
        assert_true(is_there || !*texts[i]);
        assert_string_equal(lx_str_text(&back), texts[i]);
        /* Every prefix is refused or has no text; none is read past its end. */
        for (size_t n = 0; n < png.len; n++) {
            unsigned char *cut = lx_alloc(n + 1);
            lx_str ignored = LX_STR_INIT;
            memcpy(cut, png.data, n);
            lx_picture_text_parse(&ignored, &is_there, cut, n, NULL);
            lx_str_release(&ignored);
            lx_free(cut);
        }
        lx_str_release(&png);
        lx_str_release(&back);
    }
}

/* A PNG of text chunks alone: "TYPE" and the bytes behind it. */
static void put_chunk(lx_str *out, const char *type, const char *bytes, size_t n)
{
    for (int i = 0; i < 4; i++)
        lx_str_putc(out, (char)(n >> (24 - 8 * i)));
    lx_str_append(out, type, 4);
    lx_str_append(out, bytes, n);
    lx_str_append(out, "\0\0\0", 4);
}

static void look(const char *type, const char *bytes, size_t n, bool has_text, const char *note)
{
    char path[] = "/tmp/lx-text-XXXXXX";
    lx_str png = LX_STR_INIT, text = LX_STR_INIT, notes = LX_STR_INIT;
    lx_error err = {0};
    bool is_there;

    close(mkstemp(path));
    lx_str_append(&png, "\x89PNG\r\n\x1a\n", 8);
    put_chunk(&png, "tEXt", "Title\0x", 7);
    put_chunk(&png, type, bytes, n);
    assert_int_equal(lx_file_write(path, png.data, png.len, &err), 0);
    lx_assert_ok(lx_picture_text_look(&text, &is_there, &notes, path, &err), &err);
    assert_int_equal(is_there, has_text);
    if (!note ? notes.len > 0 : !strstr(lx_str_text(&notes), note) ||
                                    !strstr(lx_str_text(&notes), "at byte 27"))
        fail_msg("\"%s\" lacks \"%s\"", lx_str_text(&notes), note ? note : "nothing");
    /* Who needs the text is told the same, as an error. */
    lx_str_clear(&text);
    if (note && !has_text && n > 11 && memcmp(bytes, "parameters", 11) == 0) {
        assert_int_equal(lx_picture_text_read(&text, &is_there, path, &err), LX_EFORMAT);
        assert_non_null(strstr(err.text, "at byte 27"));
    }
    unlink(path);
    lx_str_release(&png);
    lx_str_release(&text);
    lx_str_release(&notes);
}

static void test_format_picture_text__texts_left_out_are_told(void **state)
{
    char key[202] = {0};

    memset(key, 'k', 200);
#define LOOK(type, bytes, has_text, note) look(type, bytes, sizeof(bytes) - 1, has_text, note)
    LOOK("tEXt", "parameters\0cat", true, NULL);
    LOOK("zTXt", "parameters\0\7cat", false, "unknown way");
    LOOK("zTXt", "parameters\0\0cat", false, "damaged");
    LOOK("iTXt", "parameters\0\5\0\0\0cat", false, "unknown way");
    LOOK("iTXt", "parameters\0\0\0en", false, "before its text");
    LOOK("iTXt", "parameters\0\0\0\0\0c\xff", true, "not UTF-8");
    LOOK("iTXt", "parameters\0\0\0\0\0c\xef\xbf\xbd", true, NULL);
    LOOK("tEXt", "parameters\0c\0t", true, "NUL");
    LOOK("tEXt", "parameters", false, "without its end");
    LOOK("tEXt", "\0cat", false, "no keyword");
#undef LOOK
    look("tEXt", key, sizeof key, false, "more than 79");
}

static void test_format_picture_text__first_of_two_and_many(void **state)
{
    char path[] = "/tmp/lx-text-XXXXXX";
    lx_str png = LX_STR_INIT, text = LX_STR_INIT, notes = LX_STR_INIT;
    lx_error err = {0};
    bool is_there;

    close(mkstemp(path));
    lx_str_append(&png, "\x89PNG\r\n\x1a\n", 8);
    put_chunk(&png, "zTXt", "parameters\0\0bad", 15);
    for (int i = 0; i < 12; i++)
        put_chunk(&png, "tEXt", i ? "parameters\0b" : "parameters\0a", 12);
    assert_int_equal(lx_file_write(path, png.data, png.len, &err), 0);
    lx_assert_ok(lx_picture_text_look(&text, &is_there, &notes, path, &err), &err);
    assert_true(is_there);
    assert_string_equal(lx_str_text(&text), "a");
    assert_non_null(strstr(lx_str_text(&notes), "zTXt chunk at byte 8 is not read"));
    assert_non_null(strstr(lx_str_text(&notes), "once more"));
    assert_non_null(strstr(lx_str_text(&notes), "4 more texts"));
    unlink(path);
    lx_str_release(&png);
    lx_str_release(&text);
    lx_str_release(&notes);
}

/* 64 MB of zeros in some 64 kB. */
static void test_format_picture_text__packed_bomb_is_refused(void **state)
{
    uLong n = 64u << 20;
    uLongf packed = compressBound(n);
    unsigned char *zeros = lx_calloc(n, 1), *z = lx_alloc(packed), *file;
    static const char head[] = "\x89PNG\r\n\x1a\n";
    lx_str out = LX_STR_INIT;
    lx_error err = {0};
    bool is_there;
    size_t body;

    assert_int_equal(compress2(z, &packed, zeros, n, 9), Z_OK);
    body = 12 + packed;
    file = lx_calloc(8 + 12 + body, 1);
    memcpy(file, head, 8);
    for (int i = 0; i < 4; i++)
        file[8 + i] = (unsigned char)(body >> (24 - 8 * i));
    memcpy(file + 12, "zTXtparameters\0\0", 16);
    memcpy(file + 28, z, packed);
    assert_int_equal(lx_picture_text_parse(&out, &is_there, file, 8 + 12 + body, &err),
                     LX_ELIMIT);
    lx_str_release(&out);
    lx_free(zeros);
    lx_free(z);
    lx_free(file);
}

static void test_format_picture_text__odd_settings_lines(void **state)
{
    static const struct {
        const char *text;
        size_t n;
    } cases[] = {{"", 0},
                 {"Steps: 1, Seed: 2", 0},
                 {"a\nSteps: 1, Seed: 2, Size: 3x4,", 3},
                 {"a\nSteps: 1, Seed: \"2, Size: 3x4", 3},
                 {":::,,,\",:", 0},
                 {"p\nA: 1, B: \"x, \\\"y\\\": z\", C: , D: 4", 4}};
    lx_arena *arena = lx_arena_new();

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lx_infotext info;
        lx_error err = {0};
        lx_assert_ok(lx_infotext_parse(&info, arena, cases[i].text, &err), &err);
        assert_int_equal(info.n_settings, cases[i].n);
    }
    lx_infotext info;
    lx_infotext_parse(&info, arena, cases[5].text, NULL);
    assert_string_equal(lx_infotext_get(&info, "B"), "x, \"y\": z");
    assert_string_equal(lx_infotext_get(&info, "C"), "");
    lx_arena_free(arena);
}

/* As json.loads has them, and what that refuses stands as it is. */
static void test_format_picture_text__quoted_values(void **state)
{
    static const struct {
        const char *text, *value;
    } cases[] = {{"\"a, \\u00e9\\u3042\\ud83d\\ude00\"", "a, \xc3\xa9\xe3\x81\x82\xf0\x9f\x98\x80"},
                 {"\"\\b\\f\\n\\r\\t\\/\\\\\\\"\"", "\b\f\n\r\t/\\\""},
                 {"\"C:\\\\models\"", "C:\\models"},
                 {"\"C:\\models\"", "\"C:\\models\""},
                 {"\"a\\u12\"", "\"a\\u12\""},
                 {"\"a\\u0000\"", "\"a\\u0000\""},
                 {"\"a\tb\"", "\"a\tb\""},
                 {"\"", "\""},
                 {"\"\"", ""}};
    lx_arena *arena = lx_arena_new();

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lx_str text = LX_STR_INIT;
        lx_infotext info;
        lx_error err = {0};
        lx_str_printf(&text, "p\nA: 1, B: %s, C: 3", cases[i].text);
        lx_assert_ok(lx_infotext_parse(&info, arena, lx_str_text(&text), &err), &err);
        assert_string_equal(lx_infotext_get(&info, "B"), cases[i].value);
        assert_string_equal(lx_infotext_get(&info, "C"), "3");
        lx_str_release(&text);
    }
    lx_arena_free(arena);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format_picture_text__goldens),
        cmocka_unit_test(test_format_picture_text__own_png_comes_back),
        cmocka_unit_test(test_format_picture_text__texts_left_out_are_told),
        cmocka_unit_test(test_format_picture_text__first_of_two_and_many),
        cmocka_unit_test(test_format_picture_text__packed_bomb_is_refused),
        cmocka_unit_test(test_format_picture_text__odd_settings_lines),
        cmocka_unit_test(test_format_picture_text__quoted_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
