/* What is remembered of a remote (store/synced.c): lines that are none, and runs that are gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "src/base/json.h"
#include "src/base/str.h"
#include "store/remote.h"
#include "store/transfer.h"
#include "tests/support/expect.h"

#define RUN "0123456789abcdef"
#define COMMIT "00112233445566778899aabbccddeeff00112233"

static char folder[64];
static lx_store *store;

/* The working folder has a store. */
static int set_up(void **state)
{
    lx_error err = {0};
    (void)state;

    lx_make_folder(folder, sizeof folder, "lx-synced");
    if (chdir(folder) < 0)
        return -1;
    unsetenv("LX_STORE");
    lx_assert_ok(lx_store_open(&store, "store", false, &err), &err);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    lx_store_close(store);
    if (chdir("/") < 0)
        return -1;
    lx_assert_shell("rm -rf '%s'", folder);
    return 0;
}

/* The runs of these tests have no objects. */
static int no_object(void *ctx, const void **data, size_t *n, const lx_hash *hash, lx_error *err)
{
    (void)ctx, (void)data, (void)n, (void)hash;
    return lx_fail(err, LX_ENOTFOUND, "no object was expected");
}

static void put_run(const char *id)
{
    cJSON *record;
    lx_str text = LX_STR_INIT;
    lx_error err = {0};
    lx_arrival how;
    int64_t seq;

    lx_str_printf(&text,
                  "{\"id\":\"%s\",\"kind\":\"train\",\"started\":1,\"texts\":{},"
                  "\"remarks\":[],\"artifacts\":[],\"curves\":[]}",
                  id);
    lx_assert_ok(lx_json_parse(&record, text.data, text.len, &err), &err);
    lx_assert_ok(
        lx_transfer_apply(&how, &seq, store, record, no_object, NULL, &err),
        &err);
    cJSON_Delete(record);
    lx_str_release(&text);
}

static void test_store_synced__lines_that_are_none_are_passed_over(void **state)
{
    const lx_remote_version v = {RUN, COMMIT}, other = {RUN, "1" COMMIT},
                            of_another = {"fedcba9876543210", COMMIT};
    lx_synced *s;
    lx_error err = {0};
    (void)state;

    put_run(RUN);
    lx_assert_ok(lx_synced_open(&s, store, "url", &err), &err);
    lx_assert_ok(lx_synced_save(s, &err), &err); /* nothing to save */
    assert_null(lx_synced_pushed(s, RUN, "m"));
    lx_assert_ok(lx_synced_add_merged(s, &v, RUN, &err), &err);
    assert_null(lx_synced_pushed(s, RUN, "m"));
    lx_assert_ok(lx_synced_add(s, &v, "m", &err), &err);
    lx_assert_ok(lx_synced_save(s, &err), &err);
    lx_synced_close(s);
    lx_assert_shell("cd store/remotes && f=$(ls) && (echo short; echo " RUN
                    " 0011; seq -s ' ' 200; echo 0123 " COMMIT "; echo; printf " RUN
                    " ) >>$f");
    lx_assert_ok(lx_synced_open(&s, store, "url", &err), &err);
    assert_true(lx_synced_has(s, &v));
    assert_false(lx_synced_is_own(s, &v)); /* it was merged before it was pushed */
    assert_false(lx_synced_has(s, &other));
    assert_false(lx_synced_has(s, &of_another));
    assert_string_equal(lx_synced_pushed(s, RUN, "m"), COMMIT);
    assert_null(lx_synced_pushed(s, RUN, "n"));
    assert_null(lx_synced_pushed(s, "fedcba9876543210", "m"));
    lx_synced_close(s);
    lx_assert_shell("cd store/remotes && f=$(ls) && rm $f && mkdir $f");
    lx_assert_ok(lx_synced_open(&s, store, "url", &err), &err); /* only time is lost */
    assert_false(lx_synced_has(s, &v));
    lx_assert_ok(lx_synced_add(s, &v, "m", &err), &err);
    lx_assert_shell("rm -r store/remotes && touch store/remotes");
    assert_int_equal(lx_synced_save(s, &err), LX_EEXISTS);
    lx_synced_close(s);
}

static void test_store_synced__nothing_is_known_of_runs_that_are_gone(void **state)
{
    const lx_remote_version here = {RUN, COMMIT}, gone = {"fedcba9876543210", COMMIT},
                            imported = {"0000000000000001", COMMIT},
                            both_gone = {"0000000000000002", COMMIT};
    lx_synced *s;
    lx_error err = {0};
    (void)state;

    put_run(RUN);
    lx_assert_ok(lx_synced_open(&s, store, "url", &err), &err);
    lx_assert_ok(lx_synced_add(s, &here, "m", &err), &err);
    lx_assert_ok(lx_synced_add(s, &gone, "m", &err), &err);
    lx_assert_ok(lx_synced_add_merged(s, &imported, RUN, &err), &err);
    lx_assert_ok(lx_synced_add_merged(s, &both_gone, "0000000000000003", &err), &err);
    assert_true(lx_synced_has(s, &gone));
    lx_assert_ok(lx_synced_save(s, &err), &err);
    lx_synced_close(s);
    lx_assert_ok(lx_synced_open(&s, store, "url", &err), &err);
    assert_true(lx_synced_has(s, &here));
    assert_true(lx_synced_is_own(s, &here));
    assert_false(lx_synced_has(s, &gone));
    assert_true(lx_synced_has(s, &imported));
    assert_false(lx_synced_is_own(s, &imported));
    assert_null(lx_synced_pushed(s, imported.run, "=" RUN));
    assert_false(lx_synced_has(s, &both_gone));
    lx_synced_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_store_synced__lines_that_are_none_are_passed_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_store_synced__nothing_is_known_of_runs_that_are_gone, set_up, tear_down)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
