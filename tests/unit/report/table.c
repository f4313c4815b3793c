#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/report/plot.h"
#include "src/report/table.h"

static const lx_table_column columns[] = {{"name", false, true}, {"n", true, false}};

static void assert_table(const char *const *cells, size_t n_rows, int width,
                         const char *wanted)
{
    const lx_table table = {columns, 2, n_rows, cells};
    lx_str out = LX_STR_INIT;

    assert_int_equal(lx_table_text(&out, &table, width, 0, NULL), 0);
    assert_string_equal(lx_str_text(&out), wanted);
    lx_str_release(&out);
}

static void test_report_table__aligns_by_width_on_the_screen(void **state)
{
    static const char *const cells[] = {
        "\xe6\x97\xa5\xe6\x9c\xac", "1", "e\xcc\x81tude", "-22", "x", NULL};

    (void)state;
    assert_int_equal(lx_text_width("\xe6\x97\xa5\xe6\x9c\xac"), 4);
    assert_int_equal(lx_text_width("e\xcc\x81"), 1);
    assert_table(
        cells, 3, 0,
        "name     n\n\xe6\x97\xa5\xe6\x9c\xac     1\ne\xcc\x81tude  -22\nx        -\n");
}

static void test_report_table__shrinks_what_may_and_escapes_all(void **state)
{
    static const char *const cells[] = {"a very long name indeed", "1", "\x1b[31m\n\xff",
                                        "2"};

    (void)state;
    assert_table(cells, 2, 20,
                 "name               n\na very long na...  1\n\\x1b[31m\\n\\xff     2\n");
    assert_table(cells, 1, 5, "name      n\na ver...  1\n"); /* not below 8 */
}

static void test_report_table__csv_is_quoted_and_defused(void **state)
{
    static const char *const cells[] = {"=1+1", "-3", "a,\"b\"\nc", NULL};
    const lx_table table = {columns, 2, 2, cells};
    lx_str out = LX_STR_INIT;

    (void)state;
    assert_int_equal(lx_table_csv(&out, &table, NULL), 0);
    assert_non_null(strstr(lx_str_text(&out), "name,n\n"));
    assert_non_null(strstr(lx_str_text(&out), "'=1+1"));
    assert_non_null(strstr(lx_str_text(&out), ",-3\n"));
    assert_non_null(strstr(lx_str_text(&out), "\"a,\"\"b\"\"\nc\",\n"));
    lx_str_release(&out);
}

/* A column of numbers holds what a file says, which may be none. */
static void test_report_table__csv_numbers_are_numbers_or_defused(void **state)
{
    static const char *const cells[] = {"a", "-1.5e-03", "b", "=cmd|' /c calc'!A1",
                                        "c", "\x1b[31m9", "d", "-Infinity",
                                        "e", "+1+1"};
    const lx_table table = {columns, 2, 5, cells};
    lx_str out = LX_STR_INIT;

    (void)state;
    assert_int_equal(lx_table_csv(&out, &table, NULL), 0);
    assert_non_null(strstr(lx_str_text(&out), "a,-1.5e-03\n"));
    assert_non_null(strstr(lx_str_text(&out), "'=cmd"));
    assert_non_null(strstr(lx_str_text(&out), "d,-Infinity\n"));
    assert_null(strchr(lx_str_text(&out), '\x1b'));
    lx_str_release(&out);
}

static void test_report_table__lives_through_want_of_memory(void **state)
{
    static const char *const cells[] = {"a", "1", "b", "2"};
    const lx_table table = {columns, 2, 2, cells};

    (void)state;
    for (size_t n = 1;; n++) {
        lx_str out = LX_STR_INIT;
        int rc;
        lx_alloc_fail_at(n, true);
        rc = lx_table_text(&out, &table, 0, 0, NULL);
        lx_alloc_fail_at(0, false);
        lx_str_release(&out);
        if (rc == LX_OK)
            break;
        assert_int_equal(rc, LX_ENOMEM);
    }
}

/* ---- plots --------------------------------------------------------------- */

static const double steps[] = {1, 2, 3, 4, 5, 6, 7, 8}, down[] = {8, 7, 6, 5, 4, 3, 2, 1},
                    up[] = {1, 2, 3, 4, 5, 6, 7, 8};

static void plot(lx_str *out, const lx_plot_line *lines, size_t n, int width,
                 bool has_color, bool is_utf8)
{
    const lx_plot p = {.lines = lines,
                       .n_lines = n,
                       .x_label = "step",
                       .width = width,
                       .height = 4,
                       .has_color = has_color,
                       .is_utf8 = is_utf8};
    assert_int_equal(lx_plot_text(out, &p, NULL), 0);
}

static void test_report_plot__letters_where_there_are_no_colours(void **state)
{
    const lx_plot_line lines[] = {{"one", steps, down, 8}, {"\x1b[31mtwo", steps, up, 8}};
    const lx_plot_line meeting[] = {{"one", steps, up, 8}, {"two", steps, up, 8}};
    lx_str out = LX_STR_INIT;

    (void)state;
    plot(&out, lines, 2, 19, false, true);
    assert_non_null(strstr(lx_str_text(&out), "a one   b \\x1b[31mtwo\n"));
    assert_null(strchr(lx_str_text(&out), '\x1b'));
    assert_non_null(strstr(lx_str_text(&out), "|a"));
    assert_non_null(strstr(lx_str_text(&out), "b\n"));
    lx_str_clear(&out);
    plot(&out, meeting, 2, 19, false, true);
    assert_non_null(strstr(lx_str_text(&out), "|*"));
    lx_str_release(&out);
}

/* A run that went on from another begins at a large step. */
static void test_report_plot__steps_are_written_whole(void **state)
{
    const double late[] = {12001, 1234567}, parts[] = {0.015625, 1.5}, y[] = {1, 2};
    const lx_plot_line whole = {NULL, late, y, 2}, share = {NULL, parts, y, 2};
    lx_str out = LX_STR_INIT;

    (void)state;
    plot(&out, &whole, 1, 60, false, false);
    assert_non_null(strstr(lx_str_text(&out), " 12001 "));
    assert_non_null(strstr(lx_str_text(&out), " 1234567\n"));
    lx_str_clear(&out);
    plot(&out, &share, 1, 60, false, false);
    assert_non_null(strstr(lx_str_text(&out), " 0.01562 "));
    assert_non_null(strstr(lx_str_text(&out), " 1.5\n"));
    lx_str_release(&out);
}

static void test_report_plot__dots_and_colours(void **state)
{
    const lx_plot_line lines[] = {{"one", steps, down, 8}, {"two", steps, up, 8}};
    lx_str out = LX_STR_INIT;

    (void)state;
    plot(&out, lines, 2, 40, true, true);
    assert_non_null(strstr(lx_str_text(&out), "\x1b[36m"));
    assert_non_null(strstr(lx_str_text(&out), "\xe2\xa0")); /* U+2800 and on */
    lx_str_clear(&out);
    plot(&out, lines, 1, 40, false, true);
    assert_null(strchr(lx_str_text(&out), '\x1b'));
    lx_str_clear(&out);
    plot(&out, lines, 1, 40, false, false);
    assert_non_null(strchr(lx_str_text(&out), '*'));
    for (const char *p = lx_str_text(&out); *p; p++)
        assert_true((unsigned char)*p < 128);
    lx_str_release(&out);
}

static void test_report_plot__odd_curves(void **state)
{
    static const double x[] = {1, 1, 1}, bad[] = {(double)NAN, (double)INFINITY, 1},
                        none[] = {(double)NAN, (double)NAN, (double)NAN},
                        huge[] = {-1e308, 1e308, 0};
    const lx_plot_line cases[] = {{NULL, x, bad, 3},
                                  {NULL, steps, none, 3},
                                  {NULL, steps, huge, 3},
                                  {NULL, steps, up, 1},
                                  {NULL, steps, up, 0}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int width = 0; width < 500; width += 37) {
            lx_str out = LX_STR_INIT;
            plot(&out, &cases[i], 1, width, false, width % 2);
            assert_true((i != 1 && i != 4) || out.len == 0);
            lx_str_release(&out);
        }
}

static void test_report_table__no_column_that_may_shrink_is_wider_than_said(void **state)
{
    const lx_table_column two[] = {{"id", false, false}, {"text", false, true}};
    const char *const texts[] = {"0123456789ab", "0123456789ab"};
    const lx_table table = {two, 2, 1, texts};
    lx_str out = LX_STR_INIT;

    (void)state;
    assert_int_equal(lx_table_text_clipped(&out, &table, 0, 0, 10, NULL), 0);
    assert_string_equal(lx_str_text(&out), "id            text\n0123456789ab  0123456...\n");
    lx_str_release(&out);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_report_table__aligns_by_width_on_the_screen),
        cmocka_unit_test(test_report_table__shrinks_what_may_and_escapes_all),
        cmocka_unit_test(test_report_table__csv_is_quoted_and_defused),
        cmocka_unit_test(test_report_table__csv_numbers_are_numbers_or_defused),
        cmocka_unit_test(test_report_table__lives_through_want_of_memory),
        cmocka_unit_test(test_report_plot__letters_where_there_are_no_colours),
        cmocka_unit_test(test_report_plot__steps_are_written_whole),
        cmocka_unit_test(test_report_plot__dots_and_colours),
        cmocka_unit_test(test_report_table__no_column_that_may_shrink_is_wider_than_said),
        cmocka_unit_test(test_report_plot__odd_curves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
