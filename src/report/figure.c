#include "src/report/figure.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/report/curve.h"
#include "src/stats/smooth.h"

const char *report__name(const lx_report_run *run)
{
    return run->name && *run->name ? run->name : run->id;
}

void report__duration(char out[32], double seconds)
{
    long long s =
        isfinite(seconds) && seconds >= 0 && seconds < 1e12 ? (long long)seconds : -1;
    if (s < 0)
        out[0] = '\0';
    else if (s < 60)
        snprintf(out, 32, seconds < 10 ? "%.1f s" : "%.0f s", seconds);
    else if (s < 3600)
        snprintf(out, 32, "%lld min %02lld s", s / 60, s % 60);
    else
        snprintf(out, 32, "%lld h %02lld min", s / 3600, s % 3600 / 60);
}

void report__bytes(char out[32], int64_t bytes)
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
    double x = (double)bytes;
    int unit = 0;
    for (; x >= 1000 && unit < 4; unit++)
        x /= 1000;
    snprintf(out, 32, unit && x < 100 ? "%.1f %s" : "%.0f %s", x, units[unit]);
}

static const lx_report_curve *find(const lx_report_run *run, const char *key)
{
    for (size_t i = 0; i < run->n_curves; i++)
        if (strcmp(run->curves[i].key, key) == 0 && run->curves[i].n)
            return &run->curves[i];
    return NULL;
}

const lx_report_curve *report__loss(const lx_report_run *run)
{
    static const char *const keys[] = {"loss", "loss/current", "loss/average",
                                       "train/loss"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const lx_report_curve *c = find(run, keys[i]);
        if (c)
            return c;
    }
    return NULL;
}

/* ---- lines ------------------------------------------------------------------------- */

static lx_svg_line line_of(const lx_report_curve *c, const char *label, int color)
{
    return (lx_svg_line){.label = label,
                         .key = c->key,
                         .x = c->steps,
                         .y = c->values,
                         .n = c->n,
                         .color = color,
                         .has_points = c->n < 2};
}

/* out: a smoothed twin of `raw`, or raw itself where there is nothing to smooth. */
static int smooth_line(lx_svg_line *out, const lx_svg_line *raw, double weight,
                       lx_arena *arena, lx_error *err)
{
    double *y = lx_arena_calloc(arena, raw->n, sizeof *y);
    if (!y)
        return lx_oom(err);
    lx_smooth(y, raw->y, raw->n, weight);
    *out = *raw;
    out->is_faint = false;
    out->y = y;
    return LX_OK;
}

static int set_epochs(lx_svg_chart *chart, const lx_report_run *run, lx_arena *arena,
                      lx_error *err)
{
    lx_svg_mark *marks = lx_arena_calloc(arena, run->n_epochs, sizeof *marks);
    if (!marks)
        return lx_oom(err);
    for (size_t i = 0; i < run->n_epochs; i++) {
        marks[i].x = run->epoch_ends[i];
        marks[i].label = lx_arena_printf(arena, i ? "%zu" : "epoch %zu", i + 1);
    }
    /* More than a few dozen lines hide the curve. */
    chart->marks = marks;
    chart->n_marks = run->n_epochs <= 40 ? run->n_epochs : 0;
    return LX_OK;
}

/* ---- the charts of a run ----------------------------------------------------------- */

static bool is_validation(const char *key)
{
    return strstr(key, "validation") || strstr(key, "val/") == key;
}

static int loss_figure(report__figure *f, const lx_report_run *run, lx_arena *arena,
                       lx_error *err)
{
    const lx_report_curve *loss = report__loss(run);
    lx_svg_line *lines = lx_arena_calloc(arena, run->n_curves + 2, sizeof *lines);
    size_t n = 0;
    int rc;

    if (!lines)
        return lx_oom(err);
    f->smoothing = lx_curve_weight(loss->n);
    lines[n] = line_of(loss, "every step", 0);
    if (f->smoothing > 0) {
        lines[n].is_faint = true;
        if ((rc = smooth_line(&lines[n + 1], &lines[n], f->smoothing, arena, err)) < 0)
            return rc;
        lines[++n].label = "smoothed";
    }
    n++;
    for (size_t i = 0; i < run->n_curves; i++)
        if (is_validation(run->curves[i].key) && run->curves[i].n &&
            &run->curves[i] != loss)
            lines[n] = line_of(&run->curves[i], run->curves[i].key, (int)n), n++;
    f->id = "loss";
    f->caption = f->smoothing > 0
                     ? lx_arena_printf(arena, "Loss by step, smoothed with weight %.3f.",
                                       f->smoothing)
                     : "Loss by step.";
    f->chart = (lx_svg_chart){.title = "Loss by step",
                              .x_label = "step",
                              .y_label = "loss",
                              .lines = lines,
                              .n_lines = n,
                              .height = 300};
    return set_epochs(&f->chart, run, arena, err);
}

static int rates_figure(report__figure *f, const lx_report_run *run, lx_arena *arena,
                        lx_error *err)
{
    lx_svg_line *lines = lx_arena_calloc(arena, run->n_curves, sizeof *lines);
    size_t n = 0;
    if (!lines)
        return lx_oom(err);
    for (size_t i = 0; i < run->n_curves; i++)
        if (lx_starts_with(run->curves[i].key, "lr/") && run->curves[i].n)
            lines[n] = line_of(&run->curves[i], run->curves[i].key + 3, (int)n), n++;
    f->id = "lr";
    f->caption = "Learning rate by step.";
    f->chart = (lx_svg_chart){.title = "Learning rate by step",
                              .x_label = "step",
                              .y_label = "learning rate",
                              .lines = lines,
                              .n_lines = n,
                              .height = 200};
    return LX_OK;
}

/* An id from a key: "norm/avg_key" -> "c3-norm-avg-key". */
static const char *id_of(const char *key, size_t i, lx_arena *arena)
{
    char *id = lx_arena_printf(arena, "c%zu-%.40s", i, key);
    for (char *p = id; p && *p; p++)
        if (!isalnum((unsigned char)*p))
            *p = '-';
    return id;
}

static int other_figure(report__figure *f, const lx_report_curve *c, size_t i,
                        lx_arena *arena, lx_error *err)
{
    lx_svg_line *lines = lx_arena_calloc(arena, 2, sizeof *lines);
    size_t n = 0;
    int rc;

    if (!lines || !(f->id = id_of(c->key, i, arena)))
        return lx_oom(err);
    f->smoothing = lx_curve_weight(c->n);
    lines[n] = line_of(c, NULL, (int)(i % 6) + 2);
    if (f->smoothing > 0) {
        lines[n].is_faint = true;
        if ((rc = smooth_line(&lines[n + 1], &lines[n], f->smoothing, arena, err)) < 0)
            return rc;
        n++;
    }
    f->caption = strcmp(c->key, "seconds") == 0 ? "Seconds a step took." : c->key;
    f->chart = (lx_svg_chart){.title = c->key,
                              .x_label = "step",
                              .y_label = c->key,
                              .lines = lines,
                              .n_lines = n + 1,
                              .height = 180};
    return LX_OK;
}

/* A curve that has a chart of its own. */
static bool is_other(const lx_report_run *run, const lx_report_curve *c)
{
    const lx_report_curve *loss = report__loss(run);
    return c->n && c != loss && !is_validation(c->key) &&
           !lx_starts_with(c->key, "lr/") &&
           strcmp(c->key, "images") != 0 && /* the x of other curves */
           !(loss && strcmp(c->key, "loss/average") == 0);
}

int report__figures(report__figure **out, size_t *n, const lx_report_run *run,
                    lx_arena *arena, lx_error *err)
{
    report__figure *figures = lx_arena_calloc(arena, run->n_curves + 2, sizeof *figures);
    bool has_rates = false;
    int rc = figures ? LX_OK : lx_oom(err);

    *out = figures;
    *n = 0;
    for (size_t i = 0; i < run->n_curves; i++)
        has_rates |= lx_starts_with(run->curves[i].key, "lr/") && run->curves[i].n;
    if (rc == LX_OK && report__loss(run))
        rc = loss_figure(&figures[(*n)++], run, arena, err);
    if (rc == LX_OK && has_rates)
        rc = rates_figure(&figures[(*n)++], run, arena, err);
    for (size_t i = 0; i < run->n_curves && rc == LX_OK; i++)
        if (is_other(run, &run->curves[i]))
            rc = other_figure(&figures[(*n)++], &run->curves[i], i, arena, err);
    return rc;
}

int report__overlay(report__figure *out, const lx_report *report, lx_arena *arena,
                    lx_error *err)
{
    lx_svg_line *lines = lx_arena_calloc(arena, 2 * report->n_runs, sizeof *lines);
    size_t n = 0, longest = 0;
    int rc;

    if (!lines)
        return lx_oom(err);
    for (size_t i = 0; i < report->n_runs; i++) {
        const lx_report_curve *c = report__loss(&report->runs[i]);
        longest = c && c->n > longest ? c->n : longest;
    }
    *out = (report__figure){.id = "all-losses", .smoothing = lx_curve_weight(longest)};
    for (size_t i = 0; i < report->n_runs; i++) {
        const lx_report_curve *c = report__loss(&report->runs[i]);
        if (!c)
            continue;
        lines[n] = line_of(c, NULL, (int)i);
        lines[n].is_faint = true;
        if ((rc = smooth_line(&lines[n + 1], &lines[n], out->smoothing, arena, err)) < 0)
            return rc;
        lines[n + 1].label = report__name(&report->runs[i]);
        n += 2;
    }
    out->caption = lx_arena_printf(
        arena, "Loss of all runs by step, smoothed with weight %.3f.", out->smoothing);
    out->chart = (lx_svg_chart){.title = "Loss of all runs by step",
                                .x_label = "step",
                                .y_label = "loss",
                                .lines = lines,
                                .n_lines = n,
                                .height = 320};
    return out->caption ? LX_OK : lx_oom(err);
}

/* ---- settings against results ------------------------------------------------------ */

enum { RESULTS = 2 };

static int result_axis(lx_parallel_axis *out, const char *name, const lx_report *report,
                       bool is_best, lx_arena *arena, lx_error *err)
{
    const char **texts = lx_arena_calloc(arena, report->n_runs, sizeof *texts);

    if (!texts)
        return lx_oom(err);
    for (size_t i = 0; i < report->n_runs; i++) {
        const lx_report_run *r = &report->runs[i];
        double value = is_best ? r->best_loss : r->loss;
        if (isfinite(value) && !(texts[i] = lx_arena_printf(arena, "%.6g", value)))
            return lx_oom(err);
    }
    *out = (lx_parallel_axis){name, texts, true};
    return LX_OK;
}

/* Settings from the first on, as many as there is place for before the results. */
static size_t take_axes(lx_parallel_axis *axes, const lx_report *report)
{
    size_t n = 0;

    for (size_t i = 0; i < report->n_differences; i++) {
        const lx_report_row *row = &report->differences[i];
        /* A seed's size means nothing. */
        if (n < LX_PARALLEL_AXES - RESULTS && strcmp(row->key, "seed") != 0 &&
            lx_parallel_is_axis(row->values, report->n_runs))
            axes[n++] = (lx_parallel_axis){row->key, row->values, false};
    }
    return n;
}

static bool has_seed(const lx_report *report)
{
    for (size_t i = 0; i < report->n_differences; i++)
        if (strcmp(report->differences[i].key, "seed") == 0)
            return true;
    return false;
}

static bool has_losses(const lx_report *report)
{
    for (size_t i = 0; i < report->n_runs; i++)
        if (isfinite(report->runs[i].loss))
            return true;
    return false;
}

int report__parallel(report__across *out, const lx_report *report, lx_arena *arena,
                     lx_error *err)
{
    lx_parallel_axis *axes = lx_arena_calloc(arena, LX_PARALLEL_AXES, sizeof *axes);
    const char **labels = lx_arena_calloc(arena, report->n_runs, sizeof *labels);
    size_t n, left_out;
    int rc;

    *out = (report__across){0};
    if (!axes || !labels)
        return lx_oom(err);
    if (report->n_runs < 3 || !has_losses(report) || !(n = take_axes(axes, report)))
        return LX_OK;
    left_out = report->n_differences - n - has_seed(report);
    for (size_t i = 0; i < report->n_runs; i++)
        labels[i] = report__name(&report->runs[i]);
    if ((rc = result_axis(&axes[n], "loss (end)", report, false, arena, err)) < 0 ||
        (rc = result_axis(&axes[n + 1], "loss (least)", report, true, arena, err)) < 0)
        return rc;
    out->caption = lx_arena_printf(
        arena,
        "Settings against losses, a line for each run; from the least loss in blue "
        "to the most in red.%s",
        left_out ? lx_arena_printf(arena,
                                   " Not shown: %zu settings that are texts "
                                   "of many kinds, or too many.",
                                   left_out)
                 : "");
    out->chart = (lx_parallel){.title = "Settings against losses",
                               .labels = labels,
                               .n_lines = report->n_runs,
                               .axes = axes,
                               .n_axes = n + RESULTS};
    return out->caption ? LX_OK : lx_oom(err);
}
