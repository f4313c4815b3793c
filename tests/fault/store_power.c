/*
 * The power fails, at any moment of each operation of the store: making it, recording a run, remarks, an
 * import, a merge, leaving and arriving as a bundle and through a git repository, gc, repair, migration.
 *
 * Each is traced once (support/power.h), in steps that end when their caller was told that they are done.
 * After every step the store's facts are taken down: runs, ends, points, files, remarks. Every disk that is
 * made up of the trace must open, be sound (lx_store_check) and hold
 *
 *   - every fact of the last step that was done, but those that the step after it takes away;
 *   - nothing that was never recorded.
 *
 * Where syncs lie nothing can be promised but that it shows: a store that opens and is sound must hold what
 * one moment of the work left, no mixture of two; every other must be refused or told by the check.
 *
 * LX_TEST_IMAGES: how many disks (1200); LX_TEST_SEED. Arguments: names of the operations to try (all), each with its
 * share of the disks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "store/bundle.h"
#include "store/dataset.h"
#include "store/gc.h"
#include "store/internal.h"
#include "store/query.h"
#include "store/remote.h"
#include "store/repair.h"
#include "tests/support/power.h"
#include "tests/support/expect.h"

static char root[64];

static char *in_root(const char *name)
{
    static char paths[4][160];
    static int next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof paths[0], "%s/%s", root, name);
    return path;
}

/* ---- facts ------------------------------------------------------------------------- */

typedef struct facts {
    char **items; /* sorted */
    size_t count, capacity;
} facts;

static void add_fact(facts *f, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    assert_int_equal(lx_grow(&f->items, &f->capacity, f->count + 1, sizeof *f->items), 0);
    f->items[f->count++] = lx_strdup(text);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool has_fact(const facts *f, const char *text)
{
    return f->count && bsearch(&text, f->items, f->count, sizeof *f->items, by_text);
}

static void free_facts(facts *f)
{
    for (size_t i = 0; i < f->count; i++)
        lx_free(f->items[i]);
    lx_free(f->items);
    *f = (facts){0};
}

static int take_row(void *context, int n, const char *const *columns,
                    const lx_sql_value *values, lx_error *err)
{
    (void)columns;
    (void)err;
    if (values && n == 1 && values[0].bytes)
        add_fact(context, "%s", values[0].bytes);
    return LX_OK;
}

/* All that is said of runs; how many points their curves have, and which, is added by add_points. */
static const char said[] =
    "SELECT 'run ' || id || ' ' || kind || ' ' || coalesce(origin, '') FROM runs "
    "UNION ALL SELECT 'ended ' || id || ' ' || status FROM runs WHERE ended IS NOT NULL "
    "UNION ALL SELECT 'remark ' || run || ' ' || kind || ' ' || key || ' ' || "
    "coalesce(value, '-') || ' ' || at FROM remarks "
    "UNION ALL SELECT 'file ' || run || ' ' || role || ' ' || sha256 FROM artifacts "
    "UNION ALL SELECT 'flag ' || run || ' ' || key || ' ' || value FROM flags";

static int add_points(facts *f, lx_store *store, const lx_run_row *run, lx_arena *arena,
                      lx_error *err)
{
    lx_curve *curves;
    size_t n;
    int rc = lx_query_curves(&curves, &n, store, run, arena, err);

    for (size_t i = 0; i < n && rc == LX_OK; i++)
        for (size_t k = 0; k < curves[i].n; k++)
            add_fact(f, "point %s %s %lld %.17g", run->id, curves[i].key,
                     (long long)curves[i].steps[k], curves[i].values[k]);
    return rc;
}

static int take_facts(facts *f, lx_store *store, lx_error *err)
{
    lx_arena *arena = lx_arena_new();
    lx_run_list list;
    int rc = lx_store_sql(store, said, NULL, 0, take_row, f, err);

    if (rc == LX_OK)
        rc = lx_query_runs(&list, store, NULL, arena, err);
    for (size_t i = 0; i < list.count && rc == LX_OK; i++)
        rc = add_points(f, store, &list.rows[i], arena, err);
    if (f->count)
        qsort(f->items, f->count, sizeof *f->items, by_text);
    lx_arena_free(arena);
    return rc;
}

/* ---- steps ------------------------------------------------------------------------- */

static lx_store *store; /* of the scenario that is traced */
static lx_run *run;

enum { MAX_STEPS = 32 };
static facts at_step[MAX_STEPS + 1]; /* [k]: when k steps were done */
static int n_steps;

/* The step is done, and whoever asked for it was told so. */
static void done(void)
{
    lx_store *seen = store;
    lx_error err;

    power_mark(++n_steps);
    assert_true(n_steps <= MAX_STEPS);
    power_trace_pause(true);
    if (!store) /* it is closed between steps */
        lx_assert_ok(lx_store_open(&seen, in_root("r/deep/store"), true, &err), &err);
    lx_assert_ok(take_facts(&at_step[n_steps], seen, &err), &err);
    if (!store)
        lx_store_close(seen);
    power_trace_pause(false);
}

static void open_store(void)
{
    lx_error err;
    lx_assert_ok(lx_store_open(&store, in_root("r/deep/store"), false, &err), &err);
}

static void close_store(void)
{
    lx_store_close(store); /* a checkpoint */
    store = NULL;
}

static unsigned char large[70 * 1024];

static void begin_run(const char *name, const char *caption)
{
    lx_store_image image = {.name = "1.png", .caption = caption};
    lx_store_folder data = {"10_x", "x", 10, false, &image, 1};
    lx_run_start start = {.name = name, .kind = "train", .flags = "{\"x\":1}"};
    char *dataset;
    lx_error err;

    lx_assert_ok(lx_store_dataset_put(&dataset, store, &data, 1, &err), &err);
    start.dataset = dataset;
    lx_assert_ok(lx_run_begin(&run, store, &start, &err), &err);
    lx_free(dataset);
}

static void log_points(int from, int n)
{
    lx_error err;
    for (int i = from; i < from + n; i++)
        lx_assert_ok(lx_run_log(run, "loss", i, i * 0.5, &err), &err);
    lx_assert_ok(lx_run_flush(run, &err), &err);
}

static void put_file(const char *role, int which)
{
    lx_error err;
    large[0] = (unsigned char)which;
    lx_assert_ok(lx_run_artifact(run, role, "l", large, sizeof large, 1, &err), &err);
}

static void end_run(void)
{
    lx_error err;
    lx_assert_ok(lx_run_end(run, "finished", NULL, &err), &err);
    run = NULL;
}

/* A whole run in one step. */
static void record(const char *name, int which)
{
    begin_run(name, name);
    log_points(0, 5);
    put_file("lora", which);
    end_run();
}

/* ---- scenarios --------------------------------------------------------------------- */

static void record_runs(void)
{
    lx_error err;
    for (int which = 0; which < 2; which++) {
        open_store();
        begin_run(which ? "second" : "first", which ? "a dog" : "a cat");
        done();
        for (int part = 0; part < 3; part++) {
            log_points(part * 10, 10);
            done();
        }
        lx_assert_ok(lx_run_console(run, "hello\n", 6, &err), &err);
        put_file("lora", which);
        done();
        lx_assert_ok(lx_run_note(store, lx_run_seq(run), "noted", &err), &err);
        done();
        end_run();
        done();
        close_store();
    }
}

static void remark(void)
{
    int64_t seq = 1;
    lx_error err;

    open_store();
    record("one", 1);
    done();
    lx_assert_ok(lx_run_name(store, seq, "named", &err), &err);
    done();
    lx_assert_ok(lx_run_group(store, seq, "grouped", &err), &err);
    lx_assert_ok(lx_run_tag(store, seq, "good", "yes", &err), &err);
    done();
    lx_assert_ok(lx_run_untag(store, seq, "good", &err), &err);
    lx_assert_ok(lx_run_fact(store, seq, "captions.verdict", "read", &err), &err);
    done();
    lx_assert_ok(lx_run_pin(store, seq, true, &err), &err);
    lx_assert_ok(lx_run_trash(store, seq, true, &err), &err);
    done();
    close_store();
}

/* Groups are one transaction; an origin that is there already does not spoil one. */
static void import_runs(void)
{
    lx_error err;

    open_store();
    for (int group = 0; group < 3; group++) {
        int rc;
        lx_assert_ok(lx_store_group_begin(store, &err), &err);
        for (int i = 0; i < 3; i++) {
            char origin[32];
            const lx_run_start start = {
                .kind = "import", .origin = origin, .is_historic = true};
            snprintf(origin, sizeof origin, "lora:%d", group * 2 + i);
            rc = lx_run_begin(&run, store, &start, &err);
            if (rc == LX_EEXISTS)
                continue;
            lx_assert_ok(rc, &err);
            lx_assert_ok(lx_run_log(run, "loss", 1, i, &err), &err);
            put_file("lora", group * 2 + i);
            end_run();
        }
        lx_assert_ok(lx_store_group_end(store, LX_OK, &err), &err);
        done();
    }
    close_store();
}

/* As lx merge records it: what it is made of, then what was made. */
static void merge(void)
{
    lx_run_start start = {.name = "merged", .kind = "merge", .flags = "{\"rank\":\"4\"}"};
    lx_error err;

    open_store();
    record("one", 1);
    record("two", 2);
    done();
    lx_assert_ok(lx_run_begin(&run, store, &start, &err), &err);
    lx_assert_ok(lx_run_fact(store, lx_run_seq(run), "merge.inputs", "[1,2]", &err),
                 &err);
    put_file("lora", 3);
    end_run();
    done();
    close_store();
}

/* Runs of a store that is not traced, as a bundle. */
static void make_bundle(const char *path)
{
    lx_store *traced = store;
    lx_privacy *privacy;
    lx_transfer *t;
    lx_arena *arena = lx_arena_new();
    lx_run_list list;
    lx_error err;

    power_trace_pause(true);
    lx_assert_ok(lx_store_open(&store, in_root("away"), false, &err), &err);
    record("from away", 7);
    record("as well", 8);
    lx_assert_ok(lx_query_runs(&list, store, NULL, arena, &err), &err);
    lx_assert_ok(lx_privacy_new(&privacy, true, &err), &err);
    lx_assert_ok(lx_transfer_new(&t, store, privacy, arena, &err), &err);
    for (size_t i = 0; i < list.count; i++)
        lx_assert_ok(lx_transfer_add(t, &list.rows[i], &err), &err);
    lx_assert_ok(lx_bundle_write(path, t, privacy, arena, &err), &err);
    lx_transfer_free(t);
    lx_privacy_free(privacy);
    lx_arena_free(arena);
    lx_store_close(store);
    store = traced;
    power_trace_pause(false);
}

static void arrive(void)
{
    lx_bundle *bundle;
    const cJSON *record_of;
    lx_arrival how;
    int64_t seq;
    lx_error err;

    open_store();
    record("here", 1);
    done();
    make_bundle(in_root("all.lxb"));
    lx_assert_ok(lx_bundle_open(&bundle, in_root("all.lxb"), root, &err), &err);
    for (int twice = 0; twice < 2; twice++)
        cJSON_ArrayForEach(record_of, lx_bundle_runs(bundle))
        {
            lx_assert_ok(lx_transfer_apply(&how, &seq, store, record_of, lx_bundle_fetch,
                                           bundle, &err),
                         &err);
            done();
        }
    lx_bundle_close(bundle);
    close_store();
}

/* Through a git repository: out of this store, and back what another has pushed. */
static void push_and_pull(void)
{
    const lx_remote_version *there;
    lx_remote_version version;
    lx_remote *remote;
    lx_synced *synced;
    lx_transfer *t;
    lx_privacy *privacy;
    lx_arena *arena = lx_arena_new();
    lx_run_list list;
    lx_error err;
    size_t n;

    open_store();
    record("here", 1);
    done();
    lx_assert_ok(lx_privacy_new(&privacy, true, &err), &err);
    lx_assert_ok(
        lx_remote_open(&remote, in_root("runs.git"), in_root("r/deep/store/tmp"), &err),
        &err);
    lx_assert_ok(lx_synced_open(&synced, store, in_root("runs.git"), &err), &err);
    lx_assert_ok(lx_remote_list(&there, &n, remote, &err), &err);
    lx_assert_ok(lx_query_runs(&list, store, NULL, arena, &err), &err);
    lx_assert_ok(lx_transfer_new(&t, store, privacy, arena, &err), &err);
    lx_assert_ok(lx_transfer_add(t, &list.rows[0], &err), &err);
    lx_assert_ok(lx_remote_stage(&version, remote, t, &err), &err);
    lx_assert_ok(lx_remote_push(remote, &version, 1, NULL, 0, &err), &err);
    lx_assert_ok(lx_synced_add(synced, &version, "mark", &err), &err);
    lx_assert_ok(lx_synced_save(synced, &err), &err);
    done();
    lx_assert_ok(lx_remote_list(&there, &n, remote, &err), &err);
    lx_assert_ok(lx_remote_fetch(remote, there, n, &err), &err);
    for (size_t i = 0; i < n; i++) {
        cJSON *record_of;
        lx_arrival how;
        int64_t seq;
        lx_assert_ok(lx_remote_record(&record_of, remote, &there[i], &err), &err);
        lx_assert_ok(lx_transfer_apply(&how, &seq, store, record_of, lx_remote_object,
                                       remote, &err),
                     &err);
        cJSON_Delete(record_of);
        lx_assert_ok(lx_synced_add_merged(synced, &there[i], there[i].run, &err), &err);
        lx_assert_ok(lx_synced_save(synced, &err), &err);
        done();
    }
    lx_transfer_free(t);
    lx_synced_close(synced);
    lx_remote_close(remote);
    lx_privacy_free(privacy);
    lx_arena_free(arena);
    close_store();
}

static void ignore_line(void *context, const char *line)
{
    (void)context;
    (void)line;
}

static void collect_garbage(void)
{
    const lx_gc_options gc = {
        .prunes = true, .keep_days = 14, .now = store__now() + 30 * 86400};
    lx_gc_report report;
    lx_error err;

    open_store();
    record("stays", 1);
    record("goes", 2);
    record("goes as well", 3);
    done();
    lx_assert_ok(lx_run_trash(store, 2, true, &err), &err);
    lx_assert_ok(lx_run_trash(store, 3, true, &err), &err);
    done();
    lx_assert_ok(lx_store_gc(&report, store, &gc, ignore_line, NULL, &err), &err);
    assert_int_equal(report.n_runs, 2);
    done();
    record("after", 4);
    done();
    close_store();
}

static int fetch_damaged(void *context, const void **data, size_t *n, const lx_hash *hash,
                         lx_error *err)
{
    lx_hash wanted;
    (void)context;
    large[0] = 1;
    wanted = lx_sha256_of(large, sizeof large);
    if (!lx_hash_equal(hash, &wanted))
        return lx_fail(err, LX_ENOTFOUND, "not here");
    *data = large;
    *n = sizeof large;
    return LX_OK;
}

/* As a bad sector would: nothing of it is traced, and in images it may be whole. */
static void damage_object(void)
{
    lx_hash hash;
    lx_str path = LX_STR_INIT;

    large[0] = 1;
    hash = lx_sha256_of(large, sizeof large);
    store__object_path(&path, store, &hash);
    assert_int_equal(truncate(lx_str_text(&path), 100), 0);
    lx_str_release(&path);
}

/* A file of an object is cut, and made whole again; what is derived is made again. */
static void repair(void)
{
    const lx_repair_source source = {.name = "elsewhere", .fetch = fetch_damaged};
    lx_repair_report report;
    lx_error err;

    open_store();
    record("one", 1);
    done();
    lx_assert_ok(lx_store_rebuild(store, &err), &err);
    done();
    damage_object();
    lx_assert_ok(lx_store_repair(&report, store, &source, ignore_line, NULL, &err), &err);
    done();
    close_store();
}

static store__schema usual;

static void use_future(void)
{
    static const char *list[16];

    memcpy(list, usual.sql, (size_t)usual.count * sizeof *list);
    list[usual.count] =
        "ALTER TABLE run ADD COLUMN mood TEXT; UPDATE run SET mood='good'";
    store__the_schema = (store__schema){list, usual.count + 1};
}

/* By a later lx, which backs it up first. It reads what either left. */
static void migrate(void)
{
    open_store();
    record("one", 1);
    record("two", 2);
    close_store();
    done();
    use_future();
    open_store();
    done();
    record("three", 3);
    done();
    close_store();
}

static const struct scenario {
    const char *name;
    void (*work)(void);
} scenarios[] = {{"recording", record_runs}, {"remarks", remark},
                 {"import", import_runs},    {"merge", merge},
                 {"bundle", arrive},         {"push and pull", push_and_pull},
                 {"gc", collect_garbage},    {"rebuild and repair", repair},
                 {"migration", migrate}};
enum { N_SCENARIOS = sizeof scenarios / sizeof *scenarios };

/* ---- what must hold ---------------------------------------------------------------- */

static struct {
    const char *name;
    power_cut cut;
    size_t n_events;
} now;

#define FAIL(...)                                                                \
    do {                                                                         \
        fprintf(stderr, "%s: cut at event %zu of %zu, %s, lies %g, seed %llu\n", \
                now.name, now.cut.at, now.n_events,                              \
                now.cut.is_strict ? "strict" : "ordered", now.cut.lies,          \
                (unsigned long long)now.cut.seed);                               \
        fail_msg(__VA_ARGS__);                                                   \
    } while (0)

static void count_line(void *context, const char *line)
{
    if (now.cut.lies <= 0)
        FAIL("fsck: %s", line);
    ++*(size_t *)context;
}

/* No sync lied: what was acknowledged is there, and nothing else than was recorded. */
static void check_promise(const facts *found, int steps)
{
    const facts *was = &at_step[steps],
                *next = &at_step[steps < n_steps ? steps + 1 : steps];

    for (size_t i = 0; i < was->count; i++)
        if (has_fact(next, was->items[i]) && !has_fact(found, was->items[i]))
            FAIL("after step %d this is lost: %s", steps, was->items[i]);
}

static bool was_ever(const char *fact)
{
    for (int k = 0; k <= n_steps; k++)
        if (has_fact(&at_step[k], fact))
            return true;
    return false;
}

static void check_invented(const facts *found)
{
    for (size_t i = 0; i < found->count; i++)
        if (!was_ever(found->items[i]))
            FAIL("this was never recorded: %s", found->items[i]);
}

/* Syncs lied: it must be as one moment of the work left it. *found has all of step k as far as the next
 * one keeps it, where k is the last step of which it has anything new. */
static bool is_one_moment(const facts *found)
{
    int last = 0;

    for (int k = 1; k <= n_steps; k++)
        for (size_t i = 0; i < at_step[k].count; i++)
            if (!has_fact(&at_step[k - 1], at_step[k].items[i]) &&
                has_fact(found, at_step[k].items[i]))
                last = k;
    if (last < 1)
        return true;
    for (size_t i = 0; i < at_step[last - 1].count; i++)
        if (has_fact(&at_step[last], at_step[last - 1].items[i]) &&
            !has_fact(found, at_step[last - 1].items[i]))
            return false;
    return true;
}

static struct {
    long n, n_refused, n_told, n_sound, n_mixed;
} tally[2]; /* [1]: with lies */

static void check_image(int steps)
{
    size_t n_lines = 0;
    lx_check_report report;
    lx_store *image;
    facts found = {0};
    lx_error err;
    bool lies = now.cut.lies > 0;
    int rc = lx_store_open(&image, in_root("image/deep/store"), false, &err);

    tally[lies].n++;
    if (rc < 0) {
        if (!lies)
            FAIL("cannot be opened: %s", err.text);
        tally[lies].n_refused++;
        return;
    }
    rc = lx_store_check(&report, image, count_line, &n_lines, &err);
    if (rc < 0 && !lies)
        FAIL("fsck: %s", err.text);
    if (rc < 0 || n_lines) {
        tally[lies].n_told++;
    } else {
        lx_assert_ok(take_facts(&found, image, &err), &err);
        check_invented(&found);
        tally[lies].n_sound++;
        if (!lies)
            check_promise(&found, steps);
        else if (!is_one_moment(&found))
            tally[lies].n_mixed++;
    }
    free_facts(&found);
    lx_store_close(image);
}

static uint64_t seed;

static void trace_scenario(const struct scenario *s)
{
    for (int k = 0; k <= MAX_STEPS; k++)
        free_facts(&at_step[k]);
    n_steps = 0;
    lx_assert_shell(
        "rm -rf '%s/r' '%s/away' '%s/runs.git' && mkdir '%s/r' && git init -q --bare "
        "'%s/runs.git'",
        root, root, root, root, root);
    store__the_schema = usual;
    power_trace_begin(in_root("r"));
    s->work();
    power_trace_end();
    now.name = s->name;
    now.n_events = power_events();
}

static char **asked_names;

static bool is_asked(const char *name)
{
    for (char **asked = asked_names; asked && *asked; asked++)
        if (strcmp(*asked, name) == 0)
            return true;
    return !asked_names || !*asked_names;
}

static void test_fault_store_power__nothing_acknowledged_is_lost(void **state)
{
    const char *asked = getenv("LX_TEST_IMAGES"), *given = getenv("LX_TEST_SEED");
    long n_images = asked ? atol(asked) : 1200;
    (void)state;
    seed = given ? strtoull(given, NULL, 10) : (uint64_t)getpid();
    printf("seed %llu\n", (unsigned long long)seed);
    for (size_t k = 0; k < N_SCENARIOS; k++) {
        long n = n_images / N_SCENARIOS + ((long)k < n_images % N_SCENARIOS);
        if (!is_asked(scenarios[k].name))
            continue;
        memset(tally, 0, sizeof tally);
        trace_scenario(&scenarios[k]);
        for (long i = 0; i < n; i++) {
            now.cut = (power_cut){.is_strict = i % 2, .seed = seed};
            /* One in eight is a disk whose syncs lie: one in ten, or all. */
            now.cut.lies = i % 16 == 7 ? 0.1 : i % 16 == 14 ? 1 : 0;
            do
                now.cut.at = (size_t)(power_draw(&seed) * (double)(now.n_events + 1));
            while (power_is_dull(now.cut.at) && power_draw(&seed) < 0.9);
            check_image(power_make_image(in_root("image"), &now.cut));
        }
        printf("%-18s %2d steps %5zu events: %7ld disks, nothing lost; of lying ones "
               "%6ld: %ld refused, "
               "%ld told by fsck, %ld sound as at one moment, %ld sound and mixed\n",
               scenarios[k].name, n_steps, now.n_events, tally[0].n, tally[1].n,
               tally[1].n_refused, tally[1].n_told, tally[1].n_sound - tally[1].n_mixed,
               tally[1].n_mixed);
        fflush(stdout);
    }
}

static int set_up(void **state)
{
    uint32_t x = 1;
    (void)state;
    usual = store__the_schema;
    snprintf(root, sizeof root, "%s/lx-power-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(root) || mkdir(in_root("image"), 0777) < 0)
        return -1;
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (unsigned char)((x = x * 1664525 + 1013904223) >> 24);
    return 0;
}

static int tear_down(void **state)
{
    char command[128];
    (void)state;
    for (int k = 0; k <= MAX_STEPS; k++)
        free_facts(&at_step[k]);
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault_store_power__nothing_acknowledged_is_lost)};

    asked_names = argc > 1 ? argv + 1 : NULL;
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
