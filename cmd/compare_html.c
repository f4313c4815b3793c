/* lx compare: the comparison as a page. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cmd/compare.h"
#include "cmd/run_field.h"
#include "cmd/settings.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/query/when.h"
#include "src/report/page.h"

enum { MOST_CHANGES = 200, MOST_PATCH = 20000, MOST_TEXT = 4000 };

/* One page being written. Every text of a run passes `clean`. */
typedef struct page {
    lx_html *h;
    lx_comparison *c;
    lx_privacy *privacy;
} page;

/* Formatted, in the arena; "" without memory, which is told in the end. */
static const char *make(page *p, const char *fmt, ...) LX_PRINTF(2, 3);

static const char *make(page *p, const char *fmt, ...)
{
    va_list args;
    char *text;
    int n;

    va_start(args, fmt);
    n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0 || !(text = lx_arena_alloc(p->c->arena, (size_t)n + 1))) {
        p->c->is_out_of_memory = true;
        return "";
    }
    va_start(args, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, args);
    va_end(args);
    return text;
}

/* Nothing is left of a text when memory runs out: it is noted. */
static const char *scrubbed(page *p, const char *text)
{
    const char *kept = lx_privacy_text(p->privacy, text, p->c->arena);

    p->c->is_out_of_memory |= *text && !*kept;
    return kept;
}

/* Scrubbed, and cut where one text would be a page of its own. */
static const char *clean(page *p, const char *text)
{
    size_t n, most = MOST_TEXT;

    text = text ? scrubbed(p, text) : "";
    if ((n = strlen(text)) <= most)
        return text;
    while (most && ((unsigned char)text[most] & 0xC0) == 0x80)
        most--;
    return make(p, "%.*s ... (%zu more bytes)", (int)most, text, n - most);
}

static const char *letter(size_t i)
{
    static const char letters[] = "a\0b\0c\0d\0e\0f\0g\0h\0i\0j\0k\0l\0m\0n\0o\0p\0q\0r\0"
                                  "s\0t\0u\0v\0w\0x\0y\0z";
    return letters + 2 * i;
}

/* ---- tables ------------------------------------------------------------------------ */

static void open_table(page *p, const char *const *titles, size_t n, const char *numeric)
{
    lx_html_open(p->h, "div", "class", "table", NULL);
    lx_html_open(p->h, "table", NULL);
    lx_html_open(p->h, "thead", NULL);
    lx_html_open(p->h, "tr", NULL);
    for (size_t i = 0; i < n; i++)
        lx_html_leaf(p->h, "th", titles[i], "scope", "col", "class",
                     numeric[i] == 'n' ? "num" : NULL, NULL);
    lx_html_close(p->h);
    lx_html_close(p->h);
    lx_html_open(p->h, "tbody", NULL);
}

static void close_table(page *p)
{
    lx_html_close(p->h);
    lx_html_close(p->h);
    lx_html_close(p->h);
}

static void put_number(page *p, double x, const char *classes)
{
    char text[32] = "";
    if (isfinite(x))
        snprintf(text, sizeof text, "%.4g", x);
    lx_html_leaf(p->h, "td", text, "class", classes, NULL);
}

/* A first column of names, then one a run; `n` numeric or `t` text for those of runs. */
static int open_run_table(page *p, const char *first, char kind, lx_error *err)
{
    const char *titles[LX_COMPARE_RUNS + 1];
    char numeric[LX_COMPARE_RUNS + 2];

    titles[0] = first;
    numeric[0] = kind;
    for (size_t i = 0; i < p->c->n; i++) {
        titles[i + 1] = letter(i);
        numeric[i + 1] = kind;
    }
    open_table(p, titles, p->c->n + 1, numeric);
    return lx_str_check(p->h->out, err);
}

static void put_id(page *p, const lx_run_row *r)
{
    if (p->c->link)
        lx_html_open(p->h, "a", "href", make(p, "%s/%.32s", p->c->link, r->id), NULL);
    lx_html_leaf(p->h, "code", make(p, "%.10s", r->id), NULL);
    if (p->c->link)
        lx_html_close(p->h);
}

static int put_runs(page *p, lx_error *err)
{
    static const char *const titles[] = {"",       "run",   "name", "started",
                                         "status", "steps", "loss"};
    open_table(p, titles, 7, "tttttnn");
    for (size_t i = 0; i < p->c->n; i++) {
        const lx_run_row *r = &p->c->runs[i].row;
        char started[32], steps[32] = "";
        lx_when_format(started, r->started);
        if (r->last_step >= 0)
            snprintf(steps, sizeof steps, "%lld", (long long)r->last_step);
        lx_html_open(p->h, "tr", NULL);
        lx_html_leaf(p->h, "th", letter(i), "scope", "row", "class",
                     make(p, "lx-c%zu", i % LX_SVG_COLORS), NULL);
        lx_html_open(p->h, "td", "class", "day", NULL);
        put_id(p, r);
        lx_html_close(p->h);
        lx_html_leaf(p->h, "td", clean(p, r->name), NULL);
        lx_html_leaf(p->h, "td", started, "class", "day", NULL);
        lx_html_leaf(p->h, "td", r->status, NULL);
        lx_html_leaf(p->h, "td", steps, "class", "num", NULL);
        put_number(p, r->loss, "num");
        lx_html_close(p->h);
    }
    close_table(p);
    return lx_str_check(p->h->out, err);
}

static int put_facts(page *p, const char *title, const lx_compare_facts *facts,
                     lx_error *err)
{
    int rc;

    if (!facts->count)
        return LX_OK;
    lx_html_leaf(p->h, "h2", title, NULL);
    if ((rc = open_run_table(p, "", 't', err)) < 0)
        return rc;
    for (size_t k = 0; k < facts->count; k++) {
        lx_html_open(p->h, "tr", NULL);
        lx_html_leaf(p->h, "th", clean(p, facts->items[k].name), "scope", "row", NULL);
        for (size_t i = 0; i < p->c->n; i++)
            lx_html_leaf(p->h, "td", clean(p, facts->items[k].texts[i]), NULL);
        lx_html_close(p->h);
    }
    close_table(p);
    return LX_OK;
}

/* ---- data, code -------------------------------------------------------------------- */

static const char *change_text(page *p, const lx_data_change *change, lx_error *err,
                               int *rc)
{
    static const char *const words[] = {
        [LX_DATA_ADDED] = "added",
        [LX_DATA_REMOVED] = "removed",
        [LX_DATA_MOVED] = "moved",
        [LX_DATA_BYTES] = "another image",
        [LX_DATA_LATENTS] = "latents from elsewhere",
    };
    const char *caption;

    if (change->kind == LX_DATA_CAPTION) {
        *rc = lx_compare_caption_change(&caption, p->c, change, err);
        return *rc < 0 ? "" : caption;
    }
    if (change->kind == LX_DATA_MOVED)
        return make(p, "is %s/%s", change->b->folder, change->b->name);
    return words[change->kind];
}

static int put_pair_data(page *p, size_t k, lx_error *err)
{
    static const char *const titles[] = {"image", "what"};
    const lx_data_changes *d = &p->c->pairs[k].data;
    int rc = LX_OK;

    lx_html_open(p->h, "p", NULL);
    lx_html_textf(p->h, "From a to %s: %zu of %zu images are the same, %zu changes.",
                  letter(k), d->n_same, p->c->runs[0].data.n_images, d->count);
    lx_html_close(p->h);
    open_table(p, titles, 2, "tt");
    for (size_t i = 0; i < d->count && i < MOST_CHANGES && rc == LX_OK; i++) {
        const lx_data_image *image = d->items[i].a ? d->items[i].a : d->items[i].b;
        const char *name = make(p, "%s/%s", image->folder, image->name);
        lx_html_open(p->h, "tr", NULL);
        lx_html_leaf(p->h, "td", clean(p, name), NULL);
        lx_html_leaf(p->h, "td", clean(p, change_text(p, &d->items[i], err, &rc)), NULL);
        lx_html_close(p->h);
    }
    close_table(p);
    if (d->count > MOST_CHANGES) {
        lx_html_open(p->h, "p", "class", "note", NULL);
        lx_html_textf(p->h, "and %zu more changes", d->count - MOST_CHANGES);
        lx_html_close(p->h);
    }
    return rc;
}

static int put_data(page *p, lx_error *err)
{
    bool has_heading = p->c->folders.count > 0;
    int rc = put_facts(p, "Data", &p->c->folders, err);

    for (size_t k = 1; k < p->c->n && rc == LX_OK; k++)
        if (p->c->pairs[k].has_data && p->c->pairs[k].data.count) {
            if (!has_heading)
                lx_html_leaf(p->h, "h2", "Data", NULL);
            has_heading = true;
            rc = put_pair_data(p, k, err);
        }
    return rc;
}

static void put_patch(page *p, const char *of, const char *patch)
{
    const char *kept = patch;

    if (!patch)
        return;
    if (strlen(patch) > MOST_PATCH)
        kept = make(p, "%.*s\n...", MOST_PATCH, patch);
    lx_html_open(p->h, "details", NULL);
    lx_html_leaf(p->h, "summary", make(p, "in %s", of), NULL);
    lx_html_leaf(p->h, "pre", scrubbed(p, kept), "class",
                 "diff", NULL);
    lx_html_close(p->h);
}

static int put_code(page *p, lx_error *err)
{
    bool has_heading = p->c->code.count > 0;
    int rc = put_facts(p, "Code", &p->c->code, err);

    for (size_t k = 1; k < p->c->n && rc == LX_OK; k++)
        for (size_t i = 0; i < p->c->pairs[k].n_code; i++) {
            const lx_code_change *change = &p->c->pairs[k].code[i];
            if (!has_heading)
                lx_html_leaf(p->h, "h2", "Code", NULL);
            has_heading = true;
            lx_html_open(p->h, "p", NULL);
            lx_html_leaf(p->h, "code", clean(p, change->file), NULL);
            lx_html_textf(p->h, ": uncommitted changes %s%s",
                          change->side == '*'   ? "that are not those of a, in "
                          : change->side == 'a' ? "in a, not in "
                                                : "only in ",
                          letter(k));
            lx_html_close(p->h);
            put_patch(p, "a", change->a);
            put_patch(p, letter(k), change->b);
        }
    return rc;
}

/* ---- loss -------------------------------------------------------------------------- */

/* NULL: some run does not say where its points lie on this axis. */
static const double *axis_of(const lx_compared *r, const char *axis)
{
    return strcmp(axis, "images") == 0   ? r->images
           : strcmp(axis, "epochs") == 0 ? r->epoch_axis
                                         : r->loss.steps;
}

static int put_curves(page *p, const char *axis, const char *label, lx_error *err)
{
    lx_comparison *c = p->c;
    lx_svg_line lines[2 * LX_COMPARE_RUNS];
    lx_svg_chart chart = {.title = label,
                          .x_label = label,
                          .y_label = "loss",
                          .lines = lines,
                          .height = 320};
    char id[32];

    for (size_t i = 0; i < c->n; i++) {
        const lx_compared *r = &c->runs[i];
        const double *x = axis_of(r, axis);
        if (!r->loss.n)
            continue;
        if (!x)
            return LX_OK;
        lines[chart.n_lines++] = (lx_svg_line){.x = x,
                                               .y = r->loss.values,
                                               .n = r->loss.n,
                                               .color = (int)i,
                                               .is_faint = true};
        lines[chart.n_lines++] =
            (lx_svg_line){.label = make(p, "%s %s", letter(i), clean(p, r->label)),
                          .x = x,
                          .y = r->smooth,
                          .n = r->loss.n,
                          .color = (int)i};
    }
    if (!chart.n_lines)
        return LX_OK;
    snprintf(id, sizeof id, "loss-by-%s", axis);
    return lx_page_curves(
        p->h, id, &chart, c->smoothing,
        make(p, "Loss by %s, smoothed with weight %g.", label, c->smoothing), err);
}

/* On fixed draws of images held out: no smoothing is needed. */
static int put_validation(page *p, lx_error *err)
{
    lx_comparison *c = p->c;
    lx_svg_line lines[LX_COMPARE_RUNS];
    lx_svg_chart chart = {.title = "Validation loss",
                          .x_label = "step",
                          .y_label = "loss",
                          .lines = lines,
                          .height = 260};

    if (!lx_compare_has_validation(c))
        return LX_OK;
    for (size_t i = 0; i < c->n; i++) {
        const lx_loss_curve *v = &c->runs[i].validation;
        if (v->n)
            lines[chart.n_lines++] = (lx_svg_line){
                .label = make(p, "%s %s", letter(i), clean(p, c->runs[i].label)),
                .x = v->steps,
                .y = v->values,
                .n = v->n,
                .color = (int)i,
                .has_points = v->n < 50};
    }
    lx_html_leaf(p->h, "h2", "Validation", NULL);
    for (size_t k = 1; k < c->n; k++) {
        const char *words;
        int rc = lx_compare_validation_words(&words, c, k, letter(k), err);
        if (rc < 0)
            return rc;
        if (words)
            lx_html_leaf(p->h, "p", words, NULL);
    }
    return lx_page_curves(p->h, "validation", &chart, 0,
                          "Loss of images held out, on the same draws each time.", err);
}

static void put_difference(page *p, size_t k, const lx_loss_difference *d,
                           const char *unit)
{
    const char *name = letter(k);

    if (!d->n)
        return;
    lx_html_open(p->h, "p", NULL);
    if (!d->is_estimated) {
        lx_html_textf(p->h,
                      "Fewer than %d points are too few to tell which of a and %s is lower at equal %s "
                      "(%.6g to %.6g): a %.4g, %s %.4g; %s - a = %+.3g.",
                      LX_LOSS_POINTS, name, unit, d->first, d->last, d->a, name, d->b, name,
                      d->difference.mean);
        lx_html_close(p->h);
        return;
    }
    if (d->difference.low == 0 && d->difference.high == 0)
        lx_html_textf(p->h, "a and %s are equal", name);
    else if (d->difference.high < 0 || d->difference.low > 0)
        lx_html_textf(p->h, "%s is lower than %s", d->difference.high < 0 ? name : "a",
                      d->difference.high < 0 ? "a" : name);
    else
        lx_html_textf(p->h, "Which of a and %s is lower cannot be told", name);
    lx_html_textf(p->h,
                  " at equal %s (%.6g to %.6g): a %.4g, %s %.4g; %s - a = %+.3g, 95 %% "
                  "interval %+.3g to %+.3g",
                  unit, d->first, d->last, d->a, name, d->b, name, d->difference.mean,
                  d->difference.low, d->difference.high);
    if (d->is_paired)
        lx_html_textf(p->h,
                      " (paired: the same draws at every step, correlation %.3f, blocks "
                      "of %zu).",
                      d->correlation, d->difference.block);
    else
        lx_html_textf(p->h, " (each drawn by itself, bootstrap in blocks of %zu).",
                      d->difference.block);
    lx_html_close(p->h);
}

static int put_epochs(page *p, lx_error *err)
{
    lx_comparison *c = p->c;
    size_t n_epochs = 0;
    int rc;

    for (size_t i = 0; i < c->n; i++)
        n_epochs = c->runs[i].n_epochs > n_epochs ? c->runs[i].n_epochs : n_epochs;
    if (!n_epochs)
        return LX_OK;
    lx_html_leaf(p->h, "h3", "Mean loss of each epoch", NULL);
    lx_html_open(p->h, "p", NULL);
    lx_html_text(p->h, "Best epoch:");
    for (size_t i = 0; i < c->n; i++)
        if (c->runs[i].best_epoch)
            lx_html_textf(p->h, " %s %zu", letter(i), c->runs[i].best_epoch);
    lx_html_text(p->h, ".");
    lx_html_close(p->h);
    if ((rc = open_run_table(p, "epoch", 'n', err)) < 0)
        return rc;
    for (size_t e = 1; e <= n_epochs; e++) {
        lx_html_open(p->h, "tr", NULL);
        put_number(p, (double)e, "num");
        for (size_t i = 0; i < c->n; i++) {
            const lx_compared *r = &c->runs[i];
            put_number(p, e <= r->n_epochs ? r->epoch_means[e - 1] : (double)NAN,
                       e == r->best_epoch ? "num best" : "num");
        }
        lx_html_close(p->h);
    }
    close_table(p);
    return lx_str_check(p->h->out, err);
}

static int put_loss(page *p, lx_error *err)
{
    lx_comparison *c = p->c;
    bool has_loss = false, has_images = false;
    int rc;

    for (size_t i = 0; i < c->n; i++)
        has_loss = has_loss || c->runs[i].loss.n;
    if (!has_loss)
        return LX_OK;
    lx_html_leaf(p->h, "h2", "Loss", NULL);
    if ((rc = put_curves(p, "steps", "step", err)) < 0)
        return rc;
    for (size_t k = 1; k < c->n; k++) {
        const char *a = c->runs[0].curve, *b = c->runs[k].curve;
        if (*a && strcmp(a, b) == 0) {
            put_difference(p, k, &c->pairs[k].loss, "steps");
            put_difference(p, k, &c->pairs[k].by_images, "images seen");
            has_images = has_images || c->pairs[k].by_images.n;
            continue;
        }
        lx_html_open(p->h, "p", NULL);
        lx_html_textf(p->h, "a has %s, %s has %s: not compared.", *a ? a : "no loss",
                      letter(k), *b ? b : "no loss");
        lx_html_close(p->h);
    }
    if (has_images && (rc = put_curves(p, "images", "images seen", err)) < 0)
        return rc;
    return put_epochs(p, err);
}

/* ---- settings against results ------------------------------------------------------ */

static int result_axis(lx_parallel_axis *out, const lx_comparison *c,
                       const lx_compare_result *result, lx_error *err)
{
    const char **texts = lx_arena_calloc(c->arena, c->n, sizeof *texts);

    if (!texts)
        return lx_oom(err);
    for (size_t i = 0; i < c->n; i++)
        if (isfinite(result->values[i]) &&
            !(texts[i] = lx_arena_printf(c->arena, "%.6g", result->values[i])))
            return lx_oom(err);
    *out = (lx_parallel_axis){result->name, texts, true};
    return LX_OK;
}

static int put_across(page *p, lx_error *err)
{
    enum { LOSSES = 2 };
    lx_comparison *c = p->c;
    lx_parallel_axis axes[LX_PARALLEL_AXES];
    const char *labels[LX_COMPARE_RUNS];
    lx_parallel chart = {.title = "Settings against results",
                         .labels = labels,
                         .n_lines = c->n,
                         .axes = axes};
    size_t n_results = 0;
    int rc;

    for (size_t i = 0; i < c->n; i++)
        labels[i] = make(p, "%s %s", letter(i), clean(p, c->runs[i].label));
    for (size_t k = 0; k < c->flags.count && chart.n_axes < LX_PARALLEL_AXES - LOSSES;
         k++) {
        const lx_compare_fact *flag = &c->flags.items[k];
        const char **texts = lx_arena_calloc(c->arena, c->n, sizeof *texts);
        if (!texts)
            return lx_oom(err);
        for (size_t i = 0; i < c->n; i++)
            texts[i] = flag->texts[i] ? clean(p, flag->texts[i]) : NULL;
        if (strcmp(flag->name, "seed") != 0 && lx_parallel_is_axis(texts, c->n))
            axes[chart.n_axes++] =
                (lx_parallel_axis){lx_run_flag_short(flag->name), texts, false};
    }
    if (!chart.n_axes)
        return LX_OK;
    for (size_t k = 0; k < LOSSES; k++) {
        lx_parallel_axis axis;
        if ((rc = result_axis(&axis, c, &c->results[k], err)) < 0)
            return rc;
        if (lx_parallel_is_axis(axis.texts, c->n)) {
            axes[chart.n_axes++] = axis;
            n_results++;
        }
    }
    if (!n_results)
        return LX_OK;
    return lx_page_parallel(
        p->h, "across", &chart,
        make(p,
             "Settings against results, a line for each run; from the least %s in "
             "blue to the most in red.",
             axes[chart.n_axes - n_results].name),
        err);
}

static void put_ranks(page *p)
{
    static const char *const titles[] = {"setting", "result", "correlation", "95 %",
                                         "runs"};
    lx_comparison *c = p->c;

    if (!c->n_ranks)
        return;
    lx_html_leaf(p->h, "h3", "Rank correlation (Spearman)", NULL);
    open_table(p, titles, 5, "ttnnn");
    for (size_t i = 0; i < c->n_ranks; i++) {
        const lx_compare_rank *r = &c->ranks[i];
        char text[64];
        lx_html_open(p->h, "tr", NULL);
        lx_html_leaf(p->h, "td", clean(p, lx_run_flag_short(r->flag)), NULL);
        lx_html_leaf(p->h, "td", r->result, NULL);
        snprintf(text, sizeof text, "%+.2f", r->rank.rho);
        lx_html_leaf(p->h, "td", text, "class", "num", NULL);
        if (isnan(r->rank.low))
            snprintf(text, sizeof text, "%s",
                     fabs(r->rank.rho) == 1 ? "all in order" : "too few");
        else
            snprintf(text, sizeof text, "%+.2f to %+.2f", r->rank.low, r->rank.high);
        lx_html_leaf(p->h, "td", text, "class", "num", NULL);
        put_number(p, (double)r->rank.n, "num");
        lx_html_close(p->h);
    }
    close_table(p);
}

static int put_results(page *p, lx_error *err)
{
    lx_comparison *c = p->c;
    const char *titles[1 + sizeof c->results / sizeof *c->results] = {""};
    char numeric[sizeof titles / sizeof *titles];
    int rc;

    if (c->n < 3)
        return LX_OK;
    lx_html_leaf(p->h, "h2", "Results", NULL);
    if ((rc = put_across(p, err)) < 0)
        return rc;
    memset(numeric, 'n', sizeof numeric);
    numeric[0] = 't';
    for (size_t k = 0; k < c->n_results; k++)
        titles[k + 1] = c->results[k].name;
    open_table(p, titles, c->n_results + 1, numeric);
    for (size_t i = 0; i < c->n; i++) {
        lx_html_open(p->h, "tr", NULL);
        lx_html_leaf(p->h, "th", make(p, "%s %s", letter(i), clean(p, c->runs[i].label)),
                     "scope", "row", NULL);
        for (size_t k = 0; k < c->n_results; k++) {
            char text[32];
            lx_duration_format(text, c->results[k].values[i]);
            if (strcmp(c->results[k].name, "duration") == 0)
                lx_html_leaf(p->h, "td", text, "class", "num", NULL);
            else
                put_number(p, c->results[k].values[i], "num");
        }
        lx_html_close(p->h);
    }
    close_table(p);
    put_ranks(p);
    return LX_OK;
}

/* ---- the whole --------------------------------------------------------------------- */

int lx_compare_html_body(lx_html *h, lx_comparison *c, lx_privacy *privacy, lx_error *err)
{
    page p = {h, c, privacy};
    int rc;

    if ((rc = put_runs(&p, err)) < 0)
        return rc;
    for (size_t i = 0; i < c->findings.count; i++)
        lx_html_leaf(h, "p", c->findings.items[i], "class", "finding bad", NULL);
    for (size_t i = 0; i < c->notes.count; i++)
        lx_html_leaf(h, "p", c->notes.items[i], "class", "finding good", NULL);
    if ((rc = put_validation(&p, err)) < 0 || (rc = put_loss(&p, err)) < 0 ||
        (rc = put_results(&p, err)) < 0 ||
        (rc = put_facts(&p, "Settings", &c->flags, err)) < 0 ||
        (rc = put_data(&p, err)) < 0 ||
        (rc = put_facts(&p, "Base model", &c->base, err)) < 0 ||
        (rc = put_code(&p, err)) < 0 ||
        (rc = put_facts(&p, "Environment", &c->environment, err)) < 0)
        return rc;
    return put_facts(&p, "Names and places", &c->places, err);
}

/* All texts first: a name known from one of them is taken out of all. */
static void learn(lx_privacy *privacy, const lx_comparison *c)
{
    for (size_t i = 0; i < c->n; i++) {
        const lx_run_texts *t = &c->runs[i].texts;
        const char *const texts[] = {
            c->runs[i].row.name, t->command_line, t->flags_given, t->flags,
            t->base_model,       t->environment,  t->git,         t->diff};
        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++)
            if (texts[k])
                lx_privacy_learn(privacy, texts[k], strlen(texts[k]));
    }
}

static int put_scrubbed(lx_html *h, lx_privacy *privacy, lx_arena *arena, lx_error *err)
{
    const char *const *told;
    size_t n;
    int rc = lx_privacy_told(&told, &n, privacy, arena, err);

    if (rc < 0 || lx_privacy_is_off(privacy) || !n)
        return rc;
    lx_html_leaf(h, "h2", "Privacy", NULL);
    lx_html_leaf(h, "p",
                 "Before this page was written, these were taken out of it:", NULL);
    lx_html_open(h, "ul", NULL);
    for (size_t i = 0; i < n; i++)
        lx_html_leaf(h, "li", told[i], NULL);
    lx_html_close(h);
    return LX_OK;
}

/* "a, b and c", "a, b, c and 9 more". */
static const char *title_of(lx_comparison *c, lx_privacy *privacy)
{
    enum { NAMED = 3 };
    size_t n = c->n > NAMED + 1 ? NAMED : c->n;
    lx_arena *arena = c->arena;
    const char *title = "";

    for (size_t i = 0; i < n && title; i++) {
        const lx_run_row *r = &c->runs[i].row;
        const char *name = *r->name ? lx_privacy_text(privacy, r->name, arena)
                                    : lx_arena_printf(arena, "%.10s", r->id);
        const char *between = !i ? "" : i + 1 == c->n ? " and " : ", ";
        title = name ? lx_arena_printf(arena, "%s%s%s", title, between, name) : NULL;
    }
    return title && n < c->n ? lx_arena_printf(arena, "%s and %zu more", title, c->n - n)
                             : title;
}

int lx_compare_html(lx_comparison *c, const char *path, bool keeps_private, lx_error *err)
{
    lx_privacy *privacy = NULL;
    lx_str out = LX_STR_INIT;
    const char *title;
    char made[64] = "", day[16] = "";
    time_t now = time(NULL);
    struct tm local;
    lx_html h;
    int rc;

    if ((rc = lx_privacy_new(&privacy, keeps_private, err)) < 0)
        return rc;
    lx_settings_learn(c->cli->settings, privacy);
    learn(privacy, c);
    if (!(title = title_of(c, privacy))) {
        rc = lx_oom(err);
        goto done;
    }
    if (localtime_r(&now, &local))
        strftime(day, sizeof day, "%Y-%m-%d", &local);
    snprintf(made, sizeof made, "Made by lx " LX_VERSION " on %s.", day);
    lx_html_init(&h, &out);
    lx_page_begin(&h, title, true);
    lx_html_leaf(&h, "h1", title, NULL);
    if ((rc = lx_compare_html_body(&h, c, privacy, err)) < 0 ||
        (rc = put_scrubbed(&h, privacy, c->arena, err)) < 0)
        goto done;
    lx_page_end(&h, made, true);
    if ((rc = c->is_out_of_memory || lx_alloc_has_failed()
                  ? lx_oom(err)
                  : lx_html_finish(&h, err)) == LX_OK)
        rc = lx_file_write(path, out.data, out.len, err);
done:
    lx_privacy_free(privacy);
    lx_str_release(&out);
    return rc;
}
