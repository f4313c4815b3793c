/* A run, its samples and its console for lx serve. */
#include <string.h>

#include "cmd/serve.h"
#include "src/format/infotext.h"
#include "src/serve/console.h"
#include "src/serve/run_page.h"

enum {
    MOST_IMAGES = 300, /* of the contact sheet; they are fetched as they come into view */
    MOST_TAGS = 120,
    LAST_SAMPLES = 24,   /* on the page of the run */
    MOST_SAMPLES = 600,  /* in the grid */
    MOST_TEXT = 20000,   /* bytes of any one text */
    MOST_CONSOLE = 48000 /* bytes of its end */
};

int lx_serve_run_find(lx_run_row *out, lx_serve_view *view,
                      const lx_serve_request *request, size_t at, lx_arena *arena,
                      lx_error *err)
{
    lx_error problem = {0};
    int rc = lx_query_find(out, view->store, request->parts[at], arena, &problem);

    /* Which folder the store is in is no business of an address that was mistyped. */
    if (rc == LX_ENOTFOUND)
        return lx_fail(err, rc, "there is no run \"%.80s\"", request->parts[at]);
    return lx_fail_as(err, rc, &problem);
}

/* ---- gathering --------------------------------------------------------------------- */

/* All of a run as a report has it, nothing taken out: it stays on this machine. */
static int collect(lx_report_run *out, lx_collected *found, lx_collector *c,
                   lx_serve_view *view, const lx_serve_request *request, size_t at,
                   lx_error *err)
{
    int rc;

    c->store = view->store;
    if ((rc = lx_serve_run_find(&found->row, view, request, at, c->arena, err)) < 0 ||
        (rc = lx_privacy_new(&c->privacy, true, err)) < 0)
        return rc;
    if (!(c->options.link = lx_arena_printf(c->arena, "/run/%s", found->row.id)))
        return lx_oom(err);
    if ((rc = lx_report_find(found, c, found->row.id, err)) < 0)
        return rc;
    return lx_report_collect(out, c, found, err);
}

static size_t count_samples(const lx_artifact_row *rows, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += strcmp(rows[i].role, "sample") == 0;
    return count;
}

/* The end of what was printed, as lines. */
static int take_console(lx_serve_run *out, lx_serve_view *view, int64_t seq,
                        lx_arena *arena, lx_error *err)
{
    lx_str bytes = LX_STR_INIT, lines = LX_STR_INIT;
    lx_serve_console console = {0};
    int rc = lx_query_console(&bytes, view->store, seq, 0, err);
    size_t whole = lx_serve_console_whole(lx_str_text(&bytes), bytes.len), from;

    if (rc == LX_OK) {
        from = lx_serve_console_tail(lx_str_text(&bytes), whole, MOST_CONSOLE);
        lx_serve_console_take(&lines, &console, lx_str_text(&bytes) + from, whole - from);
        rc = lx_str_check(&lines, err);
    }
    if (rc == LX_OK) {
        const char *text = lx_str_text(&lines);
        size_t skip = *text == '\r';
        out->console = lx_arena_strndup(arena, text + skip, lines.len - skip);
        out->console_bytes = whole;
        if (!out->console)
            rc = lx_oom(err);
    }
    lx_str_release(&bytes);
    lx_str_release(&lines);
    return rc;
}

/* ---- pages ------------------------------------------------------------------------- */

int lx_serve_run_as_page(lx_serve_reply *reply, lx_serve_view *view,
                         const lx_serve_request *request, lx_arena *arena, lx_error *err)
{
    lx_collector c = {.arena = arena,
                      .options = {.n_images = MOST_IMAGES,
                                  .n_tags = MOST_TAGS,
                                  .n_samples = LAST_SAMPLES,
                                  .most_text = MOST_TEXT}};
    lx_collected found = {0};
    lx_report_run run = {0};
    lx_serve_run page = {.run = &run, .where = view->where};
    int rc;

    if ((rc = collect(&run, &found, &c, view, request, 1, err)) < 0 ||
        (rc = take_console(&page, view, found.row.seq, arena, err)) < 0)
        goto done;
    run.samples_url = lx_arena_printf(arena, "/run/%s/samples", found.row.id);
    page.group = found.row.group;
    page.parent = found.row.parent;
    page.is_live = strcmp(found.row.status, "running") == 0;
    page.seen = lx_serve_seen(page.console_bytes, &run, arena);
    rc = page.seen ? lx_serve_run_page(&reply->body, &page, err) : lx_oom(err);
done:
    lx_privacy_free(c.privacy);
    return rc;
}

int lx_serve_run_as_json(lx_serve_reply *reply, lx_serve_view *view,
                         const lx_serve_request *request, lx_arena *arena, lx_error *err)
{
    lx_collector c = {.arena = arena, .options = {.n_tags = MOST_TAGS}};
    lx_collected found = {0};
    lx_report_run run = {0};
    const lx_report report = {.runs = &run, .n_runs = 1};
    int rc = collect(&run, &found, &c, view, request, 2, err);

    reply->type = "application/json";
    if (rc == LX_OK)
        rc = lx_report_json(&reply->body, &report, err);
    lx_privacy_free(c.privacy);
    return rc;
}

/* ---- samples ----------------------------------------------------------------------- */

static int take_prompt(lx_report_picture *p, lx_arena *arena, lx_error *err)
{
    lx_infotext info;
    int rc;

    if (!p->text)
        return LX_OK;
    if ((rc = lx_infotext_parse(&info, arena, p->text, err)) == LX_OK)
        p->group = info.prompt;
    return rc;
}

int lx_serve_samples_as_page(lx_serve_reply *reply, lx_serve_view *view,
                             const lx_serve_request *request, lx_arena *arena,
                             lx_error *err)
{
    lx_collector c = {.store = view->store,
                      .arena = arena,
                      .options = {.n_samples = MOST_SAMPLES, .most_text = MOST_TEXT}};
    lx_artifact_row *artifacts;
    lx_report_picture *samples = NULL;
    lx_serve_samples page = {.where = view->where};
    lx_run_row row;
    size_t n, all;
    int rc;

    if ((rc = lx_serve_run_find(&row, view, request, 1, arena, err)) < 0 ||
        (rc = lx_privacy_new(&c.privacy, true, err)) < 0 ||
        (rc = lx_query_artifacts(&artifacts, &n, view->store, &row, arena, err)) < 0)
        goto done;
    if (!(c.options.link = lx_arena_printf(arena, "/run/%s", row.id))) {
        rc = lx_oom(err);
        goto done;
    }
    rc = lx_report_samples(&samples, &page.n_samples, &c, artifacts, n, err);
    all = count_samples(artifacts, n);
    for (size_t i = 0; i < page.n_samples && rc == LX_OK; i++)
        rc = take_prompt(&samples[i], arena, err);
    page.samples = samples;
    page.n_more = all - page.n_samples;
    page.id = row.id;
    page.name = *row.name ? row.name : row.id;
    if (rc == LX_OK)
        rc = lx_serve_samples_page(&reply->body, &page, err);
done:
    lx_privacy_free(c.privacy);
    return rc;
}

/* ---- console ----------------------------------------------------------------------- */

/* All of it as a text: escapes gone, other controls made visible. */
int lx_serve_console_as_text(lx_serve_reply *reply, lx_serve_view *view,
                             const lx_serve_request *request, lx_arena *arena,
                             lx_error *err)
{
    lx_str bytes = LX_STR_INIT, lines = LX_STR_INIT;
    lx_serve_console console = {0};
    lx_run_row row;
    int rc;

    reply->type = "text/plain; charset=utf-8";
    if ((rc = lx_serve_run_find(&row, view, request, 1, arena, err)) == LX_OK &&
        (rc = lx_query_console(&bytes, view->store, row.seq, 0, err)) == LX_OK) {
        const char *text;
        lx_serve_console_take(&lines, &console, lx_str_text(&bytes), bytes.len);
        text = lx_str_text(&lines);
        lx_escape_terminal(&reply->body, text + (*text == '\r'),
                           lines.len - (*text == '\r'), false);
        if ((rc = lx_str_check(&lines, err)) == LX_OK)
            rc = lx_str_check(&reply->body, err);
    }
    lx_str_release(&bytes);
    lx_str_release(&lines);
    return rc;
}
