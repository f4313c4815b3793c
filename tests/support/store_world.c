#include "tests/support/store_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/arena.h"
#include "store/bundle.h"
#include "store/dataset.h"
#include "store/internal.h"
#include "store/query.h"
#include "store/remote.h"
#include "tests/support/expect.h"
#include "tests/support/tree.h"

#define DO(call)               \
    do {                       \
        if ((rc = (call)) < 0) \
            goto done;         \
    } while (0)

static char root[64];

/* ---- recording --------------------------------------------------------------------- */

unsigned char world_large[70 * 1024];

static const char lora[] =
    "\x68\0\0\0\0\0\0\0"
    "{\"__metadata__\":{\"ss_training_comment\":\"by wren\"},"
    "\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}"
    "  xyz";

static int put_dataset(char **out, lx_store *s, lx_error *err)
{
    lx_hash cached = lx_sha256_of("c", 1);
    lx_store_image images[] = {
        {.name = "2.png", .caption = "iwl, by wren", .bytes = 3, .width = 8, .height = 8},
        {.name = "1.png", .latents = &cached}};
    lx_store_image regular[] = {{.name = "r.png", .caption = "a cat"}};
    lx_store_folder data[] = {{"2_iwl", "iwl", 2, false, images, 2},
                              {"1_cat", "cat", 1, true, regular, 1}};

    return lx_store_dataset_put(out, s, data, 2, err);
}

int world_log_curves(lx_run *run, lx_error *err)
{
    int64_t steps[300];
    double values[300];
    int rc;

    for (int i = 0; i < 300; i++) {
        steps[i] = i;
        values[i] = i == 7 ? (double)NAN : i == 8 ? (double)INFINITY : 1.0 / (i + 1);
    }
    DO(lx_run_log_many(run, "loss", steps, values, 300, err));
    DO(lx_run_flush(run, err));
    DO(lx_run_log(run, "lr/unet", -1, -0.0, err));
    DO(lx_run_console(run, "step 1\n--hf_token=hf_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n",
                      56, err));
done:
    return rc;
}

static int attach_all(lx_store *s, int64_t seq, lx_error *err)
{
    lx_hash there = lx_sha256_of("elsewhere", 9);
    const lx_artifact all[] = {
        {.role = "lora",
         .name = "a",
         .step = 3,
         .data = lora,
         .n = sizeof lora - 1,
         .tensor_hash = &there},
        {.role = "lora",
         .name = "b",
         .step = 4,
         .data = world_large,
         .n = sizeof world_large},
        {.role = "sample", .name = "c.png", .step = 1, .data = "\x89PNG\0wren", .n = 9},
        {.role = "log", .name = "log", .step = -1, .data = "by wren", .n = 7},
        {.role = "log", .name = "log", .step = -1, .path = "log.txt"},
        {.role = "state", .name = "state", .step = 2, .path = "state.bin"},
        {.role = "file", .name = "bytes", .step = -1, .path = "state.bin"},
        {.role = "state",
         .name = "far",
         .step = 2,
         .hash = &there,
         .size = 9,
         .path = "/x"},
        {.role = "log", .name = "empty", .step = -1}};
    lx_hash hash;
    int rc = LX_OK;

    for (size_t i = 0; i < sizeof all / sizeof *all && rc == LX_OK; i++)
        rc = lx_run_attach(i % 2 ? &hash : NULL, s, seq, &all[i], err);
    return rc;
}

int world_say_all(lx_store *s, int64_t seq, lx_error *err)
{
    int rc;

    DO(lx_run_name(s, seq, "by wren", err));
    DO(lx_run_group(s, seq, "wrens", err));
    DO(lx_run_tag(s, seq, "good", NULL, err));
    DO(lx_run_tag(s, seq, "gone", "soon", err));
    DO(lx_run_untag(s, seq, "gone", err));
    DO(lx_run_note(s, seq, "noted by wren@example.org", err));
    DO(lx_run_fact(s, seq, "captions.verdict", "read", err));
    DO(lx_run_fact(s, seq, "api_key", "hunter2hunter2", err));
    DO(lx_run_pin(s, seq, true, err));
    DO(lx_run_pin(s, seq, false, err));
done:
    return rc;
}

int world_record(lx_store *s, const char *name, const char *parent, lx_error *err)
{
    char *dataset = NULL, spec[160], hex[65];
    lx_run_start start = {.name = name,
                          .kind = "train",
                          .command_line = "lx train --output_dir /home/wren/out",
                          .flags_given = "{\"network_dim\":4}",
                          .flags = "{\"network_dim\":4,\"output_dir\":\"/home/wren/out\","
                                   "\"x\":null,\"y\":[1],\"z\":true}",
                          .base_model = "{\"path\":\"/home/wren/sd.safetensors\"}",
                          .work_dir = "code",
                          .seed = 7,
                          .has_seed = true,
                          .spec = spec,
                          .parent = parent};
    lx_run *run = NULL;
    lx_hash hash;
    int64_t seq;
    int rc;

    DO(put_dataset(&dataset, s, err));
    hash = lx_sha256_of(dataset, strlen(dataset));
    lx_hash_hex(hex, &hash);
    snprintf(spec, sizeof spec, "{\"dataset\":\"%s\",\"flags\":{}}", hex);
    start.dataset = dataset;
    DO(lx_run_begin(&run, s, &start, err));
    seq = lx_run_seq(run);
    DO(world_log_curves(run, err));
    DO(attach_all(s, seq, err));
    rc = lx_run_end(run, "failed", "no room in /home/wren", err);
    run = NULL;
    if (rc == LX_OK)
        rc = world_say_all(s, seq, err);
done:
    lx_run_abandon(run);
    lx_free(dataset);
    return rc;
}

int world_record_small(lx_store *s, const char *name, bool ends, lx_error *err)
{
    const lx_run_start start = {.name = name, .kind = "run"};
    lx_run *run = NULL;
    int rc;

    DO(lx_run_begin(&run, s, &start, err));
    for (int i = 0; i < 3; i++)
        DO(lx_run_log(run, "loss", i, 2.5 - i, err));
    if (!ends)
        DO(lx_run_console(run, "by wren\n", 8, err));
    DO(lx_run_flush(run, err));
    if (ends) {
        rc = lx_run_end(run, "finished", NULL, err);
        run = NULL;
    }
done:
    lx_run_abandon(run);
    return rc;
}

/* ---- leaving and arriving ---------------------------------------------------------- */

static int add_runs(lx_transfer **t, lx_privacy *privacy, lx_store *s, bool learns,
                    lx_arena *arena, lx_error *err)
{
    const lx_run_filter all = {.has_trashed = true};
    lx_run_list runs;
    int rc;

    DO(lx_query_runs(&runs, s, &all, arena, err));
    DO(lx_transfer_new(t, s, privacy, arena, err));
    for (size_t i = 0; i < runs.count && learns; i++)
        DO(lx_transfer_learn(*t, &runs.rows[i], err));
    for (size_t i = 0; i < runs.count; i++)
        DO(lx_transfer_add(*t, &runs.rows[i], err));
done:
    return rc;
}

int world_write_bundle(const char *path, const char *store, bool is_private,
                       lx_error *err)
{
    lx_arena *arena = lx_arena_new();
    lx_store *s = NULL;
    lx_privacy *privacy = NULL;
    lx_transfer *t = NULL;
    const char *const *told;
    size_t n;
    int rc = arena ? LX_OK : lx_oom(err);

    DO(rc);
    DO(lx_store_open(&s, store, true, err));
    DO(lx_privacy_new(&privacy, is_private, err));
    DO(add_runs(&t, privacy, s, true, arena, err));
    DO(lx_bundle_write(path, t, privacy, arena, err));
    lx_transfer_left(t, &n);
    DO(lx_privacy_told(&told, &n, privacy, arena, err));
done:
    lx_transfer_free(t);
    lx_privacy_free(privacy);
    lx_store_close(s);
    lx_arena_free(arena);
    return rc;
}

int world_read_bundle(const char *path, const char *store, lx_error *err)
{
    lx_bundle *bundle = NULL;
    lx_store *s = NULL;
    const cJSON *record;
    lx_arrival how;
    int64_t seq;
    int rc;

    DO(lx_store_open(&s, store, false, err));
    DO(lx_bundle_open(&bundle, path, ".", err));
    cJSON_ArrayForEach(record, lx_bundle_runs(bundle))
        DO(lx_transfer_apply(&how, &seq, s, record, lx_bundle_fetch, bundle, err));
done:
    lx_bundle_close(bundle);
    lx_store_close(s);
    return rc;
}

static int stage_runs(lx_remote_version *versions, size_t *n, lx_remote *remote,
                      lx_synced *synced, lx_store *s, lx_arena *arena, lx_error *err)
{
    lx_privacy *privacy = NULL;
    lx_transfer *one = NULL;
    lx_run_list runs;
    const char *mark;
    int rc;

    *n = 0;
    DO(lx_privacy_new(&privacy, false, err));
    DO(lx_query_runs(&runs, s, NULL, arena, err));
    for (size_t i = 0; i < runs.count && i < 8; i++) {
        DO(lx_transfer_new(&one, s, privacy, arena, err));
        DO(lx_transfer_add(one, &runs.rows[i], err));
        DO(lx_remote_stage(&versions[*n], remote, one, err));
        DO(lx_transfer_mark(&mark, s, &runs.rows[i], true, arena, err));
        DO(lx_synced_add(synced, &versions[(*n)++], mark, err));
        lx_transfer_free(one);
        one = NULL;
    }
done:
    lx_transfer_free(one);
    lx_privacy_free(privacy);
    return rc;
}

static int take_versions(lx_remote *remote, lx_synced *synced, lx_store *s, lx_error *err)
{
    const lx_remote_version *there;
    cJSON *record = NULL;
    lx_arrival how;
    int64_t seq;
    size_t n;
    int rc;

    DO(lx_remote_list(&there, &n, remote, err));
    DO(lx_remote_fetch(remote, there, n, err));
    for (size_t i = 0; i < n; i++) {
        if (lx_synced_has(synced, &there[i]))
            continue;
        DO(lx_remote_record(&record, remote, &there[i], err));
        DO(lx_transfer_apply(&how, &seq, s, record, lx_remote_object, remote, err));
        DO(lx_synced_add_merged(synced, &there[i], there[i].run, err));
        cJSON_Delete(record);
        record = NULL;
    }
done:
    cJSON_Delete(record);
    return rc;
}

int world_exchange(const char *store, bool gives, lx_error *err)
{
    lx_arena *arena = lx_arena_new();
    lx_store *s = NULL;
    lx_remote *remote = NULL;
    lx_synced *synced = NULL;
    const lx_remote_version *there;
    lx_remote_version versions[8];
    size_t n;
    int rc = arena ? LX_OK : lx_oom(err);

    DO(rc);
    DO(lx_store_open(&s, store, false, err));
    DO(lx_remote_open(&remote, "runs.git", "scratch", err));
    DO(lx_synced_open(&synced, s, lx_remote_url(remote), err));
    if (gives) {
        DO(lx_remote_list(&there, &n, remote, err));
        DO(stage_runs(versions, &n, remote, synced, s, arena, err));
        DO(lx_remote_push(remote, versions, n, NULL, 0, err));
    } else {
        DO(take_versions(remote, synced, s, err));
    }
    DO(lx_synced_save(synced, err));
done:
    lx_synced_close(synced);
    lx_remote_close(remote);
    lx_store_close(s);
    lx_arena_free(arena);
    return rc;
}

int world_with_store(const char *path, bool is_readonly,
                     int (*use)(lx_store *s, lx_error *err), lx_error *err)
{
    lx_store *s = NULL;
    int rc = lx_store_open(&s, path, is_readonly, err);

    if (rc == LX_OK)
        rc = use(s, err);
    lx_store_close(s);
    return rc;
}

int world_go_on(lx_store *s, lx_error *err)
{
    lx_arena *arena = lx_arena_new();
    lx_run *run = NULL;
    lx_run_row row;
    int rc = arena ? LX_OK : lx_oom(err);

    DO(rc);
    DO(lx_query_find(&row, s, "open", arena, err));
    if (row.ended > 0)
        goto done; /* it is the second try, and the first one has ended it */
    DO(lx_run_open(&run, s, row.seq, err));
    DO(world_log_curves(run, err));
    DO(lx_run_artifact_file(run, "state", "s", "state.bin", 9, err));
    DO(lx_run_artifact(run, "sample", "t", "t", 1, 9, err));
    rc = lx_run_end_at(run, "interrupted", NULL, 2e9, err);
    run = NULL;
done:
    lx_run_abandon(run);
    lx_arena_free(arena);
    return rc;
}

int world_remark(lx_store *s, lx_error *err)
{
    int rc = world_say_all(s, 1, err);
    return rc < 0 ? rc : lx_run_trash(s, 2, true, err);
}

int world_import(lx_store *s, lx_error *err)
{
    int rc = lx_store_group_begin(s, err);

    if (rc < 0)
        return rc;
    for (int i = 0; i < 3 && rc == LX_OK; i++) {
        const lx_run_start start = {.kind = "import",
                                    .origin = i ? "lora:2" : "lora:1",
                                    .is_historic = true,
                                    .started = 1e9,
                                    .environment = "{}"};
        lx_run *run = NULL;
        rc = lx_run_begin(&run, s, &start, err);
        if (rc == LX_EEXISTS) {
            rc = LX_OK;
        } else if (rc == LX_OK) {
            if ((rc = lx_run_log(run, "loss", 1, 1, err)) == LX_OK)
                rc = lx_run_end_at(run, "finished", NULL, 1e9 + 1, err);
            else
                lx_run_abandon(run);
        }
    }
    return lx_store_group_end(s, rc, err);
}

/* ---- the world --------------------------------------------------------------------- */

int64_t world_sql(const char *path, const char *sql)
{
    int64_t number = 0;
    sqlite3 *db;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    while (*sql) {
        sqlite3_stmt *stmt;
        if (sqlite3_prepare_v2(db, sql, -1, &stmt, &sql) != SQLITE_OK)
            fail_msg("%s: %s", sql, sqlite3_errmsg(db));
        while (sqlite3_step(stmt) == SQLITE_ROW)
            number = sqlite3_column_int64(stmt, 0);
        assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
    }
    sqlite3_close(db);
    return number;
}

static int trash_second(lx_store *s, lx_error *err)
{
    return lx_run_trash(s, 2, true, err);
}

static int record_world(lx_store *s, lx_error *err)
{
    int rc;

    DO(world_record(s, "first", NULL, err));
    DO(world_record_small(s, "second", true, err));
    DO(world_import(s, err));
    DO(world_record_small(s, "open", false, err));
    DO(lx_run_name(s, 5, "open", err));
done:
    return rc;
}

/* An old one, without names of runs and steps. */
static void make_mlflow(void)
{
    world_sql(
        "mlflow.db",
        "CREATE TABLE experiments(experiment_id INTEGER, name TEXT, lifecycle_stage "
        "TEXT);"
        "CREATE TABLE params(key TEXT, value TEXT, run_uuid TEXT);"
        "CREATE TABLE tags(key TEXT, value TEXT, run_uuid TEXT);"
        "CREATE TABLE runs(run_uuid TEXT, user_id TEXT, status TEXT, start_time INTEGER,"
        " end_time INTEGER, lifecycle_stage TEXT, experiment_id INTEGER);"
        "CREATE TABLE metrics(key TEXT, value REAL, timestamp INTEGER, run_uuid TEXT,"
        " is_nan INTEGER);"
        "INSERT INTO runs VALUES('a', 'u', 'FINISHED', 1000, 3000, 'active', 1);"
        "INSERT INTO metrics VALUES('loss', 0, 2, 'a', 1), ('loss', 0.5, 1, 'a', 0);"
        "INSERT INTO params VALUES('lr', '1', 'a');"
        "INSERT INTO tags VALUES('t', '1', 'a');");
}

void world_make(void)
{
    uint32_t x = 1;
    FILE *f;
    lx_error err = {0};

    setenv("HOME", "/home/wren", 1);
    setenv("USER", "wren", 1);
    unsetenv("LX_STORE");
    for (size_t i = 0; i < sizeof world_large; i++)
        world_large[i] = (unsigned char)((x = x * 1664525 + 1013904223) >> 24);
    lx_make_folder(root, sizeof root, "lx-operations");
    assert_int_equal(chdir(root), 0);
    lx_assert_shell("mkdir world");
    assert_int_equal(chdir("world"), 0);
    f = fopen("state.bin", "w");
    assert_non_null(f);
    assert_int_equal(fwrite(world_large, 1, sizeof world_large, f), sizeof world_large);
    for (size_t i = 0; i < sizeof world_large; i++)
        fputc(world_large[i] ^ 1, f);
    fclose(f);
    lx_assert_shell(
        "printf 'a log of wren\\n' >log.txt && git init -q code && cd code &&"
        " git config user.name a && git config user.email a@example.com &&"
        " echo 'int a;' >a.c && git add a.c && git commit -q -m a && echo 'int b;' "
        ">>a.c &&"
        " echo 'int c;' >new.c && echo binary >new.bin");
    lx_assert_shell("git init -q --bare runs.git && mkdir scratch");
    make_mlflow();
    lx_assert_ok(world_with_store(WORLD_STORE, false, record_world, &err), &err);
    lx_assert_ok(world_write_bundle("earlier.lxb", WORLD_STORE, true, &err), &err);
    lx_assert_ok(world_read_bundle("earlier.lxb", WORLD_OTHER, &err), &err);
    lx_assert_ok(world_exchange(WORLD_STORE, true, &err), &err);
    lx_assert_ok(world_with_store(WORLD_STORE, false, trash_second, &err), &err);
    lx_assert_ok(world_with_store(WORLD_STORE, false, world_go_on, &err), &err);
    lx_assert_ok(world_with_store(WORLD_STORE, false, world_remark, &err), &err);
    lx_assert_ok(world_write_bundle("all.lxb", WORLD_STORE, false, &err), &err);
    lx_assert_ok(world_write_bundle("private.lxb", WORLD_STORE, true, &err), &err);
    lx_assert_shell("rm -rf scratch && mkdir scratch");
}

void world_renew(void)
{
    assert_int_equal(chdir(root), 0);
    lx_remove_tree("work");
    lx_copy_tree("world", "work");
    assert_int_equal(chdir("work"), 0);
}

void world_remove(void)
{
    assert_int_equal(chdir("/"), 0);
    lx_remove_tree(root);
}

int world_set_up(void **state)
{
    (void)state;
    lx_arena_use_blocks(1);
    world_make();
    return 0;
}

int world_tear_down(void **state)
{
    (void)state;
    world_remove();
    return 0;
}
