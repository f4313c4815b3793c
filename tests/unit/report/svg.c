#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/report/axis.h"
#include "src/report/svg.h"

static size_t count(const char *text, const char *word)
{
    size_t n = 0;
    for (; (text = strstr(text, word)); text += strlen(word))
        n++;
    return n;
}

/* ---- axes -------------------------------------------------------------------------- */

static void check_axis(double low, double high, lx_axis_kind kind)
{
    lx_axis a;
    char label[32];
    lx_axis_fit(&a, low, high, 5, kind);
    assert_true(isfinite(a.low) && isfinite(a.high) && a.low < a.high);
    assert_in_range(a.n_ticks, 1, LX_AXIS_TICKS);
    for (int i = 0; i < a.n_ticks; i++) {
        double share = lx_axis_share(&a, a.ticks[i]);
        assert_true(share > -1e-6 && share < 1 + 1e-6);
        assert_true(i == 0 || a.ticks[i] > a.ticks[i - 1]);
        lx_axis_label(label, &a, a.ticks[i]);
        assert_true(strlen(label) > 0);
    }
}

static void test_report_axis__any_range_can_be_drawn(void **state)
{
    static const double ends[] = {
        0,     1,     -1,    0.081, 0.0823,      1e-300,           -1e300,
        1e308, 12345, 1e-30, 5e-8,  (double)NAN, (double)INFINITY, -(double)INFINITY};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        for (size_t k = 0; k < sizeof ends / sizeof *ends; k++)
            for (int kind = LX_AXIS_ROUND; kind <= LX_AXIS_LOG; kind++)
                check_axis(ends[i], ends[k], (lx_axis_kind)kind);
}

static void test_report_axis__ticks_are_round_numbers(void **state)
{
    lx_axis a;
    char label[32];

    lx_axis_fit(&a, 0.071, 0.128, 4, LX_AXIS_ROUND);
    assert_true(a.low == 0.06 && fabs(a.high - 0.14) < 1e-12);
    lx_axis_label(label, &a, a.ticks[1]);
    assert_string_equal(label, "0.08");
    lx_axis_fit(&a, 1, 1250000, 5, LX_AXIS_TIGHT);
    assert_true(a.low == 1 && a.high == 1250000);
    lx_axis_label(label, &a, a.ticks[1]);
    assert_string_equal(label, "1,000,000");
    lx_axis_fit(&a, 1e-6, 1e-4, 5, LX_AXIS_LOG);
    assert_true(a.is_log);
    lx_axis_label(label, &a, a.ticks[0]);
    assert_string_equal(label, "1e-06");
}

/* ---- curves ------------------------------------------------------------------------ */

static void test_report_svg__a_spike_of_a_long_curve_survives(void **state)
{
    enum { N = 200000 };
    double *x = malloc(N * sizeof *x), *y = malloc(N * sizeof *y);
    lx_svg_line line = {.label = "loss", .x = x, .y = y, .n = N};
    lx_svg_chart chart = {.lines = &line, .n_lines = 1};
    lx_str out = LX_STR_INIT;

    for (int i = 0; i < N; i++) {
        x[i] = i;
        y[i] = i == 77777 ? 10 : 0;
    }
    assert_int_equal(lx_svg_curves(&out, &chart, NULL), 0);
    assert_true(out.len < 60000);
    assert_non_null(strstr(out.data, " 10.0L")); /* the top of the frame */
    lx_str_release(&out);
    free(x);
    free(y);
}

static void test_report_svg__gaps_break_a_line_and_nothing_is_no_data(void **state)
{
    const double x[] = {1, 2, 3, 4, 5, 6};
    double y[] = {1, 2, (double)NAN, 4, (double)INFINITY, 6};
    lx_svg_line line = {.x = x, .y = y, .n = 6};
    lx_svg_chart chart = {.lines = &line, .n_lines = 1};
    lx_str out = LX_STR_INIT;

    assert_int_equal(lx_svg_curves(&out, &chart, NULL), 0);
    assert_int_equal(count(out.data, "lx-line\" d="), 3);
    assert_null(strstr(out.data, "nan"));
    assert_null(strstr(out.data, "inf"));
    lx_str_clear(&out);
    line.n = 0;
    assert_int_equal(lx_svg_curves(&out, &chart, NULL), 0);
    assert_non_null(strstr(out.data, "no data"));
    lx_str_release(&out);
}

static void test_report_svg__texts_are_escaped(void **state)
{
    const char *bad = "</svg><script>alert(1)</script>\x1b[2J\xE2\x80\xAE\xFF";
    const double x[] = {1, 2}, y[] = {1, 2};
    lx_svg_line line = {.label = bad, .x = x, .y = y, .n = 2, .low = x, .high = y};
    lx_svg_mark mark = {.x = 1.5, .label = bad};
    lx_svg_chart chart = {.title = bad,
                          .x_label = bad,
                          .y_label = bad,
                          .lines = &line,
                          .n_lines = 1,
                          .marks = &mark,
                          .n_marks = 1,
                          .is_standalone = true};
    lx_svg_bar bar = {.label = bad, .note = bad, .value = 1, .low = 0, .high = 2};
    lx_svg_bars bars = {.title = bad, .x_label = bad, .bars = &bar, .n_bars = 1};
    lx_str out = LX_STR_INIT;

    assert_int_equal(lx_svg_curves(&out, &chart, NULL), 0);
    assert_int_equal(lx_svg_bar_chart(&out, &bars, NULL), 0);
    assert_null(strstr(out.data, "<script"));
    assert_null(strchr(out.data, '\x1b'));
    assert_null(strstr(out.data, "\xE2\x80\xAE"));
    assert_int_equal(lx_utf8_check(out.data, out.len), out.len);
    assert_int_equal(count(out.data, "</svg>"), 2);
    lx_str_release(&out);
}

static void test_report_svg__bars_of_both_signs_stay_inside(void **state)
{
    lx_svg_bar bars[] = {{.label = "hifumi", .value = 0.031, .low = 0.02, .high = 0.04},
                         {.label = "1girl", .value = -0.004, .low = (double)NAN}};
    lx_svg_bars chart = {.bars = bars, .n_bars = 2};
    lx_str out = LX_STR_INIT;

    assert_int_equal(lx_svg_bar_chart(&out, &chart, NULL), 0);
    assert_int_equal(count(out.data, "lx-bar"), 2);
    assert_int_equal(count(out.data, "<rect"), 2);
    assert_null(strstr(out.data, "x=\"-"));
    assert_null(strstr(out.data, "nan"));
    lx_str_release(&out);
}

static void test_report_svg__memory_failures_are_told(void **state)
{
    const double x[] = {1, 2}, y[] = {1, 2};
    lx_svg_line line = {.label = "loss", .x = x, .y = y, .n = 2};
    lx_svg_chart chart = {.lines = &line, .n_lines = 1, .is_standalone = true};
    int rc;

    for (size_t n = 1;; n++) {
        lx_str out = LX_STR_INIT;
        lx_alloc_fail_at(n, false);
        rc = lx_svg_curves(&out, &chart, NULL);
        lx_alloc_fail_at(0, false);
        lx_str_release(&out);
        if (rc == LX_OK)
            break;
        assert_int_equal(rc, LX_ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_report_axis__any_range_can_be_drawn),
        cmocka_unit_test(test_report_axis__ticks_are_round_numbers),
        cmocka_unit_test(test_report_svg__a_spike_of_a_long_curve_survives),
        cmocka_unit_test(test_report_svg__gaps_break_a_line_and_nothing_is_no_data),
        cmocka_unit_test(test_report_svg__texts_are_escaped),
        cmocka_unit_test(test_report_svg__bars_of_both_signs_stay_inside),
        cmocka_unit_test(test_report_svg__memory_failures_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
