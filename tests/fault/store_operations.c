/*
 * Every operation of the store (support/store_operations) fails at every place of it that asks for memory or
 * touches a file.
 *
 * Each is done on a copy of one world, which is made once. A call is one place as the program's own frames
 * tell it (faults_own_place), whatever SQLite or cJSON does below it. Of all operations together a place
 * fails twice: one call of it alone, and that with all later ones. After each:
 *
 *   - the error is of memory or of files and says something, or the operation got through;
 *   - a store opens and is sound, and the same operation gets through now.
 *
 * Reads and writes that do half of what they were asked for (FAULT_SHORT) are no error to anyone.
 *
 * The usual run tries one place in ten; LX_TEST_PLACES=all: each. Arguments: names of operations (all).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/lx_store.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "store/repair.h"
#include "store/git2_late.h"
#include "tests/support/expect.h"
#include "tests/support/faults.h"
#include "tests/support/git_faults.h"
#include "tests/support/store_operations.h"
#include "tests/support/store_world.h"

static char **asked_names; /* ends with NULL; NULL = all */

static bool is_asked(const char *name)
{
    bool is = !asked_names;

    for (char **asked = asked_names; asked && *asked; asked++)
        is |= strcmp(*asked, name) == 0;
    return is;
}

static const char *const kind_names[] = {"", "memory", "io", "space", "short", "git"};

/* Files may say nearly anything of themselves when they cannot be read, but never that all is well. */
static bool is_right(fault_kind kind, int rc)
{
    if (kind == FAULT_MEMORY)
        return rc == LX_ENOMEM;
    if (kind == FAULT_GIT) /* it may also have been unable to start */
        return rc == LX_EIO || rc == LX_EBUSY || rc == LX_ENOTFOUND || rc == LX_EFORMAT ||
               rc == LX_EPERM || rc == LX_ELIMIT || rc == LX_ENOMEM;
    return kind != FAULT_SHORT &&
           (rc == LX_EIO || rc == LX_EBUSY || rc == LX_ENOTFOUND || rc == LX_EFORMAT);
}

static void fail_line(void *context, const char *line)
{
    fail_msg("%s: fsck says: %s", (const char *)context, line);
}

static void check_sound(const char *store, const char *what)
{
    lx_store *s = NULL;
    lx_check_report report;
    lx_error err = {0};

    if (!lx_file_exists(store))
        return;
    if (lx_store_open(&s, store, false, &err) < 0)
        fail_msg("%s: %s cannot be opened afterwards: %s", what, store, err.text);
    if (lx_store_check(&report, s, fail_line, (void *)(uintptr_t)what, &err) < 0)
        fail_msg("%s: fsck: %s", what, err.text);
    lx_store_close(s);
}

/* A failed allocation of JSON is told by the next document that is written (src/base/json.c): by this one. */
static void hear_of_json(void)
{
    cJSON *null = cJSON_CreateNull();
    lx_str text = LX_STR_INIT;

    lx_json_canonical(&text, null, NULL);
    lx_str_release(&text);
    cJSON_Delete(null);
}

static lx_hash made; /* of what the operation makes when nothing fails */

static void check_made(const char *path, const char *what)
{
    lx_hash hash;
    lx_error err = {0};

    if (lx_file_hash(&hash, path, &err) < 0 || !lx_hash_equal(&hash, &made))
        fail_msg("%s: %s is another one than without the fault, and no error %s", what,
                 path, err.text);
}

static long n_rounds, n_failed;

static void try_one(const store_operation *o, fault_kind kind, long n, bool forever)
{
    lx_error err = {0};
    int rc;

    store_round_name("%s, %s %ld%s", o->name, kind_names[kind], n,
                     forever ? " and all later ones" : "");
    if (!o->only_looks)
        store_operation_renew(o);
    store_round_begin();
    faults_arm(kind, n, forever);
    rc = o->work(&err);
    faults_disarm();
    store_round_end();
    hear_of_json();
    n_rounds++;
    n_failed += rc < 0;
    if (rc < 0 && !is_right(kind, rc))
        fail_msg("%s: code %d: %s", store_round, rc, err.text);
    if (rc < 0 && !err.text[0])
        fail_msg("%s: code %d without a word", store_round, rc);
    if (rc == LX_OK && o->makes)
        check_made(o->makes, store_round);
    if (!o->only_looks && !o->prepare) {
        check_sound(WORLD_STORE, store_round);
        check_sound(WORLD_OTHER, store_round);
    }
    if ((rc = o->work(&err)) < 0)
        fail_msg("%s: the next try: %s", store_round, err.text);
}

static unsigned long known[1 << 18]; /* places that have failed; an open hash table */

static bool is_known(unsigned long place)
{
    size_t i = place % (sizeof known / sizeof *known);

    for (; known[i]; i = (i + 1) % (sizeof known / sizeof *known))
        if (known[i] == place)
            return true;
    known[i] = place;
    return false;
}

static bool tries_all(void)
{
    const char *asked = getenv("LX_TEST_PLACES");

    return asked && strcmp(asked, "all") == 0;
}

/* Of `total` calls: one of every new place, of which the usual run tries one in ten. Without places
 * (sanitizers) a sample. */
static bool is_chosen(long i, long total, fault_kind kind)
{
    unsigned long place = faults_own_place(i);
    static long n_new;

    if (!place)
        return i % (total / 12 + 1) == 0;
    return !is_known(place * 8 + (unsigned long)kind) &&
           (n_new++ % 10 == 0 || tries_all());
}

/* A call of libgit2 with what it may say; the usual run tries one answer, in turn. */
static void try_codes(const store_operation *o, long n)
{
    static const int codes[] = {GIT_ERROR,      GIT_ENOTFOUND,     GIT_EINVALID,
                                GIT_ELOCKED,    GIT_EAUTH,         GIT_ECERTIFICATE,
                                GIT_EOWNER,     GIT_FAULTS_MEMORY, GIT_FAULTS_ZLIB_MEMORY,
                                GIT_FAULTS_ZLIB};
    enum { N_CODES = sizeof codes / sizeof *codes };

    for (int i = 0; i < N_CODES; i++)
        if (tries_all() || i == n % N_CODES) {
            git_faults_use(codes[i]);
            try_one(o, FAULT_GIT, n, false);
        }
}

static void try_kind(const store_operation *o, fault_kind kind)
{
    lx_error err = {0};
    long total, n = 0, *calls;

    store_operation_renew(o);
    faults_arm(kind, 0, false);
    lx_assert_ok(o->work(&err), &err);
    faults_disarm();
    total = faults_count();
    if (o->makes)
        lx_assert_ok(lx_file_hash(&made, o->makes, &err), &err);
    calls = calloc((size_t)total + 1, sizeof *calls);
    for (long i = 1; i <= total; i++)
        if (is_chosen(i, total, kind))
            calls[n++] = i;
    for (long i = 0; i < n; i++) {
        if (kind == FAULT_GIT) {
            try_codes(o, calls[i]);
            continue;
        }
        try_one(o, kind, calls[i], false);
        if (kind != FAULT_SHORT)
            try_one(o, kind, calls[i], true);
    }
    printf("%-14s %-6s %7ld calls %5ld places\n", o->name, kind_names[kind], total, n);
    fflush(stdout);
    free(calls);
}

static void test_fault_store_operations__every_place_fails(void **state)
{
    static const fault_kind kinds[] = {FAULT_MEMORY, FAULT_IO, FAULT_SPACE, FAULT_SHORT,
                                       FAULT_GIT};
    (void)state;

    for (size_t i = 0; i < N_STORE_OPERATIONS; i++) {
        for (size_t k = store_operations[i].uses_git;
             k < sizeof kinds / sizeof *kinds && is_asked(store_operations[i].name); k++)
            try_kind(&store_operations[i], kinds[k]);
    }
    printf("%ld rounds, %ld of them failed\n", n_rounds, n_failed);
}

/* What a caller from C may get wrong is told, and the run goes on. */
static void test_fault_store_operations__from_c_words_are_checked(void **state)
{
    static const lxs_start bad[] = {{.kind = ""},     {.kind = "a\nb"},
                                    {.kind = "\xff"}, {.kind = "a\x7f"},
                                    {.flags = "{"},   {.flags = "[1]"}};
    const lxs_start start = {.name = "plain"};
    lxs_run *run;
    lxs_error e;
    (void)state;

    world_renew();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_true(lxs_begin(&run, WORLD_STORE, &bad[i], &e) < 0);
        assert_null(run);
        assert_true(e.text[0]);
    }
    assert_int_equal(lxs_begin(&run, WORLD_STORE, &start, NULL), 0);
    assert_int_equal(strlen(lxs_id(run)), 16);
    assert_int_equal(lxs_log(run, NULL, 1, 0.5, &e), LX_EUSAGE);
    assert_int_equal(lxs_log(run, "loss", 1, 0.5, &e), 0);
    assert_int_equal(lxs_log_many(run, "", NULL, NULL, 0, &e), LX_EUSAGE);
    assert_int_equal(lxs_artifact(run, "", "state.bin", 1, &e), LX_EUSAGE);
    assert_int_equal(lxs_artifact(run, "state", NULL, 1, &e), LX_EUSAGE);
    assert_int_equal(lxs_end(run, "done", NULL, &e), LX_EUSAGE);
    assert_int_equal(lxs_begin(&run, WORLD_STORE, &start, &e), 0);
    assert_int_equal(lxs_end(run, NULL, NULL, NULL), LX_EUSAGE);
    assert_int_equal(lxs_begin(&run, WORLD_STORE, &start, &e), 0);
    assert_int_equal(lxs_end(run, "finished", NULL, &e), 0);
}

static int set_up(void **state)
{
    faults_prepare();
    git_faults_prepare();
    return world_set_up(state);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault_store_operations__from_c_words_are_checked),
        cmocka_unit_test(test_fault_store_operations__every_place_fails)};

    asked_names = argc > 1 ? argv + 1 : NULL;
    return cmocka_run_group_tests(tests, set_up, world_tear_down);
}
