/*
 * report/svg - static charts as SVG text
 *
 * Curves with bands and marks, and horizontal bars with intervals. Equal input gives
 * equal bytes. Every text is escaped; a curve of any length becomes at most four points a
 * pixel column (first, least, most, last), so a spike is never lost and a file never
 * grows with the run.
 *
 * Colours are classes (lx-c0 .. lx-c7), so that a page can be light or dark. A chart
 * inside a page needs lx_svg_css once in the page's style; one that is a file of its own
 * carries it (is_standalone), and follows the reader's light or dark setting by itself.
 *
 *     lx_svg_line lines[] = {
 *         {.label = "loss", .x = steps, .y = loss, .n = n, .is_faint = true},
 *         {.label = "smoothed", .x = steps, .y = mean, .n = n}};
 *     lx_svg_chart chart = {
 *         .title = "Loss", .x_label = "step", .lines = lines, .n_lines = 2};
 *     rc = lx_svg_curves(&out, &chart, err);
 */
#ifndef LX_REPORT_SVG_H
#define LX_REPORT_SVG_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/error.h"
#include "src/base/str.h"

enum { LX_SVG_COLORS = 8 };

extern const char lx_svg_css[]; /* the classes, light and dark; for a <style> element */

typedef struct lx_svg_line {
    const char *label;   /* in the legend; NULL = not there */
    const char *key;     /* the curve it draws, for a page that is live; NULL = none */
    const double *x, *y; /* n each, x rising; a y that is not finite breaks the line */
    const double *low, *high; /* n each: a band around the line; NULL = none */
    size_t n;
    int color;     /* taken modulo LX_SVG_COLORS; a raw and a smoothed curve share one */
    bool is_faint; /* drawn thin and pale, behind its smoothed one */
    bool has_points; /* a dot at every point: for few */
} lx_svg_line;

typedef struct lx_svg_mark {
    double x;
    const char *label; /* NULL = only the line */
} lx_svg_mark;

typedef struct lx_svg_chart {
    const char *title;             /* read aloud, not drawn; NULL = "chart" */
    const char *x_label, *y_label; /* NULL = none */
    int width, height; /* of the drawing; 0 = 720 x 260. It scales to its place. */
    const lx_svg_line *lines;
    size_t n_lines;
    const lx_svg_mark *marks; /* upright lines: ends of epochs, the best step */
    size_t n_marks;
    bool is_log_y; /* where all values are positive */
    bool is_standalone;
} lx_svg_chart;

/* Appends one <svg> element. Without any finite point it says "no data". LX_ENOMEM only.
 */
int lx_svg_curves(lx_str *out, const lx_svg_chart *chart, lx_error *err);

typedef struct lx_svg_bar {
    const char *label;
    const char *note; /* behind the bar; NULL = the value */
    double value;
    double low, high; /* an interval across its end; NAN = none */
    int color;
    bool is_faint;
} lx_svg_bar;

typedef struct lx_svg_bars {
    const char *title, *x_label; /* as above */
    int width;                   /* 0 = 720; the height follows from the bars */
    const lx_svg_bar *bars;      /* from the top; values of either sign */
    size_t n_bars;
    bool is_standalone;
} lx_svg_bars;

int lx_svg_bar_chart(lx_str *out, const lx_svg_bars *chart, lx_error *err);

#endif
