#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

#include "src/format/point_line.h"

static lx_arena *arena;

static int parse(lx_point_line *line, const char *text, lx_error *err)
{
    return lx_point_line_parse(line, text, strlen(text), arena, err);
}

static void test_format_point_line__reads_pairs(void **state)
{
    lx_point_line l;

    (void)state;
    assert_int_equal(parse(&l, "  loss=0.08,lr/unet=1e-4\tstep=12 x=-inf y=NaN \r", NULL), 0);
    assert_true(l.has_step && l.step == 12 && l.n == 4);
    assert_string_equal(l.points[0].key, "loss");
    assert_true(l.points[0].value == 0.08 && l.points[1].value == 1e-4);
    assert_string_equal(l.points[1].key, "lr/unet");
    assert_true(isinf(l.points[2].value) && l.points[2].value < 0 && isnan(l.points[3].value));
    assert_int_equal(parse(&l, "loss=1", NULL), 0);
    assert_true(!l.has_step && l.n == 1);
    assert_int_equal(parse(&l, "", NULL), 0);
    assert_int_equal(parse(&l, "# loss=1", NULL), 0);
    assert_true(l.n == 0);
}

static void test_format_point_line__reads_json(void **state)
{
    lx_point_line l;

    (void)state;
    assert_int_equal(parse(&l, "{\"step\": 3, \"loss\": 0.5, \"lr\": null}", NULL), 0);
    assert_true(l.has_step && l.step == 3 && l.n == 2 && l.points[0].value == 0.5);
    assert_true(isnan(l.points[1].value));
}

/* As Python's json.dumps writes a diverged loss, and W&B: the step is not lost. */
static void test_format_point_line__reads_what_json_cannot_say(void **state)
{
    lx_point_line l;

    (void)state;
    assert_int_equal(parse(&l,
                           "{\"step\": 3, \"NaN \\\" Infinity\": NaN, \"a\": Infinity,"
                           "\"b\":-Infinity, \"c\": \"NaN\", \"d\": \"-Infinity\"}",
                           NULL),
                     0);
    assert_true(l.has_step && l.step == 3 && l.n == 5);
    assert_string_equal(l.points[0].key, "NaN \" Infinity");
    assert_true(isnan(l.points[0].value) && isnan(l.points[3].value));
    assert_true(isinf(l.points[1].value) && l.points[1].value > 0);
    assert_true(isinf(l.points[2].value) && l.points[2].value < 0);
    assert_true(isinf(l.points[4].value) && l.points[4].value < 0);
}

static void test_format_point_line__refuses_by_name(void **state)
{
    static const char *const cases[][2] = {
        {"loss", "\"loss\" is no key=value"},
        {"loss=", "loss: \"\" is no number"},
        {"loss=0x10", "loss: \"0x10\" is no number"},
        {"loss=1e999", "loss: \"1e999\" is no number"},
        {"loss=infinite", "loss: \"infinite\" is no number"},
        {"{\"loss\": nan}", "JSON: not a value at byte 9"},
        {"{\"loss\": \"NaN", "JSON: text without an end, begun at byte 9"},
        {"=3", "a value without a name"},
        {"a\x1b[31m=3", "a name with a control character"},
        {"\xff=3", "a name that is not UTF-8"},
        {"step=-1", "step is no whole number from 0 on"},
        {"step=1.5", "step is no whole number from 0 on"},
        {"step=nan", "step is no whole number from 0 on"},
        {"{\"loss\": \"low\"}", "loss is no number"},
        {"{\"loss\": {}}", "loss is no number"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lx_point_line l;
        lx_error err = {0};
        if (parse(&l, cases[i][0], &err) != LX_EFORMAT || strcmp(err.text, cases[i][1]) != 0)
            fail_msg("%s: %s", cases[i][0], err.text);
    }
}

static int open_arena(void **state)
{
    (void)state;
    return (arena = lx_arena_new()) ? 0 : -1;
}

static int close_arena(void **state)
{
    (void)state;
    lx_arena_free(arena);
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format_point_line__reads_pairs),
        cmocka_unit_test(test_format_point_line__reads_json),
        cmocka_unit_test(test_format_point_line__reads_what_json_cannot_say),
        cmocka_unit_test(test_format_point_line__refuses_by_name),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
