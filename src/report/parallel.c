#include "src/report/parallel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/query/cell.h"
#include "src/report/axis.h"
#include "src/report/svg_internal.h"

enum { WIDTH = 720, PITCH = 112, SIDE = 64, TOP = 44, BOTTOM = 284, HEIGHT = 300 };
enum { LABELLED_VALUES = 8 }; /* so few different numbers are labelled as they are */

/* What an axis shows: a scale, or places for texts. */
typedef struct scale {
    bool is_number, is_log;
    double low, high;
    const char *texts[LX_PARALLEL_TEXTS]; /* in order; of numbers: the few there are */
    size_t n_texts;                       /* LX_PARALLEL_TEXTS: maybe more */
} scale;

static int by_value(const void *a, const void *b)
{
    const char *x = *(const char *const *)a, *y = *(const char *const *)b;
    double p = lx_text_number(x), q = lx_text_number(y);
    if (!isnan(p) && !isnan(q) && p != q)
        return p < q ? -1 : 1;
    return strcmp(x, y);
}

/* 1e-4 and 0.0001 are one number. */
static bool is_same(const scale *s, const char *a, const char *b)
{
    return s->is_number ? lx_text_number(a) == lx_text_number(b) : strcmp(a, b) == 0;
}

static void gather_texts(scale *s, const char *const *texts, size_t n)
{
    for (size_t i = 0; i < n && s->n_texts < LX_PARALLEL_TEXTS; i++) {
        size_t k = 0;
        if (!texts[i])
            continue;
        while (k < s->n_texts && !is_same(s, s->texts[k], texts[i]))
            k++;
        if (k == s->n_texts)
            s->texts[s->n_texts++] = texts[i];
    }
    if (s->n_texts)
        qsort(s->texts, s->n_texts, sizeof *s->texts, by_value);
}

static scale scale_of(const char *const *texts, size_t n)
{
    scale s = {.is_number = true, .low = INFINITY, .high = -INFINITY};

    for (size_t i = 0; i < n; i++) {
        double x = texts[i] ? lx_text_number(texts[i]) : (double)NAN;
        s.is_number = s.is_number && (!texts[i] || !isnan(x));
        s.low = fmin(s.low, x);
        s.high = fmax(s.high, x);
    }
    s.is_log = s.is_number && s.low > 0 && s.high / s.low >= 16;
    gather_texts(&s, texts, n);
    return s;
}

bool lx_parallel_is_axis(const char *const *texts, size_t n)
{
    scale s = scale_of(texts, n);
    return s.n_texts > 1 && (s.is_number || s.n_texts < LX_PARALLEL_TEXTS);
}

static double share_of(const scale *s, double value)
{
    if (!(s->high > s->low))
        return 0.5;
    return s->is_log ? log(value / s->low) / log(s->high / s->low)
                     : (value - s->low) / (s->high - s->low);
}

/* From the top of the drawing; NaN for a text that is not known. */
static double y_of(const scale *s, const char *text)
{
    size_t k = 0;
    double share;

    if (!text)
        return (double)NAN;
    if (s->is_number) {
        share = share_of(s, lx_text_number(text));
    } else {
        while (k < s->n_texts && strcmp(s->texts[k], text) != 0)
            k++;
        if (k == s->n_texts) /* one of more than there is place for */
            return (double)NAN;
        share = s->n_texts > 1 ? (double)k / (double)(s->n_texts - 1) : 0.5;
    }
    return BOTTOM - share * (BOTTOM - TOP);
}

/* ---- where the axes stand ---------------------------------------------------------- */

static size_t axes_of(const lx_parallel *c)
{
    return c->n_axes < LX_PARALLEL_AXES ? c->n_axes : LX_PARALLEL_AXES;
}

static double pitch_of(const lx_parallel *c)
{
    return fmax(PITCH, (double)(WIDTH - 2 * SIDE) / (double)(axes_of(c) - 1));
}

static double x_of(const lx_parallel *c, size_t axis)
{
    return SIDE + pitch_of(c) * (double)axis;
}

/* ---- drawing ----------------------------------------------------------------------- */

static void draw_tick(lx_str *out, double x, double y, const char *label)
{
    lx_str_printf(out, "<path class=\"lx-mark\" d=\"M%.1f %.1fh5\"/>\n", x - 5, y);
    report__svg_short(out, x + 6, y + 4, "lx-halo", label, 16);
}

static void draw_ticks(lx_str *out, const scale *s, double x)
{
    double free_to = INFINITY; /* labels that would overlap are left out */
    char label[32];
    lx_axis a;

    if (!s->is_number || s->n_texts <= LABELLED_VALUES) {
        for (size_t i = 0; i < s->n_texts; i++) {
            double y = y_of(s, s->texts[i]);
            if (y > free_to - 11)
                continue;
            if (s->is_number)
                snprintf(label, sizeof label, "%.6g", lx_text_number(s->texts[i]));
            draw_tick(out, x, y, s->is_number ? label : s->texts[i]);
            free_to = y;
        }
        return;
    }
    lx_axis_fit(&a, s->low, s->high, 4, s->is_log ? LX_AXIS_LOG : LX_AXIS_TIGHT);
    for (int i = 0; i < a.n_ticks; i++)
        if (a.ticks[i] >= s->low && a.ticks[i] <= s->high) {
            lx_axis_label(label, &a, a.ticks[i]);
            draw_tick(out, x, BOTTOM - share_of(s, a.ticks[i]) * (BOTTOM - TOP), label);
        }
}

static void draw_line(lx_str *out, const lx_parallel *c, const scale *scales, size_t line,
                      int step)
{
    bool is_broken = true;

    lx_str_printf(out, "<g class=\"lx-run lx-r%d\"><title>", step);
    lx_escape_html(out, c->labels[line], strlen(c->labels[line]));
    lx_str_puts(out, "</title><path class=\"lx-line\" d=\"");
    for (size_t k = 0; k < axes_of(c); k++) {
        double y = y_of(&scales[k], c->axes[k].texts[line]);
        bool is_last = k + 1 == axes_of(c);
        if (isnan(y)) {
            is_broken = true;
            continue;
        }
        lx_str_printf(out, "%c%.1f %.1f", is_broken ? 'M' : 'L', x_of(c, k), y);
        /* A point with gaps on both sides is a dot. */
        if (is_broken &&
            (is_last || isnan(y_of(&scales[k + 1], c->axes[k + 1].texts[line]))))
            lx_str_puts(out, "h.01");
        is_broken = false;
    }
    lx_str_puts(out, "\"/></g>\n");
}

/* 0 to 4 by the order of the first result; 2 where a run has none. */
static int step_of(const lx_parallel *c, size_t line)
{
    size_t below = 0, known = 0, k = 0;
    double value;

    while (k < axes_of(c) && !c->axes[k].is_result)
        k++;
    if (k == axes_of(c) || !c->axes[k].texts[line])
        return 2;
    value = lx_text_number(c->axes[k].texts[line]);
    for (size_t i = 0; i < c->n_lines; i++) {
        double x =
            c->axes[k].texts[i] ? lx_text_number(c->axes[k].texts[i]) : (double)NAN;
        below += x < value;
        known += !isnan(x);
    }
    return isnan(value) || known < 2
               ? 2
               : (int)(4.0 * (double)below / (double)(known - 1) + 0.5);
}

int lx_parallel_svg(lx_str *out, const lx_parallel *c, lx_error *err)
{
    scale scales[LX_PARALLEL_AXES];
    size_t n = axes_of(c);

    if (n < 2) {
        report__svg_begin(out, c->title, WIDTH, 40, c->is_standalone);
        report__svg_text(out, WIDTH / 2.0, 24, "lx-m", "no data");
        return report__svg_end(out, err);
    }
    for (size_t k = 0; k < n; k++)
        scales[k] = scale_of(c->axes[k].texts, c->n_lines);
    report__svg_begin(out, c->title, (int)(x_of(c, n - 1) + SIDE), HEIGHT,
                      c->is_standalone);
    for (size_t k = 0; k < n; k++) {
        lx_str_printf(out, "<path class=\"%s\" d=\"M%.1f %dV%d\"/>\n",
                      c->axes[k].is_result ? "lx-mark" : "lx-rule", x_of(c, k), TOP,
                      BOTTOM);
        report__svg_short(out, x_of(c, k), k % 2 ? 14 : 28, "lx-m", c->axes[k].name, 24);
    }
    for (size_t i = 0; i < c->n_lines; i++)
        draw_line(out, c, scales, i, step_of(c, i));
    for (size_t k = 0; k < n; k++)
        draw_ticks(out, &scales[k], x_of(c, k));
    return report__svg_end(out, err);
}

/* ---- for the script ---------------------------------------------------------------- */

static void put_texts(lx_str *out, const char *key, const char *const *texts, size_t n)
{
    lx_str_printf(out, "\"%s\":[", key);
    for (size_t i = 0; i < n; i++) {
        lx_str_puts(out, i ? "," : "");
        if (texts[i])
            lx_escape_json(out, texts[i], strlen(texts[i]));
        else
            lx_str_puts(out, "null");
    }
    lx_str_putc(out, ']');
}

int lx_parallel_json(lx_str *out, const lx_parallel *c, lx_error *err)
{
    lx_str_printf(out, "{\"top\":%d,\"bottom\":%d,", TOP, BOTTOM);
    put_texts(out, "labels", c->labels, c->n_lines);
    lx_str_puts(out, ",\"axes\":[");
    for (size_t k = 0; k < axes_of(c); k++) {
        const lx_parallel_axis *a = &c->axes[k];
        scale s = scale_of(a->texts, c->n_lines);
        lx_str_puts(out, k ? ",{\"name\":" : "{\"name\":");
        lx_escape_json(out, a->name, strlen(a->name));
        lx_str_printf(out, ",\"x\":%.1f,", x_of(c, k));
        put_texts(out, "texts", a->texts, c->n_lines);
        lx_str_puts(out, ",\"y\":[");
        for (size_t i = 0; i < c->n_lines; i++) {
            double y = y_of(&s, a->texts[i]);
            lx_str_puts(out, i ? "," : "");
            if (isnan(y))
                lx_str_puts(out, "null");
            else
                lx_str_printf(out, "%.1f", y);
        }
        lx_str_puts(out, "]}");
    }
    lx_str_puts(out, "]}");
    return lx_str_check(out, err);
}
