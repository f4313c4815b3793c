#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/base/str.h"

static void test_base_str__grows_and_keeps_nuls(void **state)
{
    lx_str s = LX_STR_INIT;
    char *text;

    assert_string_equal(lx_str_text(&s), "");
    for (int i = 0; i < 1000; i++)
        lx_str_printf(&s, "%d,", i % 10);
    lx_str_putc(&s, '\0');
    lx_str_puts(&s, "end");
    assert_int_equal(s.len, 2004);
    assert_string_equal(s.data + 2001, "end");
    assert_int_equal(lx_str_check(&s, NULL), 0);
    text = lx_str_detach(&s);
    assert_non_null(text);
    assert_null(s.data);
    lx_free(text);
    text = lx_str_detach(&s);
    assert_string_equal(text, "");
    lx_free(text);
}

static void test_base_str__a_failed_append_is_remembered(void **state)
{
    lx_str s = LX_STR_INIT;
    lx_error err = {0};

    lx_str_puts(&s, "ab");
    lx_alloc_fail_at(1, true);
    for (int i = 0; i < 100; i++)
        lx_str_puts(&s, "0123456789");
    lx_alloc_fail_at(0, false);
    lx_str_puts(&s, "later");
    assert_int_equal(lx_str_check(&s, &err), LX_ENOMEM);
    assert_null(strstr(lx_str_text(&s), "later"));
    assert_null(lx_str_detach(&s));
    assert_null(s.data);
}

static void test_base_str__utf8_is_checked_strictly(void **state)
{
    static const struct {
        const char *bytes;
        size_t valid;
    } cases[] = {
        {"abc", 3},
        {"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", 9},
        {"a\xC0\xAF", 1},          /* overlong */
        {"\xE0\x80\xAF", 0},       /* overlong */
        {"\xF0\x80\x80\xAF", 0},   /* overlong */
        {"\xED\xA0\x80", 0},       /* surrogate */
        {"\xEF\xBF\xBF", 3},
        {"\xF4\x8F\xBF\xBF", 4},
        {"\xF4\x90\x80\x80", 0},   /* past U+10FFFF */
        {"ab\x80", 2},
        {"ab\xE2\x82", 2},         /* cut */
        {"\xFF", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(lx_utf8_check(cases[i].bytes, strlen(cases[i].bytes)), cases[i].valid);
}

static void test_base_str__every_code_point_round_trips(void **state)
{
    lx_str s = LX_STR_INIT;
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        const char *p;
        if (c >= 0xD800 && c < 0xE000)
            continue;
        lx_str_clear(&s);
        lx_str_put_utf8(&s, c);
        p = s.data;
        if (lx_utf8_next(&p, s.data + s.len) != c || p != s.data + s.len)
            fail_msg("U+%04X", c);
    }
    lx_str_release(&s);
}

static const char *escaped(void (*escape)(lx_str *, const char *, size_t), const char *text)
{
    static char shown[256];
    lx_str s = LX_STR_INIT;
    escape(&s, text, strlen(text));
    assert_true(s.len < sizeof shown);
    strcpy(shown, lx_str_text(&s));
    lx_str_release(&s);
    return shown;
}

static void one_line(lx_str *out, const char *text, size_t n)
{
    lx_escape_terminal(out, text, n, true);
}

static void many_lines(lx_str *out, const char *text, size_t n)
{
    lx_escape_terminal(out, text, n, false);
}

static void test_base_str__terminals_get_nothing_that_acts(void **state)
{
    assert_string_equal(escaped(one_line, "\x1b[31mred\x07\n\t"), "\\x1b[31mred\\x07\\n\\t");
    assert_string_equal(escaped(many_lines, "a\nb\t\r"), "a\nb\t\\x0d");
    assert_string_equal(escaped(one_line, "\xC2\x9B" "1m"), "\\u{9b}1m");
    assert_string_equal(escaped(one_line, "a\xE2\x80\xAE" "b"), "a\\u{202e}b");
    assert_string_equal(escaped(one_line, "\xFF\xC3\xA9"), "\\xff\xC3\xA9");
    assert_string_equal(escaped(one_line, "\x7F"), "\\x7f");
    /* What nobody sees: of no width, joined, a mark of byte order. Joiners of scripts and emoji stay. */
    assert_string_equal(escaped(one_line, "a\xE2\x80\x8B\xE2\x81\xA0\xE2\x81\xA4\xEF\xBB\xBF"),
                        "a\\u{200b}\\u{2060}\\u{2064}\\u{feff}");
    assert_string_equal(escaped(one_line, "\xE2\x80\x8C\xE2\x80\x8D"), "\xE2\x80\x8C\xE2\x80\x8D");
}

static void test_base_str__html_json_and_csv(void **state)
{
    assert_string_equal(escaped(lx_escape_html, "<a href='x'>\"&\x01\xFF"),
                        "&lt;a href=&#39;x&#39;&gt;&quot;&amp;\\u{1}\xEF\xBF\xBD");
    assert_string_equal(escaped(lx_escape_json, "a\"\\\n\x01\xC3\xA9"),
                        "\"a\\\"\\\\\\n\\u0001\xC3\xA9\"");
    assert_string_equal(escaped(lx_escape_csv, "plain"), "plain");
    assert_string_equal(escaped(lx_escape_csv, "a,\"b\""), "\"a,\"\"b\"\"\"");
    assert_string_equal(escaped(lx_escape_csv, "=1+1"), "\"'=1+1\"");
    assert_string_equal(escaped(lx_escape_csv, ""), "");
}

static const char *quoted(const char *word)
{
    static lx_str s;
    lx_str_release(&s);
    lx_escape_shell(&s, word);
    return lx_str_text(&s);
}

static void test_base_str__shells_read_words_back(void **state)
{
    (void)state;
    assert_string_equal(quoted("--lr=1e-4,5e-5"), "--lr=1e-4,5e-5");
    assert_string_equal(quoted(""), "''");
    assert_string_equal(quoted("it's $(here)"), "'it'\\''s $(here)'");
    assert_string_equal(quoted("a\nb"), "'a\nb'");
    assert_string_equal(quoted("~"), "'~'");
    assert_string_equal(quoted("plain"), "plain");
}

static void from_utf16(const char *bytes, size_t n, bool is_big, const char *wanted, size_t wanted_n)
{
    lx_str s = LX_STR_INIT;

    lx_str_put_utf16(&s, bytes, n, is_big);
    assert_int_equal(s.len, wanted_n);
    assert_memory_equal(lx_str_text(&s), wanted, wanted_n);
    lx_str_release(&s);
}

static void test_base_str__utf16_of_either_order(void **state)
{
    static const char lost[] = "\xEF\xBF\xBD";

    from_utf16("a\0\x42\x30", 4, false, "a\xE3\x81\x82", 4);
    from_utf16("\0a\x30\x42", 4, true, "a\xE3\x81\x82", 4);
    from_utf16("\xD8\x3D\xDE\x00\0\0", 6, true, "\xF0\x9F\x98\x80", 5); /* and a NUL */
    from_utf16("\x3D\xD8\x00\xDE", 4, false, "\xF0\x9F\x98\x80", 4);
    from_utf16("\xD8\x3D\0a", 4, true, "\xEF\xBF\xBD\x61", 4); /* a half, and what is behind it */
    from_utf16("\xDE\x00", 2, true, lost, 3);
    from_utf16("\xD8\x3D", 2, true, lost, 3);
    from_utf16("\0ab", 3, true, "a\xEF\xBF\xBD", 4);
    from_utf16("", 0, true, "", 0);
}

static void test_base_str__names_at_a_distance(void **state)
{
    assert_int_equal(lx_name_distance("learning_rate", "learning-rate"), 0);
    assert_int_equal(lx_name_distance("learning_rat", "learning_rate"), 1);
    assert_int_equal(lx_name_distance("kitten", "SITTING"), 3);
    assert_int_equal(lx_name_distance("", "abc"), 3);
    assert_true(lx_starts_with("abc", "ab") && !lx_starts_with("a", "ab"));
    assert_true(lx_ends_with("abc", "bc") && !lx_ends_with("c", "bc"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_str__grows_and_keeps_nuls),
        cmocka_unit_test(test_base_str__a_failed_append_is_remembered),
        cmocka_unit_test(test_base_str__utf8_is_checked_strictly),
        cmocka_unit_test(test_base_str__every_code_point_round_trips),
        cmocka_unit_test(test_base_str__terminals_get_nothing_that_acts),
        cmocka_unit_test(test_base_str__html_json_and_csv),
        cmocka_unit_test(test_base_str__shells_read_words_back),
        cmocka_unit_test(test_base_str__utf16_of_either_order),
        cmocka_unit_test(test_base_str__names_at_a_distance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
