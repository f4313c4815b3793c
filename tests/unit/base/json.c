#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/base/json.h"
#include "src/base/json_reader.h"
#include "src/base/rng.h"

static void expect_refused(const char *text, size_t n, const char *part)
{
    lx_error err = {0};
    cJSON *tree = NULL;
    int rc = lx_json_parse(&tree, text, n, &err);
    if (rc == LX_OK || !strstr(err.text, part))
        fail_msg("%.60s: rc %d, \"%s\" lacks \"%s\"", text, rc, err.text, part);
    assert_null(tree);
}

static void test_base_json__strict_where_cjson_is_not(void **state)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "at byte 0"},
        {"  ", "at byte 2"},
        {"{\"a\":1} x", "at byte 8"},
        {"{\"a\":1,\"a\":2}", "duplicate key \"a\" at byte 7"},
        {"{\"a\":1,\"\\u0061\":2}", "at byte 7"},
        {"{\"lr\":NaN}", "at byte 6"},
        {"[Infinity]", "at byte 1"},
        {"[1e999]", "at byte 1"},
        {"[01]", "at byte 1"},
        {"[1.]", "at byte 1"},
        {"[.5]", "at byte 1"},
        {"[+1]", "at byte 1"},
        {"[1,]", "at byte 3"},
        {"{\"a\":1,}", "at byte 7"},
        {"{a:1}", "at byte 1"},
        {"{\"a\" 1}", "at byte 5"},
        {"['a']", "at byte 1"},
        {"[1 2]", "at byte 3"},
        {"[\"a\nb\"]", "at byte 3"},
        {"[\"\\x\"]", "at byte 2"},
        {"[\"\\ud800\"]", "at byte 2"},
        {"[\"\\udc00\"]", "at byte 2"},
        {"[\"\\ud800\\u0041\"]", "at byte 2"},
        {"[\"\\u12g4\"]", "at byte 2"},
        {"[\"a\\u0000\"]", "at byte 3"},
        {"[\"\xC0\xAF\"]", "at byte 2"},
        {"[\"\xED\xA0\x80\"]", "at byte 2"},
        {"\xEF\xBB\xBF{}", "at byte 0"},
        {"[tru]", "at byte 1"},
        {"[\"a", "at byte 1"},
        {"{\"a\":{\"b\":1", "at byte 11"},
        {"]", "at byte 0"},
        {"[}", "at byte 1"},
        {"/* */ {}", "at byte 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_refused(cases[i].text, strlen(cases[i].text), cases[i].part);
    expect_refused("{}\0", 3, "at byte 2");
}

static void test_base_json__depth_is_counted_not_recursed(void **state)
{
    size_t n = 200000;
    char *deep = malloc(n);
    cJSON *tree;
    lx_error err;

    memset(deep, '[', n);
    expect_refused(deep, n, "deeper than 64 at byte 64");
    memset(deep + 64, ']', 64);
    assert_int_equal(lx_json_parse(&tree, deep, 128, &err), 0);
    cJSON_Delete(tree);
    free(deep);
}

static void test_base_json__values_are_counted_before_they_are_made(void **state)
{
    char *text = malloc(2 * (size_t)LX_JSON_VALUES + 3);
    lx_error err = {0};
    cJSON *value = NULL;
    size_t n = 0;

    (void)state;
    assert_non_null(text);
    text[n++] = '[';
    for (int i = 0; i < LX_JSON_VALUES; i++) { /* and the list: one too many */
        text[n++] = '0';
        text[n++] = ',';
    }
    text[n - 1] = ']';
    assert_int_equal(lx_json_parse(&value, text, n, &err), LX_ELIMIT);
    assert_non_null(strstr(err.text, "more than 16777216 values"));
    text[n - 3] = ']';
    assert_int_equal(lx_json_parse(&value, text, n - 2, &err), LX_OK);
    assert_int_equal(cJSON_GetArraySize(value), LX_JSON_VALUES - 1);
    cJSON_Delete(value);
    free(text);
}

static void test_base_json__equal_keys_in_different_objects_are_fine(void **state)
{
    const char *text = "{\"a\":{\"a\":[{\"a\":1},{\"a\":2}]},\"b\":{\"a\":null}} \n";
    cJSON *tree;
    assert_int_equal(lx_json_parse(&tree, text, strlen(text), NULL), 0);
    cJSON_Delete(tree);
}

static void canonical(const char *text, const char *want)
{
    lx_str out = LX_STR_INIT;
    lx_error err = {0};
    cJSON *tree;
    if (lx_json_parse(&tree, text, strlen(text), &err) < 0)
        fail_msg("%s: %s", text, err.text);
    assert_int_equal(lx_json_canonical(&out, tree, &err), 0);
    assert_string_equal(lx_str_text(&out), want);
    cJSON_Delete(tree);
    lx_str_release(&out);
}

static void test_base_json__canonical_form(void **state)
{
    canonical("{ \"b\" : 1.0, \"a\": [ true, null, \"x\\u0041\\n\" ], \"B\": {} }",
              "{\"B\":{},\"a\":[true,null,\"xA\\n\"],\"b\":1}");
    canonical("[0.1, 1e-05, 1e22, -0.0, 9007199254740991, 1e-7, 123456.75, 5e-324]",
              "[0.1,1e-05,1e+22,0,9007199254740991,1e-07,123456.75,5e-324]");
    canonical("[1e15, 1e16, 0.0001, 0.00012, 100, 1.7976931348623157e308]",
              "[1000000000000000,1e+16,0.0001,0.00012,100,1.7976931348623157e+308]");
    canonical("\"\\ud83d\\ude00 \\u00e9/\\\"\"", "\"\xF0\x9F\x98\x80 \xC3\xA9/\\\"\"");
}

static void test_base_json__numbers_read_back_equal(void **state)
{
    lx_rng rng = lx_rng_stream(11, LX_RNG_TEST, 0, 0);
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = (uint64_t)lx_rng_u32(&rng) << 32 | lx_rng_u32(&rng);
        char text[32], shorter[40];
        double x;
        memcpy(&x, &bits, sizeof x);
        if (!isfinite(x))
            continue;
        lx_format_double(text, x);
        assert_true(strtod(text, NULL) == x);
        snprintf(shorter, sizeof shorter, "%.15g", x);
        if (strtod(shorter, NULL) == x)
            assert_true(strlen(text) <= strlen(shorter) + 1);
    }
}

static void test_base_json__pretty_keeps_the_order(void **state)
{
    const char *text = "{\"b\":[1,{\"c\":2}],\"a\":{},\"d\":[]}";
    lx_str out = LX_STR_INIT;
    cJSON *tree;
    assert_int_equal(lx_json_parse(&tree, text, strlen(text), NULL), 0);
    assert_int_equal(lx_json_pretty(&out, tree, NULL), 0);
    assert_string_equal(lx_str_text(&out),
                        "{\n  \"b\": [\n    1,\n    {\n      \"c\": 2\n    }\n"
                        "  ],\n  \"a\": {},\n  \"d\": []\n}");
    cJSON_Delete(tree);
    lx_str_release(&out);
}

static void test_base_json__what_json_cannot_say_is_null_to_people_and_has_no_name(void **state)
{
    const double numbers[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        lx_str out = LX_STR_INIT;
        lx_error err = {0};
        cJSON *tree = cJSON_CreateArray();
        cJSON_AddItemToArray(tree, cJSON_CreateNumber(numbers[i]));
        assert_int_equal(lx_json_pretty(&out, tree, &err), 0);
        assert_string_equal(lx_str_text(&out), "[\n  null\n]");
        assert_int_equal(lx_json_canonical(&out, tree, &err), LX_EFORMAT);
        cJSON_Delete(tree);
        lx_str_release(&out);
    }
}

static void test_base_json__members_or_their_default(void **state)
{
    const char *text = "{\"s\":\"x\",\"n\":2.5,\"t\":true}";
    cJSON *tree;
    assert_int_equal(lx_json_parse(&tree, text, strlen(text), NULL), 0);
    assert_string_equal(lx_json_text(tree, "s"), "x");
    assert_null(lx_json_text(tree, "S"));
    assert_null(lx_json_text(tree, "n"));
    assert_true(lx_json_number(tree, "n", 1) == 2.5 && lx_json_number(tree, "t", 7) == 7);
    assert_true(lx_json_bool(tree, "t", false) && lx_json_bool(tree, "q", true));
    cJSON_Delete(tree);
}

static void test_base_json__what_json_cannot_say_is_refused(void **state)
{
    cJSON *array = cJSON_CreateArray();
    lx_str out = LX_STR_INIT;
    cJSON_AddItemToArray(array, cJSON_CreateNumber(NAN));
    assert_int_equal(lx_json_canonical(&out, array, NULL), LX_EFORMAT);
    cJSON_Delete(array);
    lx_str_release(&out);
}

static void test_base_json__every_failed_allocation_is_told(void **state)
{
    const char *text = "{\"b\":[1,{\"c\":\"text\"}],\"a\":{},\"d\":[]}";
    for (size_t n = 1;; n++) {
        lx_str out = LX_STR_INIT;
        cJSON *tree = NULL;
        lx_error err = {0};
        int rc;
        lx_alloc_fail_at(n, false);
        if ((rc = lx_json_parse(&tree, text, strlen(text), &err)) == LX_OK)
            rc = lx_json_canonical(&out, tree, &err);
        lx_alloc_fail_at(0, false);
        cJSON_Delete(tree);
        lx_str_release(&out);
        if (rc == LX_OK)
            break;
        assert_int_equal(rc, LX_ENOMEM);
    }
}

/* Texts of all kinds of pieces, at every distance from the blocks in which they are copied: copied on the way they
 * are what they are when copied afterwards, and the same ones are refused at the same place. */
static void test_base_json__copied_as_read_or_afterwards(void **state)
{
    static const char *const pieces[] = {
        "tag name",       "x",   "\\\"", "\\\\", "\\n",  "\\u00e9", "\xc3\xa9",
        "\\ud83d\\ude00", "\\/", "\x7f", "\x01", "\xff", "\\q",     "\\\\\\\""};
    enum { USUAL = 5, ALL = sizeof pieces / sizeof *pieces };
    uint32_t random = 1;

    for (int turn = 0; turn < 20000; turn++) {
        char text[700] = "\"", room[800], after[800];
        lx_error a = {0}, b = {0};
        lx_json_reader fast, slow;
        bool is_printable;
        size_t n;
        int rc;

        random = random * 1664525 + 1013904223;
        for (int left = (int)(random >> 16 & 63), few = turn % 3; left > 0; left--) {
            random = random * 1664525 + 1013904223;
            strcat(text, pieces[(random >> 16) % (few ? USUAL : ALL)]);
        }
        if (turn % 7)
            strcat(text, "\"");
        fast = lx_json_reader_of(text, strlen(text));
        slow = fast;
        memset(room, '?', sizeof room);
        fast.out = room;
        rc = lx_json_next(&fast, &a);
        assert_int_equal(rc, lx_json_next(&slow, &b));
        if (rc < 0) {
            assert_string_equal(a.text, b.text);
            continue;
        }
        n = lx_json_copy(after, &is_printable, &slow);
        assert_int_equal(fast.copied_n, n);
        assert_memory_equal(room, after, n + 1);
        assert_int_equal(fast.is_printable, is_printable);
        assert_int_equal(fast.token_n, slow.token_n);
        assert_int_equal(room[strlen(text) + 8], '?'); /* no further than was promised */
    }
}

static void test_base_json__whole_numbers_end_where_int64_ends(void **state)
{
    cJSON *value = NULL;
    lx_error err = {0};
    const char text[] = "{\"a\":1e300,\"b\":-1e300,\"c\":-2.9,\"d\":\"1\"}";

    (void)state;
    assert_int_equal(lx_json_parse(&value, text, strlen(text), &err), LX_OK);
    assert_true(lx_json_integer(value, "a", 0) == INT64_MAX);
    assert_true(lx_json_integer(value, "b", 0) == INT64_MIN);
    assert_int_equal(lx_json_integer(value, "c", 0), -2);
    assert_int_equal(lx_json_integer(value, "d", 7), 7);
    assert_int_equal(lx_json_whole(NAN), 0);
    assert_true(lx_json_whole(0x1p63) == INT64_MAX && lx_json_whole(-0x1p63) == INT64_MIN);
    cJSON_Delete(value);
}

static void test_base_json__words_are_numbers_where_nothing_is_lost(void **state)
{
    static const struct {
        const char *text;
        double value; /* NaN: a text */
    } cases[] = {
        {"8", 8},          {"-1", -1},         {"0", 0},         {"0.10", 0.1},
        {".5", 0.5},       {"5.", 5},          {"1e-4", 1e-4},   {"5E-05", 5e-5},
        {"1e+3", 1000},    {"0.000", 0},       {"0e-400", 0},    {"9007199254740992", 0x1p53},
        {"007", NAN},      {"00.5", NAN},      {"1e-400", NAN},  {"9007199254740994", NAN},
        {"1e400", NAN},    {"+1", NAN},        {"0x10", NAN},    {"nan", NAN},
        {"inf", NAN},      {"", NAN},          {".", NAN},       {"-", NAN},
        {"1e", NAN},       {"1e-", NAN},       {" 1", NAN},      {"1 ", NAN},
        {"1.2.3", NAN},    {"1,5", NAN},       {"0.123456789012345678901", NAN},
        {"12345678901234567890", NAN},         {"1_000", NAN},   {"e5", NAN},
    };
    static const char *const names[] = {"output_name", "vae", "torch_version", "id", "training_comment"};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cJSON *word = lx_json_word(i % 2 ? "lr" : NULL, cases[i].text);
        if (isnan(cases[i].value))
            assert_string_equal(cJSON_GetStringValue(word), cases[i].text);
        else
            assert_true(cJSON_IsNumber(word) && word->valuedouble == cases[i].value);
        cJSON_Delete(word);
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cJSON *word = lx_json_word(names[i], "1.10");
        assert_string_equal(cJSON_GetStringValue(word), "1.10");
        cJSON_Delete(word);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_json__strict_where_cjson_is_not),
        cmocka_unit_test(test_base_json__depth_is_counted_not_recursed),
        cmocka_unit_test(test_base_json__values_are_counted_before_they_are_made),
        cmocka_unit_test(test_base_json__equal_keys_in_different_objects_are_fine),
        cmocka_unit_test(test_base_json__canonical_form),
        cmocka_unit_test(test_base_json__numbers_read_back_equal),
        cmocka_unit_test(test_base_json__pretty_keeps_the_order),
        cmocka_unit_test(test_base_json__what_json_cannot_say_is_null_to_people_and_has_no_name),
        cmocka_unit_test(test_base_json__members_or_their_default),
        cmocka_unit_test(test_base_json__what_json_cannot_say_is_refused),
        cmocka_unit_test(test_base_json__copied_as_read_or_afterwards),
        cmocka_unit_test(test_base_json__every_failed_allocation_is_told),
        cmocka_unit_test(test_base_json__words_are_numbers_where_nothing_is_lost),
        cmocka_unit_test(test_base_json__whole_numbers_end_where_int64_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
