/* The report as one page of HTML. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/report/figure.h"
#include "src/report/page.h"

/* One page being written. */
typedef struct writer {
    lx_html h;
    const lx_report *report;
    lx_arena *arena;
    size_t run; /* index of the run being told */
} writer;

/* With several runs a run is a chapter, and its sections are one level below. */
static void heading(writer *w, const char *text)
{
    lx_html_leaf(&w->h, w->report->n_runs > 1 ? "h3" : "h2", text, NULL);
}

static bool is_there(const char *text)
{
    return text && *text;
}

static void open_table(writer *w, const char *classes)
{
    lx_html_open(&w->h, "div", "class", "table", NULL);
    lx_html_open(&w->h, "table", "class", classes, NULL);
}

static void close_table(writer *w)
{
    lx_html_close(&w->h);
    lx_html_close(&w->h);
}

/* NaN is an empty cell. */
static void put_number_cell(writer *w, double value, int digits)
{
    char text[32] = "";
    if (isfinite(value))
        snprintf(text, sizeof text, "%.*g", digits, value);
    lx_html_leaf(&w->h, "td", text, "class", "num", NULL);
}

static void put_count(writer *w, double n)
{
    put_number_cell(w, n, 15);
}

static void put_headings(writer *w, const char *const *names, size_t n,
                         const char *numeric)
{
    lx_html_open(&w->h, "thead", NULL);
    lx_html_open(&w->h, "tr", NULL);
    for (size_t i = 0; i < n; i++)
        lx_html_leaf(&w->h, "th", names[i], "scope", "col", "class",
                     numeric[i] == 'n' ? "num" : NULL, NULL);
    lx_html_close(&w->h);
    lx_html_close(&w->h);
}

static void put_pairs(writer *w, lx_report_pairs pairs)
{
    open_table(w, "stack");
    lx_html_open(&w->h, "tbody", NULL);
    for (size_t i = 0; i < pairs.count; i++) {
        if (!is_there(pairs.items[i].value))
            continue;
        lx_html_open(&w->h, "tr", NULL);
        lx_html_leaf(&w->h, "th", pairs.items[i].key, "scope", "row", NULL);
        lx_html_leaf(&w->h, "td", pairs.items[i].value, NULL);
        lx_html_close(&w->h);
    }
    lx_html_close(&w->h);
    close_table(w);
}

static const char *tone_class(lx_report_tone tone)
{
    static const char *const classes[] = {"", "good", "warn", "bad"};
    return classes[tone];
}

/* ---- the head of a run ------------------------------------------------------------- */

static void put_tile(writer *w, const char *value, const char *what)
{
    if (!is_there(value))
        return;
    lx_html_open(&w->h, "div", NULL);
    lx_html_leaf(&w->h, "b", value, NULL);
    lx_html_leaf(&w->h, "span", what, NULL);
    lx_html_close(&w->h);
}

static void put_tiles(writer *w, const lx_report_run *r)
{
    char text[32];
    int64_t images = 0;

    lx_html_open(&w->h, "div", "class", "tiles", NULL);
    snprintf(text, sizeof text, "%lld", (long long)r->steps);
    put_tile(w, r->steps >= 0 ? text : "", "steps");
    snprintf(text, sizeof text, "%.4g", r->loss);
    put_tile(w, isfinite(r->loss) ? text : "", "smoothed loss at the end");
    snprintf(text, sizeof text, "%.4g", r->best_loss);
    if (isfinite(r->best_loss)) {
        char what[64];
        snprintf(what, sizeof what, "least, at step %lld", (long long)r->best_step);
        put_tile(w, text, what);
    }
    report__duration(text, r->seconds);
    put_tile(w, text, "took");
    for (size_t i = 0; i < r->n_folders; i++)
        images += r->folders[i].images;
    snprintf(text, sizeof text, "%lld", (long long)images);
    put_tile(w, images ? text : "", "images");
    lx_html_close(&w->h);
}

static void put_status(writer *w, const lx_report_run *r)
{
    const char *tone = strcmp(r->status, "finished") == 0 ? "good"
                       : strcmp(r->status, "failed") == 0 ? "bad"
                                                          : "warn";
    char classes[16];
    snprintf(classes, sizeof classes, "badge %s", tone);
    lx_html_open(&w->h, "p", "class", "meta", NULL);
    lx_html_leaf(&w->h, "span", r->status, "class", classes, NULL);
    for (size_t i = 0; i < r->tags.count; i++) {
        lx_html_text(&w->h, " ");
        lx_html_leaf(&w->h, "span", r->tags.items[i], "class", "badge", NULL);
    }
    lx_html_textf(&w->h, " %s run ", is_there(r->kind) ? r->kind : "");
    lx_html_leaf(&w->h, "code", r->id, NULL);
    if (is_there(r->started))
        lx_html_textf(&w->h, " of %s", r->started);
    lx_html_close(&w->h);
}

static void put_summary(writer *w, const lx_report_run *r)
{
    for (size_t i = 0; i < r->summary.count; i++)
        lx_html_leaf(&w->h, "p", r->summary.items[i], "class", i ? NULL : "lead", NULL);
    if (is_there(r->message))
        lx_html_leaf(&w->h, "p", r->message, "class", "finding bad", NULL);
    put_tiles(w, r);
    for (size_t i = 0; i < r->notes.count; i++)
        lx_html_leaf(&w->h, "p", r->notes.items[i], "class", "finding", NULL);
}

/* ---- curves, samples --------------------------------------------------------------- */

static int put_figure(writer *w, const report__figure *f, lx_error *err)
{
    /* Ids are unique on a page of several runs too. */
    const char *id = lx_arena_printf(w->arena, "curve-%zu-%s", w->run, f->id);
    return id ? lx_page_curves(&w->h, id, &f->chart, f->smoothing, f->caption, err)
              : lx_oom(err);
}

static int put_curves(writer *w, const lx_report_run *r, lx_error *err)
{
    report__figure *figures;
    size_t n;
    int rc = report__figures(&figures, &n, r, w->arena, err);

    if (rc < 0 || !n)
        return rc;
    heading(w, "Curves");
    for (size_t i = 0; i < n && rc == LX_OK; i++)
        rc = put_figure(w, &figures[i], err);
    return rc;
}

static void put_picture(writer *w, const lx_report_picture *p, const char *classes,
                        const char *line)
{
    lx_str uri = LX_STR_INIT;
    char width[16], height[16];

    lx_html_open(&w->h, "figure", "class", classes, NULL);
    if (p->url) {
        lx_html_open(&w->h, "a", "href", lx_arena_printf(w->arena, "%s?full", p->url),
                     NULL);
        lx_html_void(&w->h, "img", "src", p->url, "alt", p->text ? p->text : p->name,
                     "loading", "lazy", NULL);
        lx_html_close(&w->h);
    } else if (p->bytes) {
        lx_data_uri(&uri, "image/jpeg", p->bytes, p->n_bytes);
        snprintf(width, sizeof width, "%d", p->width);
        snprintf(height, sizeof height, "%d", p->height);
        lx_html_void(&w->h, "img", "src", lx_str_text(&uri), "width", width, "height",
                     height, "alt", p->text ? p->text : p->name, "loading", "lazy", NULL);
        w->h.out->failed |= uri.failed;
        lx_str_release(&uri);
    } else {
        lx_html_leaf(&w->h, "div", is_there(p->missing) ? p->missing : "not shown",
                     "class", "missing", NULL);
    }
    lx_html_open(&w->h, "figcaption", NULL);
    lx_html_leaf(&w->h, "div", line, NULL);
    if (is_there(p->text))
        lx_html_leaf(&w->h, "div", p->text, "class", "clip", "title", p->text, NULL);
    lx_html_close(&w->h);
    lx_html_close(&w->h);
}

static void put_samples(writer *w, const lx_report_run *r)
{
    if (!r->n_samples)
        return;
    heading(w, "Samples");
    for (size_t i = 0; i < r->n_samples;) {
        int64_t step = r->samples[i].step;
        if (step >= 0) {
            lx_html_open(&w->h, "p", "class", "note", NULL);
            lx_html_textf(&w->h, "after step %lld", (long long)step);
            lx_html_close(&w->h);
        }
        lx_html_open(&w->h, "div", "class", "sheet large", NULL);
        for (; i < r->n_samples && r->samples[i].step == step; i++)
            put_picture(w, &r->samples[i], NULL, r->samples[i].name);
        lx_html_close(&w->h);
    }
    if (!r->samples_url)
        return;
    lx_html_open(&w->h, "p", NULL);
    lx_html_leaf(&w->h, "a", "All samples by prompt and step", "href", r->samples_url,
                 NULL);
    lx_html_close(&w->h);
}

/* ---- LoRA files -------------------------------------------------------------------- */

static void put_findings(writer *w, const lx_report_finding *findings, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char classes[24];
        snprintf(classes, sizeof classes, "finding %s", tone_class(findings[i].tone));
        lx_html_leaf(&w->h, "p", findings[i].text, "class", classes, NULL);
    }
}

static void put_lora_rows(writer *w, const lx_report_run *r)
{
    static const char *const names[] = {"file", "step", "size", "SHA-256"};
    open_table(w, NULL);
    put_headings(w, names, 4, "tnnt");
    lx_html_open(&w->h, "tbody", NULL);
    for (size_t i = 0; i < r->n_loras; i++) {
        char size[32];
        report__bytes(size, r->loras[i].bytes);
        lx_html_open(&w->h, "tr", NULL);
        lx_html_leaf(&w->h, "td", r->loras[i].name, NULL);
        put_count(w, r->loras[i].step < 0 ? (double)NAN : (double)r->loras[i].step);
        lx_html_leaf(&w->h, "td", size, "class", "num", NULL);
        lx_html_open(&w->h, "td", NULL);
        lx_html_leaf(&w->h, "code", r->loras[i].sha256, NULL);
        lx_html_close(&w->h);
        lx_html_close(&w->h);
    }
    lx_html_close(&w->h);
    close_table(w);
}

static void put_loras(writer *w, const lx_report_run *r)
{
    const lx_report_lora *last;
    if (!r->n_loras)
        return;
    heading(w, "LoRA");
    /* Files of one training differ in their values only: the last one is described. */
    last = &r->loras[r->n_loras - 1];
    put_findings(w, last->findings, last->n_findings);
    if (last->facts.count)
        put_pairs(w, last->facts);
    put_lora_rows(w, r);
}

/* ---- data -------------------------------------------------------------------------- */

static void put_folders(writer *w, const lx_report_run *r)
{
    static const char *const names[] = {"folder",       "class tokens", "images",
                                        "with caption", "repeats",      "an epoch"};
    open_table(w, NULL);
    put_headings(w, names, 6, "ttnnnn");
    lx_html_open(&w->h, "tbody", NULL);
    for (size_t i = 0; i < r->n_folders; i++) {
        const lx_report_folder *f = &r->folders[i];
        lx_html_open(&w->h, "tr", NULL);
        lx_html_open(&w->h, "td", NULL);
        lx_html_text(&w->h, f->name);
        if (f->is_reg) {
            lx_html_text(&w->h, " ");
            lx_html_leaf(&w->h, "span", "regularisation", "class", "badge", NULL);
        }
        lx_html_close(&w->h);
        lx_html_leaf(&w->h, "td", f->class_tokens ? f->class_tokens : "", NULL);
        put_count(w, (double)f->images);
        put_count(w, (double)f->captioned);
        put_count(w, (double)f->repeats);
        put_count(w, (double)f->images * (double)f->repeats);
        lx_html_close(&w->h);
    }
    lx_html_close(&w->h);
    close_table(w);
}

static void put_frequencies(writer *w, const lx_report_run *r)
{
    if (!r->n_frequencies)
        return;
    lx_html_open(&w->h, "div", "class", "cols", NULL);
    lx_html_open(&w->h, "table", NULL);
    lx_html_open(&w->h, "tbody", NULL);
    for (size_t i = 0; i < r->n_frequencies; i++) {
        lx_html_open(&w->h, "tr", NULL);
        lx_html_leaf(&w->h, "td", r->frequencies[i].tag, NULL);
        put_count(w, (double)r->frequencies[i].count);
        lx_html_close(&w->h);
    }
    lx_html_close(&w->h);
    lx_html_close(&w->h);
    lx_html_close(&w->h);
    if (r->n_more_frequencies) {
        lx_html_open(&w->h, "p", "class", "note", NULL);
        lx_html_textf(&w->h, "and %zu more tag%s", r->n_more_frequencies, lx_plural(r->n_more_frequencies));
        lx_html_close(&w->h);
    }
}

static void put_sheet(writer *w, const lx_report_run *r)
{
    if (!r->n_images)
        return;
    lx_html_open(&w->h, "div", "class", "sheet", NULL);
    for (size_t i = 0; i < r->n_images; i++)
        put_picture(w, &r->images[i], "square", r->images[i].name);
    lx_html_close(&w->h);
    if (r->n_more_images) {
        lx_html_open(&w->h, "p", "class", "note", NULL);
        lx_html_textf(&w->h, "and %zu more image%s", r->n_more_images, lx_plural(r->n_more_images));
        lx_html_close(&w->h);
    }
}

static void put_data(writer *w, const lx_report_run *r)
{
    if (!r->n_folders && !r->n_frequencies && !r->n_images)
        return;
    heading(w, "Data");
    if (r->n_folders)
        put_folders(w, r);
    put_sheet(w, r);
    if (r->n_frequencies)
        lx_html_leaf(&w->h, w->report->n_runs > 1 ? "h4" : "h3", "Tags", NULL);
    put_frequencies(w, r);
}

/* ---- settings, repeating ----------------------------------------------------------- */

static void put_settings(writer *w, const lx_report_run *r)
{
    if (!r->settings.count && !r->resolved.count)
        return;
    heading(w, "Settings");
    if (r->settings.count)
        put_pairs(w, r->settings);
    if (!r->resolved.count)
        return;
    lx_html_open(&w->h, "details", NULL);
    lx_html_leaf(&w->h, "summary", "all settings, defaults included", NULL);
    put_pairs(w, r->resolved);
    lx_html_close(&w->h);
}

static void put_repeat(writer *w, const lx_report_run *r)
{
    if (!r->repeat.count && !is_there(r->diff))
        return;
    heading(w, "How to repeat it");
    for (size_t i = 0; i < r->repeat.count; i++)
        lx_html_leaf(&w->h, "pre", r->repeat.items[i], NULL);
    if (!is_there(r->diff))
        return;
    lx_html_open(&w->h, "details", NULL);
    lx_html_leaf(&w->h, "summary", "changes of the code that were not committed", NULL);
    lx_html_leaf(&w->h, "pre", r->diff, "class", "diff", NULL);
    lx_html_close(&w->h);
}

static int put_run(writer *w, const lx_report_run *r, lx_error *err)
{
    int rc;
    if (w->report->n_runs > 1) {
        lx_html_leaf(&w->h, "h2", report__name(r), "id",
                     lx_arena_printf(w->arena, "run-%zu", w->run), NULL);
        put_status(w, r);
    }
    put_summary(w, r);
    if ((rc = put_curves(w, r, err)) < 0)
        return rc;
    put_samples(w, r);
    put_loras(w, r);
    put_data(w, r);
    put_settings(w, r);
    if (r->inputs.count) {
        heading(w, "Inputs");
        put_pairs(w, r->inputs);
    }
    put_repeat(w, r);
    return LX_OK;
}

/* ---- several runs ------------------------------------------------------------------ */

static void put_overview(writer *w)
{
    static const char *const names[] = {"run",           "status", "steps",
                                        "smoothed loss", "least",  "took"};
    open_table(w, NULL);
    put_headings(w, names, 6, "ttnnnn");
    lx_html_open(&w->h, "tbody", NULL);
    for (size_t i = 0; i < w->report->n_runs; i++) {
        const lx_report_run *r = &w->report->runs[i];
        char took[32];
        report__duration(took, r->seconds);
        lx_html_open(&w->h, "tr", NULL);
        lx_html_open(&w->h, "td", NULL);
        lx_html_leaf(&w->h, "a", report__name(r), "href",
                     lx_arena_printf(w->arena, "#run-%zu", i), NULL);
        lx_html_close(&w->h);
        lx_html_leaf(&w->h, "td", r->status, NULL);
        put_count(w, r->steps < 0 ? (double)NAN : (double)r->steps);
        put_number_cell(w, r->loss, 4);
        put_number_cell(w, r->best_loss, 4);
        lx_html_leaf(&w->h, "td", took, "class", "num", NULL);
        lx_html_close(&w->h);
    }
    lx_html_close(&w->h);
    close_table(w);
}

static void put_differences(writer *w)
{
    const lx_report *report = w->report;
    if (!report->n_differences)
        return;
    lx_html_leaf(&w->h, "h2", "What differs", NULL);
    open_table(w, NULL);
    lx_html_open(&w->h, "thead", NULL);
    lx_html_open(&w->h, "tr", NULL);
    lx_html_leaf(&w->h, "th", "setting", "scope", "col", NULL);
    for (size_t i = 0; i < report->n_runs; i++)
        lx_html_leaf(&w->h, "th", report__name(&report->runs[i]), "scope", "col", NULL);
    lx_html_close(&w->h);
    lx_html_close(&w->h);
    lx_html_open(&w->h, "tbody", NULL);
    for (size_t i = 0; i < report->n_differences; i++) {
        const lx_report_row *row = &report->differences[i];
        lx_html_open(&w->h, "tr", NULL);
        lx_html_leaf(&w->h, "th", row->key, "scope", "row", NULL);
        for (size_t k = 0; k < report->n_runs; k++)
            lx_html_leaf(&w->h, "td", row->values[k] ? row->values[k] : "\xE2\x80\x93",
                         NULL);
        lx_html_close(&w->h);
    }
    lx_html_close(&w->h);
    close_table(w);
}

static int put_runs_together(writer *w, lx_error *err)
{
    report__figure overlay;
    report__across across;
    int rc;
    put_overview(w);
    if ((rc = report__overlay(&overlay, w->report, w->arena, err)) < 0)
        return rc;
    if (overlay.chart.n_lines &&
        (rc = lx_page_curves(&w->h, overlay.id, &overlay.chart, overlay.smoothing,
                             overlay.caption, err)) < 0)
        return rc;
    put_differences(w);
    if ((rc = report__parallel(&across, w->report, w->arena, err)) == LX_OK &&
        across.chart.n_axes)
        rc = lx_page_parallel(&w->h, "across", &across.chart, across.caption, err);
    return rc;
}

/* ---- the whole --------------------------------------------------------------------- */

static void put_scrubbed(writer *w)
{
    const lx_report *r = w->report;
    lx_html_leaf(&w->h, "h2", "Privacy", NULL);
    if (!r->is_scrubbed) {
        lx_html_leaf(
            &w->h, "p",
            "Nothing was taken out of this report: it shows paths and names as recorded.",
            NULL);
        return;
    }
    lx_html_leaf(&w->h, "p",
                 r->scrubbed.count
                     ? "Before this report was written, these were taken out of it:"
                     : "Home folders, user and host names, e-mail addresses and tokens "
                       "are taken out "
                       "of a report; there were none.",
                 NULL);
    if (!r->scrubbed.count)
        return;
    lx_html_open(&w->h, "ul", NULL);
    for (size_t i = 0; i < r->scrubbed.count; i++)
        lx_html_leaf(&w->h, "li", r->scrubbed.items[i], NULL);
    lx_html_close(&w->h);
}

static bool has_curves(const lx_report *report)
{
    for (size_t i = 0; i < report->n_runs; i++)
        for (size_t k = 0; k < report->runs[i].n_curves; k++)
            if (report->runs[i].curves[k].n)
                return true;
    return false;
}

int lx_report_run_html(lx_html *h, const lx_report_run *run, lx_error *err)
{
    const lx_report alone = {.runs = run, .n_runs = 1};
    writer w = {.h = *h, .report = &alone, .arena = lx_arena_new()};
    int rc;

    if (!w.arena)
        return lx_oom(err);
    put_status(&w, run);
    rc = put_run(&w, run, err);
    *h = w.h;
    lx_arena_free(w.arena);
    return rc;
}

int lx_report_html(lx_str *out, const lx_report *report, lx_error *err)
{
    writer w = {.report = report, .arena = lx_arena_new()};
    bool is_live = has_curves(report);
    int rc = LX_OK;

    if (!w.arena)
        return lx_oom(err);
    lx_html_init(&w.h, out);
    lx_page_begin(&w.h, report->title, is_live);
    lx_html_leaf(&w.h, "h1", report->title, NULL);
    if (report->n_runs == 1)
        put_status(&w, &report->runs[0]);
    if (report->n_runs > 1)
        rc = put_runs_together(&w, err);
    for (w.run = 0; w.run < report->n_runs && rc == LX_OK; w.run++)
        rc = put_run(&w, &report->runs[w.run], err);
    if (rc == LX_OK) {
        put_scrubbed(&w);
        lx_page_end(&w.h, report->made, is_live);
        rc = lx_html_finish(&w.h, err);
    }
    lx_arena_free(w.arena);
    return rc;
}
