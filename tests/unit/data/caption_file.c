#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "src/data/caption_file.h"

static void read_as(const char *bytes, size_t n, bool wildcard, const char *wanted,
                    lx_caption_text *out)
{
    lx_error err = {0};

    memset(out, 0, sizeof *out);
    if (lx_caption_decode(out, bytes, n, wildcard, &err) < 0)
        fail_msg("\"%s\": %s", bytes, err.text);
    assert_string_equal(lx_str_text(&out->text), wanted);
    lx_str_release(&out->text);
}

static void test_data_caption_file__first_line_stripped_or_all(void **state)
{
    lx_caption_text t;

    read_as("a, b\r\nc\r\n", 9, false, "a, b", &t);
    assert_true(t.has_cr);
    assert_int_equal(t.unread_lines, 1);
    read_as("a, b\r\n\r\n  c \rd", 14, true, "a, b\nc\nd", &t);
    assert_int_equal(t.unread_lines, 0);
    read_as("\n\na", 3, false, "", &t);
    assert_false(t.is_empty);
    read_as(" \xE3\x80\x80 a \xC2\xA0\n", 10, false, "a", &t); /* as str.strip has it */
    read_as("\xEF\xBB\xBF" "1girl", 8, false, "1girl", &t);
    assert_true(t.has_bom);
    read_as("", 0, false, "", &t);
    assert_true(t.is_empty);
    read_as("\xEF\xBB\xBF", 3, false, "", &t);
    assert_true(t.is_empty);
}

static void test_data_caption_file__odd_texts_are_seen(void **state)
{
    lx_caption_text t;

    read_as("\x1B[2Jgirl", 8, false, "\x1B[2Jgirl", &t);
    assert_true(t.is_odd);
    read_as("\xC2\x9B" "31mred", 8, false, "\xC2\x9B" "31mred", &t);
    assert_true(t.is_odd);
    read_as("<lora:x:1>, a=b", 15, false, "<lora:x:1>, a=b", &t);
    assert_false(t.is_odd);
}

static void test_data_caption_file__odd_and_harmless_texts(void **state)
{
    static const char *const odd[] = {
        "<script>x", "<SCRIPT>x</SCRIPT>", "cat <img src=x onerror=y>", "cat <svg/onload=y>",
        "=1+1", "\t=1+1", " =SUM(A1)", "=cmd|' /C calc'!A0", "@SUM(1)", "+cmd|calc", "-2+3+cmd|x",
        "-SUM(A1)", "cat \u202egod\u202c", "cat \u2066god\u2069", "a\u2028b", "a\u2029b",
        "c\u200bat", "cat\U000e0041\U000e0042", "cat\uffff", "cat\ufdd0", "a, \ufeffb",
        "\ufeff\ufeff" "cat", "\x0b" "a"};
    static const char *const harmless[] = {
        "=_=", "=3, 1girl", "=^=", "=v=, smile", "@_@", "+_+, cat", "+++", "^_^", ":3", ">_<", "-_-",
        "-_- (face), x", "<3", "<o>_<o>", ">:(", ":<", "<lora:x:1>", "<imgstyle>", "a <b", "<",
        "\U0001F468\u200D\U0001F469\u200D\U0001F467", "\u2764\uFE0F", "cat\ue000", "\u00a0cat",
        "\U0001F3F4\U000E0067\U000E0062\U000E0065\U000E006E\U000E0067\U000E007F",
        "\u0645\u06CC\u200C\u062E", "+tic neesan (series), x", "-sho-, cat", "+1, x", "- ", "="};

    for (size_t i = 0; i < sizeof odd / sizeof *odd + sizeof harmless / sizeof *harmless; i++) {
        const bool is_odd = i < sizeof odd / sizeof *odd;
        const char *text = is_odd ? odd[i] : harmless[i - sizeof odd / sizeof *odd];
        lx_caption_text t = {.text = LX_STR_INIT};
        lx_error err = {0};

        assert_int_equal(lx_caption_decode(&t, text, strlen(text), false, &err), LX_OK);
        if (t.is_odd != is_odd)
            fail_msg("\"%s\" is %s", text, is_odd ? "odd" : "harmless");
        lx_str_release(&t.text);
    }
}

static void refused(const char *bytes, size_t n, const char *offset, const char *guess)
{
    lx_caption_text t = {.text = LX_STR_INIT};
    lx_error err = {0};

    assert_int_equal(lx_caption_decode(&t, bytes, n, false, &err), LX_EFORMAT);
    if (strstr(err.text, offset) == NULL || strstr(err.text, guess) == NULL)
        fail_msg("\"%s\" lacks \"%s\" or \"%s\"", err.text, offset, guess);
    lx_str_release(&t.text);
}

static void test_data_caption_file__other_encodings_are_named_with_the_offset(void **state)
{
    refused("1girl, \x8F\xAD\x8F\x97", 11, "offset 7", "Shift-JIS");
    refused("\xFF\xFE" "1\0g\0", 6, "offset 0", "UTF-16");
    refused("1\0g\0i\0", 6, "offset 1", "UTF-16");
    refused("caf\xE9\n", 5, "offset 3", "Latin-1");
    refused("abc \xE5\xB0", 6, "offset 4", "");
    refused("a\0b, c, d, e, f", 15, "offset 1", "binary");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_data_caption_file__first_line_stripped_or_all),
        cmocka_unit_test(test_data_caption_file__odd_texts_are_seen),
        cmocka_unit_test(test_data_caption_file__odd_and_harmless_texts),
        cmocka_unit_test(test_data_caption_file__other_encodings_are_named_with_the_offset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
