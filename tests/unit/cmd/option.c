#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "cmd/cli.h"

typedef struct words_args {
    bool is_json, is_given;
    int64_t count;
    double ratio;
    const char *out;
    lx_words list, repeat, files;
} words_args;

static const lx_option options[] = {
    LX_FLAG(words_args, is_json, 'j', "json", ""),
    {LX_OPTION_INT, 'n', "count", "N", "", offsetof(words_args, count),
     offsetof(words_args, is_given)},
    LX_NUMBER(words_args, ratio, 0, "ratio", "X", ""),
    LX_TEXT(words_args, out, 'o', "out_file", "FILE", ""),
    LX_LIST(words_args, list, 0, "list", "X", ""),
    LX_REPEAT(words_args, repeat, 0, "repeat", "X", ""),
    LX_ARGS(words_args, files, "FILE", ""),
    LX_OPTION_END};

static lx_arena *arena;

static int setup(void **state)
{
    arena = lx_arena_new();
    return arena ? 0 : -1;
}

static int teardown(void **state)
{
    lx_arena_free(arena);
    return 0;
}

static int parse(words_args *args, lx_error *err, int argc, ...)
{
    char *words[16];
    va_list list;

    va_start(list, argc);
    for (int i = 0; i < argc; i++)
        words[i] = va_arg(list, char *);
    va_end(list);
    memset(args, 0, sizeof *args);
    memset(err, 0, sizeof *err);
    return lx_options_parse(args, options, argc, words, arena, err);
}

static void test_option__values_stand_behind_a_space_or_an_equals_sign(void **state)
{
    words_args a;
    lx_error err;

    assert_int_equal(parse(&a, &err, 6, "--count", "3", "--ratio=-1e-3", "-ofile", "-j", "x"), 0);
    assert_true(a.is_json && a.is_given);
    assert_int_equal(a.count, 3);
    assert_true(a.ratio == -1e-3);
    assert_string_equal(a.out, "file");
    assert_int_equal(a.files.count, 1);
    assert_int_equal(parse(&a, &err, 2, "-o=file", "-jn4"), 0);
    assert_string_equal(a.out, "file");
    assert_int_equal(a.count, 4);
}

static void test_option__negative_numbers_are_values(void **state)
{
    words_args a;
    lx_error err;

    assert_int_equal(parse(&a, &err, 4, "--ratio", "-0.5", "--count", "-7"), 0);
    assert_true(a.ratio == -0.5);
    assert_int_equal(a.count, -7);
}

static void test_option__names_may_be_shortened_and_hyphens_are_underscores(void **state)
{
    words_args a;
    lx_error err;

    assert_int_equal(parse(&a, &err, 4, "--out-f", "x", "--js", "--rat=2"), 0);
    assert_string_equal(a.out, "x");
    assert_int_equal(parse(&a, &err, 2, "--r", "1"), LX_EUSAGE);
    assert_non_null(strstr(err.text, "--ratio"));
    assert_non_null(strstr(err.text, "--repeat"));
}

static void test_option__lists_end_at_the_next_option_and_the_last_one_counts(void **state)
{
    words_args a;
    lx_error err;

    assert_int_equal(parse(&a, &err, 8, "--list", "a", "--list", "b=1", "-2", "-j", "--repeat",
                           "x"), 0);
    assert_int_equal(a.list.count, 2);
    assert_string_equal(a.list.items[0], "b=1");
    assert_string_equal(a.list.items[1], "-2");
    assert_int_equal(parse(&a, &err, 5, "--repeat=x", "--repeat", "y", "--list", "-j"), 0);
    assert_int_equal(a.repeat.count, 2);
    assert_int_equal(a.list.count, 0);
}

static void test_option__two_hyphens_end_the_options(void **state)
{
    words_args a;
    lx_error err;

    assert_int_equal(parse(&a, &err, 4, "a", "--", "--json", "-"), 0);
    assert_false(a.is_json);
    assert_int_equal(a.files.count, 3);
    assert_string_equal(a.files.items[1], "--json");
}

static void test_option__many_words_are_kept(void **state)
{
    words_args a = {0};
    char *words[100];
    lx_error err;

    for (int i = 0; i < 100; i++)
        words[i] = "w";
    assert_int_equal(lx_options_parse(&a, options, 100, words, arena, &err), 0);
    assert_int_equal(a.files.count, 100);
    assert_string_equal(a.files.items[99], "w");
}

static void test_option__errors_name_the_flag_and_the_value(void **state)
{
    words_args a;
    lx_error err;

    assert_int_equal(parse(&a, &err, 2, "--count", "3x"), LX_EUSAGE);
    assert_string_equal(err.text, "--count: '3x' is not a whole number");
    assert_int_equal(parse(&a, &err, 1, "--count"), LX_EUSAGE);
    assert_int_equal(parse(&a, &err, 2, "--out_file", "--json"), LX_EUSAGE);
    assert_int_equal(parse(&a, &err, 1, "--json=1"), LX_EUSAGE);
    assert_int_equal(parse(&a, &err, 1, "--jsno"), LX_EUSAGE);
    assert_non_null(strstr(err.text, "did you mean --json"));
    assert_int_equal(parse(&a, &err, 1, "-x"), LX_EUSAGE);
}

static void test_option__a_switch_that_knows_it_was_given_can_be_taken_back(void **state)
{
    struct {
        bool is_on, is_given;
    } a = {true, false};
    const lx_option table[] = {{LX_OPTION_FLAG, 0, "flip_aug", NULL, "", 0, 1}, LX_OPTION_END};
    char *words[] = {"--flip-aug=FALSE", "--flip_aug", "--flip_aug=maybe"};
    lx_error err;

    assert_int_equal(lx_options_parse(&a, table, 1, words, arena, &err), 0);
    assert_true(!a.is_on && a.is_given);
    assert_int_equal(lx_options_parse(&a, table, 2, words, arena, &err), 0);
    assert_true(a.is_on);
    assert_int_equal(lx_options_parse(&a, table, 1, words + 2, arena, &err), LX_EUSAGE);
    assert_non_null(strstr(err.text, "'maybe'"));
}

static void test_option__a_letter_that_is_a_digit_wins_over_a_number(void **state)
{
    const lx_option table[] = {LX_FLAG(words_args, is_json, '1', "once", ""),
                               LX_ARGS(words_args, files, "FILE", ""), LX_OPTION_END};
    words_args a = {0};
    char *words[] = {"-2", "-1", "--", "-1"};
    lx_error err;

    assert_int_equal(lx_options_parse(&a, table, 4, words, arena, &err), 0);
    assert_true(a.is_json);
    assert_int_equal(a.files.count, 2);
    assert_string_equal(a.files.items[0], "-2");
    assert_string_equal(a.files.items[1], "-1");
}

static void test_option__numbers_are_strict(void **state)
{
    int64_t whole;
    double x;

    assert_int_equal(lx_parse_int(&whole, "9223372036854775807", NULL), 0);
    assert_true(whole == INT64_MAX);
    assert_int_equal(lx_parse_int(&whole, "9223372036854775808", NULL), LX_EUSAGE);
    assert_int_equal(lx_parse_int(&whole, "", NULL), LX_EUSAGE);
    assert_int_equal(lx_parse_int(&whole, " 1", NULL), LX_EUSAGE);
    assert_int_equal(lx_parse_int(&whole, "1.0", NULL), LX_EUSAGE);
    assert_int_equal(lx_parse_number(&x, "1e-4", NULL), 0);
    assert_int_equal(lx_parse_number(&x, "nan", NULL), LX_EUSAGE);
    assert_int_equal(lx_parse_number(&x, "1e999", NULL), LX_EUSAGE);
    assert_int_equal(lx_parse_number(&x, "0x10", NULL), LX_EUSAGE);
    assert_int_equal(lx_parse_number(&x, "1,5", NULL), LX_EUSAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_option__values_stand_behind_a_space_or_an_equals_sign),
        cmocka_unit_test(test_option__negative_numbers_are_values),
        cmocka_unit_test(test_option__names_may_be_shortened_and_hyphens_are_underscores),
        cmocka_unit_test(test_option__lists_end_at_the_next_option_and_the_last_one_counts),
        cmocka_unit_test(test_option__two_hyphens_end_the_options),
        cmocka_unit_test(test_option__many_words_are_kept),
        cmocka_unit_test(test_option__errors_name_the_flag_and_the_value),
        cmocka_unit_test(test_option__a_switch_that_knows_it_was_given_can_be_taken_back),
        cmocka_unit_test(test_option__a_letter_that_is_a_digit_wins_over_a_number),
        cmocka_unit_test(test_option__numbers_are_strict),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
