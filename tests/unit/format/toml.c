#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/format/toml.h"
#include "tests/support/golden.h"

static void expect(const char *toml, const char *json)
{
    lx_str out = LX_STR_INIT;
    lx_error err = {0};
    cJSON *tree;

    if (lx_toml_parse(&tree, NULL, toml, strlen(toml), &err) < 0)
        fail_msg("%s: %s", toml, err.text);
    assert_int_equal(lx_json_canonical(&out, tree, &err), 0);
    assert_string_equal(lx_str_text(&out), json);
    lx_str_release(&out);
    cJSON_Delete(tree);
}

static void refuse(const char *toml, const char *part)
{
    lx_error err = {0};
    cJSON *tree;
    int rc = lx_toml_parse(&tree, NULL, toml, strlen(toml), &err);

    if (rc == LX_OK || lx_exit_status(rc) != 65 || !strstr(err.text, part))
        fail_msg("%s: rc %d, \"%s\" lacks \"%s\"", toml, rc, err.text, part);
    assert_null(tree);
}

/* The shape of sd-scripts' dataset files. */
static void test_format_toml__a_dataset_file(void **state)
{
    expect("[general]\nshuffle_caption = true # yes\ncaption_extension = '.txt'\n\n"
           "[[datasets]]\nresolution = [512, 768]\nbatch_size = 4\n\n"
           "  [[datasets.subsets]]\n  image_dir = 'C:\\hoge'\n  num_repeats = 10\n"
           "  [[datasets.subsets]]\n  image_dir = \"/b\"\n"
           "[[datasets]]\nresolution = 512\n",
           "{\"datasets\":[{\"batch_size\":4,\"resolution\":[512,768],\"subsets\":[{\"image_dir\":"
           "\"C:\\\\hoge\",\"num_repeats\":10},{\"image_dir\":\"/b\"}]},{\"resolution\":512}],"
           "\"general\":{\"caption_extension\":\".txt\",\"shuffle_caption\":true}}");
}

static void test_format_toml__numbers(void **state)
{
    expect("a = 0xFF_ff\nb = 0o17\nc = 0b101\nd = -1_000\ne = +7\nf = 1e-4\ng = 5.5_5E+2\nh = -0.0",
           "{\"a\":65535,\"b\":15,\"c\":5,\"d\":-1000,\"e\":7,\"f\":0.0001,\"g\":555,\"h\":0}");
    refuse("a = 9223372036854775808", "(byte 4)");
    refuse("a = 9007199254740993", "2^53");
    refuse("a = 01", "not a value");
    refuse("a = 1__0", "not a value");
    refuse("a = 1.", "not a value");
    refuse("a = .5", "not a value");
    refuse("a = 0x", "not a value");
    refuse("a = -0x1", "not a value");
    refuse("learning_rate = nan", "(byte 16)");
    refuse("a = -inf", "nan and inf");
    refuse("a = 1e999", "out of range");
}

static void test_format_toml__strings(void **state)
{
    expect("a = \"\\t\\u00e9\\U0001F600\\\"\"\nb = '\\t'\nc = \"\"\"\nx\n  y\"\"\"\n"
           "d = '''\nq'r''s'''\ne = \"\"\"a\\\n   \n   b\"\"\"\nf = \"\"\n\"g h\".'i' = 1\n"
           "j = \"\"\"\"x\"\"\"\"\"",
           "{\"a\":\"\\t\xC3\xA9\xF0\x9F\x98\x80\\\"\",\"b\":\"\\\\t\",\"c\":\"x\\n  y\",\"d\":"
           "\"q'r''s\",\"e\":\"ab\",\"f\":\"\",\"g h\":{\"i\":1},\"j\":\"\\\"x\\\"\\\"\"}");
    refuse("a = \"x\n", "line 1, column 5 (byte 4): text without");
    refuse("a = \"\\x\"", "unknown escape");
    refuse("a = \"\\ud800\"", "no character");
    refuse("a = '''x", "without closing quotes");
    refuse("a = \"\x01\"", "control character");
    refuse("a = \"\xFF\"", "invalid UTF-8");
}

static void test_format_toml__tables_and_dots(void **state)
{
    expect("a.b.c = 1\na.b.d = 2\n[x.y]\nz = 1\n[x]\nw = 2\n[e]\nf = {g.h = 1, i = [{}]}",
           "{\"a\":{\"b\":{\"c\":1,\"d\":2}},\"e\":{\"f\":{\"g\":{\"h\":1},\"i\":[{}]}},"
           "\"x\":{\"w\":2,\"y\":{\"z\":1}}}");
    expect("\xEF\xBB\xBF# only\r\n\r\n", "{}");
    expect("a = [1, # one\n 2,\n]\n", "{\"a\":[1,2]}");
}

static void test_format_toml__defined_twice_is_refused(void **state)
{
    refuse("a = 1\na = 2\n", "line 2, column 1 (byte 6): \"a\" is defined twice");
    refuse("[a]\n[a]\n", "line 2, column 1 (byte 4)");
    refuse("a = 1\na.b = 2\n", "line 2, column 1 (byte 6)");
    refuse("a.b = 1\n[a]\n", "twice");
    refuse("a = {b = 1}\n[a.c]\n", "has a value already");
    refuse("a = {b = 1}\na.c = 2\n", "cannot be added");
    refuse("a = {b.c = 1}\n[a.b.d]\n", "has a value already");
    refuse("a = [1]\n[[a]]\n", "not as [[...]]");
    refuse("[[a]]\n[a]\n", "has a value already");
    refuse("[a.b]\n[a]\nb.c = 1", "cannot be added");
    refuse("a = {b = 1, b = 2}", "twice");
    refuse("\"\\u0061\" = 1\na = 2", "twice");
}

static void test_format_toml__what_is_no_line_is_refused(void **state)
{
    refuse("a", "'=' is missing");
    refuse("= 1", "a key is missing");
    refuse("a = 1 b = 2", "something after");
    refuse("a = ", "a value is missing");
    refuse("a = hello", "texts need quotes");
    refuse("a = True", "texts need quotes");
    refuse("[a", "']' is missing");
    refuse("[[a]", "']' is missing");
    refuse("a = [1 2]", "',' or ']'");
    refuse("a = {b = 1", "',' or '}'");
    refuse("a = {b = 1,}", "a key is missing");
    refuse("a = {\nb = 1}", "a key is missing");
    refuse("a = 1979-05-27T07:32:00Z", "dates and times");
    refuse("a = 07:32:00", "dates and times");
    refuse("a = [1,", "a value is missing");
}

static void test_format_toml__depth_is_bounded(void **state)
{
    size_t n = 40005;
    char *deep = malloc(n + 1);

    memset(deep, '[', n);
    memcpy(deep, "a = ", 4);
    deep[n] = '\0';
    refuse(deep, "nested deeper than 64");
    for (size_t i = 0; i < n; i++)
        deep[i] = i % 2 ? '.' : 'a';
    deep[n - 1] = '\0';
    refuse(deep, "nested deeper than 64");
    deep[0] = '[';
    for (size_t i = 1; i < n; i++)
        deep[i] = i % 2 ? 'a' : '.';
    deep[n - 1] = '\0';
    refuse(deep, "nested deeper than 64");
    free(deep);
}

static void test_format_toml__places_of_values(void **state)
{
    const char *toml = "x = 1\n[a]\n  b = [10,\n 20]\n";
    lx_toml_places places;
    const lx_toml_place *place;
    cJSON *tree, *b;

    assert_int_equal(lx_toml_parse(&tree, &places, toml, strlen(toml), NULL), 0);
    b = cJSON_GetObjectItem(cJSON_GetObjectItem(tree, "a"), "b");
    assert_non_null(place = lx_toml_find_place(&places, b));
    assert_true(place->line == 3 && place->column == 3 && place->byte == 12);
    assert_non_null(place = lx_toml_find_place(&places, cJSON_GetArrayItem(b, 1)));
    assert_true(place->line == 4 && place->column == 2);
    assert_null(lx_toml_find_place(&places, tree));
    lx_toml_places_release(&places);
    cJSON_Delete(tree);
}

/* Unknown keys (cfg_typo) and numbers too large for a count (cfg_big_int) are the caller's. */
static void test_format_toml__bad_configs_get_their_verdicts(void **state)
{
    lx_str text;
    lx_error err = {0};
    cJSON *manifest, *item, *tree;
    int n_wrong = 0;

    assert_int_equal(lx_file_read(&text, lx_badfile_need("manifest.json"), 1 << 20, &err), 0);
    assert_int_equal(lx_json_parse(&manifest, text.data, text.len, &err), 0);
    lx_str_release(&text);
    cJSON_ArrayForEach(item, manifest)
    {
        const char *name = lx_json_text(item, "file");
        double at = lx_json_number(item, "at", -1);
        char want[40];
        int rc;
        if (strcmp(lx_json_text(item, "kind"), "config") || !strcmp(name, "cfg_typo.toml") ||
            !strcmp(name, "cfg_big_int.json"))
            continue;
        assert_int_equal(lx_file_read(&text, lx_badfile_need(name), 1 << 20, &err), 0);
        rc = lx_ends_with(name, ".toml")
                 ? lx_toml_parse(&tree, NULL, text.data, text.len, &err)
                 : lx_json_parse(&tree, text.data, text.len, &err);
        lx_str_release(&text);
        cJSON_Delete(tree);
        snprintf(want, sizeof want, "byte %.0f", at);
        if ((rc == LX_OK) == !strcmp(lx_json_text(item, "expect"), "reject") ||
            (rc < 0 && at >= 0 && !strstr(err.text, want))) {
            print_error("%s: %d %s\n", name, rc, err.text);
            n_wrong++;
        }
    }
    cJSON_Delete(manifest);
    assert_int_equal(n_wrong, 0);
}

/* Keys of one table and tables of one document are found by hash: a list took minutes. */
static void test_format_toml__many_keys(void **state)
{
    enum { N = 40000 };
    lx_str text = LX_STR_INIT;
    lx_error err = {0};
    cJSON *tree = NULL;

    for (int i = 0; i < N; i++)
        lx_str_printf(&text, "k%d = %d\n", i, i);
    for (int i = 0; i < N; i++)
        lx_str_printf(&text, "[a%d]\nk0 = 1\n", i);
    assert_int_equal(lx_toml_parse(&tree, NULL, text.data, text.len, &err), LX_OK);
    assert_int_equal(cJSON_GetArraySize(tree), 2 * N);
    cJSON_Delete(tree);
    lx_str_puts(&text, "k0 = 2\n");
    assert_int_equal(lx_toml_parse(&tree, NULL, text.data, text.len, &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "\"k0\" is defined twice"));
    lx_str_release(&text);
}

static void test_format_toml__every_failed_allocation_is_told(void **state)
{
    const char *toml = "a.b = \"text\"\n[c]\nd = [1, {e = 2}]\n[[f]]\ng = '''x'''\n";
    for (size_t n = 1;; n++) {
        lx_toml_places places;
        lx_error err = {0};
        cJSON *tree = NULL;
        int rc;
        lx_alloc_fail_at(n, false);
        rc = lx_toml_parse(&tree, &places, toml, strlen(toml), &err);
        lx_alloc_fail_at(0, false);
        if (rc == LX_OK) {
            cJSON_Delete(tree);
            lx_toml_places_release(&places);
            break;
        }
        assert_int_equal(rc, LX_ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format_toml__a_dataset_file),
        cmocka_unit_test(test_format_toml__numbers),
        cmocka_unit_test(test_format_toml__strings),
        cmocka_unit_test(test_format_toml__tables_and_dots),
        cmocka_unit_test(test_format_toml__defined_twice_is_refused),
        cmocka_unit_test(test_format_toml__what_is_no_line_is_refused),
        cmocka_unit_test(test_format_toml__depth_is_bounded),
        cmocka_unit_test(test_format_toml__places_of_values),
        cmocka_unit_test(test_format_toml__bad_configs_get_their_verdicts),
        cmocka_unit_test(test_format_toml__many_keys),
        cmocka_unit_test(test_format_toml__every_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
