#include "src/report/plot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/report/axis.h"
#include "src/stats/smooth.h"

enum { LABEL = 9, MOST_WIDTH = 400, LEAST_WIDTH = 10 };

/* What is drawn: a grid of characters, each with its dots and the line that drew them. */
typedef struct canvas {
    const lx_plot *plot;
    int columns, rows;   /* characters */
    int dots_x, dots_y;  /* a character */
    unsigned char *dots; /* Braille bits, or 1 */
    signed char *line;   /* -1 none, -2 several */
    double first, last;  /* of x */
    lx_axis y;
} canvas;

const char *lx_plot_color(int line, bool has_color)
{
    static const char *const codes[] = {"\x1b[36m", "\x1b[33m", "\x1b[35m",
                                        "\x1b[32m", "\x1b[31m", "\x1b[34m"};
    if (!has_color)
        return "";
    return line < 0 ? "\x1b[0m" : codes[(size_t)line % (sizeof codes / sizeof *codes)];
}

static bool has_dots(const lx_plot *p)
{
    return p->is_utf8 && (p->has_color || p->n_lines == 1);
}

/* Bits of a Braille character by [row][column] of its dots (Unicode, U+2800). */
static unsigned char dot_bit(const canvas *c, int x, int y)
{
    static const unsigned char bits[4][2] = {
        {0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    return c->dots_y == 4 ? bits[y % 4][x % 2] : 1;
}

static void put_dot(canvas *c, int line, int x, int y)
{
    int at = y / c->dots_y * c->columns + x / c->dots_x;

    c->line[at] =
        (signed char)(c->line[at] == -1 || c->line[at] == line || c->plot->has_color
                          ? line
                          : -2);
    c->dots[at] |= dot_bit(c, x, y);
}

static int row_of(const canvas *c, double value)
{
    int n = c->rows * c->dots_y;
    int y = (int)floor((1 - lx_axis_share(&c->y, value)) * (n - 1) + 0.5);
    return y < 0 ? 0 : y >= n ? n - 1 : y;
}

/* Joined to the value before it, half of the way in each column. */
static void draw_line(canvas *c, int line, const double *means, int n)
{
    for (int x = 0, last = -1; x < n; x++) {
        int y;
        if (!isfinite(means[x])) {
            continue; /* fewer points than columns: the line goes on to the next one */
        }
        y = row_of(c, means[x]);
        put_dot(c, line, x, y);
        if (last >= 0) {
            int before = row_of(c, means[last]);
            for (int k = last + 1; k < x; k++)
                put_dot(c, line, k, before + (y - before) * (k - last) / (x - last));
            for (int k = before; has_dots(c->plot) && k != y; k += y > before ? 1 : -1)
                put_dot(c, line, abs(k - before) * 2 < abs(y - before) ? x - 1 : x, k);
        }
        last = x;
    }
}

static bool find_range(canvas *c)
{
    c->first = (double)INFINITY;
    c->last = -(double)INFINITY;
    for (size_t i = 0; i < c->plot->n_lines; i++) {
        const lx_plot_line *l = &c->plot->lines[i];
        for (size_t k = 0; k < l->n; k++)
            if (isfinite(l->y[k])) {
                c->first = fmin(c->first, l->x[k]);
                c->last = fmax(c->last, l->x[k]);
            }
    }
    return isfinite(c->first);
}

static void put_legend(lx_str *out, const lx_plot *p)
{
    for (size_t i = 0; i < p->n_lines && p->lines[i].label; i++) {
        lx_str_printf(out, "%s%s", i ? "   " : "  ", lx_plot_color((int)i, p->has_color));
        if (p->n_lines > 1)
            lx_str_printf(out, "%c %s", (char)('a' + i),
                          has_dots(p) ? "\xe2\x94\x81 " : "");
        lx_escape_terminal(out, p->lines[i].label, strlen(p->lines[i].label), true);
        lx_str_puts(out, lx_plot_color(-1, p->has_color));
    }
    lx_str_putc(out, '\n');
}

static void put_mark(lx_str *out, const canvas *c, int at)
{
    int line = c->line[at];

    if (line == -1)
        lx_str_putc(out, ' ');
    else if (has_dots(c->plot))
        lx_str_put_utf8(out, 0x2800u + c->dots[at]);
    else
        lx_str_putc(out, (char)(line == -2 || c->plot->n_lines == 1 ? '*' : 'a' + line));
}

static void put_row(lx_str *out, const canvas *c, int row)
{
    char label[32] = "";
    int used = c->columns, color = -1;

    for (int i = 0; i < c->y.n_ticks; i++)
        if (row_of(c, c->y.ticks[i]) / c->dots_y == row)
            lx_axis_label(label, &c->y, c->y.ticks[i]);
    while (used > 0 && c->line[row * c->columns + used - 1] == -1)
        used--;
    lx_str_printf(out, "%*.*s |", LABEL, LABEL, label);
    for (int x = 0; x < used; x++) {
        int line = c->line[row * c->columns + x];
        if (line >= 0 && line != color)
            lx_str_puts(out, lx_plot_color(color = line, c->plot->has_color));
        put_mark(out, c, row * c->columns + x);
    }
    lx_str_printf(out, "%s\n", color >= 0 ? lx_plot_color(-1, c->plot->has_color) : "");
}

/* Steps are whole, and stay so beyond what %g shows. */
static void put_x(char out[32], double x)
{
    snprintf(out, 32, x == floor(x) && fabs(x) < 1e15 ? "%.0f" : "%.4g", x);
}

static void put_x_axis(lx_str *out, const canvas *c)
{
    char first[32], last[32];
    const char *label = c->plot->x_label ? c->plot->x_label : "";
    int room;

    put_x(first, c->first);
    put_x(last, c->last);
    lx_str_printf(out, "%*s +", LABEL, "");
    for (int x = 0; x < c->columns; x++)
        lx_str_putc(out, '-');
    room = c->columns - (int)(strlen(first) + strlen(last) + strlen(label));
    room = room < 2 ? 2 : room;
    lx_str_printf(out, "\n%*s  %s%*s%s%*s%s\n", LABEL, "", first, room / 2, "", label,
                  room - room / 2, "", last);
}

/* Means by dot column of every line: [n_lines][n]. NULL without memory. */
static double *all_means(const canvas *c, int n)
{
    double *means = lx_calloc(c->plot->n_lines * (size_t)n, sizeof *means);
    size_t *counts = lx_calloc((size_t)n, sizeof *counts);

    for (size_t i = 0; means && counts && i < c->plot->n_lines; i++) {
        const lx_plot_line *l = &c->plot->lines[i];
        lx_bin_means(means + i * (size_t)n, counts, (size_t)n, l->x, l->y, l->n, c->first,
                     c->last);
    }
    if (!counts) {
        lx_free(means);
        means = NULL;
    }
    lx_free(counts);
    return means;
}

static void fit_axis(canvas *c, const double *means, size_t n)
{
    double low = (double)INFINITY, high = -(double)INFINITY;

    for (size_t i = 0; i < n; i++)
        if (isfinite(means[i])) {
            low = fmin(low, means[i]);
            high = fmax(high, means[i]);
        }
    lx_axis_fit(&c->y, low, high, c->rows / 3 < 3 ? 3 : c->rows / 3, LX_AXIS_TIGHT);
}

int lx_plot_text(lx_str *out, const lx_plot *plot, lx_error *err)
{
    bool dots = has_dots(plot);
    int width = plot->width - LABEL - 2, n;
    canvas c = {.plot = plot,
                .rows = plot->height > 0 ? plot->height : 12,
                .dots_x = dots ? 2 : 1,
                .dots_y = dots ? 4 : 1};
    double *means;
    size_t cells;
    int rc;

    if (!find_range(&c))
        return LX_OK;
    c.columns = width < LEAST_WIDTH  ? LEAST_WIDTH
                : width > MOST_WIDTH ? MOST_WIDTH
                                     : width;
    n = c.columns * c.dots_x;
    cells = (size_t)c.columns * (size_t)c.rows;
    means = all_means(&c, n);
    c.dots = lx_calloc(cells, 1);
    c.line = lx_alloc(cells);
    if (means && c.dots && c.line) {
        memset(c.line, -1, cells);
        fit_axis(&c, means, plot->n_lines * (size_t)n);
        for (size_t i = 0; i < plot->n_lines; i++)
            draw_line(&c, (int)i, means + i * (size_t)n, n);
        if (plot->lines[0].label)
            put_legend(out, plot);
        for (int row = 0; row < c.rows; row++)
            put_row(out, &c, row);
        put_x_axis(out, &c);
    }
    rc = means && c.dots && c.line ? lx_str_check(out, err) : lx_oom(err);
    lx_free(means);
    lx_free(c.dots);
    lx_free(c.line);
    return rc;
}
