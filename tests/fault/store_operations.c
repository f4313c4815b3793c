/*
 * Every operation of the store fails at every place of it that asks for memory or touches a file: making a
 * store, opening it in each way, recording, remarks, objects, every query, SQL, fsck, rebuild, gc, repair,
 * salvage, bundles and git repositories out and in, migration, MLflow's databases, the C interface.
 *
 * Each is done on a copy of one world, which is made once. A call is one place as the program's own frames
 * tell it (faults_own_place), whatever SQLite or cJSON does below it. Of all operations together a place
 * fails twice: one call of it alone, and that with all later ones. After each:
 *
 *   - the error is of memory or of files and says something, or the operation got through;
 *   - a store opens and is sound, and the same operation gets through now.
 *
 * Before, whatever can stand in the rows of a store is put there, and everything is done with it.
 *
 * Reads and writes that do half of what they were asked for (FAULT_SHORT) are no error to anyone.
 *
 * The usual run tries one place in ten; LX_TEST_PLACES=all: each. Arguments: names of operations, or rows (all).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "include/lx_store.h"
#include "src/base/alloc.h"
#include "src/base/arena.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "store/bundle.h"
#include "store/dataset.h"
#include "store/gc.h"
#include "store/git.h"
#include "store/internal.h"
#include "store/mlflow_db.h"
#include "store/query.h"
#include "store/remote.h"
#include "store/repair.h"
#include "store/git2_late.h"
#include "tests/support/expect.h"
#include "tests/support/faults.h"
#include "tests/support/git_faults.h"
#include "tests/support/tree.h"

#define DO(call)               \
    do {                       \
        if ((rc = (call)) < 0) \
            goto done;         \
    } while (0)

enum { SECONDS_A_ROUND = 60 };

static char root[64];

/* A path in what is worked on; it is the process's working folder. */
#define STORE "store"
#define OTHER "other"

/* Rows were changed behind lx' back: what is found is anyone's guess. */
static bool is_damaged;

static void ignore_line(void *context, const char *line)
{
    (void)context;
    (void)line;
}

/* ---- recording --------------------------------------------------------------------- */

static unsigned char large[70 * 1024];

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

static int log_curves(lx_run *run, lx_error *err)
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
        {.role = "lora", .name = "b", .step = 4, .data = large, .n = sizeof large},
        {.role = "sample", .name = "c.png", .step = 1, .data = "\x89PNG\0wren", .n = 9},
        {.role = "log", .name = "log", .step = -1, .data = "by wren", .n = 7},
        {.role = "log", .name = "log", .step = -1, .path = "log.txt"},
        {.role = "state", .name = "state", .step = 2, .path = "state.bin"},
        {.role = "config", .name = "bytes", .step = -1, .path = "state.bin"},
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

static int say_all(lx_store *s, int64_t seq, lx_error *err)
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

/* With a dataset, a repository and everything that can be said. */
static int record_all(lx_store *s, const char *name, const char *parent, lx_error *err)
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
    DO(log_curves(run, err));
    DO(attach_all(s, seq, err));
    rc = lx_run_end(run, "failed", "no room in /home/wren", err);
    run = NULL;
    if (rc == LX_OK)
        rc = say_all(s, seq, err);
done:
    lx_run_abandon(run);
    lx_free(dataset);
    return rc;
}

static int record_small(lx_store *s, const char *name, bool ends, lx_error *err)
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

static int write_bundle(const char *path, const char *store, bool is_private,
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

static int read_bundle(const char *path, const char *store, lx_error *err)
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
        DO(lx_synced_add(synced, &there[i], NULL, err));
        cJSON_Delete(record);
        record = NULL;
    }
done:
    cJSON_Delete(record);
    return rc;
}

/* Both ways: what `store` has goes to the repository, unless it only takes. */
static int exchange(const char *store, bool gives, lx_error *err)
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

/* ---- the operations ---------------------------------------------------------------- */

/* Opens a store, does one thing with it, closes it. */
static int with_store(const char *path, bool is_readonly,
                      int (*use)(lx_store *s, lx_error *err), lx_error *err)
{
    lx_store *s = NULL;
    int rc = lx_store_open(&s, path, is_readonly, err);

    if (rc == LX_OK)
        rc = use(s, err);
    lx_store_close(s);
    return rc;
}

static int use_version(lx_store *s, lx_error *err)
{
    int64_t version;
    return lx_query_version(&version, s, err);
}

static int make_new(lx_error *err)
{
    return with_store("new/deep/store", false, use_version, err);
}

static int open_to_write(lx_error *err)
{
    return with_store(STORE, false, use_version, err);
}

static int open_to_read(lx_error *err)
{
    return with_store(STORE, true, use_version, err);
}

static int record_in(lx_store *s, lx_error *err)
{
    return record_all(s, "new", NULL, err);
}

static int record_one(lx_error *err)
{
    return with_store(STORE, false, record_in, err);
}

/* A run that somebody left open goes on, and ends. */
static int go_on_in(lx_store *s, lx_error *err)
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
    DO(log_curves(run, err));
    DO(lx_run_artifact_file(run, "state", "s", "state.bin", 9, err));
    DO(lx_run_artifact(run, "sample", "t", "t", 1, 9, err));
    rc = lx_run_end_at(run, "interrupted", NULL, 2e9, err);
    run = NULL;
done:
    lx_run_abandon(run);
    lx_arena_free(arena);
    return rc;
}

static int go_on(lx_error *err)
{
    return with_store(STORE, false, go_on_in, err);
}

static int remark_in(lx_store *s, lx_error *err)
{
    int rc = say_all(s, 1, err);
    return rc < 0 ? rc : lx_run_trash(s, 2, true, err);
}

static int remark(lx_error *err)
{
    return with_store(STORE, false, remark_in, err);
}

/* Runs of other tools, as one; an origin that is there already does not spoil it. */
static int import_in(lx_store *s, lx_error *err)
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

static int import_group(lx_error *err)
{
    return with_store(STORE, false, import_in, err);
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
    return with_store(STORE, false, objects_in, err);
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
            list.count != 1 && !is_damaged)
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
    if (!is_damaged && (!texts.dataset || !texts.flags || !texts.git || !texts.diff ||
                        !texts.environment))
        fail_msg("texts without an error lack something");
    if (!texts.dataset)
        goto inputs;
    DO(lx_store_dataset_get(&data, s, texts.dataset, arena, err));
    if (data.n_images != 3 && !is_damaged)
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
    lx_hash hash = lx_sha256_of(large, sizeof large),
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
    return with_store(STORE, true, query_in, err);
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
    return with_store(STORE, true, sql_in, err);
}

static int check_in(lx_store *s, lx_error *err)
{
    lx_check_report report;
    return lx_store_check(&report, s, ignore_line, NULL, err);
}

static int check(lx_error *err)
{
    return with_store(STORE, true, check_in, err);
}

static int rebuild(lx_error *err)
{
    return with_store(STORE, false, lx_store_rebuild, err);
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
    return with_store(STORE, false, gc_in, err);
}

static int leave(lx_error *err)
{
    return write_bundle("new.lxb", STORE, false, err);
}

static int arrive(lx_error *err)
{
    return read_bundle("all.lxb", "arrived", err);
}

static int arrive_again(lx_error *err)
{
    int rc = read_bundle("all.lxb", OTHER, err);
    return rc < 0 ? rc : read_bundle("all.lxb", STORE, err);
}

static int give(lx_error *err)
{
    return exchange(STORE, true, err);
}

static int take(lx_error *err)
{
    return exchange(OTHER, false, err);
}

/* ---- damage, and what mends it ----------------------------------------------------- */

/* Runs SQL on a database as any program would; the first column of its last row. */
static int64_t change_database(const char *path, const char *sql)
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

static void damage_rows(void)
{
    lx_hash hash = lx_sha256_of(large, sizeof large);
    char hex[65];

    lx_hash_hex(hex, &hash);
    change_database(
        STORE "/store.db",
        "UPDATE chunk SET data=substr(data, 1, 9); UPDATE object SET data=x'00'"
        " WHERE hash=(SELECT flags FROM run WHERE seq=1)");
    lx_assert_shell("truncate -s 100 " STORE "/objects/%.2s/%s", hex, hex + 2);
}

/* The end of the page where the runs are: the first run's row. Whole pages are cli/fsck/repair_pages' business. */
static void damage_pages(void)
{
    int64_t page = change_database(STORE "/store.db",
                                   "PRAGMA wal_checkpoint(TRUNCATE); SELECT rootpage FROM"
                                   " sqlite_schema WHERE name='run'");
    FILE *f = fopen(STORE "/store.db", "r+");

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
    return with_store(STORE, false, large_in, err);
}

/* As a writer leaves a store that was killed, on a medium that takes no -shm file: a copy of it is read. */
static void leave_log(void)
{
    lx_store *s;
    lx_error err = {0};

    lx_assert_ok(lx_store_open(&s, STORE, false, &err), &err);
    lx_assert_ok(record_small(s, "late", true, &err), &err);
    lx_assert_shell("mkdir aside && cp " STORE "/store.db " STORE "/store.db-wal aside");
    lx_store_close(s);
    lx_assert_shell("rm -f " STORE "/store.db-shm && cp aside/* " STORE
                    " && ln -s nowhere/x " STORE "/store.db-shm");
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
    return with_store(STORE, false, repair_in, err);
}

static int salvage(lx_error *err)
{
    lx_salvage_report report;
    int rc;

    DO(lx_store_salvage(&report, STORE, ignore_line, NULL, err));
    rc = with_store(STORE, false, lx_store_rebuild, err);
    if (rc == LX_OK)
        rc = repair(err);
done:
    return rc;
}

/* ---- others ------------------------------------------------------------------------ */

static store__schema usual;

static void use_future(void)
{
    static const char *list[16];

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
    return with_store(STORE, true, code_state_in, err);
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

    DO(lxs_begin(&run, STORE, &start, &e));
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

typedef struct operation {
    const char *name;
    int (*work)(lx_error *err);
    void (*prepare)(void); /* what is done to the copy before; NULL = nothing */
    bool only_looks;       /* the copy is as good afterwards */
    const char *makes;     /* a file, always of the same bytes; NULL = none */
    bool uses_git;         /* libgit2, which may end the process without memory */
} operation;

static const operation operations[] = {
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
enum { N_OPERATIONS = sizeof operations / sizeof *operations };

/* ---- the world --------------------------------------------------------------------- */

static int trash_second(lx_store *s, lx_error *err)
{
    return lx_run_trash(s, 2, true, err);
}

static int record_world(lx_store *s, lx_error *err)
{
    int rc;

    DO(record_all(s, "first", NULL, err));
    DO(record_small(s, "second", true, err));
    DO(import_in(s, err));
    DO(record_small(s, "open", false, err));
    DO(lx_run_name(s, 5, "open", err));
done:
    return rc;
}

/* An old one, without names of runs and steps. */
static void make_mlflow(void)
{
    change_database(
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

/* In the working folder. */
static void make_world(void)
{
    FILE *f = fopen("state.bin", "w");
    lx_error err = {0};

    assert_non_null(f);
    assert_int_equal(fwrite(large, 1, sizeof large, f), sizeof large);
    for (size_t i = 0; i < sizeof large; i++)
        fputc(large[i] ^ 1, f);
    fclose(f);
    lx_assert_shell(
        "printf 'a log of wren\\n' >log.txt && git init -q code && cd code &&"
        " git config user.name a && git config user.email a@example.com &&"
        " echo 'int a;' >a.c && git add a.c && git commit -q -m a && echo 'int b;' "
        ">>a.c &&"
        " echo 'int c;' >new.c && echo binary >new.bin");
    lx_assert_shell("git init -q --bare runs.git && mkdir scratch");
    make_mlflow();
    lx_assert_ok(with_store(STORE, false, record_world, &err), &err);
    lx_assert_ok(write_bundle("earlier.lxb", STORE, true, &err), &err);
    lx_assert_ok(read_bundle("earlier.lxb", OTHER, &err), &err);
    lx_assert_ok(exchange(STORE, true, &err), &err);
    lx_assert_ok(with_store(STORE, false, trash_second, &err), &err);
    lx_assert_ok(with_store(STORE, false, go_on_in, &err), &err);
    lx_assert_ok(with_store(STORE, false, remark_in, &err), &err);
    lx_assert_ok(write_bundle("all.lxb", STORE, false, &err), &err);
    lx_assert_ok(write_bundle("private.lxb", STORE, true, &err), &err);
    lx_assert_shell("rm -rf scratch && mkdir scratch");
}

/* The working folder is a fresh copy of the world. */
static void renew(const operation *o)
{
    assert_int_equal(chdir(root), 0);
    lx_remove_tree("work");
    lx_copy_tree("world", "work");
    assert_int_equal(chdir("work"), 0);
    store__the_schema = usual;
    if (o->prepare)
        o->prepare();
}

static char **asked_names; /* ends with NULL; NULL = all */

static bool is_asked(const char *name)
{
    bool is = !asked_names;

    for (char **asked = asked_names; asked && *asked; asked++)
        is |= strcmp(*asked, name) == 0;
    return is;
}

/* ---- rounds ------------------------------------------------------------------------ */

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

static char what[128]; /* the round */

static void tell_hang(int number)
{
    static const char text[] = " does not end\n";

    (void)number;
    if (write(2, what, strlen(what)) > 0 && write(2, text, sizeof text - 1) > 0)
        _exit(1);
    _exit(2);
}

static void try_one(const operation *o, fault_kind kind, long n, bool forever)
{
    lx_error err = {0};
    int rc;

    snprintf(what, sizeof what, "%s, %s %ld%s", o->name, kind_names[kind], n,
             forever ? " and all later ones" : "");
    if (!o->only_looks)
        renew(o);
    alarm(SECONDS_A_ROUND);
    faults_arm(kind, n, forever);
    rc = o->work(&err);
    faults_disarm();
    alarm(0);
    hear_of_json();
    n_rounds++;
    n_failed += rc < 0;
    if (rc < 0 && !is_right(kind, rc))
        fail_msg("%s: code %d: %s", what, rc, err.text);
    if (rc < 0 && !err.text[0])
        fail_msg("%s: code %d without a word", what, rc);
    if (rc == LX_OK && o->makes)
        check_made(o->makes, what);
    if (!o->only_looks && !o->prepare) {
        check_sound(STORE, what);
        check_sound(OTHER, what);
    }
    if ((rc = o->work(&err)) < 0)
        fail_msg("%s: the next try: %s", what, err.text);
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
static void try_codes(const operation *o, long n)
{
    static const int codes[] = {GIT_ERROR, GIT_ENOTFOUND,    GIT_EINVALID, GIT_ELOCKED,
                                GIT_EAUTH, GIT_ECERTIFICATE, GIT_EOWNER};
    enum { N_CODES = sizeof codes / sizeof *codes };

    for (int i = 0; i < N_CODES; i++)
        if (tries_all() || i == n % N_CODES) {
            git_faults_use(codes[i]);
            try_one(o, FAULT_GIT, n, false);
        }
}

static void try_kind(const operation *o, fault_kind kind)
{
    lx_error err = {0};
    long total, n = 0, *calls;

    renew(o);
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

    for (size_t i = 0; i < N_OPERATIONS; i++) {
        for (size_t k = operations[i].uses_git;
             k < sizeof kinds / sizeof *kinds && is_asked(operations[i].name); k++)
            try_kind(&operations[i], kinds[k]);
    }
    printf("%ld rounds, %ld of them failed\n", n_rounds, n_failed);
}

/* ---- rows that are not what lx writes ------------------------------------------------ */

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

    renew(&operations[0]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_true(lxs_begin(&run, STORE, &bad[i], &e) < 0);
        assert_null(run);
        assert_true(e.text[0]);
    }
    assert_int_equal(lxs_begin(&run, STORE, &start, NULL), 0);
    assert_int_equal(strlen(lxs_id(run)), 16);
    assert_int_equal(lxs_log(run, NULL, 1, 0.5, &e), LX_EUSAGE);
    assert_int_equal(lxs_log(run, "loss", 1, 0.5, &e), 0);
    assert_int_equal(lxs_log_many(run, "", NULL, NULL, 0, &e), LX_EUSAGE);
    assert_int_equal(lxs_artifact(run, "", "state.bin", 1, &e), LX_EUSAGE);
    assert_int_equal(lxs_artifact(run, "state", NULL, 1, &e), LX_EUSAGE);
    assert_int_equal(lxs_end(run, "done", NULL, &e), LX_EUSAGE);
    assert_int_equal(lxs_begin(&run, STORE, &start, &e), 0);
    assert_int_equal(lxs_end(run, NULL, NULL, NULL), LX_EUSAGE);
    assert_int_equal(lxs_begin(&run, STORE, &start, &e), 0);
    assert_int_equal(lxs_end(run, "finished", NULL, &e), 0);
}

/* Constraints hold for those who keep them. */
static void damage(const char *sql)
{
    sqlite3 *db;
    char *message = NULL;

    assert_int_equal(sqlite3_open(STORE "/store.db", &db), SQLITE_OK);
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

/* Whatever stands in the rows: nothing crashes or hangs, what cannot be used is told, and repair leaves no more to find
 * than there was. */
static void test_fault_store_operations__rows_that_lx_did_not_write(void **state)
{
    int (*const works[])(lx_error *) = {check,   query_all, leave,  arrive_again,
                                        give,    collect,   repair, query_all,
                                        rebuild, check};
    (void)state;

    for (size_t i = 0; i < sizeof damages / sizeof *damages && is_asked("rows"); i++) {
        lx_check_report report;
        lx_store *s;
        int n_before = 0, n_after = 0;
        lx_error err = {0};

        snprintf(what, sizeof what, "%.100s", damages[i]);
        is_damaged = true;
        renew(&operations[0]);
        damage(damages[i]);
        alarm(SECONDS_A_ROUND);
        for (size_t k = 0; k < sizeof works / sizeof *works; k++) {
            int rc = works[k](&err);
            if (rc < 0 && !err.text[0])
                fail_msg("%s: work %zu: code %d without a word", what, k, rc);
            if (k != 0 && k + 1 != sizeof works / sizeof *works)
                continue;
            if (lx_store_open(&s, STORE, true, &err) < 0)
                continue;
            if (lx_store_check(&report, s, count_line, k ? &n_after : &n_before, &err) <
                0)
                ++*(k ? &n_after : &n_before);
            lx_store_close(s);
        }
        alarm(0);
        if (n_after > n_before)
            fail_msg("%s: %d findings, and %d after repair", what, n_before, n_after);
        is_damaged = false;
    }
}

static int set_up(void **state)
{
    uint32_t x = 1;
    (void)state;

    usual = store__the_schema;
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (unsigned char)((x = x * 1664525 + 1013904223) >> 24);
    snprintf(root, sizeof root, "%s/lx-operations-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(root) || chdir(root) < 0 || mkdir("world", 0777) < 0 ||
        chdir("world") < 0)
        return -1;
    setenv("HOME", "/home/wren", 1);
    setenv("USER", "wren", 1);
    unsetenv("LX_STORE");
    signal(SIGALRM, tell_hang);
    faults_prepare();
    git_faults_prepare();
    lx_arena_use_blocks(1);
    make_world();
    return 0;
}

static int tear_down(void **state)
{
    char command[128];
    (void)state;

    snprintf(command, sizeof command, "cd / && rm -rf '%s'", root);
    return system(command);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault_store_operations__from_c_words_are_checked),
        cmocka_unit_test(test_fault_store_operations__rows_that_lx_did_not_write),
        cmocka_unit_test(test_fault_store_operations__every_place_fails)};

    asked_names = argc > 1 ? argv + 1 : NULL;
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
