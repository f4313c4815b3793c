#include "src/verify/page.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/report/page.h"

enum { MOST_BARS = 40 };

typedef struct writer {
    lx_html h;
    lx_str *out;
    const lx_verify *v;
    const lx_verify_options *options;
    lx_error *err;
} writer;

static const char *const questions[LX_N_QUESTIONS] = {
    "Were the captions read?",   "Did the weights move?",
    "Was anything learned?",     "Does it depend on the caption?",
    "Does the identifier work?", "Memorised or generalising?",
    "Was anything damaged?",     "Which strength is best?",
};

/* ---- cells --------------------------------------------------------------------- */

static void put_cell(writer *w, const char *text)
{
    lx_html_leaf(&w->h, "td", text ? text : "", NULL);
}

/* NaN is an empty cell. */
static void put_fixed(writer *w, double x, int decimals)
{
    char text[48] = "";

    if (isfinite(x))
        snprintf(text, sizeof text, "%.*f", decimals, x);
    lx_html_leaf(&w->h, "td", text, "class", "num", NULL);
}

static void put_p(writer *w, double p)
{
    char text[48] = "";

    if (isfinite(p))
        snprintf(text, sizeof text, "%.2g", p);
    lx_html_leaf(&w->h, "td", text, "class", "num", NULL);
}

static void open_table(writer *w, const char *const *names, const char *numeric)
{
    lx_html_open(&w->h, "div", "class", "table", NULL);
    lx_html_open(&w->h, "table", NULL);
    lx_html_open(&w->h, "thead", NULL);
    lx_html_open(&w->h, "tr", NULL);
    for (size_t i = 0; names[i]; i++)
        lx_html_leaf(&w->h, "th", names[i], "scope", "col", "class",
                     numeric[i] == 'n' ? "num" : NULL, NULL);
    lx_html_close(&w->h);
    lx_html_close(&w->h);
    lx_html_open(&w->h, "tbody", NULL);
}

static void close_table(writer *w)
{
    for (int i = 0; i < 3; i++)
        lx_html_close(&w->h);
}

static const char *percent(char out[64], const lx_estimate *e)
{
    if (!isfinite(e->value))
        return "";
    if (isfinite(e->low) && isfinite(e->high))
        snprintf(out, 64, "%.2f %% [%.2f, %.2f]", 100 * e->value, 100 * e->low,
                 100 * e->high);
    else
        snprintf(out, 64, "%.2f %%", 100 * e->value);
    return out;
}

/* ---- verdict and answers ------------------------------------------------------- */

static const char *colour_of(lx_label label)
{
    return label == LX_LABEL_LEARNED                                  ? "finding good"
           : label == LX_LABEL_WEAK || label == LX_LABEL_UNDETERMINED ? "finding"
                                                                      : "finding bad";
}

static void put_verdict(writer *w, const lx_verify_result *r)
{
    lx_html_open(&w->h, "div", "class", colour_of(r->verdict.label), NULL);
    lx_html_open(&w->h, "p", "class", "lead", NULL);
    lx_html_open(&w->h, "strong", NULL);
    lx_html_textf(&w->h, "%s%s", lx_label_name(r->verdict.label),
                  r->verdict.is_certain ? " (proved)" : "");
    lx_html_close(&w->h);
    lx_html_close(&w->h);
    lx_html_leaf(&w->h, "p", r->verdict.why, NULL);
    if (r->verdict.n_needed) {
        lx_html_open(&w->h, "p", NULL);
        lx_html_textf(&w->h, "About %zu images would decide.", r->verdict.n_needed);
        lx_html_close(&w->h);
    }
    for (size_t i = 0; i < r->n_flags; i++)
        lx_html_leaf(&w->h, "span", r->flags[i], "class", "badge warn", NULL);
    lx_html_close(&w->h);
}

static void put_answers(writer *w, const lx_verify_result *r)
{
    static const char *const names[] = {"Question", "Answer", "Why", NULL};

    open_table(w, names, "ttt");
    for (int q = 0; q < LX_N_QUESTIONS; q++) {
        lx_html_open(&w->h, "tr", NULL);
        lx_html_leaf(&w->h, "th", questions[q], "scope", "row", NULL);
        put_cell(w, r->answers[q].word);
        put_cell(w, r->answers[q].text);
        lx_html_close(&w->h);
    }
    close_table(w);
}

/* ---- plots --------------------------------------------------------------------- */

static int put_curve(writer *w, const char *title, const char *x_label,
                     const char *caption, const lx_verify_point *points, size_t n,
                     const lx_svg_mark *marks, size_t n_marks)
{
    double x[64], y[64], low[64], high[64];
    lx_svg_line line = {.x = x, .y = y, .low = low, .high = high, .has_points = true};
    lx_svg_chart chart = {.title = title,
                          .x_label = x_label,
                          .y_label = "gain, %",
                          .lines = &line,
                          .n_lines = 1,
                          .marks = marks,
                          .n_marks = n_marks};
    int rc;

    if (n < 2)
        return LX_OK;
    for (; line.n < n && line.n < 64; line.n++) {
        const lx_estimate *e = &points[line.n].y;
        x[line.n] = points[line.n].x;
        y[line.n] = 100 * e->value;
        low[line.n] = 100 * (isfinite(e->low) ? e->low : e->value);
        high[line.n] = 100 * (isfinite(e->high) ? e->high : e->value);
    }
    lx_html_open(&w->h, "figure", NULL);
    rc = lx_svg_curves(w->out, &chart, w->err);
    lx_html_leaf(&w->h, "figcaption", caption, NULL);
    lx_html_close(&w->h);
    return rc;
}

static int put_bars(writer *w, const lx_svg_bars *chart, const char *caption)
{
    int rc;

    if (chart->n_bars == 0)
        return LX_OK;
    lx_html_open(&w->h, "figure", NULL);
    rc = lx_svg_bar_chart(w->out, chart, w->err);
    lx_html_leaf(&w->h, "figcaption", caption, NULL);
    lx_html_close(&w->h);
    return rc;
}

static int put_tag_bars(writer *w, const lx_verify_result *r)
{
    lx_svg_bar bars[MOST_BARS];
    lx_svg_bars chart = {
        .title = "Effect of tags", .x_label = "share of the base loss, %", .bars = bars};

    for (size_t i = 0; i < r->n_tags && chart.n_bars < MOST_BARS; i++) {
        const lx_verify_tag *t = &r->tags[i];
        if (!isfinite(t->effect.value))
            continue;
        bars[chart.n_bars++] = (lx_svg_bar){
            .label = t->text,
            .value = 100 * t->effect.value,
            .low = isfinite(t->effect.low) ? 100 * t->effect.low : NAN,
            .high = isfinite(t->effect.high) ? 100 * t->effect.high : NAN,
            .color = t->is_constant,
        };
    }
    return put_bars(
        w, &chart,
        "What is lost when the tag is replaced by a control word; in another colour the "
        "tags that every image has.");
}

static int put_image_bars(writer *w, const lx_verify_result *r)
{
    const lx_verify_images *images = lx_verify_images_of(w->v);
    lx_svg_bar bars[MOST_BARS];
    lx_svg_bars chart = {
        .title = "Gain of each image", .x_label = "gain, %", .bars = bars};
    size_t k = 0;

    for (size_t i = 0; images && i < images->count && k < r->n_images; i++) {
        if (images->items[i].role != LX_IMAGES_TRAINING)
            continue;
        if (chart.n_bars < MOST_BARS)
            bars[chart.n_bars++] =
                (lx_svg_bar){.label = lx_path_base(images->items[i].path),
                             .value = 100 * r->image_gain[k],
                             .low = NAN,
                             .high = NAN};
        k++;
    }
    return put_bars(w, &chart, "How much better each training image is denoised.");
}

static int put_plots(writer *w, const lx_verify_result *r)
{
    const lx_svg_mark best = {r->best_strength, "best"};
    int rc;

    lx_html_leaf(&w->h, "h2", "Where the gain is", NULL);
    if ((rc = put_curve(w, "Gain by strength", "strength",
                        "Gain on training images by strength, with 95 % intervals.",
                        r->strengths, r->n_strengths, &best,
                        isfinite(best.x) && best.x < 5)) < 0 ||
        (rc =
             put_curve(w, "Gain by timestep", "timestep",
                       "Gain by timestep: left the last details, right the first shapes.",
                       r->bins, r->n_bins, NULL, 0)) < 0 ||
        (rc = put_tag_bars(w, r)) < 0)
        return rc;
    return put_image_bars(w, r);
}

/* ---- tables -------------------------------------------------------------------- */

static void put_tags(writer *w, const lx_verify_result *r)
{
    static const char *const names[] = {"Tag", "Pieces",   "Images",   "Effect",
                                        "q",   "Alone, %", "Reach, z", NULL};
    char text[64];

    lx_html_leaf(&w->h, "h2", "Tags", NULL);
    lx_html_leaf(&w->h, "p",
                 "Effect: gain lost when the tag is replaced. Alone: share of the whole "
                 "gain that the "
                 "tag has as the only word. Reach: how much the new weights answer to "
                 "the word, in "
                 "standard deviations of words no caption holds.",
                 "class", "note", NULL);
    open_table(w, names, "ttntnnn");
    for (size_t i = 0; i < r->n_tags; i++) {
        const lx_verify_tag *t = &r->tags[i];
        lx_html_open(&w->h, "tr", NULL);
        lx_html_leaf(&w->h, "th", t->text, "scope", "row", NULL);
        put_cell(w, t->pieces);
        put_fixed(w, (double)t->n_captions, 0);
        put_cell(w, percent(text, &t->effect));
        put_p(w, t->q);
        put_fixed(w, 100 * t->alone, 0);
        put_fixed(w, t->reach, 1);
        lx_html_close(&w->h);
    }
    close_table(w);
}

static void put_estimate(writer *w, const lx_evidence *row)
{
    char text[96] = "";

    if (row->unit && strcmp(row->unit, "relative") == 0)
        percent(text, &row->estimate);
    else if (row->unit && isfinite(row->estimate.low) && isfinite(row->estimate.high))
        snprintf(text, sizeof text, "%.3g [%.3g, %.3g] %s", row->estimate.value,
                 row->estimate.low, row->estimate.high, row->unit);
    else if (row->unit && isfinite(row->estimate.value))
        snprintf(text, sizeof text, "%.3g %s", row->estimate.value, row->unit);
    put_cell(w, text);
}

static void put_ledger(writer *w, const lx_verify_result *r)
{
    static const char *const names[] = {"Id",       "What", "Of",       "Estimate", "p",
                                        "adjusted", "n",    "Forwards", NULL};

    lx_html_leaf(&w->h, "h2", "Evidence", NULL);
    open_table(w, names, "ntttnnnn");
    for (size_t i = 0; i < r->ledger.count; i++) {
        const lx_evidence *row = &r->ledger.rows[i];
        lx_html_open(&w->h, "tr", NULL);
        lx_html_leaf(&w->h, "th", row->id, "scope", "row", "class", "num", NULL);
        lx_html_open(&w->h, "td", NULL);
        if (row->standing != LX_MEASURED)
            lx_html_textf(&w->h, "%s: ", lx_standing_name(row->standing));
        lx_html_text(&w->h, row->text);
        lx_html_close(&w->h);
        put_cell(w, row->subject);
        put_estimate(w, row);
        put_p(w, row->p);
        put_p(w, row->adjusted);
        put_fixed(w, row->n ? (double)row->n : NAN, 0);
        put_fixed(w, row->cost ? (double)row->cost : NAN, 0);
        lx_html_close(&w->h);
    }
    close_table(w);
}

/* ---- several files ------------------------------------------------------------- */

static double p_value_of(const lx_verify_result *r)
{
    const lx_evidence *row = lx_ledger_find(&r->ledger, "D1");

    return row ? row->adjusted : NAN;
}

static int put_sweep(writer *w, const lx_verify_result *const *results, size_t n,
                     const lx_sweep *sweep)
{
    static const char *const names[] = {
        "File",          "Label",      "Gain",   "p",    "Held-out, %",
        "Best strength", "As good, p", "Cosine", "Step", NULL};
    lx_verify_point points[64];
    char text[64];

    lx_html_leaf(&w->h, "h2", "Which file is best", NULL);
    lx_html_open(&w->h, "p", "class", "lead", NULL);
    lx_html_textf(&w->h,
                  "%s: the %s gain on %s images%s. "
                  "Cosine: of the update with the last file's; step: from the file "
                  "before, in units of the update.",
                  lx_path_base(results[sweep->best]->path),
                  sweep->is_few ? "highest" : "first whose",
                  sweep->is_held_out ? "held-out" : "training",
                  sweep->is_few ? "; fewer than 5 cannot tell whether another is as good"
                                : " is not below the highest");
    lx_html_close(&w->h);
    open_table(w, names, "tttnnnnnn");
    for (size_t i = 0; i < n; i++) {
        const lx_verify_result *r = results[i];
        lx_html_open(&w->h, "tr", NULL);
        lx_html_leaf(&w->h, "th", lx_path_base(r->path), "scope", "row", NULL);
        put_cell(w, lx_label_name(r->verdict.label));
        put_cell(w, percent(text, &r->facts.gain));
        put_p(w, p_value_of(r));
        put_fixed(w, r->n_held ? 100 * lx_mean(r->held_gains, r->n_held) : NAN, 2);
        put_fixed(w, r->best_strength, 2);
        put_p(w, sweep->p[i]);
        put_fixed(w, r->cosine, 3);
        put_fixed(w, r->step, 2);
        lx_html_close(&w->h);
        if (i < 64)
            points[i] = (lx_verify_point){(double)(i + 1), r->facts.gain};
    }
    close_table(w);
    return put_curve(w, "Gain by file", "file, in the order given",
                     "Gain on training images, file by file.", points, n < 64 ? n : 64,
                     NULL, 0);
}

/* ---- the page ------------------------------------------------------------------ */

static void put_plan(writer *w)
{
    const lx_verify_plan *plan = lx_verify_plan_of(w->v);

    lx_html_open(&w->h, "p", "class", "meta", NULL);
    if (lx_verify_images_of(w->v))
        lx_html_textf(
            &w->h,
            "%zu training image%s, %d draws of noise each, seed %llu; base model %s",
            plan->n_images, lx_plural(plan->n_images), plan->n_draws, (unsigned long long)w->options->seed,
            lx_path_base(w->options->base));
    else
        lx_html_text(&w->h, "From the file alone");
    lx_html_close(&w->h);
}

static int put_file(writer *w, const lx_verify_result *r)
{
    int rc = LX_OK;

    put_verdict(w, r);
    put_answers(w, r);
    if (r->facts.is_measured) {
        rc = put_plots(w, r);
        put_tags(w, r);
    }
    put_ledger(w, r);
    return rc;
}

int lx_verify_page(lx_str *out, const lx_verify *v, const lx_verify_options *options,
                   const lx_verify_result *const *results, size_t n,
                   const lx_sweep *sweep, lx_error *err)
{
    writer w = {.out = out, .v = v, .options = options, .err = err};
    const char *title = lx_path_base(results[sweep ? sweep->best : 0]->path);
    int rc = LX_OK;

    lx_html_init(&w.h, out);
    lx_page_begin(&w.h, title, false);
    lx_html_open(&w.h, "h1", NULL);
    lx_html_textf(&w.h, "Did %s learn?", title);
    lx_html_close(&w.h);
    put_plan(&w);
    if (sweep)
        rc = put_sweep(&w, results, n, sweep);
    if (rc == LX_OK)
        rc = put_file(&w, results[sweep ? sweep->best : 0]);
    lx_page_end(&w.h, "lx verify " LX_VERSION, false);
    return rc < 0 ? rc : lx_html_finish(&w.h, err);
}
