#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "src/report/sheet.h"

static const char evil[] =
    "</p></script><script>alert(1)</script>\" onload='x' \x1b[2J\xE2\x80\xAE";

static size_t count(const char *text, const char *part)
{
    size_t n = 0;

    while ((text = strstr(text, part))) {
        n++;
        text += strlen(part);
    }
    return n;
}

static void test_report_sheet__nothing_in_it_acts_and_nothing_is_fetched(void **state)
{
    const lx_sheet_image images[] = {
        {.name = evil,
         .shown = evil,
         .caption = evil,
         .bytes = "jpeg",
         .n_bytes = 4,
         .width = 1,
         .height = 1,
         .facts = evil},
        {.name = "b", .shown = "b", .words = evil, .problem = evil},
    };
    const lx_sheet_flag flags[] = {{LX_TONE_BAD, evil, evil, evil, SIZE_MAX},
                                   {LX_TONE_WARN, evil, evil, evil, 0}};
    const lx_sheet sheet = {evil, evil, "id", evil, images, 2, flags, 2, 64, evil};
    lx_str out = LX_STR_INIT;
    lx_error err;

    assert_int_equal(lx_sheet_html(&out, &sheet, &err), 0);
    assert_int_equal(count(out.data, "<script"), 1);
    assert_null(strstr(out.data, "<script>alert"));
    assert_null(strstr(out.data, "\x1b"));
    assert_null(strstr(out.data, "\xE2\x80\xAE"));
    assert_null(strstr(out.data, "http://"));
    assert_null(strstr(out.data, "https://"));
    assert_null(strstr(out.data, "' onload"));
    assert_non_null(strstr(out.data, "default-src &#39;none&#39;"));
    lx_str_release(&out);
}

/* Each flag stands in the figure it is about, in the order given; those of all images above them. */
static void test_report_sheet__flags_stand_with_their_image(void **state)
{
    lx_sheet_image images[3] = {0};
    const lx_sheet_flag flags[] = {{LX_TONE_BAD, "f-two", "", NULL, 2},
                                   {LX_TONE_BAD, "f-all", "", NULL, SIZE_MAX},
                                   {LX_TONE_WARN, "f-zero", "", NULL, 0},
                                   {LX_TONE_PLAIN, "f-two-again", "", NULL, 2}};
    const lx_sheet sheet = {.title = "t",
                            .id = "i",
                            .command = "c",
                            .images = images,
                            .n_images = 3,
                            .flags = flags,
                            .n_flags = 4,
                            .side = 64};
    const char *at[4], *figures[3], *p;
    static const char *const names[] = {"n0", "n1", "n2"};
    lx_str out = LX_STR_INIT;

    for (int i = 0; i < 3; i++)
        images[i].name = images[i].shown = names[i];
    assert_int_equal(lx_sheet_html(&out, &sheet, NULL), 0);
    p = out.data;
    for (int i = 0; i < 3; i++)
        p = figures[i] = strstr(p, "<figure") + 1;
    for (int i = 0; i < 4; i++)
        assert_non_null(at[i] = strstr(out.data, flags[i].code));
    assert_true(at[1] < figures[0]);
    assert_true(at[2] > figures[0] && at[2] < figures[1]);
    assert_true(at[0] > figures[2] && at[3] > at[0]);
    lx_str_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_report_sheet__nothing_in_it_acts_and_nothing_is_fetched),
        cmocka_unit_test(test_report_sheet__flags_stand_with_their_image),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
