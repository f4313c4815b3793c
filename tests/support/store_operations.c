#include "tests/support/store_operations.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/lx_store.h"
#include "src/base/alloc.h"
#include "src/base/arena.h"
#include "store/bundle.h"
#include "store/dataset.h"
#include "store/gc.h"
#include "store/git.h"
#include "store/internal.h"
#include "store/mlflow_db.h"
#include "store/query.h"
#include "store/repair.h"
#include "tests/support/expect.h"
#include "tests/support/store_world.h"

/* Rows were changed behind lx' back: what is found is anyone's guess. */
bool store_operations_on_damaged;

#define DO(call)               \
    do {                       \
        if ((rc = (call)) < 0) \
            goto done;         \
    } while (0)

static void ignore_line(void *context, const char *line)
{
    (void)context;
    (void)line;
}

static int use_version(lx_store *s, lx_error *err)
{
    int64_t version;
    return lx_query_version(&version, s, err);
}

static int make_new(lx_error *err)
{
    return world_with_store("new/deep/store", false, use_version, err);
}

static int open_to_write(lx_error *err)
{
    return world_with_store(WORLD_STORE, false, use_version, err);
}

static int open_to_read(lx_error *err)
{
    return world_with_store(WORLD_STORE, true, use_version, err);
}

static int record_in(lx_store *s, lx_error *err)
{
    return world_record(s, "new", NULL, err);
}

static int record_one(lx_error *err)
{
    return world_with_store(WORLD_STORE, false, record_in, err);
}

static int go_on(lx_error *err)
{
    return world_with_store(WORLD_STORE, false, world_go_on, err);
}

static int remark(lx_error *err)
{
    return world_with_store(WORLD_STORE, false, world_remark, err);
}

static int import_group(lx_error *err)
{
    return world_with_store(WORLD_STORE, false, world_import, err);
}

static int objects_in(lx_store *s, lx_error *err)
{
    lx_str bytes = LX_STR_INIT;
    lx_hash small, big;
    bool is_here;
    int rc;

    DO(lx_object_put(&small, s, "an object", 9, err));
    DO(lx_object_put_file(&big, s, "state.bin", err));
    DO(lx_object_get(&bytes, s, &small, err));
    DO(lx_object_get(&bytes, s, &big, err));
    DO(lx_object_exists(&is_here, s, &big, err));
    if (!is_here)
        fail_msg("an object that was put is not there, and no error");
    DO(lx_object_get_file(s, &small, "small.out", err));
    DO(lx_object_get_file(s, &big, "big.out", err));
done:
    lx_str_release(&bytes);
    return rc;
}

static int put_and_get(lx_error *err)
{
    return world_with_store(WORLD_STORE, false, objects_in, err);
}

static int query_runs(lx_store *s, lx_arena *arena, lx_error *err)
{
    static const lx_run_filter filters[] = {
        {.status = "failed"},        {.kind = "train"},
        {.name = "by wren"},         {.group = "wrens"},
        {.tag = "good", .limit = 1}, {.status = "interrupted", .has_trashed = true}};
    lx_run_list list;
    lx_run_row row;
    char prefix[16]; /* all but the last digit of an id */
    int rc = LX_OK;

    for (size_t i = 0; i < sizeof filters / sizeof *filters && rc == LX_OK; i++)
        if ((rc = lx_query_runs(&list, s, &filters[i], arena, err)) == LX_OK &&
            list.count != 1 && !store_operations_on_damaged)
            fail_msg("filter %zu finds %zu runs, and no error", i, list.count);
    DO(rc);
    DO(lx_query_run(&row, s, 1, arena, err));
    DO(lx_query_find(&row, s, row.id, arena, err));
    snprintf(prefix, sizeof prefix, "%s", row.id);
    DO(lx_query_find(&row, s, prefix, arena, err));
    DO(lx_query_find(&row, s, "by wren", arena, err));
    DO(lx_query_origin(&row, s, "lora:1", arena, err));
    if ((rc = lx_query_find(&row, s, "nobody", arena, err)) == LX_ENOTFOUND)
        rc = LX_OK;
done:
    return rc;
}

static int query_texts(lx_store *s, lx_arena *arena, lx_error *err)
{
    lx_dataset_rows data;
    lx_input_row *inputs;
    lx_run_texts texts;
    lx_run_row row;
    lx_str console = LX_STR_INIT;
    size_t n;
    int rc;

    DO(lx_query_run(&row, s, 1, arena, err));
    DO(lx_query_texts(&texts, s, &row, arena, err));
    if (!store_operations_on_damaged && (!texts.dataset || !texts.flags || !texts.git ||
                                         !texts.diff || !texts.environment))
        fail_msg("texts without an error lack something");
    if (!texts.dataset)
        goto inputs;
    DO(lx_store_dataset_get(&data, s, texts.dataset, arena, err));
    if (data.n_images != 3 && !store_operations_on_damaged)
        fail_msg("a dataset without an error has %zu images", data.n_images);
inputs:
    DO(lx_query_inputs(&inputs, &n, s, arena, err));
    DO(lx_query_console(&console, s, 1, 0, err));
    DO(lx_query_console(&console, s, 1, 3, err));
    if ((rc = lx_query_console(&console, s, 3, 0, err)) == LX_ENOTFOUND)
        rc = LX_OK;
done:
    lx_str_release(&console);
    return rc;
}

static int query_rows(lx_store *s, lx_arena *arena, lx_error *err)
{
    lx_hash hash = lx_sha256_of(world_large, sizeof world_large),
            there = lx_sha256_of("elsewhere", 9);
    const char **keys;
    lx_series_row *series;
    lx_curve *curves, one;
    lx_flag_row *flags;
    lx_remark_row *remarks;
    lx_artifact_row *artifacts;
    lx_run_row row;
    size_t n;
    int rc;

    DO(lx_query_run(&row, s, 1, arena, err));
    DO(lx_query_series(&series, &n, s, 0, "loss", arena, err));
    DO(lx_query_series(&series, &n, s, 1, NULL, arena, err));
    DO(lx_query_curve(&one, s, 1, "loss", 0, arena, err));
    DO(lx_query_curve(&one, s, 1, "loss", 299, arena, err));
    DO(lx_query_curve(&one, s, 1, "none", 0, arena, err));
    DO(lx_query_curves(&curves, &n, s, &row, arena, err));
    DO(lx_query_series_keys(&keys, &n, s, arena, err));
    DO(lx_query_flags(&flags, &n, s, 0, "network_dim", arena, err));
    DO(lx_query_flags(&flags, &n, s, 1, NULL, arena, err));
    DO(lx_query_flag_keys(&keys, &n, s, false, arena, err));
    DO(lx_query_flag_keys(&keys, &n, s, true, arena, err));
    DO(lx_query_remarks(&remarks, &n, s, 0, NULL, arena, err));
    DO(lx_query_remarks(&remarks, &n, s, 1, "note", arena, err));
    DO(lx_query_artifacts(&artifacts, &n, s, &row, arena, err));
    DO(lx_query_artifacts_of(&artifacts, &n, s, &hash, NULL, arena, err));
    DO(lx_query_artifacts_of(&artifacts, &n, s, NULL, &there, arena, err));
done:
    return rc;
}

static int query_in(lx_store *s, lx_error *err)
{
    lx_arena *arena = lx_arena_new();
    int rc = arena ? LX_OK : lx_oom(err);

    DO(rc);
    DO(query_runs(s, arena, err));
    DO(query_texts(s, arena, err));
    DO(query_rows(s, arena, err));
done:
    lx_arena_free(arena);
    return rc;
}

static int query_all(lx_error *err)
{
    return world_with_store(WORLD_STORE, true, query_in, err);
}

static int count_rows(void *context, int n, const char *const *columns,
                      const lx_sql_value *values, lx_error *err)
{
    (void)n;
    (void)columns;
    (void)err;
    *(int *)context += values != NULL;
    return LX_OK;
}

static int sql_in(lx_store *s, lx_error *err)
{
    const lx_sql_value args[] = {{.type = LX_SQL_NULL},
                                 {.type = LX_SQL_INTEGER, .integer = 1},
                                 {.type = LX_SQL_REAL, .real = 0.5},
                                 {.type = LX_SQL_TEXT, .bytes = "text", .n = 4},
                                 {.type = LX_SQL_BLOB, .bytes = "\0\1", .n = 2}};
    int n = 0, rc;

    DO(lx_store_sql(s, "SELECT ?1, ?2, ?3, ?4, ?5, zeroblob(0), r.* FROM runs r", args, 5,
                    count_rows, &n, err));
    if (n < 4)
        fail_msg("%d rows, and no error", n);
    if ((rc = lx_store_sql(s, "DELETE FROM run", NULL, 0, count_rows, &n, err)) ==
        LX_EUSAGE)
        rc = lx_store_sql(s, "SELECT ?1", NULL, 0, count_rows, &n, err);
    rc = rc == LX_EUSAGE ? LX_OK : rc;
done:
    return rc;
}

static int ask_sql(lx_error *err)
{
    return world_with_store(WORLD_STORE, true, sql_in, err);
}

static int check_in(lx_store *s, lx_error *err)
{
    lx_check_report report;
    return lx_store_check(&report, s, ignore_line, NULL, err);
}

static int check(lx_error *err)
{
    return world_with_store(WORLD_STORE, true, check_in, err);
}

static int rebuild(lx_error *err)
{
    return world_with_store(WORLD_STORE, false, lx_store_rebuild, err);
}

static int gc_in(lx_store *s, lx_error *err)
{
    lx_gc_options gc = {.keep_days = 14, .now = store__now() + 60 * 86400};
    lx_gc_report report;
    int rc = lx_store_gc(&report, s, &gc, ignore_line, NULL, err);

    gc.prunes = true;
    return rc < 0 ? rc : lx_store_gc(&report, s, &gc, ignore_line, NULL, err);
}

static int collect(lx_error *err)
{
    return world_with_store(WORLD_STORE, false, gc_in, err);
}

static int leave(lx_error *err)
{
    return world_write_bundle("new.lxb", WORLD_STORE, false, err);
}

static int arrive(lx_error *err)
{
    return world_read_bundle("all.lxb", "arrived", err);
}

static int arrive_again(lx_error *err)
{
    int rc = world_read_bundle("all.lxb", WORLD_OTHER, err);
    return rc < 0 ? rc : world_read_bundle("all.lxb", WORLD_STORE, err);
}

static int give(lx_error *err)
{
    return world_exchange(WORLD_STORE, true, err);
}

static int take(lx_error *err)
{
    return world_exchange(WORLD_OTHER, false, err);
}

/* ---- damage, and what mends it ----------------------------------------------------- */

static void damage_rows(void)
{
    lx_hash hash = lx_sha256_of(world_large, sizeof world_large);
    char hex[65];

    lx_hash_hex(hex, &hash);
    world_sql(WORLD_STORE "/store.db",
              "UPDATE chunk SET data=substr(data, 1, 9); UPDATE object SET data=x'00'"
              " WHERE hash=(SELECT flags FROM run WHERE seq=1)");
    lx_assert_shell("truncate -s 100 " WORLD_STORE "/objects/%.2s/%s", hex, hex + 2);
}

/* The end of the page where the runs are: the first run's row. Whole pages are cli/fsck/repair_pages' business. */
static void damage_pages(void)
{
    int64_t page = world_sql(WORLD_STORE "/store.db",
                             "PRAGMA wal_checkpoint(TRUNCATE); SELECT rootpage FROM"
                             " sqlite_schema WHERE name='run'");
    FILE *f = fopen(WORLD_STORE "/store.db", "r+");

    assert_non_null(f);
    fseek(f, (long)page * 4096 - 400, SEEK_SET);
    for (size_t i = 0; i < 400; i++)
        fputc(0xa5, f);
    fclose(f);
}

/* A file that does not go through memory (store/object.c). */
static void lay_large(void)
{
    lx_assert_shell("truncate -s 17M large.bin");
}

static int large_in(lx_store *s, lx_error *err)
{
    lx_hash hash;
    int rc;

    DO(lx_object_put_file(&hash, s, "large.bin", err));
    DO(lx_object_put_file(&hash, s, "large.bin", err)); /* known */
    DO(lx_object_get_file(s, &hash, "large.out", err));
done:
    return rc;
}

static int put_large(lx_error *err)
{
    return world_with_store(WORLD_STORE, false, large_in, err);
}

/* As a writer leaves a store that was killed, on a medium that takes no -shm file: a copy of it is read. */
static void leave_log(void)
{
    lx_store *s;
    lx_error err = {0};

    lx_assert_ok(lx_store_open(&s, WORLD_STORE, false, &err), &err);
    lx_assert_ok(world_record_small(s, "late", true, &err), &err);
    lx_assert_shell("mkdir aside && cp " WORLD_STORE "/store.db " WORLD_STORE
                    "/store.db-wal aside");
    lx_store_close(s);
    lx_assert_shell("rm -f " WORLD_STORE "/store.db-shm && cp aside/* " WORLD_STORE
                    " && ln -s nowhere/x " WORLD_STORE "/store.db-shm");
}

typedef struct source {
    lx_bundle *bundle;
    lx_repair_source as;
} source;

static int source_record(const cJSON **out, void *context, size_t i, lx_error *err)
{
    (void)err;
    *out = cJSON_GetArrayItem(lx_bundle_runs(((source *)context)->bundle), (int)i);
    return LX_OK;
}

static int source_fetch(void *context, const void **data, size_t *n, const lx_hash *hash,
                        lx_error *err)
{
    return lx_bundle_fetch(((source *)context)->bundle, data, n, hash, err);
}

static int repair_in(lx_store *s, lx_error *err)
{
    source from = {0};
    lx_repair_report report;
    int rc;

    DO(lx_bundle_open(&from.bundle, "private.lxb", ".", err));
    from.as = (lx_repair_source){"elsewhere",
                                 (size_t)cJSON_GetArraySize(lx_bundle_runs(from.bundle)),
                                 source_record, source_fetch, &from};
    DO(lx_store_repair(&report, s, &from.as, ignore_line, NULL, err));
    DO(lx_store_rebuild(s, err));
done:
    lx_bundle_close(from.bundle);
    return rc;
}

static int repair(lx_error *err)
{
    return world_with_store(WORLD_STORE, false, repair_in, err);
}

static int salvage(lx_error *err)
{
    lx_salvage_report report;
    int rc;

    DO(lx_store_salvage(&report, WORLD_STORE, ignore_line, NULL, err));
    rc = world_with_store(WORLD_STORE, false, lx_store_rebuild, err);
    if (rc == LX_OK)
        rc = repair(err);
done:
    return rc;
}

/* ---- others ------------------------------------------------------------------------ */

static void use_future(void)
{
    static const char *list[16];
    const store__schema usual = store__the_schema;

    memcpy(list, usual.sql, (size_t)usual.count * sizeof *list);
    list[usual.count] =
        "ALTER TABLE run ADD COLUMN mood TEXT; UPDATE run SET mood='good'";
    store__the_schema = (store__schema){list, usual.count + 1};
}

static int take_run(void *context, const lx_mlflow_run *run, lx_error *err)
{
    (void)run;
    (void)err;
    ++*(int *)context;
    return LX_OK;
}

static int take_pair(void *context, const char *key, const char *value, lx_error *err)
{
    (void)err;
    *(int *)context += *key && *value;
    return LX_OK;
}

static int take_point(void *context, const char *key, int64_t step, double value,
                      lx_error *err)
{
    (void)step;
    (void)value;
    (void)err;
    *(int *)context += *key != 0;
    return LX_OK;
}

static int read_mlflow(lx_error *err)
{
    int n = 0, rc;
    const lx_mlflow_sink sink = {&n, take_run, take_pair, take_pair, take_point};

    if ((rc = lx_mlflow_db_read("mlflow.db", &sink, err)) == LX_OK && n != 5)
        fail_msg("%d facts of five, and no error", n);
    return rc;
}

static int code_state_in(lx_store *s, lx_error *err)
{
    char *json = NULL, *diff = NULL;
    int rc = lx_git_state(&json, &diff, s, "code", err);

    lx_free(json);
    lx_free(diff);
    if (rc == LX_OK && (rc = lx_git_state(&json, &diff, s, "/", err)) == LX_OK) {
        lx_free(json);
        lx_free(diff);
    }
    return rc;
}

static int read_code(lx_error *err)
{
    return world_with_store(WORLD_STORE, true, code_state_in, err);
}

static int from_c(lx_error *err)
{
    const lxs_start start = {.name = "c",
                             .kind = "train",
                             .command_line = "train --token=hunter2hunter2",
                             .flags = "{\"lr\":0.5}",
                             .work_dir = "/"};
    lxs_run *run = NULL;
    lxs_error e = {0};
    int rc;

    DO(lxs_begin(&run, WORLD_STORE, &start, &e));
    DO(lxs_log(run, "loss", 1, 0.5, &e));
    DO(lxs_log_many(run, "loss", (int64_t[]){2, 3}, (double[]){1, 2}, 2, &e));
    DO(lxs_console(run, "hello\n", 6, &e));
    DO(lxs_artifact(run, "state", "state.bin", 1, &e));
    rc = lxs_end(run, "failed", "why", &e);
    run = NULL;
done:
    if (rc < 0)
        lx_fail(err, rc, "%s", e.text);
    lxs_end(run, "interrupted", NULL, NULL);
    return rc;
}

const store_operation store_operations[N_STORE_OPERATIONS] = {
    {"new", make_new, NULL, false, NULL, false},
    {"open", open_to_write, NULL, false, NULL, false},
    {"read", open_to_read, NULL, true, NULL, false},
    {"record", record_one, NULL, false, NULL, false},
    {"go on", go_on, NULL, false, NULL, false},
    {"remarks", remark, NULL, false, NULL, false},
    {"import", import_group, NULL, false, NULL, false},
    {"objects", put_and_get, NULL, false, NULL, false},
    {"queries", query_all, NULL, true, NULL, false},
    {"sql", ask_sql, NULL, true, NULL, false},
    {"check", check, NULL, true, NULL, false},
    {"check damaged", check, damage_rows, false, NULL, false},
    {"rebuild", rebuild, NULL, false, NULL, false},
    {"gc", collect, NULL, false, NULL, false},
    {"leave", leave, NULL, true, "new.lxb", false},
    {"arrive", arrive, NULL, false, NULL, false},
    {"arrive again", arrive_again, NULL, false, NULL, false},
    {"push", give, NULL, false, NULL, true},
    {"pull", take, NULL, false, NULL, true},
    {"large", put_large, lay_large, false, NULL, false},
    {"read copy", open_to_read, leave_log, true, NULL, false},
    {"repair", repair, damage_rows, false, NULL, false},
    {"salvage", salvage, damage_pages, false, NULL, false},
    {"migrate", open_to_write, use_future, false, NULL, false},
    {"mlflow", read_mlflow, NULL, true, NULL, false},
    {"code", read_code, NULL, true, NULL, false},
    {"from C", from_c, NULL, false, NULL, false},
};

const store_operation *store_operation_named(const char *name)
{
    for (size_t i = 0; i < N_STORE_OPERATIONS; i++)
        if (strcmp(store_operations[i].name, name) == 0)
            return &store_operations[i];
    fail_msg("no operation of the store is called %s", name);
    return NULL;
}

void store_operation_renew(const store_operation *o)
{
    static store__schema usual;

    if (!usual.count)
        usual = store__the_schema;
    store__the_schema = usual;
    world_renew();
    if (o->prepare)
        o->prepare();
}

/* ---- a round ----------------------------------------------------------------------- */

enum { SECONDS_A_ROUND = 60 };

char store_round[128];

void store_round_name(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(store_round, sizeof store_round, fmt, args);
    va_end(args);
}

static void tell_hang(int number)
{
    static const char text[] = " does not end\n";

    (void)number;
    if (write(2, store_round, strlen(store_round)) > 0 &&
        write(2, text, sizeof text - 1) > 0)
        _exit(1);
    _exit(2);
}

void store_round_begin(void)
{
    signal(SIGALRM, tell_hang);
    alarm(SECONDS_A_ROUND);
}

void store_round_end(void)
{
    alarm(0);
}
