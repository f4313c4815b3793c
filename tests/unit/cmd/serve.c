#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmd/serve.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "store/dataset.h"

static const char HOSTILE[] =
    "\"'></td><script>alert(1)</script><img src=x "
    "onerror=alert(2)>\x1b[2J\x1b]52;c;YQ==\x07\xE2\x80\xAE\n=1+1";

static char folder[] = "/tmp/lx-serve-XXXXXX";
static lx_store *store; /* the one that writes */
static lx_serve_view view;
static char ids[3][17];

/* ---- a store ----------------------------------------------------------------------- */

static void record(char *id, const char *name, int n, bool is_over)
{
    lx_store_image image = {.name = HOSTILE, .caption = HOSTILE};
    lx_store_folder images = {.name = HOSTILE,
                              .class_tokens = HOSTILE,
                              .repeats = 2,
                              .images = &image,
                              .n_images = 1};
    lx_run_start start = {
        .name = name,
        .kind = "train",
        .flags = "{\"network_dim\":4,\"<u>\":\"<u>\",\"train_data_dir\":\"/x\"}",
        .command_line = HOSTILE};
    char *dataset = NULL;
    lx_run *run = NULL;

    assert_int_equal(lx_store_dataset_put(&dataset, store, &images, 1, NULL), 0);
    start.dataset = dataset;
    assert_int_equal(lx_run_begin(&run, store, &start, NULL), 0);
    memcpy(id, lx_run_id(run), 17);
    for (int i = 1; i <= n; i++)
        lx_run_log(run, i % 2 ? "loss" : HOSTILE, i, 1.0 / i, NULL);
    lx_run_console(run, HOSTILE, strlen(HOSTILE), NULL);
    lx_run_console(run, "\nsteps: 1%\rsteps: 2%\r\n\xE2\x96", 24, NULL);
    assert_int_equal(lx_run_artifact(run, "sample", HOSTILE, "<svg>", 5, 7, NULL), 0);
    assert_int_equal(lx_run_note(store, lx_run_seq(run), HOSTILE, NULL), 0);
    assert_int_equal(lx_run_group(store, lx_run_seq(run), HOSTILE, NULL), 0);
    assert_int_equal(lx_run_flush(run, NULL), 0);
    if (is_over)
        assert_int_equal(lx_run_end(run, "finished", HOSTILE, NULL), 0);
    else
        lx_run_abandon(run); /* this process lives: it counts as running */
    lx_free(dataset);
}

static int set_up(void **state)
{
    char path[64];

    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/store", folder);
    assert_int_equal(lx_store_open(&store, path, false, NULL), 0);
    record(ids[0], "one", 60, true);
    record(ids[1], HOSTILE, 10, true);
    record(ids[2], "live", 4, false);
    assert_int_equal(lx_store_open(&view.store, path, true, NULL), 0);
    view.where = lx_store_path(view.store);
    assert_int_equal(lx_serve_tables_new(&view.tables, NULL), 0);
    return lx_serve_darkroom_new(&view.darkroom, &view, NULL);
}

static int tear_down(void **state)
{
    char command[64];

    (void)state;
    lx_serve_darkroom_free(view.darkroom);
    lx_serve_tables_free(view.tables);
    lx_store_close(view.store);
    lx_store_close(store);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

/* ---- asking ------------------------------------------------------------------------ */

/* The body, to be released; streams are closed at once. */
static int ask(lx_serve_reply *reply, lx_serve_maker make, const char *target,
               lx_error *err)
{
    lx_arena *arena = lx_arena_new();
    lx_serve_request request;
    int rc;

    *reply = (lx_serve_reply){0};
    if (!arena)
        return lx_oom(err);
    if ((rc = lx_serve_request_parse(&request, target, strlen(target), arena, err)) ==
        LX_OK)
        rc = make(reply, &view, &request, arena, err);
    lx_arena_free(arena);
    return rc;
}

static void release(lx_serve_reply *reply)
{
    if (reply->close)
        reply->close(reply->stream);
    lx_str_release(&reply->body);
}

static void assert_inert(const char *text)
{
    assert_null(strstr(text, "<script>"));
    assert_null(strstr(text, "<img src=x"));
    assert_null(strstr(text, "<u>"));
    assert_null(strchr(text, 0x1b));
    assert_null(strchr(text, 0x07));
    assert_null(strstr(text, "\xE2\x80\xAE"));
}

typedef struct page {
    lx_serve_maker make;
    const char *target;
} page;

static size_t all_pages(page *out)
{
    static char targets[6][128];

    snprintf(targets[0], 128, "/run/%s", ids[0]);
    snprintf(targets[1], 128, "/run/%s", ids[1]);
    snprintf(targets[2], 128, "/run/%s", ids[2]);
    snprintf(targets[3], 128, "/run/%s/samples", ids[1]);
    snprintf(targets[4], 128, "/run/%s/console", ids[1]);
    snprintf(targets[5], 128, "/compare?run=%s&run=%s&run=%s", ids[0], ids[1], ids[2]);
    out[0] = (page){lx_serve_runs_as_page, "/"};
    out[1] = (page){lx_serve_runs_as_page, "/?sort=-loss&columns=name,note,group,loss"};
    out[2] = (page){lx_serve_run_as_page, targets[0]};
    out[3] = (page){lx_serve_run_as_page, targets[1]};
    out[4] = (page){lx_serve_run_as_page, targets[2]};
    out[5] = (page){lx_serve_samples_as_page, targets[3]};
    out[6] = (page){lx_serve_console_as_text, targets[4]};
    out[7] = (page){lx_serve_comparison_as_page, targets[5]};
    return 8;
}

static void test_cmd_serve__no_page_lets_a_strangers_text_act(void **state)
{
    page pages[8];
    size_t n = all_pages(pages);
    lx_error err = {0};

    (void)state;
    for (size_t i = 0; i < n; i++) {
        lx_serve_reply reply;
        if (ask(&reply, pages[i].make, pages[i].target, &err) < 0)
            fail_msg("%s: %s", pages[i].target, err.text);
        if (pages[i].make != lx_serve_console_as_text)
            assert_inert(lx_str_text(&reply.body));
        assert_null(strchr(lx_str_text(&reply.body), 0x1b));
        release(&reply);
    }
}

static void test_cmd_serve__a_wrong_question_is_told_on_the_page(void **state)
{
    lx_serve_reply reply;
    lx_error err = {0};

    (void)state;
    assert_int_equal(ask(&reply, lx_serve_runs_as_page, "/?q=loss+%3C", &err), 0);
    assert_int_equal(reply.status, 400);
    assert_non_null(strstr(reply.body.data, "column 7"));
    release(&reply);
    assert_int_equal(ask(&reply, lx_serve_runs_as_json, "/?sort=nothing", &err),
                     LX_EUSAGE);
    release(&reply);
    assert_int_equal(ask(&reply, lx_serve_run_as_page, "/run/nobody", &err),
                     LX_ENOTFOUND);
    assert_null(strstr(err.text, folder)); /* where the store is, is no one's business */
    release(&reply);
}

static void test_cmd_serve__pages_of_the_table_hold_together(void **state)
{
    lx_serve_reply reply;

    (void)state;
    assert_int_equal(ask(&reply, lx_serve_runs_as_json, "/?first=2", NULL), 0);
    assert_non_null(strstr(reply.body.data, "\"first\":2"));
    release(&reply);
    /* What is no longer there is the last page. */
    assert_int_equal(ask(&reply, lx_serve_runs_as_json, "/?first=5000", NULL), 0);
    assert_non_null(strstr(reply.body.data, "\"first\":0"));
    release(&reply);
    assert_int_equal(ask(&reply, lx_serve_runs_as_json, "/?q=name+=+one", NULL), 0);
    assert_non_null(strstr(reply.body.data, "\"all\":3,\"found\":1"));
    release(&reply);
}

/* What the page of a live run says it shows is where its stream goes on. */
static void test_cmd_serve__a_stream_goes_on_where_the_page_ends(void **state)
{
    char target[128];
    const char *seen;
    lx_serve_reply reply;
    lx_str events = LX_STR_INIT;
    lx_run_row row;
    lx_arena *arena = lx_arena_new();
    lx_run *run;

    (void)state;
    snprintf(target, sizeof target, "/run/%s", ids[2]);
    assert_int_equal(ask(&reply, lx_serve_run_as_page, target, NULL), 0);
    seen = strstr(reply.body.data, "data-seen=\"");
    assert_non_null(seen);
    snprintf(target, sizeof target, "/api/run/%s/live?seen=%.*s", ids[2],
             (int)strcspn(seen + 11, "\""), seen + 11);
    release(&reply);
    assert_int_equal(ask(&reply, lx_serve_live, target, NULL), 0);
    assert_int_equal(reply.next(&events, reply.stream), 0);
    assert_null(strstr(events.data, "event: points"));
    assert_null(strstr(events.data, "event: reload"));
    assert_non_null(strstr(events.data, "\"step\":\"step 4\""));
    lx_str_clear(&events);
    assert_int_equal(reply.next(&events, reply.stream), 0);
    assert_int_equal(events.len, 0); /* nothing was written */
    assert_int_equal(lx_query_find(&row, store, ids[2], arena, NULL), 0);
    assert_int_equal(lx_run_open(&run, store, row.seq, NULL), 0);
    lx_run_log(run, "loss", 5, 0.125, NULL);
    lx_run_console(run, "\x1b[1m<b>\x07more\n", 13, NULL);
    lx_run_flush(run, NULL);
    assert_int_equal(reply.next(&events, reply.stream), 0);
    assert_non_null(strstr(events.data, "data: {\"loss\":{\"x\":[5],\"y\":[0.125]}}"));
    assert_non_null(strstr(events.data, "\\\\x07more\\n"));
    assert_null(strchr(events.data, 0x1b));
    lx_str_clear(&events);
    lx_run_log(run, "another", 5, 1, NULL); /* the page has no figure for it */
    lx_run_flush(run, NULL);
    assert_int_equal(reply.next(&events, reply.stream), 0);
    assert_non_null(strstr(events.data, "event: reload"));
    assert_true(reply.next(&events, reply.stream) < 0);
    lx_run_abandon(run);
    release(&reply);
    lx_str_release(&events);
    lx_arena_free(arena);
}

static void test_cmd_serve__a_picture_that_is_none_says_so(void **state)
{
    char target[160], hex[LX_HASH_HEX + 1];
    lx_hash hash = lx_sha256_of("<svg>", 5);
    lx_serve_reply reply;
    lx_error err = {0};

    (void)state;
    lx_hash_hex(hex, &hash);
    snprintf(target, sizeof target, "/run/%s/sample/%s", ids[0], hex);
    assert_int_equal(ask(&reply, lx_serve_picture, target, &err), 0);
    assert_string_equal(reply.type, "image/svg+xml");
    assert_non_null(strstr(reply.body.data, "cannot be read"));
    release(&reply);
    snprintf(target, sizeof target, "/run/%s/image/%s", ids[0], hex);
    assert_int_equal(ask(&reply, lx_serve_picture, target, &err), LX_ENOTFOUND);
    release(&reply);
    snprintf(target, sizeof target, "/run/%s/image/%064d", ids[0], 0);
    assert_int_equal(ask(&reply, lx_serve_picture, target, &err), 0);
    assert_string_equal(reply.type,
                        "image/svg+xml"); /* its folder has a slash in its name */
    release(&reply);
}

/* The n-th allocation fails: the page fails with it, or is whole. */
static void test_cmd_serve__without_memory_there_is_no_half_page(void **state)
{
    page pages[8];
    size_t n = all_pages(pages);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        lx_serve_reply reply;
        lx_str whole;
        size_t total;
        assert_int_equal(ask(&reply, pages[i].make, pages[i].target, NULL), 0);
        whole = reply.body;
        lx_alloc_fail_at(0, false);
        total = lx_alloc_count();
        assert_int_equal(ask(&reply, pages[i].make, pages[i].target, NULL), 0);
        total = lx_alloc_count() - total;
        release(&reply);
        for (size_t k = 1; k <= total; k++) {
            int rc;
            lx_alloc_fail_at(k, false);
            rc = ask(&reply, pages[i].make, pages[i].target, NULL);
            lx_alloc_fail_at(0, false);
            if (rc == LX_OK && reply.body.failed)
                rc = LX_ENOMEM; /* src/serve/server looks there too */
            if (rc == LX_OK && whole.len != reply.body.len)
                fail_msg("%s, allocation %zu: %zu bytes for %zu", pages[i].target, k,
                         reply.body.len, whole.len);
            release(&reply);
        }
        lx_str_release(&whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cmd_serve__no_page_lets_a_strangers_text_act),
        cmocka_unit_test(test_cmd_serve__a_wrong_question_is_told_on_the_page),
        cmocka_unit_test(test_cmd_serve__pages_of_the_table_hold_together),
        cmocka_unit_test(test_cmd_serve__without_memory_there_is_no_half_page),
        cmocka_unit_test(test_cmd_serve__a_stream_goes_on_where_the_page_ends),
        cmocka_unit_test(test_cmd_serve__a_picture_that_is_none_says_so),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
