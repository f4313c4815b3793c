/* base/error: what is handed from one error to another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/error.h"

static void test_base_error__caught_one_becomes_the_callers(void **state)
{
    lx_error why = {0}, err = {0};
    (void)state;
    lx_fail(&why, LX_EFORMAT, "line %d", 3);
    assert_int_equal(lx_fail_as(&err, LX_EFORMAT, &why), LX_EFORMAT);
    assert_int_equal(err.code, LX_EFORMAT);
    assert_string_equal(err.text, "line 3");
    assert_int_equal(lx_fail_as(NULL, LX_EFORMAT, &why), LX_EFORMAT);
}

static void test_base_error__caught_and_overcome_leaves_the_callers_alone(void **state)
{
    lx_error why = {0}, err = {.code = LX_EIO, .text = "as it was"};
    (void)state;
    lx_fail(&why, LX_ENOTFOUND, "not here");
    assert_int_equal(lx_fail_as(&err, LX_OK, &why), LX_OK);
    assert_int_equal(err.code, LX_EIO);
    assert_string_equal(err.text, "as it was");
}

static void test_base_error__context_stays_when_the_text_is_long(void **state)
{
    lx_error err = {0};
    (void)state;
    lx_fail(&err, LX_EIO, "%2000s", "end");
    lx_within(&err, "%s", "file");
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_memory_equal(err.text, "file:  ", 7);
    lx_within(NULL, "nowhere");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_error__caught_one_becomes_the_callers),
        cmocka_unit_test(test_base_error__caught_and_overcome_leaves_the_callers_alone),
        cmocka_unit_test(test_base_error__context_stays_when_the_text_is_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
