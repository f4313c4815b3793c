/* Runs that arrive from a source that is not what it should be: it lacks what the record names, lies, breaks off; texts that
 * name others far and wide. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/io.h"
#include "src/base/json.h"
#include "store/gc.h"
#include "store/internal.h"
#include "store/query.h"
#include "store/transfer.h"
#include "tests/support/expect.h"

static char folder[64];
static lx_store *store;
static lx_arena *arena;

static int set_up(void **state)
{
    (void)state;
    lx_make_folder(folder, sizeof folder, "lx-arrive");
    if (lx_store_open(&store, folder, false, NULL) < 0)
        return -1;
    arena = lx_arena_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    lx_store_close(store);
    lx_arena_free(arena);
    lx_assert_shell("rm -rf '%s'", folder);
    return 0;
}

/* ---- where they come from ---------------------------------------------------------------- */

static int no_lock(int fd, int exclusive, int wait)
{
    (void)fd;
    (void)exclusive;
    (void)wait;
    errno = EIO;
    return -1;
}

typedef struct piece {
    lx_hash hash;
    char hex[LX_HASH_HEX + 1];
    const char *data;
    size_t n;
    int code;        /* what comes of asking for it, when it is not LX_OK */
    size_t fails_at; /* the allocation that fails after it was given; 0: none */
    bool ends_locks; /* after it no transaction can begin */
    bool runs_gc;    /* gc runs while it is asked for */
} piece;

static piece pieces[64];
static size_t n_pieces;
static lx_io without_locks;

static piece *add(const char *data, size_t n)
{
    piece *p = &pieces[n_pieces++];

    assert_true(n_pieces <= sizeof pieces / sizeof *pieces);
    *p = (piece){.hash = lx_sha256_of(data, n), .data = data, .n = n};
    lx_hash_hex(p->hex, &p->hash);
    return p;
}

static LX_PRINTF(1, 2) piece *add_text(const char *fmt, ...)
{
    char text[1024];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return add(lx_arena_strdup(arena, text), strlen(text));
}

static void ignore_line(void *unused, const char *line)
{
    (void)unused;
    (void)line;
}

/* Long after: nothing that is here is young. */
static void run_gc(void)
{
    const lx_gc_options options = {.prunes = true, .keep_days = 14, .now = 4e9};
    lx_gc_report report;
    lx_error err = {0};

    lx_assert_ok(lx_store_gc(&report, store, &options, ignore_line, NULL, &err), &err);
}

static int give(void *context, const void **data, size_t *n, const lx_hash *hash,
                lx_error *err)
{
    (void)context;
    for (size_t i = 0; i < n_pieces; i++)
        if (lx_hash_equal(&pieces[i].hash, hash)) {
            if (pieces[i].code)
                return lx_fail(err, pieces[i].code, "it breaks off");
            *data = pieces[i].data;
            *n = pieces[i].n;
            if (pieces[i].fails_at)
                lx_alloc_fail_at(pieces[i].fails_at, false);
            if (pieces[i].ends_locks)
                lx_io_set(&without_locks);
            if (pieces[i].runs_gc)
                run_gc();
            return LX_OK;
        }
    return lx_fail(err, LX_ENOTFOUND, "it did not travel");
}

/* A run with these members besides those that all have; lists may be given whole. */
static int arrive(lx_arrival *how, int64_t *seq, const char *members, lx_error *err)
{
    static const char *const lists[] = {"remarks", "artifacts", "curves"};
    lx_str text = LX_STR_INIT;
    cJSON *record;
    int rc;

    lx_str_printf(&text,
                  "{\"id\":\"0123456789abcdef\",\"kind\":\"train\",\"started\":1%s%s",
                  *members ? "," : "", members);
    if (!strstr(members, "\"texts\""))
        lx_str_puts(&text, ",\"texts\":{}");
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (!strstr(members, lists[i]))
            lx_str_printf(&text, ",\"%s\":[]", lists[i]);
    lx_str_putc(&text, '}');
    lx_assert_ok(lx_json_parse(&record, text.data, text.len, err), err);
    rc = lx_transfer_apply(how, seq, store, record, give, NULL, err);
    lx_alloc_fail_at(0, false);
    lx_io_set(NULL);
    cJSON_Delete(record);
    lx_str_release(&text);
    return rc;
}

static void check(const char *members, lx_arrival wanted)
{
    lx_error err = {0};
    lx_arrival how;
    int64_t seq;

    lx_assert_ok(arrive(&how, &seq, members, &err), &err);
    assert_int_equal(how, wanted);
}

static void check_refused(const char *members, int code, const char *problem)
{
    lx_error err = {0};
    lx_arrival how;
    lx_run_list runs;
    int64_t seq;
    int rc = arrive(&how, &seq, members, &err);

    if (rc != code || !strstr(err.text, problem))
        fail_msg("%s: %d %s", members, rc, err.text);
    assert_int_equal(lx_query_runs(&runs, store, NULL, arena, NULL), 0);
    assert_int_equal(runs.count, 0); /* all or nothing */
}

static bool is_here(const piece *p)
{
    bool is;
    assert_int_equal(lx_object_exists(&is, store, &p->hash, NULL), LX_OK);
    return is;
}

static const char *texts(const char *dataset, const char *git)
{
    return lx_arena_printf(arena, "\"texts\":{\"dataset\":\"%s\",\"git\":\"%s\"}",
                           dataset, git);
}

static int begin(void **state)
{
    n_pieces = 0;
    return set_up(state);
}

/* ---- what texts name --------------------------------------------------------------------- */

static void test_store_transfer_in__a_folder_of_many_captions(void **state)
{
    enum { N = 45 };
    lx_str list = LX_STR_INIT;
    piece *all;
    (void)state;

    for (int i = 0; i < N; i++)
        lx_str_printf(&list, "%s\n", add_text("caption %d", i)->hex);
    all = add(list.data, list.len);
    check(texts(all->hex, all->hex), LX_ARRIVED_NEW);
    for (size_t i = 0; i < n_pieces; i++)
        assert_true(is_here(&pieces[i]));
    check(texts(all->hex, all->hex), LX_ARRIVED_KNOWN);
    n_pieces = 0; /* they do not travel again */
    check(texts(all->hex, all->hex), LX_ARRIVED_KNOWN);
    lx_str_release(&list);
}

/* At the end of a long way a text is taken and not looked through; nearer it is. */
static void test_store_transfer_in__what_was_too_far_away_is_followed_nearer(void **state)
{
    piece *last = add_text("last"), *b = add_text("[%s]", last->hex),
          *way = add_text("3 %s", b->hex);
    (void)state;

    for (int i = 2; i >= 0; i--)
        way = add_text("%d %s", i, way->hex);
    check(texts(way->hex, way->hex), LX_ARRIVED_NEW);
    assert_true(is_here(b));
    assert_false(is_here(last));
    check(texts(way->hex, add_text("git %s", b->hex)->hex), LX_ARRIVED_KNOWN);
    assert_true(is_here(last));
}

static void
test_store_transfer_in__a_text_of_many_megabytes_is_looked_through(void **state)
{
    const size_t n = (16 << 20) + 1;
    char *large = lx_alloc(n);
    piece *named = add_text("named"), *text;
    bool has_failed = true;
    (void)state;

    memset(large, ' ', n);
    memcpy(large, named->hex, LX_HASH_HEX);
    text = add(large, n);
    without_locks = lx_io_system;
    without_locks.lock = no_lock;
    text->ends_locks = true;
    check_refused(texts(text->hex, text->hex), LX_EIO, "");
    text->ends_locks = false;
    /* So large a one is a transaction of its own, and that may fail. */
    for (text->fails_at = 1; has_failed; text->fails_at++) {
        lx_error err = {0};
        lx_arrival how;
        int64_t seq;
        int rc = arrive(&how, &seq, texts(text->hex, text->hex), &err);
        has_failed = lx_alloc_has_failed();
        if (rc != LX_OK && rc != LX_ENOMEM)
            fail_msg("allocation %zu: %d %s", text->fails_at, rc, err.text);
        assert_in_range(text->fails_at, 1, 200);
    }
    assert_true(is_here(text));
    assert_true(is_here(named));
    lx_free(large);
}

#define FILE_ITEM(more)                                                             \
    "{\"role\":\"lora\"," more "\"sha256\":\"%s\",\"size\":5,\"step\":-1,\"at\":1," \
    "\"is_kept\":true}"

/* An object that is here, and that nothing names yet, goes before the rows that name it are written. */
static void test_store_transfer_in__gc_runs_meanwhile(void **state)
{
    piece *old = add_text("old"), *file = add_text("file"), *last = add_text("last");
    const char *all = lx_arena_printf(
        arena,
        "\"texts\":{\"spec\":\"%s\",\"dataset\":\"%s\"},\"artifacts\":[" FILE_ITEM(
            "") "," FILE_ITEM("\"name\":\"last\",") "]",
        old->hex, old->hex, file->hex, last->hex);
    lx_error err = {0};
    lx_hash hash;
    (void)state;

    for (int i = 0; i < 2; i++) {
        piece *here = i ? file : old;
        last->runs_gc = true;
        run_gc(); /* what came before */
        lx_assert_ok(lx_object_put(&hash, store, here->data, here->n, &err), &err);
        assert_true(is_here(here));
        check_refused(all, LX_EBUSY, "try again");
        assert_false(is_here(here));
    }
    last->runs_gc = false;
    lx_assert_ok(lx_object_put(&hash, store, old->data, old->n, &err), &err);
    check(all, LX_ARRIVED_NEW);
    run_gc();
    for (size_t i = 0; i < n_pieces; i++)
        assert_true(is_here(&pieces[i]));
}

/* ---- what does not come -------------------------------------------------------------------- */

static void test_store_transfer_in__what_the_record_names_and_is_not_there(void **state)
{
    piece *text = add_text("text"), *dataset = add_text("names %s", text->hex);
    (void)state;

    check_refused("\"texts\":{\"diff\":\"0123456789abcdef0123456789abcdef0123456789abcdef"
                  "0123456789abcdef\"}",
                  LX_EFORMAT, "its diff (object 0123");
    text->code = LX_EIO;
    check_refused(texts(dataset->hex, dataset->hex), LX_EIO, "it breaks off");
    dataset->code = LX_EIO;
    check_refused(texts(dataset->hex, dataset->hex), LX_EIO, "it breaks off");
    text->code = LX_ENOTFOUND;
    check_refused(lx_arena_printf(arena, "\"artifacts\":[" FILE_ITEM("") "]", text->hex),
                  LX_EFORMAT, "its sha256 (object");
    text->code = dataset->code = 0;
    text->data = "xxxx"; /* other bytes than were verified */
    check_refused(texts(dataset->hex, dataset->hex), LX_EFORMAT, "changes while");
}

static void test_store_transfer_in__files_with_a_name_and_without(void **state)
{
    piece *text = add_text("bytes");
    const char *both = lx_arena_printf(
        arena, "\"artifacts\":[" FILE_ITEM("\"name\":\"a\",") "," FILE_ITEM("") "]",
        text->hex, text->hex);
    lx_artifact_row *rows;
    lx_run_row run;
    size_t n;
    (void)state;

    check(both, LX_ARRIVED_NEW);
    check(both, LX_ARRIVED_KNOWN);
    assert_int_equal(lx_query_run(&run, store, 1, arena, NULL), LX_OK);
    assert_int_equal(lx_query_artifacts(&rows, &n, store, &run, arena, NULL), LX_OK);
    assert_int_equal(n, 2); /* of one moment and role */
    assert_string_equal(rows[0].name, "a");
    assert_string_equal(rows[1].name, "");
    n_pieces = 0;
    text = add_text("other");
    check(
        lx_arena_printf(arena,
                        "\"artifacts\":[{\"role\":\"log\",\"sha256\":\"%s\",\"tensors\":"
                        "\"%s\",\"size\":5,\"step\":7,\"at\":2,\"is_kept\":false}]",
                        text->hex, text->hex),
        LX_ARRIVED_EXTENDED);
    assert_int_equal(lx_query_artifacts(&rows, &n, store, &run, arena, NULL), LX_OK);
    assert_int_equal(n, 3);
    assert_string_equal(rows[2].name, "");
    assert_string_equal(rows[2].tensor_hash, text->hex);
    assert_false(is_here(text));
}

static void test_store_transfer_in__files_of_one_moment(void **state)
{
#define COPY(name, hash, at)                                      \
    "{\"role\":\"lora\",\"name\":\"" name "\",\"sha256\":\"" hash \
    "\",\"size\":9,\"step\":5,"                                   \
    "\"at\":" at ",\"is_kept\":false}"
#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
    static const struct {
        const char *list;
        lx_arrival how;
        size_t n;
    } records[] = {
        {"\"artifacts\":[" COPY("a", A, "1") "]", LX_ARRIVED_NEW, 1},
        {"\"artifacts\":[" COPY("b", B, "1") "," COPY("a", A, "1") "," COPY("c", A,
                                                                            "1") "]",
         LX_ARRIVED_EXTENDED, 3},
        {"\"artifacts\":[" COPY("b", B, "1") "," COPY("a", A, "1") "," COPY("c", A,
                                                                            "1") "]",
         LX_ARRIVED_KNOWN, 3},
        /* names and bytes that were scrubbed; the same file at another moment */
        {"\"artifacts\":[" COPY("x", B, "1") "," COPY("y", A, "1") "," COPY("z", A,
                                                                            "1") "]",
         LX_ARRIVED_KNOWN, 3},
        {"\"artifacts\":[" COPY("c", A, "2") "]", LX_ARRIVED_KNOWN, 3},
        {"\"artifacts\":[" COPY("c", A, "2") "," COPY("c", A, "1") "]",
         LX_ARRIVED_EXTENDED, 4}};
    lx_artifact_row *rows;
    lx_run_row run;
    size_t n;
    (void)state;

    for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
        check(records[i].list, records[i].how);
        assert_int_equal(lx_query_run(&run, store, 1, arena, NULL), LX_OK);
        assert_int_equal(lx_query_artifacts(&rows, &n, store, &run, arena, NULL), LX_OK);
        assert_int_equal(n, records[i].n);
    }
}

/* ---- remarks --------------------------------------------------------------------------------- */

static void check_name(const char *name, bool is_trashed)
{
    const lx_run_filter all = {.has_trashed = true};
    lx_run_list runs;

    assert_int_equal(lx_query_runs(&runs, store, NULL, arena, NULL), 0);
    assert_int_equal(runs.count, !is_trashed);
    assert_int_equal(lx_query_runs(&runs, store, &all, arena, NULL), 0);
    assert_int_equal(runs.count, 1);
    assert_string_equal(runs.rows[0].name, name);
}

/* The clock was ahead and has been set back: what was said since is the newest all the same, also after remarks of
 * others came. */
static void test_store_transfer_in__what_was_said_last_holds(void **state)
{
    lx_error err = {0};
    int64_t n;
    (void)state;

    check("\"remarks\":[[5e9,\"name\",\"\",\"theirs\"]]", LX_ARRIVED_NEW);
    lx_assert_ok(store__do(store, &err,
                           "INSERT INTO remark(run, at, kind, key, value)"
                           " VALUES(1, 5e9, 'trash', '', '1')",
                           ""),
                 &err);
    lx_assert_ok(lx_run_name(store, 1, "mine", &err), &err);
    lx_assert_ok(lx_run_trash(store, 1, false, &err), &err);
    check_name("mine", false);
    check("\"remarks\":[[2,\"note\",\"\",\"sorts them\"]]", LX_ARRIVED_EXTENDED);
    check_name("mine", false);
    lx_assert_ok(lx_run_name(store, 1, "again", &err), &err);
    check("\"remarks\":[[3,\"note\",\"\",\"sorts them\"]]", LX_ARRIVED_EXTENDED);
    check_name("again", false);
    lx_assert_ok(store__number(&n, 0, store, &err,
                               "SELECT count(DISTINCT at) FROM remark WHERE kind='name'",
                               ""),
                 &err);
    assert_int_equal(n, 3);
    /* Nobody can be later than this one, and ours can still leave. */
    check("\"remarks\":[[1e11,\"name\",\"\",\"last\"],[89999999999.999985,\"name\",\"\","
          "\"far\"]]",
          LX_ARRIVED_EXTENDED);
    for (int i = 0; i < 3; i++)
        lx_assert_ok(lx_run_name(store, 1, "mine", &err), &err);
    lx_assert_ok(store__number(&n, 0, store, &err,
                               "SELECT count(*) FROM remark WHERE at>90000000000.001",
                               ""),
                 &err);
    assert_int_equal(n, 1);
}

static void check_remarks(int64_t wanted)
{
    lx_error err = {0};
    int64_t n;

    lx_assert_ok(store__number(&n, 0, store, &err, "SELECT count(*) FROM remark", ""), &err);
    assert_int_equal(n, wanted);
}

/* The key may have lost a name on its way here, or there: each is one of those of its moment, once. */
static void test_store_transfer_in__a_scrubbed_key_is_known_again(void **state)
{
    (void)state;
    check("\"remarks\":[[1,\"tag\",\"wren-a\",null],[1,\"tag\",\"wren-b\",null],[1,\"tag\",\"x\",null]]",
          LX_ARRIVED_NEW);
    check("\"remarks\":[[1,\"tag\",\"user-a\",null],[1,\"tag\",\"x\",null],[1,\"tag\",\"user-b\",null]]",
          LX_ARRIVED_KNOWN);
    check("\"remarks\":[[1,\"tag\",\"user-a\",null],[1,\"tag\",\"x\",null],[1,\"tag\",\"user-b\",null],"
          "[1,\"tag\",\"user-c\",null],[1,\"tag\",\"user-c\",null]]",
          LX_ARRIVED_EXTENDED);
    check_remarks(4);
    check("\"remarks\":[[1,\"tag\",\"wren-c\",null]]", LX_ARRIVED_KNOWN);
    check("\"remarks\":[[1,\"tag\",\"another\",null],[1,\"tag\",\"user-c\",null],[2,\"tag\",\"user-a\",null],"
          "[1,\"note\",\"user-a\",\"a\"]]",
          LX_ARRIVED_EXTENDED);
    check_remarks(7);
}

/* By pairs it would take minutes. */
static void test_store_transfer_in__many_remarks_of_one_moment(void **state)
{
    enum { N = 30000 };
    static const char *const keys[] = {"wren", "user", "other"};
    static const lx_arrival wanted[] = {LX_ARRIVED_NEW, LX_ARRIVED_KNOWN, LX_ARRIVED_EXTENDED};
    struct timespec from, to;
    (void)state;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    for (int which = 0; which < 3; which++) {
        lx_str text = LX_STR_INIT;
        lx_str_puts(&text, "\"remarks\":[");
        for (int i = 0; i < N; i++)
            lx_str_printf(&text, "%s[1,\"tag\",\"%s%d\",null]", i ? "," : "", keys[which], i);
        lx_str_puts(&text, "]");
        check(lx_str_text(&text), wanted[which]);
        lx_str_release(&text);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    check_remarks(2 * N);
    assert_in_range(to.tv_sec - from.tv_sec, 0, 30);
}

/* ---- curves, the console --------------------------------------------------------------------- */

static const char *curve(const char *hex, int n)
{
    return lx_arena_printf(
        arena, "\"curves\":[{\"key\":\"loss\",\"n\":%d,\"points\":\"%s\"}]", n, hex);
}

static void test_store_transfer_in__points_that_are_not_as_many_as_it_says(void **state)
{
    static const char points[64];
    piece *two = add(points, 32), *odd = add(points, 33), *three = add(points, 48);
    lx_curve got;
    (void)state;

    check_refused(curve(three->hex, 2), LX_EFORMAT, "has 48 bytes for 2 points");
    check_refused(curve(odd->hex, 2), LX_EFORMAT, "has 33 bytes for 2 points");
    check_refused(curve(two->hex, 0), LX_EFORMAT, "has 32 bytes for 0 points");
    check_refused(lx_arena_printf(arena, "\"curves\":[{\"key\":\"loss\",\"n\":2.5,\"points\":\"%s\"}]", two->hex),
                  LX_EFORMAT, "its curves");
    check_refused("\"seed\":[]", LX_EFORMAT, "its start or seed");
    check_refused("\"seed\":1.5", LX_EFORMAT, "its start or seed");
    two->code = LX_EIO;
    check_refused(curve(two->hex, 2), LX_EIO, "it breaks off");
    two->code = 0;
    check(curve(two->hex, 2), LX_ARRIVED_NEW);
    check(curve(three->hex, 3), LX_ARRIVED_EXTENDED);
    check(curve(two->hex, 2), LX_ARRIVED_KNOWN);
    assert_int_equal(lx_query_curve(&got, store, 1, "loss", 0, arena, NULL), LX_OK);
    assert_int_equal(got.n, 3);
}

static void test_store_transfer_in__a_console_grows(void **state)
{
    piece *one = add_text("one\n"), *two = add_text("one\ntwo\n");
    const char *first = lx_arena_printf(arena, "\"console\":\"%s\"", one->hex),
               *second = lx_arena_printf(arena, "\"console\":\"%s\"", two->hex);
    lx_str text = LX_STR_INIT;
    (void)state;

    one->code = LX_EIO;
    check_refused(first, LX_EIO, "it breaks off");
    one->code = 0;
    check(first, LX_ARRIVED_NEW);
    check(second, LX_ARRIVED_EXTENDED);
    check(first, LX_ARRIVED_KNOWN);
    assert_int_equal(lx_query_console(&text, store, 1, 0, NULL), LX_OK);
    assert_string_equal(text.data, "one\ntwo\n");
    lx_str_release(&text);
}

static void test_store_transfer_in__what_is_no_record(void **state)
{
    static const char *const numbers[] = {"-1", "0.5", "1e11", "1e300", "\"1\"", "null"};
    cJSON *list = cJSON_CreateArray();
    lx_error err = {0};
    lx_arrival how;
    const char *id;
    int64_t seq;
    (void)state;

    assert_int_equal(lx_transfer_check(&id, list, &err), LX_EFORMAT);
    assert_int_equal(lx_transfer_check(&id, NULL, &err), LX_EFORMAT);
    assert_int_equal(lx_transfer_apply(&how, &seq, store, list, give, NULL, &err),
                     LX_EFORMAT);
    assert_non_null(strstr(err.text, "without an id"));
    cJSON_Delete(list);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        check_refused(lx_arena_printf(arena, "\"curves\":[{\"key\":\"a\",\"points\":\"" A "\",\"n\":%s}]",
                                      numbers[i]),
                      LX_EFORMAT, "its curves");
}

/* A curve that has a name and no points yet; a console of which only the hash is told. */
static void test_store_transfer_in__what_has_nothing_in_it_yet(void **state)
{
    piece *none = add("", 0), *text = add_text("said\n");
    const char *live = lx_arena_printf(
        arena,
        "\"curves\":[{\"key\":\"loss\",\"points\":\"%s\",\"n\":0}],"
        "\"artifacts\":[{\"role\":\"console\",\"sha256\":\"%s\",\"size\":5,\"step\":-1,"
        "\"at\":1,\"is_kept\":false}],\"console\":\"%s\"",
        none->hex, text->hex, text->hex);
    lx_str console = LX_STR_INIT;
    (void)state;

    check(live, LX_ARRIVED_NEW);
    check(lx_arena_printf(arena, "%s,\"end\":{\"ended\":2,\"status\":\"finished\"}", live),
          LX_ARRIVED_EXTENDED);
    assert_int_equal(lx_query_console(&console, store, 1, 0, NULL), LX_OK);
    assert_string_equal(lx_str_text(&console), "said\n");
    lx_str_release(&console);
}

int main(void)
{
#define TEST(f) \
    cmocka_unit_test_setup_teardown(test_store_transfer_in__##f, begin, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_folder_of_many_captions),
        TEST(what_was_too_far_away_is_followed_nearer),
        TEST(a_text_of_many_megabytes_is_looked_through),
        TEST(gc_runs_meanwhile),
        TEST(what_the_record_names_and_is_not_there),
        TEST(files_with_a_name_and_without),
        TEST(files_of_one_moment),
        TEST(a_scrubbed_key_is_known_again),
        TEST(many_remarks_of_one_moment),
        TEST(what_was_said_last_holds),
        TEST(points_that_are_not_as_many_as_it_says),
        TEST(a_console_grows),
        TEST(what_has_nothing_in_it_yet),
        TEST(what_is_no_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
