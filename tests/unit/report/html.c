#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "src/report/html.h"

static void test_report_html__texts_and_attributes_are_escaped(void **state)
{
    lx_str out = LX_STR_INIT;
    lx_html h;

    lx_html_init(&h, &out);
    lx_html_open(&h, "p", "title", "\"><script>", "class", NULL, "id", "a", NULL);
    lx_html_text(&h, "<b>\x1b[31m & \xC3\xA9");
    lx_html_textf(&h, " %s %d", "</p>", 7);
    lx_html_close(&h);
    lx_html_void(&h, "img", "src", "x' onerror='y", NULL);
    assert_int_equal(lx_html_finish(&h, NULL), 0);
    assert_string_equal(out.data, "<p title=\"&quot;&gt;&lt;script&gt;\" id=\"a\">"
                                  "&lt;b&gt;\\u{1b}[31m &amp; \xC3\xA9 &lt;/p&gt; 7</p>\n"
                                  "<img src=\"x&#39; onerror=&#39;y\">\n");
    lx_str_release(&out);
}

static void test_report_html__a_long_formatted_text_is_whole(void **state)
{
    char big[2001];
    lx_str out = LX_STR_INIT;
    lx_html h;

    memset(big, '<', 2000);
    big[2000] = '\0';
    lx_html_init(&h, &out);
    lx_html_textf(&h, "%s.", big);
    assert_int_equal(lx_html_finish(&h, NULL), 0);
    assert_int_equal(out.len, 4 * 2000 + 1);
    lx_str_release(&out);
}

static void test_report_html__data_cannot_end_its_script(void **state)
{
    lx_str out = LX_STR_INIT;
    lx_html h;

    lx_html_init(&h, &out);
    lx_html_data(&h, "d", "{\"a\":\"</script><!--<script>\"}");
    assert_int_equal(lx_html_finish(&h, NULL), 0);
    assert_string_equal(
        out.data, "<script type=\"application/json\" id=\"d\">{\"a\":\"\\u003c/script>"
                  "\\u003c!--\\u003cscript>\"}</script>\n");
    lx_str_release(&out);
}

static void test_report_html__data_uris_are_base64(void **state)
{
    static unsigned char zeros[3073];
    lx_str out = LX_STR_INIT;

    lx_data_uri(&out, "image/png", "hello", 5);
    assert_string_equal(out.data, "data:image/png;base64,aGVsbG8=");
    lx_str_clear(&out);
    lx_data_uri(&out, "a", zeros, sizeof zeros);
    assert_int_equal(out.len, strlen("data:a;base64,") + 1025 * 4);
    assert_string_equal(out.data + out.len - 6, "AAAA==");
    lx_str_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_report_html__texts_and_attributes_are_escaped),
        cmocka_unit_test(test_report_html__a_long_formatted_text_is_whole),
        cmocka_unit_test(test_report_html__data_cannot_end_its_script),
        cmocka_unit_test(test_report_html__data_uris_are_base64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
