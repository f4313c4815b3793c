/*
 * report/plot - curves drawn in a terminal
 *
 * One curve, or several where the terminal has colours: dots of Braille characters, four
 * rows and two columns a character. Several without colours: each by its letter, '*'
 * where they meet. Without UTF-8 one curve is drawn by '*' too. A curve of more points
 * than columns is drawn by its means.
 */
#ifndef LX_REPORT_PLOT_H
#define LX_REPORT_PLOT_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/error.h"
#include "src/base/str.h"

enum { LX_PLOT_LINES = 26 };

typedef struct lx_plot_line {
    const char *label;   /* in the legend, escaped; NULL = no legend */
    const double *x, *y; /* n each, x not falling; a y that is not finite leaves a gap */
    size_t n;
} lx_plot_line;

typedef struct lx_plot {
    const lx_plot_line *lines; /* at most LX_PLOT_LINES */
    size_t n_lines;
    const char *x_label;
    int width, height; /* of the whole in characters; height 0 = 12 */
    bool has_color, is_utf8;
} lx_plot;

/* Appends nothing when there is no finite point. LX_ENOMEM. */
int lx_plot_text(lx_str *out, const lx_plot *plot, lx_error *err);

/* The escape sequence of a line's colour; "" without colours. lx_plot_color(-1, ..) ends
 * it. */
const char *lx_plot_color(int line, bool has_color);

#endif
