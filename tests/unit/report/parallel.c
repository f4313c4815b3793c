#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/json.h"
#include "src/report/page.h"
#include "src/report/parallel.h"

static const char *const labels[] = {"a", "b", "c", "d"};
static const char *const ranks[] = {"4", "8", "16", "128"};
static const char *const schedulers[] = {"constant", NULL, "cosine", "cosine"};
static const char *const losses[] = {"0.10", "0.09", "0.08", NULL};

static lx_parallel_axis axes[] = {{"network_dim", ranks, false},
                                  {"lr_scheduler", schedulers, false},
                                  {"loss", losses, true}};

static lx_parallel chart(void)
{
    return (lx_parallel){
        .title = "runs", .labels = labels, .n_lines = 4, .axes = axes, .n_axes = 3};
}

static size_t count(const char *text, const char *word)
{
    size_t n = 0;
    for (; (text = strstr(text, word)); text += strlen(word))
        n++;
    return n;
}

static void test_report_parallel__what_can_be_an_axis(void **state)
{
    static const char *const same[] = {"4", "4.0", NULL, "4"};
    static const char *const paths[] = {"a", "b", "c", "d", "e", "f", "g",
                                        "h", "i", "j", "k", "l", "m"};
    static const char *const numbers[] = {"1", "2", "3", "4",  "5",  "6", "7",
                                          "8", "9", "0", "10", "11", "12"};

    assert_true(lx_parallel_is_axis(ranks, 4));
    assert_true(lx_parallel_is_axis(schedulers, 4));
    assert_false(lx_parallel_is_axis(same, 4));
    assert_false(lx_parallel_is_axis(paths, 13));
    assert_true(lx_parallel_is_axis(numbers, 13));
    assert_false(lx_parallel_is_axis(NULL, 0));
}

/* The y of line `line` on axis `axis` as the script gets it. */
static double y_of(const cJSON *root, int axis, int line)
{
    const cJSON *y = cJSON_GetObjectItem(
        cJSON_GetArrayItem(cJSON_GetObjectItem(root, "axes"), axis), "y");
    const cJSON *item = cJSON_GetArrayItem(y, line);
    return cJSON_IsNumber(item) ? item->valuedouble : (double)NAN;
}

static void test_report_parallel__values_stand_where_they_belong(void **state)
{
    lx_parallel c = chart();
    lx_str out = LX_STR_INIT;
    cJSON *root;
    double top, bottom;

    assert_int_equal(lx_parallel_json(&out, &c, NULL), 0);
    root = cJSON_Parse(out.data);
    assert_non_null(root);
    top = cJSON_GetObjectItem(root, "top")->valuedouble;
    bottom = cJSON_GetObjectItem(root, "bottom")->valuedouble;
    /* 128 / 4 = 2^5: logarithmic, so 8 is a fifth of the way, and 16 two. */
    assert_true(y_of(root, 0, 0) == bottom && y_of(root, 0, 3) == top);
    assert_true(fabs(y_of(root, 0, 1) - (bottom - (bottom - top) / 5)) < 0.06);
    assert_true(fabs(y_of(root, 0, 2) - (bottom - (bottom - top) * 2 / 5)) < 0.06);
    /* Texts in order, none where a run says nothing. */
    assert_true(y_of(root, 1, 0) == bottom && y_of(root, 1, 2) == top);
    assert_true(isnan(y_of(root, 1, 1)));
    /* Losses lie close: linear. */
    assert_true(fabs(y_of(root, 2, 1) - (top + bottom) / 2) < 0.06);
    cJSON_Delete(root);
    lx_str_release(&out);
}

static void test_report_parallel__lines_are_broken_and_coloured_by_result(void **state)
{
    lx_parallel c = chart();
    lx_str out = LX_STR_INIT;
    const char *b;

    assert_int_equal(lx_parallel_svg(&out, &c, NULL), 0);
    assert_int_equal(count(out.data, "<g class=\"lx-run"), 4);
    assert_non_null(strstr(out.data, "lx-run lx-r4\"><title>a<"));
    assert_non_null(strstr(out.data, "lx-run lx-r0\"><title>c<"));
    assert_non_null(strstr(out.data, "lx-run lx-r2\"><title>d<"));
    /* b has a gap in its middle: two dots, no line between them. */
    b = strstr(out.data, "<title>b<");
    assert_non_null(b);
    assert_int_equal(strcspn(strstr(b, "d=\""), "L") > strcspn(strstr(b, "d=\""), "/"),
                     1);
    lx_str_release(&out);
}

static void test_report_parallel__texts_cannot_leave_their_place(void **state)
{
    static const char *const bad[] = {"</title><script>alert(1)</script>", "\x1b[2J\"",
                                      "\xFF", "<img src=x>"};
    lx_parallel_axis hostile[] = {{"</text><script>", bad, false},
                                  {"loss", losses, true}};
    lx_parallel c = {"<script>", bad, 4, hostile, 2, false};
    lx_str out = LX_STR_INIT;
    lx_html h;

    lx_html_init(&h, &out);
    assert_int_equal(lx_page_parallel(&h, "x", &c, "</figcaption><script>", NULL), 0);
    assert_int_equal(lx_html_finish(&h, NULL), 0);
    assert_null(strstr(out.data, "<img"));
    assert_int_equal(count(out.data, "<script"), 1); /* the data */
    assert_null(memchr(out.data, 0x1b, out.len));
    lx_str_release(&out);
}

static void test_report_parallel__many_axes_and_none(void **state)
{
    lx_parallel_axis many[LX_PARALLEL_AXES + 5];
    lx_parallel c = chart();
    lx_str out = LX_STR_INIT;

    for (size_t i = 0; i < sizeof many / sizeof *many; i++)
        many[i] = axes[i % 3];
    c.axes = many;
    c.n_axes = sizeof many / sizeof *many;
    assert_int_equal(lx_parallel_svg(&out, &c, NULL), 0);
    assert_int_equal(lx_parallel_json(&out, &c, NULL), 0);
    c.n_axes = 1;
    lx_str_clear(&out);
    assert_int_equal(lx_parallel_svg(&out, &c, NULL), 0);
    assert_non_null(strstr(out.data, "no data"));
    lx_str_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_report_parallel__what_can_be_an_axis),
        cmocka_unit_test(test_report_parallel__values_stand_where_they_belong),
        cmocka_unit_test(test_report_parallel__lines_are_broken_and_coloured_by_result),
        cmocka_unit_test(test_report_parallel__texts_cannot_leave_their_place),
        cmocka_unit_test(test_report_parallel__many_axes_and_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
