#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "cmd/settings.h"

static const char *edited(const char *text, const char *key, const char *literal)
{
    static lx_str out;
    lx_error err = {0};

    lx_str_release(&out);
    if (lx_settings_edit(&out, text, key, literal, &err) < 0)
        fail_msg("%s", err.text);
    return lx_str_text(&out);
}

static int refusal(const char *text, const char *key, const char *literal)
{
    lx_str out = LX_STR_INIT;
    int rc = lx_settings_edit(&out, text, key, literal, NULL);
    lx_str_release(&out);
    return rc;
}

static void test_settings__are_added_where_they_belong(void **state)
{
    (void)state;
    assert_string_equal(edited("", "remote", "\"a\""), "remote = \"a\"\n");
    assert_string_equal(edited("# no end", "train.threads", "2"),
                        "# no end\ntrain.threads = 2\n");
    assert_string_equal(edited("[run]\nstrict = true\n", "train.threads", "2"),
                        "train.threads = 2\n[run]\nstrict = true\n");
    assert_string_equal(edited("[train] # x\nseed = 1\n[run]\n", "train.threads", "2"),
                        "[train] # x\nthreads = 2\nseed = 1\n[run]\n");
    assert_string_equal(edited("[run]\n", "remote", "\"a\""), "remote = \"a\"\n[run]\n");
}

static void test_settings__are_changed_and_taken_out_in_their_line(void **state)
{
    (void)state;
    assert_string_equal(edited("# a\ntrain.threads = 2\n# b\n", "train.threads", "3"),
                        "# a\ntrain.threads = 3\n# b\n");
    assert_string_equal(edited("[train]\n  threads=2\nseed = 1", "train.threads", "3"),
                        "[train]\n  threads= 3\nseed = 1");
    assert_string_equal(edited("[train]\nthreads = 2\nseed = 1\n", "train.threads", NULL),
                        "[train]\nseed = 1\n");
    assert_string_equal(edited("remote = \"a=b\"\r\n", "remote", "\"c\""),
                        "remote = \"c\"\r\n");
    assert_string_equal(edited("remote = \"a#\\\"b\"\t# c\n", "remote", "\"c\""),
                        "remote = \"c\"\t# c\n");
}

static void test_settings__what_has_no_line_of_its_own_is_left_alone(void **state)
{
    (void)state;
    assert_int_equal(refusal("train = { threads = 2, seed = 1 }\n", "train.threads", "3"),
                     LX_EUSAGE);
    assert_int_equal(refusal("privacy.words = [\n\"abc\",\n]\n", "privacy.words", NULL),
                     LX_EUSAGE);
    assert_int_equal(refusal("remote = \"\"\"\na\"\"\"\n", "remote", "\"b\""), LX_EUSAGE);
    assert_int_equal(refusal("a = 1\n", "b", NULL), LX_ENOTFOUND);
    assert_int_equal(refusal("not toml", "b", "1"), LX_EFORMAT);
}

static void test_settings__a_file_is_checked_whole(void **state)
{
    static const struct {
        const char *text;
        bool is_project;
        int rc;
    } cases[] = {
        {"", false, LX_OK},
        {"store = \"/a\"\ntrain.threads = 2\ntrain.flip_aug = true\nrun.strict = false\n",
         false, LX_OK},
        {"train.threads = 2", true, LX_OK},
        {"store = \"/a\"", true, LX_ECONFIG},
        {"store = \"a\"", false, LX_ECONFIG},
        {"store = 3", false, LX_ECONFIG},
        {"train.threads = \"many\"", false, LX_ECONFIG},
        {"train.resume = \"x\"", false, LX_ECONFIG},
        {"train.huggingface_token = \"x\"", false, LX_ECONFIG},
        {"train.flip_aug = 1", false, LX_ECONFIG},
        {"privacy.words = \"abc\"", false, LX_ECONFIG},
        {"privacy.words = [\"abc\", 3]", false, LX_ECONFIG},
        {"privacy.words = [\"abc\"]", true, LX_OK},
        {"a.b.c.d = 1", false, LX_ECONFIG},
        {"[[train]]\nthreads = 1", false, LX_ECONFIG},
        {"= 1", false, LX_ECONFIG},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lx_error err = {0};
        int rc = lx_settings_check(cases[i].text, strlen(cases[i].text), "f",
                                   cases[i].is_project, &err);
        if (rc != cases[i].rc)
            fail_msg("%s: %d %s", cases[i].text, rc, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings__are_added_where_they_belong),
        cmocka_unit_test(test_settings__are_changed_and_taken_out_in_their_line),
        cmocka_unit_test(test_settings__what_has_no_line_of_its_own_is_left_alone),
        cmocka_unit_test(test_settings__a_file_is_checked_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
