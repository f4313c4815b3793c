/* Texts of runs, whatever their encoding: scrubbed, or refused where no secret could be seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "store/internal.h"

#define SECRET "hf_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void check(const char *bytes, size_t n, const char *wanted, size_t n_wanted)
{
    lx_str out = LX_STR_INIT;
    lx_error err = {0};

    if (store__clean_text(&out, "log", bytes, n, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(out.len, n_wanted);
    assert_memory_equal(lx_str_text(&out), wanted, n_wanted);
    lx_str_release(&out);
}

#define CHECK(bytes, wanted) check(bytes, sizeof(bytes) - 1, wanted, sizeof(wanted) - 1)

static void test_store_text__any_encoding_is_scrubbed(void **state)
{
    static const char line[] = "--token=" SECRET "\n";
    char wide[2][2 + 2 * sizeof line] = {"\xFF\xFE", "\xFE\xFF"};

    (void)state;
    CHECK("--token=" SECRET "\n", "--token=***\n");
    CHECK("\xE9t\xE9 --token=" SECRET, "\xE9t\xE9 --token=***"); /* Latin-1 */
    for (size_t i = 0; i < sizeof line - 1; i++) {
        wide[0][2 + 2 * i] = line[i];
        wide[0][3 + 2 * i] = 0;
        wide[1][2 + 2 * i] = 0;
        wide[1][3 + 2 * i] = line[i];
    }
    for (int i = 0; i < 2; i++)
        check(wide[i], 2 + 2 * (sizeof line - 1), "--token=***\n", strlen("--token=***\n"));
}

static void test_store_text__what_is_nearly_utf_16(void **state)
{
    (void)state;
    check(NULL, 0, "", 0);
    CHECK("\xFF", "\xFF");
    CHECK("\0", "\0");
    CHECK("\xFF\xFE", "\xFF\xFE"); /* a mark and nothing behind it */
    CHECK("\xFF\xFE" "ab", "\xFF\xFE" "ab");
    CHECK("\xFF\xFE" "a\0b\0\0\0", "ab\0");
    CHECK("\xFE\xFF\0", "\xEF\xBF\xBD"); /* half a character */
    CHECK("a\0b\0\0\0", "a\0b\0\0\0");   /* zeros at a log's end */
}

static void test_store_text__what_nobody_could_scrub(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *at;
    } rows[] = {
        {"\xFF\0\x80", 3, "byte 1 "},
        {"\xFE\0\x80", 3, "byte 1 "},
        {"\xFF\xFF\0", 3, "byte 2 "},
        {"\0\xFF", 2, "byte 0 "},
        {"t\0o\0k\0e\0n\0=\0s\0e\0c\0r\0", 20, "byte 1 "},
        {"\xFE\xFF\0t\0\0\0o\0\0\0k\0\0\0e\0\0\0n\0\0\0=\0\0\0s\0\0\0e\0\0\0c", 36, "byte 1 "},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lx_str out = LX_STR_INIT;
        lx_error err = {0};
        assert_int_equal(store__clean_text(&out, "log", rows[i].bytes, rows[i].n, &err), LX_EFORMAT);
        if (!strstr(err.text, rows[i].at) || !strstr(err.text, "role log"))
            fail_msg("row %zu: %s", i, err.text);
        assert_int_equal(out.len, 0);
        lx_str_release(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_text__any_encoding_is_scrubbed),
        cmocka_unit_test(test_store_text__what_is_nearly_utf_16),
        cmocka_unit_test(test_store_text__what_nobody_could_scrub),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
