#include "src/serve/run_page.h"

#include <stdio.h>
#include <string.h>

#include "src/report/figure.h"
#include "src/report/html.h"
#include "src/serve/frame.h"

static bool is_there(const char *text)
{
    return text && *text;
}

static void put_run_link(lx_html *h, const char *id, const char *text, const char *below)
{
    char address[96];
    snprintf(address, sizeof address, "/run/%.32s%s", id, below);
    lx_html_leaf(h, "a", text, "href", address, NULL);
}

/* ---- a run ------------------------------------------------------------------------- */

static void put_crumbs(lx_html *h, const lx_serve_run *r)
{
    lx_html_open(h, "p", "class", "crumbs", NULL);
    lx_html_leaf(h, "a", "Runs", "href", "/", NULL);
    if (is_there(r->group)) {
        lx_str address = LX_STR_INIT, query = LX_STR_INIT;
        char quote = strchr(r->group, '"') ? '\'' : '"';
        lx_str_printf(&query, "group = %c%s%c", quote, r->group, quote);
        lx_str_puts(&address, "/?q=");
        lx_serve_escape(&address, lx_str_text(&query));
        lx_html_text(h, " \xC2\xB7 group ");
        lx_html_leaf(h, "a", r->group, "href", lx_str_text(&address), NULL);
        h->out->failed |= address.failed || query.failed;
        lx_str_release(&address);
        lx_str_release(&query);
    }
    if (is_there(r->parent)) {
        lx_html_text(h, " \xC2\xB7 goes on from ");
        put_run_link(h, r->parent, r->parent, "");
    }
    lx_html_close(h);
}

static void put_now(lx_html *h, const lx_serve_run *r)
{
    char address[96];
    snprintf(address, sizeof address, "/api/run/%.32s/live", r->run->id);
    lx_html_open(h, "p", "id", "now", "class", "now away", "data-live", address,
                 "data-seen", r->seen, "role", "status", NULL);
    lx_html_leaf(h, "span", r->run->status, NULL);
    lx_html_close(h);
}

static void put_console(lx_html *h, const lx_serve_run *r)
{
    char text[96], size[32];

    if (!is_there(r->console) && !r->is_live)
        return;
    report__bytes(size, (int64_t)r->console_bytes);
    snprintf(text, sizeof text, r->is_live ? "all of it" : "all of it, %s", size);
    lx_html_open(h, "section", "id", "printed", "hidden",
                 is_there(r->console) ? NULL : "", NULL); /* shown with its first line */
    lx_html_leaf(h, "h2", "Console", NULL);
    lx_html_leaf(h, "pre", r->console ? r->console : "", "id", "console", "class",
                 "console", "tabindex", "0", NULL);
    lx_html_open(h, "p", "class", "note", NULL);
    put_run_link(h, r->run->id, text, "/console");
    lx_html_close(h);
    lx_html_close(h);
}

static bool has_curves(const lx_report_run *run)
{
    for (size_t i = 0; i < run->n_curves; i++)
        if (run->curves[i].n)
            return true;
    return false;
}

int lx_serve_run_page(lx_str *out, const lx_serve_run *r, lx_error *err)
{
    const lx_serve_frame frame = {
        .title = report__name(r->run),
        .where = r->where,
        .scripts = (has_curves(r->run) ? LX_FRAME_CURVES : 0u) |
                   (r->is_live || is_there(r->console) ? LX_FRAME_LIVE : 0u)};
    lx_html h;
    int rc;

    lx_html_init(&h, out);
    lx_serve_frame_begin(&h, &frame);
    put_crumbs(&h, r);
    lx_html_leaf(&h, "h1", report__name(r->run), NULL);
    if (r->is_live)
        put_now(&h, r);
    if ((rc = lx_report_run_html(&h, r->run, err)) < 0)
        return rc;
    put_console(&h, r);
    lx_serve_frame_end(&h);
    return lx_html_finish(&h, err);
}

/* ---- the grid ---------------------------------------------------------------------- */

static bool is_same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* The number of the first sample with this prompt: it stands for the row. */
static size_t row_of(const lx_serve_samples *s, size_t i)
{
    size_t k = 0;
    while (!is_same(s->samples[k].group, s->samples[i].group))
        k++;
    return k;
}

static bool is_first_of_step(const lx_serve_samples *s, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (s->samples[k].step == s->samples[i].step)
            return false;
    return true;
}

static void put_sample(lx_html *h, const lx_report_picture *p)
{
    lx_str whole = LX_STR_INIT;

    lx_html_open(h, "figure", NULL);
    if (p->url) {
        lx_str_printf(&whole, "%s?full", p->url);
        lx_html_open(h, "a", "href", lx_str_text(&whole), "title", p->name, NULL);
        lx_html_void(h, "img", "src", p->url, "alt", p->name, "loading", "lazy", NULL);
        lx_html_close(h);
    } else {
        lx_html_leaf(h, "div", p->missing ? p->missing : "not shown", "class", "missing",
                     NULL);
    }
    lx_html_close(h);
    h->out->failed |= whole.failed;
    lx_str_release(&whole);
}

/* Several of one prompt and step stand below each other. */
static void put_grid_row(lx_html *h, const lx_serve_samples *s, size_t row)
{
    const char *prompt = s->samples[row].group;

    lx_html_open(h, "tr", NULL);
    lx_html_open(h, "th", "scope", "row", NULL);
    lx_html_leaf(h, "div", prompt ? prompt : "no prompt in the picture", "class", "clip",
                 "title", prompt, NULL);
    lx_html_close(h);
    for (size_t i = 0; i < s->n_samples; i++) {
        if (!is_first_of_step(s, i))
            continue;
        lx_html_open(h, "td", NULL);
        for (size_t k = i; k < s->n_samples; k++)
            if (s->samples[k].step == s->samples[i].step &&
                is_same(s->samples[k].group, prompt))
                put_sample(h, &s->samples[k]);
        lx_html_close(h);
    }
    lx_html_close(h);
}

static void put_grid_head(lx_html *h, const lx_serve_samples *s)
{
    char text[40];

    lx_html_open(h, "thead", NULL);
    lx_html_open(h, "tr", NULL);
    lx_html_leaf(h, "th", "prompt", "scope", "col", NULL);
    for (size_t i = 0; i < s->n_samples; i++) {
        if (!is_first_of_step(s, i))
            continue;
        snprintf(text, sizeof text,
                 s->samples[i].step < 0 ? "no step" : "after step %lld",
                 (long long)s->samples[i].step);
        lx_html_leaf(h, "th", text, "scope", "col", NULL);
    }
    lx_html_close(h);
    lx_html_close(h);
}

int lx_serve_samples_page(lx_str *out, const lx_serve_samples *s, lx_error *err)
{
    const lx_serve_frame frame = {
        .title = "lx: samples", .where = s->where, .is_wide = true};
    lx_html h;

    lx_html_init(&h, out);
    lx_serve_frame_begin(&h, &frame);
    lx_html_open(&h, "p", "class", "crumbs", NULL);
    lx_html_leaf(&h, "a", "Runs", "href", "/", NULL);
    lx_html_text(&h, " \xC2\xB7 ");
    put_run_link(&h, s->id, s->name, "");
    lx_html_close(&h);
    lx_html_leaf(&h, "h1", "Samples", NULL);
    if (!s->n_samples)
        lx_html_leaf(&h, "p", "This run has drawn no samples.", NULL);
    if (s->n_more) {
        lx_html_open(&h, "p", "class", "note", NULL);
        lx_html_textf(&h, "the last %zu; %zu earlier ones are not shown", s->n_samples,
                      s->n_more);
        lx_html_close(&h);
    }
    lx_html_open(&h, "div", "class", "table", NULL);
    lx_html_open(&h, "table", "class", "grid", NULL);
    put_grid_head(&h, s);
    lx_html_open(&h, "tbody", NULL);
    for (size_t i = 0; i < s->n_samples; i++)
        if (row_of(s, i) == i)
            put_grid_row(&h, s, i);
    lx_serve_frame_end(&h);
    return lx_html_finish(&h, err);
}
