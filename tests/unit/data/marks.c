#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "src/data/marks.h"

static void test_data_marks__a_list(void **state)
{
    static const char text[] =
        "# lx marks 1\r\ndrop\t10_a b/x.png\r\n\nkeep\ta\\x09\\\\\\xff.png\n"
        "drop\t10_a b/x.png\nmove\tlast.png";
    lx_arena *arena = lx_arena_new();
    lx_marks marks;
    lx_error err;

    if (lx_marks_parse(&marks, text, sizeof text - 1, arena, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(marks.count, 3);
    assert_string_equal(marks.items[0].path, "10_a b/x.png");
    assert_string_equal(marks.items[0].mark, "drop");
    assert_string_equal(marks.items[1].path, "a\t\\\xff.png");
    assert_string_equal(marks.items[2].mark, "move");
    lx_arena_free(arena);
}

static void refused(const char *text, const char *why)
{
    lx_arena *arena = lx_arena_new();
    lx_marks marks;
    lx_error err = {0};

    assert_int_equal(lx_marks_parse(&marks, text, strlen(text), arena, &err), LX_EFORMAT);
    if (!strstr(err.text, why))
        fail_msg("%s: %s", text, err.text);
    lx_arena_free(arena);
}

static void test_data_marks__path_tricks_are_refused_by_line(void **state)
{
    static const char *const tricks[] = {"/etc/passwd", "../a.png", "a/../b.png",
                                         "./a.png",     "a//b.png", "",
                                         "a/",          "a/.",      "\\x2e\\x2e/a.png"};
    char line[100];

    for (size_t i = 0; i < sizeof tricks / sizeof *tricks; i++) {
        strcpy(line, "# one\ndrop\t");
        refused(strcat(line, tricks[i]), "line 2: the name leads out");
    }
    refused("drop a.png", "line 1");
    refused("burn\ta.png", "line 1");
    refused("drop\ta\\q.png", "backslash");
    refused("drop\ta\\x00.png", "NUL");
    refused("drop\ta.png\nkeep\ta.png", "lines 1 and 2");
}

static void test_data_marks__names_come_back(void **state)
{
    static const char *const names[] = {
        "plain.png",    "a\\b",    "tab\tnew\nline",     "\xff\xfe", "\xE5\xB0\x91",
        "\xE2\x80\xA8", "\x1b[2J", "a\xE2\x80\xAEgnp.b", "a\\x41"};
    lx_arena *arena = lx_arena_new();

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        lx_str text = LX_STR_INIT;
        char *back;
        lx_name_escape(&text, names[i]);
        assert_int_equal(lx_utf8_check(text.data, text.len), text.len);
        for (size_t k = 0; k < text.len; k++)
            assert_true((unsigned char)text.data[k] >= 0x20);
        assert_int_equal(lx_name_unescape(&back, text.data, text.len, arena, NULL), 0);
        assert_string_equal(back, names[i]);
        lx_str_release(&text);
    }
    lx_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_data_marks__a_list),
        cmocka_unit_test(test_data_marks__path_tricks_are_refused_by_line),
        cmocka_unit_test(test_data_marks__names_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
