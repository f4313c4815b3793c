/* The report as Markdown, with its pictures beside it or inside it. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/report/figure.h"
#include "src/report/html.h"
#include "src/report/markdown.h"

typedef struct writer {
    lx_str *out;
    const lx_report *report;
    lx_arena *arena;
    const char *folder;
    lx_report_save save;
    void *context;
    size_t run, n_pictures;
} writer;

/* ---- texts ------------------------------------------------------------------------- */

static void put(lx_str *out, const char *text)
{
    lx_markdown_text(out, text);
}

/* A block of code, fenced by more backticks than stand in it. */
static void put_code(writer *w, const char *text, const char *kind)
{
    size_t longest = 2, run = 0;
    for (const char *p = text; *p; p++) {
        run = *p == '`' ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    for (int end = 0; end < 2; end++) {
        for (size_t i = 0; i <= longest; i++)
            lx_str_putc(w->out, '`');
        lx_str_printf(w->out, "%s\n", end ? "\n" : kind);
        if (end)
            break;
        lx_escape_terminal(w->out, text, strlen(text), false);
        if (*text && text[strlen(text) - 1] != '\n')
            lx_str_putc(w->out, '\n');
    }
}

static bool is_there(const char *text)
{
    return text && *text;
}

static void heading(writer *w, const char *text, int level)
{
    level += w->report->n_runs > 1;
    lx_str_printf(w->out, "\n%.*s ", level, "#####");
    put(w->out, text);
    lx_str_puts(w->out, "\n\n");
}

static void put_pairs(writer *w, lx_report_pairs pairs)
{
    lx_str_puts(w->out, "| | |\n|---|---|\n");
    for (size_t i = 0; i < pairs.count; i++) {
        if (!is_there(pairs.items[i].value))
            continue;
        lx_str_puts(w->out, "| ");
        put(w->out, pairs.items[i].key);
        lx_str_puts(w->out, " | ");
        put(w->out, pairs.items[i].value);
        lx_str_puts(w->out, " |\n");
    }
}

/* ---- pictures ---------------------------------------------------------------------- */

/* ![alt](where): a file beside the report, or a data URI. */
static int put_picture(writer *w, const char *alt, const char *name, const char *type,
                       const void *bytes, size_t n, lx_error *err)
{
    int rc = LX_OK;
    lx_str_puts(w->out, "![");
    put(w->out, alt);
    lx_str_puts(w->out, "](");
    if (w->save) {
        /* The folder's name is the user's: spaces and brackets would end the link. */
        lx_str_putc(w->out, '<');
        for (const char *p = w->folder; *p; p++)
            if (strchr("<>\\", *p) || (unsigned char)*p < 0x20)
                lx_str_printf(w->out, "%%%02X", (unsigned char)*p);
            else
                lx_str_putc(w->out, *p);
        lx_str_printf(w->out, "/%s>", name);
        rc = w->save(w->context, name, bytes, n, err);
    } else {
        lx_data_uri(w->out, type, bytes, n);
    }
    lx_str_puts(w->out, ")\n");
    return rc;
}

static int put_figure(writer *w, const report__figure *f, lx_error *err)
{
    lx_svg_chart chart = f->chart;
    lx_str svg = LX_STR_INIT;
    const char *name = w->report->n_runs > 1
                           ? lx_arena_printf(w->arena, "%zu-%s.svg", w->run + 1, f->id)
                           : lx_arena_printf(w->arena, "%s.svg", f->id);
    int rc;

    chart.is_standalone = true;
    if (!name)
        rc = lx_oom(err);
    else if ((rc = lx_svg_curves(&svg, &chart, err)) == LX_OK)
        rc = put_picture(w, f->caption, name, "image/svg+xml", svg.data, svg.len, err);
    lx_str_putc(w->out, '\n');
    lx_str_release(&svg);
    return rc;
}

/* Settings against results of three and more runs. */
static int put_across(writer *w, lx_error *err)
{
    report__across across;
    lx_str svg = LX_STR_INIT;
    int rc = report__parallel(&across, w->report, w->arena, err);

    across.chart.is_standalone = true;
    if (rc == LX_OK && across.chart.n_axes) {
        lx_str_putc(w->out, '\n');
        if ((rc = lx_parallel_svg(&svg, &across.chart, err)) == LX_OK)
            rc = put_picture(w, across.caption, "settings.svg", "image/svg+xml", svg.data,
                             svg.len, err);
        lx_str_putc(w->out, '\n');
    }
    lx_str_release(&svg);
    return rc;
}

static int put_curves(writer *w, const lx_report_run *r, lx_error *err)
{
    report__figure *figures;
    size_t n;
    int rc = report__figures(&figures, &n, r, w->arena, err);

    if (rc < 0 || !n)
        return rc;
    heading(w, "Curves", 2);
    for (size_t i = 0; i < n && rc == LX_OK; i++)
        rc = put_figure(w, &figures[i], err);
    return rc;
}

static int put_pictures(writer *w, const lx_report_picture *pictures, size_t n,
                        const char *stem, lx_error *err)
{
    int rc = LX_OK;
    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        const lx_report_picture *p = &pictures[i];
        const char *name = lx_arena_printf(w->arena, "%s-%zu.jpg", stem, ++w->n_pictures);
        if (!name)
            return lx_oom(err);
        lx_str_puts(w->out, "- ");
        if (p->bytes)
            rc = put_picture(w, p->name, name, "image/jpeg", p->bytes, p->n_bytes, err);
        lx_str_puts(w->out, "  ");
        put(w->out, p->name);
        if (p->step >= 0)
            lx_str_printf(w->out, ", step %lld", (long long)p->step);
        if (!p->bytes && is_there(p->missing)) {
            lx_str_puts(w->out, " *(");
            put(w->out, p->missing);
            lx_str_puts(w->out, ")*");
        }
        if (is_there(p->text)) {
            lx_str_puts(w->out, ": ");
            put(w->out, p->text);
        }
        lx_str_putc(w->out, '\n');
    }
    return rc;
}

/* ---- a run ------------------------------------------------------------------------- */

static void put_summary(writer *w, const lx_report_run *r)
{
    char took[32];
    report__duration(took, r->seconds);
    for (size_t i = 0; i < r->summary.count; i++) {
        put(w->out, r->summary.items[i]);
        lx_str_puts(w->out, i + 1 < r->summary.count ? "\n" : "\n\n");
    }
    lx_str_puts(w->out, "| status | steps | smoothed loss | least | took | run |\n"
                        "|---|--:|--:|--:|--:|---|\n| ");
    put(w->out, r->status);
    lx_str_puts(w->out, " | ");
    if (r->steps >= 0)
        lx_str_printf(w->out, "%lld", (long long)r->steps);
    lx_str_puts(w->out, " | ");
    if (isfinite(r->loss))
        lx_str_printf(w->out, "%.4g", r->loss);
    lx_str_puts(w->out, " | ");
    if (isfinite(r->best_loss))
        lx_str_printf(w->out, "%.4g at step %lld", r->best_loss, (long long)r->best_step);
    lx_str_printf(w->out, " | %s | ", took);
    put(w->out, r->id);
    lx_str_puts(w->out, " |\n");
    if (is_there(r->message)) {
        lx_str_puts(w->out, "\n> ");
        put(w->out, r->message);
        lx_str_putc(w->out, '\n');
    }
    for (size_t i = 0; i < r->notes.count; i++) {
        lx_str_puts(w->out, "\n> ");
        put(w->out, r->notes.items[i]);
        lx_str_putc(w->out, '\n');
    }
}

static void put_loras(writer *w, const lx_report_run *r)
{
    const lx_report_lora *last;
    if (!r->n_loras)
        return;
    heading(w, "LoRA", 2);
    last = &r->loras[r->n_loras - 1];
    for (size_t i = 0; i < last->n_findings; i++) {
        lx_str_puts(w->out, "> ");
        put(w->out, last->findings[i].text);
        lx_str_puts(w->out, "\n\n");
    }
    if (last->facts.count)
        put_pairs(w, last->facts);
    lx_str_puts(w->out, "\n| file | step | size | SHA-256 |\n|---|--:|--:|---|\n");
    for (size_t i = 0; i < r->n_loras; i++) {
        char size[32];
        report__bytes(size, r->loras[i].bytes);
        lx_str_puts(w->out, "| ");
        put(w->out, r->loras[i].name);
        lx_str_puts(w->out, " | ");
        if (r->loras[i].step >= 0)
            lx_str_printf(w->out, "%lld", (long long)r->loras[i].step);
        lx_str_printf(w->out, " | %s | ", size);
        put(w->out, r->loras[i].sha256);
        lx_str_puts(w->out, " |\n");
    }
}

static int put_data(writer *w, const lx_report_run *r, lx_error *err)
{
    if (!r->n_folders && !r->n_frequencies && !r->n_images)
        return LX_OK;
    heading(w, "Data", 2);
    if (r->n_folders)
        lx_str_puts(w->out,
                    "| folder | class tokens | images | with caption | repeats |\n"
                    "|---|---|--:|--:|--:|\n");
    for (size_t i = 0; i < r->n_folders; i++) {
        const lx_report_folder *f = &r->folders[i];
        lx_str_puts(w->out, "| ");
        put(w->out, f->name);
        lx_str_puts(w->out, f->is_reg ? " (regularisation) | " : " | ");
        put(w->out, f->class_tokens ? f->class_tokens : "");
        lx_str_printf(w->out, " | %lld | %lld | %lld |\n", (long long)f->images,
                      (long long)f->captioned, (long long)f->repeats);
    }
    if (r->n_frequencies)
        lx_str_puts(w->out, "\n| tag | images |\n|---|--:|\n");
    for (size_t i = 0; i < r->n_frequencies; i++) {
        lx_str_puts(w->out, "| ");
        put(w->out, r->frequencies[i].tag);
        lx_str_printf(w->out, " | %lld |\n", (long long)r->frequencies[i].count);
    }
    if (r->n_more_frequencies)
        lx_str_printf(w->out, "\nand %zu more tag%s\n", r->n_more_frequencies, lx_plural(r->n_more_frequencies));
    lx_str_putc(w->out, '\n');
    return put_pictures(w, r->images, r->n_images, "image", err);
}

static void put_repeat(writer *w, const lx_report_run *r)
{
    if (!r->repeat.count && !is_there(r->diff))
        return;
    heading(w, "How to repeat it", 2);
    for (size_t i = 0; i < r->repeat.count; i++)
        put_code(w, r->repeat.items[i], "sh");
    if (is_there(r->diff)) {
        lx_str_puts(w->out, "Changes of the code that were not committed:\n\n");
        put_code(w, r->diff, "diff");
    }
}

static int put_run(writer *w, const lx_report_run *r, lx_error *err)
{
    int rc;
    if (w->report->n_runs > 1)
        heading(w, report__name(r), 1);
    put_summary(w, r);
    if ((rc = put_curves(w, r, err)) < 0)
        return rc;
    if (r->n_samples) {
        heading(w, "Samples", 2);
        if ((rc = put_pictures(w, r->samples, r->n_samples, "sample", err)) < 0)
            return rc;
    }
    put_loras(w, r);
    if ((rc = put_data(w, r, err)) < 0)
        return rc;
    if (r->settings.count) {
        heading(w, "Settings", 2);
        put_pairs(w, r->settings);
    }
    if (r->inputs.count) {
        heading(w, "Inputs", 2);
        put_pairs(w, r->inputs);
    }
    put_repeat(w, r);
    return LX_OK;
}

/* ---- the whole --------------------------------------------------------------------- */

static void put_differences(writer *w)
{
    const lx_report *report = w->report;
    if (!report->n_differences)
        return;
    lx_str_puts(w->out, "\n## What differs\n\n| setting |");
    for (size_t i = 0; i < report->n_runs; i++) {
        lx_str_putc(w->out, ' ');
        put(w->out, report__name(&report->runs[i]));
        lx_str_puts(w->out, " |");
    }
    lx_str_puts(w->out, "\n|---|");
    for (size_t i = 0; i < report->n_runs; i++)
        lx_str_puts(w->out, "---|");
    lx_str_putc(w->out, '\n');
    for (size_t i = 0; i < report->n_differences; i++) {
        lx_str_puts(w->out, "| ");
        put(w->out, report->differences[i].key);
        lx_str_puts(w->out, " |");
        for (size_t k = 0; k < report->n_runs; k++) {
            lx_str_putc(w->out, ' ');
            put(w->out,
                report->differences[i].values[k] ? report->differences[i].values[k] : "");
            lx_str_puts(w->out, " |");
        }
        lx_str_putc(w->out, '\n');
    }
}

static void put_scrubbed(writer *w)
{
    const lx_report *r = w->report;
    lx_str_puts(w->out, "\n## Privacy\n\n");
    if (!r->is_scrubbed)
        lx_str_puts(w->out, "Nothing was taken out: paths and names are as recorded.\n");
    else if (!r->scrubbed.count)
        lx_str_puts(w->out, "There was nothing to take out.\n");
    for (size_t i = 0; i < r->scrubbed.count; i++) {
        lx_str_puts(w->out, "- ");
        put(w->out, r->scrubbed.items[i]);
        lx_str_putc(w->out, '\n');
    }
    if (is_there(r->made)) {
        lx_str_puts(w->out, "\n---\n");
        put(w->out, r->made);
        lx_str_putc(w->out, '\n');
    }
}

int lx_report_markdown(lx_str *out, const lx_report *report, const char *folder,
                       lx_report_save save, void *context, lx_error *err)
{
    writer w = {.out = out,
                .report = report,
                .arena = lx_arena_new(),
                .folder = folder,
                .save = save,
                .context = context};
    int rc = LX_OK;

    if (!w.arena)
        return lx_oom(err);
    lx_str_puts(out, "# ");
    put(out, report->title);
    lx_str_puts(out, "\n\n");
    if (report->n_runs > 1) {
        report__figure overlay;
        if ((rc = report__overlay(&overlay, report, w.arena, err)) == LX_OK &&
            overlay.chart.n_lines)
            rc = put_figure(&w, &overlay, err);
        put_differences(&w);
        if (rc == LX_OK)
            rc = put_across(&w, err);
    }
    for (w.run = 0; w.run < report->n_runs && rc == LX_OK; w.run++)
        rc = put_run(&w, &report->runs[w.run], err);
    put_scrubbed(&w);
    lx_arena_free(w.arena);
    return rc < 0 ? rc : lx_str_check(out, err);
}
