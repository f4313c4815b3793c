#include "src/report/svg.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "src/report/axis.h"
#include "src/report/svg_internal.h"

/* Blue, vermilion, green, violet, ochre, teal, rose, slate: told apart also without red
 * or green, and each with enough contrast on its ground. */
#define COLORS_LIGHT                                                              \
    "--lx-0:#2563a8;--lx-1:#c2492f;--lx-2:#2f7d4f;--lx-3:#7a55a3;--lx-4:#9a6b00;" \
    "--lx-5:#1d7f8a;--lx-6:#ad3f74;--lx-7:#5a6673;--lx-ink:#5c6470;--lx-rule:#e3e6ea"
#define COLORS_DARK                                                               \
    "--lx-0:#7db4f0;--lx-1:#f0917a;--lx-2:#7cc79a;--lx-3:#bd9ee6;--lx-4:#e0b350;" \
    "--lx-5:#6cc7d1;--lx-6:#ea8db9;--lx-7:#a9b4c0;--lx-ink:#9aa4b1;--lx-rule:#2c323a"

const char lx_svg_css[] =
    ":root{" COLORS_LIGHT "}"
    "@media (prefers-color-scheme:dark){:root{" COLORS_DARK "}}"
    "@media print{:root{" COLORS_LIGHT "}}"
    ".lx-chart{font:11px system-ui,sans-serif;max-width:100%;height:auto;display:block}"
    ".lx-chart text{fill:var(--lx-ink)}"
    ".lx-chart .lx-e{text-anchor:end}.lx-chart .lx-m{text-anchor:middle}"
    ".lx-rule{stroke:var(--lx-rule);fill:none}"
    ".lx-mark{stroke:var(--lx-ink);stroke-dasharray:2 3;opacity:.6;fill:none}"
    ".lx-line{fill:none;stroke:currentColor;stroke-width:1.6;stroke-linejoin:round;"
    "stroke-linecap:round}"
    ".lx-faint{fill:none;stroke:currentColor;stroke-width:1;opacity:.3}"
    ".lx-band{fill:currentColor;stroke:none;opacity:.15}"
    ".lx-bar{fill:currentColor;opacity:.75}.lx-pale{fill:currentColor;opacity:.3}"
    ".lx-dot{fill:currentColor}"
    ".lx-c0{color:var(--lx-0)}.lx-c1{color:var(--lx-1)}.lx-c2{color:var(--lx-2)}"
    ".lx-c3{color:var(--lx-3)}.lx-c4{color:var(--lx-4)}.lx-c5{color:var(--lx-5)}"
    ".lx-c6{color:var(--lx-6)}.lx-c7{color:var(--lx-7)}"
    /* Five steps from the least to the most (report/parallel). */
    ".lx-r0{color:var(--lx-0)}.lx-r4{color:var(--lx-1)}"
    ".lx-r1{color:color-mix(in oklab,var(--lx-0) 70%,var(--lx-1))}"
    ".lx-r2{color:color-mix(in oklab,var(--lx-0),var(--lx-1))}"
    ".lx-r3{color:color-mix(in oklab,var(--lx-0) 30%,var(--lx-1))}"
    ".lx-halo{paint-order:stroke;stroke:var(--ground,transparent);stroke-width:4px;"
    "stroke-linejoin:round}";

/* Where things are drawn; y grows downwards. */
typedef struct frame {
    lx_str *out;
    lx_axis x, y;
    double left, right, top, bottom;
} frame;

static double at_x(const frame *f, double x)
{
    return f->left + lx_axis_share(&f->x, x) * (f->right - f->left);
}

static double at_y(const frame *f, double y)
{
    return f->bottom - lx_axis_share(&f->y, y) * (f->bottom - f->top);
}

static void put_escaped(lx_str *out, const char *text)
{
    lx_escape_html(out, text, strlen(text));
}

void report__svg_text(lx_str *out, double x, double y, const char *classes,
                      const char *text)
{
    lx_str_printf(out, "<text x=\"%.1f\" y=\"%.1f\"", x, y);
    if (*classes)
        lx_str_printf(out, " class=\"%s\"", classes);
    lx_str_putc(out, '>');
    put_escaped(out, text);
    lx_str_puts(out, "</text>\n");
}

void report__svg_short(lx_str *out, double x, double y, const char *classes,
                       const char *text, int most)
{
    const char *p = text, *stop = text + strlen(text);
    lx_str cut = LX_STR_INIT;
    for (int n = 0; p < stop && n < most; n++)
        lx_utf8_next(&p, stop);
    lx_str_append(&cut, text, (size_t)(p - text));
    if (p < stop)
        lx_str_puts(&cut, "\xE2\x80\xA6");
    report__svg_text(out, x, y, classes, lx_str_text(&cut));
    out->failed |= cut.failed;
    lx_str_release(&cut);
}

double report__svg_width(const char *text)
{
    const char *p = text, *end = text + strlen(text);
    double width = 0;
    while (p < end)
        width += lx_utf8_next(&p, end) < 0x2000 ? 6.2 : 11;
    return width;
}

void report__svg_begin(lx_str *out, const char *title, int width, double height,
                       bool is_standalone)
{
    if (is_standalone)
        lx_str_puts(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    lx_str_printf(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"lx-chart\" role=\"img\" "
        "viewBox=\"0 0 %d %.0f\" width=\"%d\" height=\"%.0f\">\n<title>",
        width, height, width, height);
    put_escaped(out, title ? title : "chart");
    lx_str_puts(out, "</title>\n");
    if (is_standalone)
        lx_str_printf(out, "<style>%s</style>\n", lx_svg_css);
}

int report__svg_end(lx_str *out, lx_error *err)
{
    lx_str_puts(out, "</svg>\n");
    return lx_str_check(out, err);
}

/* ---- curves ------------------------------------------------------------------------ */

static void widen(double *low, double *high, double value)
{
    if (isfinite(value)) {
        *low = fmin(*low, value);
        *high = fmax(*high, value);
    }
}

/* False when there is nothing to draw. */
static bool fit_axes(frame *f, const lx_svg_chart *c)
{
    double x0 = INFINITY, x1 = -INFINITY, y0 = INFINITY, y1 = -INFINITY;
    for (size_t i = 0; i < c->n_lines; i++) {
        const lx_svg_line *l = &c->lines[i];
        for (size_t k = 0; k < l->n; k++) {
            if (!isfinite(l->y[k]))
                continue;
            widen(&x0, &x1, l->x[k]);
            widen(&y0, &y1, l->y[k]);
            if (l->low && l->high) {
                widen(&y0, &y1, l->low[k]);
                widen(&y0, &y1, l->high[k]);
            }
        }
    }
    lx_axis_fit(&f->x, x0, x1, (int)((f->right - 60) / 90), LX_AXIS_TIGHT);
    lx_axis_fit(&f->y, y0, y1, 4, c->is_log_y ? LX_AXIS_LOG : LX_AXIS_ROUND);
    return x0 <= x1;
}

static void draw_axes(frame *f, const lx_svg_chart *c)
{
    char label[32];
    for (int i = 0; i < f->y.n_ticks; i++) {
        double y = at_y(f, f->y.ticks[i]);
        lx_str_printf(f->out, "<path class=\"lx-rule\" d=\"M%.1f %.1fH%.1f\"/>\n",
                      f->left, y, f->right);
        lx_axis_label(label, &f->y, f->y.ticks[i]);
        report__svg_text(f->out, f->left - 6, y + 4, "lx-e", label);
    }
    for (int i = 0; i < f->x.n_ticks; i++) {
        lx_axis_label(label, &f->x, f->x.ticks[i]);
        report__svg_text(f->out, at_x(f, f->x.ticks[i]), f->bottom + 16, "lx-m", label);
    }
    if (c->x_label)
        report__svg_text(f->out, f->right, f->bottom + 31, "lx-e", c->x_label);
    if (c->y_label)
        report__svg_text(f->out, 2, 11, "", c->y_label);
}

static void draw_marks(frame *f, const lx_svg_chart *c)
{
    double free_from = f->left - 1; /* labels that would overlap are left out */
    for (size_t i = 0; i < c->n_marks; i++) {
        double x = at_x(f, c->marks[i].x);
        if (!(x >= f->left - 0.5 && x <= f->right + 0.5))
            continue;
        lx_str_printf(f->out, "<path class=\"lx-mark\" d=\"M%.1f %.1fV%.1f\"/>\n", x,
                      f->top, f->bottom);
        if (c->marks[i].label &&
            x - report__svg_width(c->marks[i].label) / 2 > free_from) {
            report__svg_text(f->out, x, f->top - 4, "lx-m", c->marks[i].label);
            free_from = x + report__svg_width(c->marks[i].label) / 2 + 6;
        }
    }
}

static void put_point(frame *f, const lx_svg_line *l, const double *y, size_t k,
                      char command)
{
    lx_str_printf(f->out, "%c%.1f %.1f", command, at_x(f, l->x[k]), at_y(f, y[k]));
}

/* Of the points of one pixel column: first, least, most, last, in the order of the curve.
 */
static size_t pick(size_t out[4], const double *y, size_t from, size_t to)
{
    size_t least = from, most = from, n = 0;
    for (size_t k = from; k < to; k++) {
        least = y[k] < y[least] ? k : least;
        most = y[k] > y[most] ? k : most;
    }
    out[n++] = from;
    if (least < most) {
        out[n++] = least;
        out[n++] = most;
    } else {
        out[n++] = most;
        out[n++] = least;
    }
    out[n++] = to - 1;
    return n;
}

/* An unbroken stretch [from, to) of finite points. */
static void draw_stretch(frame *f, const lx_svg_line *l, size_t from, size_t to)
{
    size_t last = SIZE_MAX;
    lx_str_printf(f->out, "<path class=\"%s\" d=\"",
                  l->is_faint ? "lx-faint" : "lx-line");
    for (size_t k = from; k < to;) {
        size_t next = k + 1, picked[4], n;
        double column = floor(at_x(f, l->x[k]));
        while (next < to && floor(at_x(f, l->x[next])) == column)
            next++;
        n = pick(picked, l->y, k, next);
        for (size_t i = 0; i < n; i++) {
            if (picked[i] != last)
                put_point(f, l, l->y, picked[i], last == SIZE_MAX ? 'M' : 'L');
            last = picked[i];
        }
        k = next;
    }
    if (to - from ==
        1) /* one point between gaps is a dot: round it by a line of no length */
        lx_str_puts(f->out, "h.01");
    lx_str_puts(f->out, "\"/>\n");
}

static bool is_drawable(const frame *f, double y)
{
    return isfinite(y) && (!f->y.is_log || y > 0);
}

static void draw_band(frame *f, const lx_svg_line *l, size_t from, size_t to)
{
    /* At most one point a pixel: the edge of a band needs no more. */
    size_t stride = (to - from) / (size_t)(f->right - f->left) + 1;
    lx_str_puts(f->out, "<path class=\"lx-band\" d=\"");
    for (size_t k = from; k < to; k += stride)
        put_point(f, l, l->high, k, k == from ? 'M' : 'L');
    put_point(f, l, l->high, to - 1, 'L');
    put_point(f, l, l->low, to - 1, 'L');
    for (size_t k = to; k-- > from;)
        if ((k - from) % stride == 0)
            put_point(f, l, l->low, k, 'L');
    lx_str_puts(f->out, "z\"/>\n");
}

static void draw_line(frame *f, const lx_svg_line *l)
{
    lx_str_printf(f->out, "<g class=\"lx-c%d\">\n", (l->color % LX_SVG_COLORS + 8) % 8);
    for (size_t from = 0; from < l->n;) {
        size_t to = from;
        while (to < l->n && is_drawable(f, l->y[to]) &&
               (!l->low || !l->high ||
                (is_drawable(f, l->low[to]) && isfinite(l->high[to]))))
            to++;
        if (to > from) {
            if (l->low && l->high)
                draw_band(f, l, from, to);
            draw_stretch(f, l, from, to);
        }
        from = to + 1;
    }
    for (size_t k = 0; k < l->n && l->has_points; k++)
        if (is_drawable(f, l->y[k]))
            lx_str_printf(
                f->out, "<circle class=\"lx-dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\"/>\n",
                at_x(f, l->x[k]), at_y(f, l->y[k]));
    lx_str_puts(f->out, "</g>\n");
}

/* Rows of swatch and label; returns the height used. The first pass, out NULL, only
 * measures. */
static double draw_legend(lx_str *out, const lx_svg_chart *c, double left, double right,
                          double y)
{
    double x = left, row = y;
    bool is_any = false;
    for (size_t i = 0; i < c->n_lines; i++) {
        const lx_svg_line *l = &c->lines[i];
        double width;
        if (!l->label)
            continue;
        width = report__svg_width(l->label) + 34;
        if (x > left && x + width > right) {
            x = left;
            row += 16;
        }
        if (out) {
            lx_str_printf(
                out, "<g class=\"lx-c%d\"><path class=\"%s\" d=\"M%.1f %.1fh14\"/></g>\n",
                (l->color % LX_SVG_COLORS + 8) % 8, l->is_faint ? "lx-faint" : "lx-line",
                x, row - 4);
            report__svg_text(out, x + 19, row, "", l->label);
        }
        x += width;
        is_any = true;
    }
    return is_any ? row - y + 16 : 0;
}

static double widest_tick(const lx_axis *a)
{
    double widest = 0;
    char label[32];
    for (int i = 0; i < a->n_ticks; i++) {
        lx_axis_label(label, a, a->ticks[i]);
        widest = fmax(widest, report__svg_width(label));
    }
    return widest;
}

int lx_svg_curves(lx_str *out, const lx_svg_chart *c, lx_error *err)
{
    int width = c->width ? c->width : 720, height = c->height ? c->height : 260;
    frame f = {.out = out, .right = width - 20};
    double legend = draw_legend(NULL, c, 8, width - 8, 0);

    report__svg_begin(out, c->title, width, height, c->is_standalone);
    if (!fit_axes(&f, c)) {
        report__svg_text(out, width / 2.0, height / 2.0, "lx-m", "no data");
        return report__svg_end(out, err);
    }
    f.left = widest_tick(&f.y) + 14;
    f.top = c->y_label || c->n_marks ? 26 : 10;
    f.bottom = height - 22 - (c->x_label ? 14 : 0) - legend;
    draw_axes(&f, c);
    draw_marks(&f, c);
    for (size_t i = 0; i < c->n_lines; i++)
        if (c->lines[i].is_faint)
            draw_line(&f, &c->lines[i]);
    for (size_t i = 0; i < c->n_lines; i++)
        if (!c->lines[i].is_faint)
            draw_line(&f, &c->lines[i]);
    draw_legend(out, c, f.left, width - 8, height - legend + 8);
    return report__svg_end(out, err);
}

/* ---- bars -------------------------------------------------------------------------- */

enum { BAR_PITCH = 22, BAR_THICK = 12, LABEL_MOST = 34 };

static void fit_bars(frame *f, const lx_svg_bars *c)
{
    double low = 0, high = 0, widest = 0;
    for (size_t i = 0; i < c->n_bars; i++) {
        widen(&low, &high, c->bars[i].value);
        widen(&low, &high, c->bars[i].low);
        widen(&low, &high, c->bars[i].high);
        widest = fmax(widest, report__svg_width(c->bars[i].label));
    }
    lx_axis_fit(&f->x, low, high, 5, LX_AXIS_ROUND);
    f->left = fmin(widest, LABEL_MOST * 6.2) + 14;
}

static void draw_bar(frame *f, const lx_svg_bar *b, double y)
{
    double zero = at_x(f, 0), value = isfinite(b->value) ? b->value : 0,
           tip = at_x(f, value);
    double middle = y + BAR_THICK / 2.0, reach = fmax(tip, zero);
    char number[32];

    report__svg_short(f->out, f->left - 8, y + 10, "lx-e", b->label, LABEL_MOST);
    lx_str_printf(f->out, "<g class=\"lx-c%d\"><rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" ",
                  (b->color % LX_SVG_COLORS + 8) % 8, b->is_faint ? "lx-pale" : "lx-bar",
                  fmin(zero, tip), y);
    lx_str_printf(f->out, "width=\"%.1f\" height=\"%d\" rx=\"1.5\"/>", fabs(tip - zero),
                  BAR_THICK);
    if (isfinite(b->low) && isfinite(b->high)) {
        lx_str_printf(
            f->out, "<path class=\"lx-line\" d=\"M%.1f %.1fH%.1fm0 -4v8M%.1f %.1fv8\"/>",
            at_x(f, b->low), middle, at_x(f, b->high), at_x(f, b->low), middle - 4);
        reach = fmax(reach, at_x(f, b->high));
    }
    lx_str_puts(f->out, "</g>\n");
    snprintf(number, sizeof number, "%.4g", b->value);
    report__svg_text(f->out, reach + 6, y + 10, "", b->note ? b->note : number);
}

int lx_svg_bar_chart(lx_str *out, const lx_svg_bars *c, lx_error *err)
{
    int width = c->width ? c->width : 720;
    double height = 10 + BAR_PITCH * (double)c->n_bars + 22 + (c->x_label ? 14 : 0);
    frame f = {.out = out, .right = width - 80, .top = 6};
    char label[32];

    report__svg_begin(out, c->title, width, c->n_bars ? height : 40, c->is_standalone);
    if (!c->n_bars) {
        report__svg_text(out, width / 2.0, 24, "lx-m", "no data");
        return report__svg_end(out, err);
    }
    fit_bars(&f, c);
    f.bottom = f.top + BAR_PITCH * (double)c->n_bars;
    for (int i = 0; i < f.x.n_ticks; i++) {
        double x = at_x(&f, f.x.ticks[i]);
        lx_str_printf(out, "<path class=\"lx-rule\" d=\"M%.1f %.1fV%.1f\"/>\n", x, f.top,
                      f.bottom);
        lx_axis_label(label, &f.x, f.x.ticks[i]);
        report__svg_text(out, x, f.bottom + 16, "lx-m", label);
    }
    if (c->x_label)
        report__svg_text(out, f.right, f.bottom + 31, "lx-e", c->x_label);
    for (size_t i = 0; i < c->n_bars; i++)
        draw_bar(&f, &c->bars[i],
                 f.top + BAR_PITCH * (double)i + (BAR_PITCH - BAR_THICK) / 2.0);
    return report__svg_end(out, err);
}
