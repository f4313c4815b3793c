#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/unicode.h"

static void lowers(const char *text, const char *wanted)
{
    lx_str out = LX_STR_INIT;

    lx_str_put_lower(&out, text, strlen(text));
    assert_string_equal(lx_str_text(&out), wanted);
    lx_str_release(&out);
}

/* Expected values: Python 3.11's str.lower, str.strip and int. */
static void test_base_unicode__lower_is_pythons(void **state)
{
    lowers("Blue Eyes", "blue eyes");
    lowers("\xC4\xB0", "i\xCC\x87");                       /* dotted capital I */
    lowers("\xCE\xA3\xCE\x91\xCE\xA3", "\xCF\x83\xCE\xB1\xCF\x82"); /* final sigma */
    lowers("\xCE\xA3 a", "\xCF\x83 a");                    /* alone it is not final */
    lowers("\xEF\xBC\xA1", "\xEF\xBD\x81");                /* full width */
    lowers("\xF0\x90\x90\x80", "\xF0\x90\x90\xA8");        /* Deseret */
    lowers("\xE2\x84\xAA", "k");                           /* Kelvin */
    lowers("\xC3\x9F\xE1\xBA\x9E", "\xC3\x9F\xC3\x9F");
    lowers("\xFF" "A", "\xFF" "a");
}

static void strips(const char *text, const char *wanted)
{
    size_t n = strlen(text);

    lx_unicode_strip(&text, &n);
    assert_int_equal(n, strlen(wanted));
    assert_memory_equal(text, wanted, n);
}

static void test_base_unicode__strip_is_pythons(void **state)
{
    strips(" \t\x1C\xC2\x85\xE3\x80\x80 a b \xE2\x80\xA9\n", "a b");
    strips("\xE2\x80\x8B" "a", "\xE2\x80\x8B" "a"); /* zero width space is none */
    strips(" \n", "");
    strips("", "");
}

static void test_base_unicode__int_is_pythons(void **state)
{
    static const struct {
        const char *text;
        bool is_number;
        int64_t value;
    } cases[] = {
        {"10", true, 10},
        {" 6 ", true, 6},
        {"+4", true, 4},
        {"-1", true, -1},
        {"007", true, 7},
        {"\xEF\xBC\x92", true, 2},     /* full-width two */
        {"\xD9\xA1\xD9\xA2", true, 12}, /* Arabic-Indic */
        {"", false, 0},
        {"+", false, 0},
        {"+ 4", false, 0},
        {"1.5", false, 0},
        {"2 spaced", false, 0},
        {"\xC2\xB2", false, 0}, /* superscript two is a digit, no decimal */
        {"99999999999999999999", true, INT64_MAX},
        {"-99999999999999999999", true, INT64_MIN},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t value = 0;
        bool is_number = lx_unicode_int(&value, cases[i].text, strlen(cases[i].text));
        if (is_number != cases[i].is_number || (is_number && value != cases[i].value))
            fail_msg("\"%s\": %d %lld", cases[i].text, is_number, (long long)value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_unicode__lower_is_pythons),
        cmocka_unit_test(test_base_unicode__strip_is_pythons),
        cmocka_unit_test(test_base_unicode__int_is_pythons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
