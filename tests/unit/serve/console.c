#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "src/serve/console.h"

/* The pieces one after the other, a '|' between what each gave. */
static void assert_lines(const char *const *pieces, size_t n, const char *wanted)
{
    lx_str all = LX_STR_INIT;
    lx_serve_console c = {0};

    for (size_t i = 0; i < n; i++) {
        lx_str out = LX_STR_INIT;
        lx_serve_console_take(&out, &c, pieces[i], strlen(pieces[i]));
        lx_str_puts(&all, i ? "|" : "");
        lx_str_puts(&all, lx_str_text(&out));
        lx_str_release(&out);
    }
    assert_string_equal(lx_str_text(&all), wanted);
    lx_str_release(&all);
}
#define ASSERT_LINES(wanted, ...)                                     \
    do {                                                              \
        static const char *const pieces[] = {__VA_ARGS__};            \
        assert_lines(pieces, sizeof pieces / sizeof *pieces, wanted); \
    } while (0)

static void test_serve_console__a_bar_is_its_last_drawing(void **state)
{
    (void)state;
    ASSERT_LINES("start\nsteps: 3\nend\n",
                 "start\r\nsteps: 1\rsteps: 2\rsteps: 3\r\nend\n");
    ASSERT_LINES("a\n2", "a\n1\r2");
    ASSERT_LINES("a\n", "a\n\r");
}

static void
test_serve_console__a_piece_says_when_it_overwrites_an_earlier_one(void **state)
{
    (void)state;
    ASSERT_LINES("a\nsteps: 1|\rsteps: 3|!\nb", "a\nsteps: 1", "\rsteps: 2\rsteps: 3",
                 "!\nb");
    ASSERT_LINES("x||\ry", "x\r", "\r", "y");
    ASSERT_LINES("x\n|y", "x\r\n", "y");
}

static void test_serve_console__escapes_are_dropped_even_in_pieces(void **state)
{
    (void)state;
    ASSERT_LINES("red b", "\x1b[1;31mred\x1b[0m \x1b"
                          "7b\x1b]0;title\x07");
    ASSERT_LINES("a||b", "a\x1b", "[3", "1mb");
    ASSERT_LINES("x\ny", "\x1b]52;c;YQ==\x1b\\x\n\x1b[?25ly");
    ASSERT_LINES("\nb", "\x1b]never closed\nb");
    ASSERT_LINES("\nb", "\x1b[12\nb");
}

static void test_serve_console__the_tail_begins_with_a_line(void **state)
{
    static const char text[] = "one\ntwo\nthree\n";
    (void)state;
    assert_int_equal(lx_serve_console_tail(text, 14, 14), 0);
    assert_int_equal(lx_serve_console_tail(text, 14, 13), 4);
    assert_int_equal(lx_serve_console_tail(text, 14, 6), 14);
    assert_int_equal(lx_serve_console_tail(text, 13, 4), 9); /* no line begins there */
}

static void test_serve_console__a_character_is_not_cut(void **state)
{
    (void)state;
    assert_int_equal(lx_serve_console_whole("", 0), 0);
    assert_int_equal(lx_serve_console_whole("ab", 2), 2);
    assert_int_equal(lx_serve_console_whole("a\xC3\xA9", 3), 3);
    assert_int_equal(lx_serve_console_whole("a\xC3", 2), 1);
    assert_int_equal(lx_serve_console_whole("a\xE2\x96", 3), 1);
    assert_int_equal(lx_serve_console_whole("a\xF0\x9F\x98", 4), 1);
    assert_int_equal(lx_serve_console_whole("\xA9\xA9\xA9\xA9", 4), 4); /* none at all */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_serve_console__a_bar_is_its_last_drawing),
        cmocka_unit_test(
            test_serve_console__a_piece_says_when_it_overwrites_an_earlier_one),
        cmocka_unit_test(test_serve_console__escapes_are_dropped_even_in_pieces),
        cmocka_unit_test(test_serve_console__the_tail_begins_with_a_line),
        cmocka_unit_test(test_serve_console__a_character_is_not_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
