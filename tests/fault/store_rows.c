/*
 * Rows that are not what lx writes: each kind of damage is put into the store of a world (support/store_world), and
 * all is done with it that can be. Nothing crashes or hangs, what cannot be used is told, and repair leaves no more to
 * find than there was.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include <sqlite3.h>

#include "store/repair.h"
#include "store/store.h"
#include "tests/support/store_operations.h"
#include "tests/support/store_world.h"

static const char *const damages[] = {
    "UPDATE object SET hash=x'00' WHERE id=1",
    "UPDATE object SET size=-1 WHERE id=2",
    "UPDATE object SET size=size+1",
    "UPDATE object SET encoding=7",
    "UPDATE object SET data=NULL WHERE data NOT NULL",
    "DELETE FROM object WHERE hash=(SELECT dataset FROM run WHERE seq=1)",
    "DELETE FROM object WHERE hash=(SELECT spec FROM run WHERE seq=1)",
    "DELETE FROM object WHERE hash=(SELECT git FROM run WHERE seq=1)",
    "DELETE FROM object WHERE id%2",
    "DELETE FROM object",
    "UPDATE run SET flags=x'01' WHERE seq=1",
    "UPDATE run SET flags='text', spec=zeroblob(32), dataset=zeroblob(32)",
    "UPDATE run SET dataset=flags, git=flags, environment=flags",
    "UPDATE run SET flags=dataset",
    "UPDATE run SET id='../../../../etc'",
    "UPDATE run SET id=x'ff', kind=x'ff', name=x'00'",
    "UPDATE run SET started='then', recorded=NULL",
    "DELETE FROM run_end",
    "UPDATE run_end SET status='gone', message=x'ff', ended='late'",
    "DELETE FROM run WHERE seq=1",
    "UPDATE remark SET run=99",
    "UPDATE remark SET kind='odd', key=x'ff', value=7",
    "UPDATE artifact SET object=x'01'",
    "UPDATE artifact SET object=zeroblob(32), tensor_hash=x'01', size=-1",
    "UPDATE artifact SET name='../x', role='', step='later', path=x'ff'",
    "DELETE FROM series",
    "UPDATE series SET key=x'ff'",
    "DELETE FROM chunk",
    "UPDATE chunk SET first=first+1",
    "UPDATE chunk SET first=-1, n=-1",
    "UPDATE chunk SET n=9223372036854775807",
    "UPDATE chunk SET n=n+1",
    "UPDATE chunk SET data=zeroblob(50)",
    "UPDATE chunk SET data=x''",
    "UPDATE tail_point SET at=at+1",
    "UPDATE tail_point SET at=-1, step='x', value='y'",
    "UPDATE tail_point SET value=value+1",
    "DELETE FROM tail_point WHERE at%2",
    "DELETE FROM tail_point",
    "UPDATE tail_text SET at=at+7",
    "UPDATE tail_text SET data=7",
    "DELETE FROM run_now",
    "UPDATE run_now SET loss=1e9, n_points=7, name='other', is_trashed=1",
    "UPDATE series_now SET n=n+1, min_value=-7",
    "UPDATE series_now SET max_value='high'",
    "UPDATE series_now SET max_value=max_value+1",
    "DELETE FROM series_now",
    "UPDATE flag_value SET value=x'ff', key=x'fe'",
    "DELETE FROM flag_value"};

/* Constraints hold for those who keep them. */
static void damage(const char *sql)
{
    sqlite3 *db;
    char *message = NULL;

    assert_int_equal(sqlite3_open(WORLD_STORE "/store.db", &db), SQLITE_OK);
    sqlite3_exec(db, "PRAGMA ignore_check_constraints=1; PRAGMA foreign_keys=0", NULL,
                 NULL, NULL);
    sqlite3_exec(db, sql, NULL, NULL,
                 &message); /* a unique column may refuse: then some rows are left */
    sqlite3_free(message);
    sqlite3_close(db);
}

static void count_line(void *context, const char *line)
{
    (void)line;
    ++*(int *)context;
}

static int n_findings(void)
{
    lx_check_report report;
    lx_store *s;
    lx_error err;
    int n = 0;

    if (lx_store_open(&s, WORLD_STORE, true, &err) < 0)
        return 0;
    if (lx_store_check(&report, s, count_line, &n, &err) < 0)
        n++;
    lx_store_close(s);
    return n;
}

static void test_fault_store_rows__nothing_crashes_and_repair_leaves_no_more(void **state)
{
    static const char *const works[] = {"check",   "queries", "leave",  "arrive again",
                                        "push",    "gc",      "repair", "queries",
                                        "rebuild", "check"};
    (void)state;

    store_operations_on_damaged = true;
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        int n_before, n_after;
        lx_error err = {0};

        store_round_name("%.100s", damages[i]);
        world_renew();
        damage(damages[i]);
        store_round_begin();
        n_before = n_findings();
        for (size_t k = 0; k < sizeof works / sizeof *works; k++) {
            int rc = store_operation_named(works[k])->work(&err);
            if (rc < 0 && !err.text[0])
                fail_msg("%s: %s: code %d without a word", store_round, works[k], rc);
        }
        n_after = n_findings();
        store_round_end();
        if (n_after > n_before)
            fail_msg("%s: %d findings, and %d after repair", store_round, n_before,
                     n_after);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(
        test_fault_store_rows__nothing_crashes_and_repair_leaves_no_more)};

    return cmocka_run_group_tests(tests, world_set_up, world_tear_down);
}
