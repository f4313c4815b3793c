/* A comparison for lx serve: what lx compare finds, as a page. */
#include <string.h>

#include "cmd/compare.h"
#include "cmd/serve.h"
#include "src/base/json.h"
#include "src/serve/frame.h"

static bool is_there(const lx_comparison *c, int64_t seq)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->runs[i].row.seq == seq)
            return true;
    return false;
}

static int find_runs(lx_comparison *c, const lx_serve_request *request, lx_error *err)
{
    for (size_t i = 0; i < request->n_pairs; i++) {
        const lx_serve_pair *pair = &request->pairs[i];
        lx_run_row row;
        int rc;
        if (strcmp(pair->name, "run") != 0)
            continue;
        if ((rc = lx_query_find(&row, c->store, pair->value, c->arena, err)) < 0)
            return rc == LX_ENOTFOUND
                       ? lx_fail(err, rc, "there is no run \"%.80s\"", pair->value)
                       : rc;
        if (is_there(c, row.seq))
            continue;
        if (c->n == LX_COMPARE_RUNS)
            return lx_fail(err, LX_EUSAGE, "at most %d runs can be compared",
                           LX_COMPARE_RUNS);
        c->runs[c->n++].row = row;
    }
    return c->n < 2 ? lx_fail(err, LX_EUSAGE,
                              "two runs at least are compared: tick "
                              "them in the table")
                    : LX_OK;
}

static int compare(lx_comparison **out, lx_serve_view *view,
                   const lx_serve_request *request, lx_arena *arena, lx_error *err)
{
    lx_comparison *c = lx_arena_calloc(arena, 1, sizeof *c);
    lx_cli *nowhere = lx_arena_calloc(arena, 1, sizeof *nowhere);
    int rc;

    if (!c || !nowhere)
        return lx_oom(err);
    nowhere->arena = arena;
    nowhere->is_quiet = true;
    c->cli = nowhere;
    *out = c;
    c->arena = arena;
    c->store = view->store;
    c->smoothing = 0.9; /* as lx compare has them when nothing is said */
    c->share = 0.25;
    c->axis = "steps";
    c->link = "/run";
    rc = find_runs(c, request, err);
    return rc < 0 ? rc : lx_compare_runs(c, err);
}

int lx_serve_comparison_as_page(lx_serve_reply *reply, lx_serve_view *view,
                                const lx_serve_request *request, lx_arena *arena,
                                lx_error *err)
{
    lx_serve_frame frame = {.title = "lx: comparison",
                            .where = view->where,
                            .scripts = LX_FRAME_CURVES | LX_FRAME_PARALLEL};
    lx_privacy *privacy = NULL;
    lx_comparison *c;
    lx_html h;
    int rc;

    if ((rc = compare(&c, view, request, arena, err)) < 0 ||
        (rc = lx_privacy_new(&privacy, true, err)) < 0)
        return rc;
    frame.is_wide = c->n > 5;
    lx_html_init(&h, &reply->body);
    lx_serve_frame_begin(&h, &frame);
    lx_html_open(&h, "p", "class", "crumbs", NULL);
    lx_html_leaf(&h, "a", "Runs", "href", "/", NULL);
    lx_html_close(&h);
    lx_html_leaf(&h, "h1", "Comparison", NULL);
    rc = lx_compare_html_body(&h, c, privacy, err);
    if (rc == LX_OK && c->is_out_of_memory)
        rc = lx_oom(err);
    if (rc == LX_OK) {
        lx_serve_frame_end(&h);
        rc = lx_html_finish(&h, err);
    }
    lx_privacy_free(privacy);
    return rc;
}

int lx_serve_comparison_as_json(lx_serve_reply *reply, lx_serve_view *view,
                                const lx_serve_request *request, lx_arena *arena,
                                lx_error *err)
{
    lx_comparison *c;
    cJSON *root = NULL;
    int rc = compare(&c, view, request, arena, err);

    reply->type = "application/json";
    if (rc == LX_OK && (rc = lx_compare_tree(&root, c, err)) == LX_OK)
        rc = lx_json_pretty(&reply->body, root, err);
    cJSON_Delete(root);
    return rc;
}
