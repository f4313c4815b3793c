#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/json.h"
#include "src/serve/asset.h"
#include "src/serve/frame.h"
#include "src/serve/run_page.h"
#include "src/serve/runs_page.h"

static const char HOSTILE[] = "\"'></script><script>alert(1)</script><img src=x "
                              "onerror=alert(2)>\x1b[2J\xE2\x80\xAE";

static void assert_inert(const lx_str *page)
{
    assert_null(strstr(lx_str_text(page), "<script>"));
    assert_null(strstr(lx_str_text(page), "<img src=x"));
    assert_null(strchr(lx_str_text(page), 0x1b));
    assert_null(strstr(lx_str_text(page), "\xE2\x80\xAE"));
    assert_null(strstr(lx_str_text(page), " onerror=a\""));
    assert_null(strstr(lx_str_text(page), " style="));
    assert_null(strstr(lx_str_text(page), "<style"));
}

static void test_serve_pages__strangers_texts_are_inert_in_the_table(void **state)
{
    const char *cells[] = {HOSTILE, NULL};
    const lx_serve_column columns[] = {{HOSTILE, false}, {"loss", true}};
    const lx_serve_row rows[] = {{"00ff00ff00ff00ff", HOSTILE, cells},
                                 {"11ff00ff00ff00ff", "", cells}};
    const lx_serve_runs runs = {.query = HOSTILE,
                                .sort = "loss",
                                .chosen = HOSTILE,
                                .problem = HOSTILE,
                                .columns = columns,
                                .n_columns = 2,
                                .rows = rows,
                                .n_rows = 2,
                                .found = 300,
                                .all = 1000,
                                .first = 100,
                                .size = 100,
                                .where = HOSTILE};
    lx_str page = LX_STR_INIT, text = LX_STR_INIT;
    cJSON *json = NULL;

    (void)state;
    assert_int_equal(lx_serve_runs_page(&page, &runs, NULL), 0);
    assert_inert(&page);
    assert_non_null(strstr(page.data, "aria-sort=\"ascending\""));
    assert_non_null(strstr(page.data, "first=200"));
    assert_int_equal(lx_serve_runs_json(&text, &runs, NULL), 0);
    assert_int_equal(lx_json_parse(&json, text.data, text.len, NULL), 0);
    assert_int_equal(lx_json_number(json, "found", 0), 300);
    cJSON_Delete(json);
    lx_str_release(&page);
    lx_str_release(&text);
}

static void test_serve_pages__strangers_texts_are_inert_in_a_run(void **state)
{
    const double steps[] = {1, 2}, values[] = {0.5, 0.25};
    const lx_report_curve curves[] = {{HOSTILE, steps, values, 2},
                                      {"loss", steps, values, 2}};
    const lx_report_picture picture = {
        .name = HOSTILE, .text = HOSTILE, .url = "/run/1/sample/2", .step = 7};
    const lx_report_run run = {.id = "00ff00ff00ff00ff",
                               .name = HOSTILE,
                               .kind = HOSTILE,
                               .status = "running",
                               .message = HOSTILE,
                               .curves = curves,
                               .n_curves = 2,
                               .samples = &picture,
                               .n_samples = 1,
                               .images = &picture,
                               .n_images = 1};
    const lx_serve_run page = {.run = &run,
                               .where = HOSTILE,
                               .group = HOSTILE,
                               .parent = "1234",
                               .console = HOSTILE,
                               .is_live = true,
                               .seen = "0:2,2"};
    lx_str out = LX_STR_INIT;

    (void)state;
    assert_int_equal(lx_serve_run_page(&out, &page, NULL), 0);
    assert_inert(&out);
    assert_non_null(strstr(out.data, "data-seen=\"0:2,2\""));
    assert_non_null(strstr(out.data, "<img src=\"/run/1/sample/2\""));
    assert_non_null(strstr(out.data, "href=\"/run/1/sample/2?full\""));
    lx_str_release(&out);
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (; (text = strstr(text, what)); text += strlen(what))
        n++;
    return n;
}

static void test_serve_pages__samples_stand_by_prompt_and_step(void **state)
{
    lx_report_picture samples[] = {
        {.name = "a", .url = "/1", .step = 10, .group = "cat"},
        {.name = "b", .url = "/2", .step = 10, .group = HOSTILE},
        {.name = "c", .url = "/3", .step = 20, .group = "cat"},
        {.name = "d", .missing = "gone", .step = 20},
        {.name = "e", .url = "/5", .step = 20, .group = "cat"}};
    const lx_serve_samples page = {
        .samples = samples, .n_samples = 5, .id = "00ff", .name = HOSTILE};
    lx_str out = LX_STR_INIT;

    (void)state;
    assert_int_equal(lx_serve_samples_page(&out, &page, NULL), 0);
    assert_inert(&out);
    assert_int_equal(count(out.data, "<tr>"), 1 + 3);
    assert_int_equal(count(out.data, "<td>"), 3 * 2);
    assert_int_equal(count(out.data, "<img"), 4);
    lx_str_release(&out);
}

static void test_serve_pages__assets_have_addresses_of_their_own(void **state)
{
    (void)state;
    assert_int_equal(lx_serve_asset_find("lx.css"), LX_SERVE_CSS);
    assert_int_equal(lx_serve_asset_find("../lx.css"), LX_SERVE_ASSETS);
    for (lx_serve_asset a = 0; a < LX_SERVE_ASSETS; a++) {
        lx_str text = LX_STR_INIT, address = LX_STR_INIT;
        lx_serve_asset_put(&text, a);
        lx_serve_asset_address(&address, a);
        assert_true(text.len > 100);
        assert_null(strstr(text.data, "sourceMappingURL"));
        assert_true(lx_starts_with(address.data, "/assets/") &&
                    strstr(address.data, "?v="));
        lx_str_release(&text);
        lx_str_release(&address);
    }
}

static void test_serve_pages__a_part_of_an_address_is_escaped(void **state)
{
    lx_str out = LX_STR_INIT;
    (void)state;
    lx_serve_escape(&out, "a b&c=d/\xC3\xA9\"'<%-_.~");
    assert_string_equal(out.data, "a%20b%26c%3Dd%2F%C3%A9%22%27%3C%25-_.~");
    lx_str_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_serve_pages__strangers_texts_are_inert_in_the_table),
        cmocka_unit_test(test_serve_pages__strangers_texts_are_inert_in_a_run),
        cmocka_unit_test(test_serve_pages__samples_stand_by_prompt_and_step),
        cmocka_unit_test(test_serve_pages__assets_have_addresses_of_their_own),
        cmocka_unit_test(test_serve_pages__a_part_of_an_address_is_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
