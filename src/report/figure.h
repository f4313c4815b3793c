/* report/figure - which charts a run's curves make; shared by the HTML and the Markdown
 * report */
#ifndef LX_REPORT_FIGURE_H
#define LX_REPORT_FIGURE_H

#include "src/base/arena.h"
#include "src/report/parallel.h"
#include "src/report/report.h"
#include "src/report/svg.h"

typedef struct report__figure {
    const char *id; /* "loss", "lr", "grad-norm": letters, digits, '-' */
    const char *caption;
    double smoothing; /* of the lines that are not faint */
    lx_svg_chart chart;
} report__figure;

/*
 * Of one run: loss (raw behind smoothed, validation beside it, ends of epochs), learning
 * rates in one chart, every other curve in its own. Of several runs: their smoothed
 * losses in one chart. All in the arena, which must outlive them; steps and values are
 * borrowed from the runs.
 */
int report__figures(report__figure **out, size_t *n, const lx_report_run *run,
                    lx_arena *arena, lx_error *err);
int report__overlay(report__figure *out, const lx_report *report, lx_arena *arena,
                    lx_error *err);

/*
 * Of three and more runs: the settings in which they differ against their losses. Those
 * that cannot be an axis, and those past what can be read, are left out, and the caption
 * says how many; out->chart.n_axes is 0 when nothing is left to draw.
 */
typedef struct report__across {
    lx_parallel chart;
    const char *caption;
} report__across;
int report__parallel(report__across *out, const lx_report *report, lx_arena *arena,
                     lx_error *err);

/* The curve the loss of a run is read from, or NULL: "loss", else sd-scripts'
 * "loss/current", else "loss/average". */
const lx_report_curve *report__loss(const lx_report_run *run);

/* What a reader is called with: the name, or the id. */
const char *report__name(const lx_report_run *run);

/* "2 h 05 min", "48 s"; "" for NaN. */
void report__duration(char out[32], double seconds);
/* "1.2 MB" */
void report__bytes(char out[32], int64_t bytes);

#endif
