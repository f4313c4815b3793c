/* What waits is recorded in its order, and one that cannot be read takes no other with it. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "cmd/later.h"
#include "src/base/error.h"
#include "tests/support/expect.h"
#include "tests/support/tree.h"

static char folder[64], put[64]; /* put: names that arrived, one letter each */
static const char *refused;      /* of these names */
static int refusal;
static lx_later later;

static int attach(void *context, const lx_artifact *a, lx_error *err)
{
    (void)context;
    if (strchr(refused, a->name[0]))
        return lx_fail(err, refusal, "%s is refused", a->name);
    strncat(put, a->name, sizeof put - strlen(put) - 1);
    return LX_OK;
}

static int set_up(void **state)
{
    (void)state;
    lx_make_folder(folder, sizeof folder, "lx-later");
    later = (lx_later){.attach = attach};
    put[0] = '\0';
    refused = "";
    return lx_store_open(&later.store, folder, false, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    lx_later_release(&later);
    lx_store_close(later.store);
    lx_remove_tree(folder);
    return 0;
}

static void give(const char *names)
{
    for (; *names; names++) {
        const char name[2] = {*names};
        const lx_artifact a = {.role = "lora", .name = name, .data = name, .n = 1};
        assert_int_equal(lx_later_attach(&later, &a, NULL), LX_OK);
    }
}

static void test_order(void **state)
{
    (void)state;
    refused = "b";
    refusal = LX_EBUSY;
    give("abc");
    assert_string_equal(put, "a");
    refused = "";
    assert_int_equal(lx_later_finish(&later, NULL), LX_OK);
    assert_string_equal(put, "abc");
    give("d");
    assert_string_equal(put, "abcd");
}

static void test_one_that_cannot_be_read(void **state)
{
    lx_error err = {0};

    (void)state;
    refused = "bd";
    refusal = LX_EIO;
    give("abcde");
    assert_string_equal(put, "a");
    assert_int_equal(lx_later_finish(&later, &err), LX_EIO);
    assert_string_equal(err.text, "b is refused");
    assert_string_equal(put, "ace");
}

static void test_one_that_is_gone(void **state)
{
    lx_error err = {0};

    (void)state;
    refused = "b";
    refusal = LX_EIO;
    give("abc");
    refusal = LX_ENOTFOUND; /* that does not pass */
    assert_int_equal(lx_later_finish(&later, &err), LX_ENOTFOUND);
    assert_string_equal(put, "ac");
    assert_null(later.first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_one_that_cannot_be_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_one_that_is_gone, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
