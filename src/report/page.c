#include "src/report/page.h"

#include <math.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "report_assets.h"
#include "src/base/alloc.h"
#include "src/base/sha256.h"
#include "src/report/curve.h"

enum { MOST_POINTS = 10000 }; /* of an interactive line */

static const char *text_of(const unsigned char *asset)
{
    return (const char *)asset;
}

/* 'sha256-...' of a script, as a policy names it. */
static void put_hash(lx_str *out, const unsigned char *script)
{
    unsigned char base64[48];
    lx_hash hash = lx_sha256_of(script, strlen(text_of(script)));
    EVP_EncodeBlock(base64, hash.bytes, 32);
    lx_str_printf(out, " 'sha256-%s'", (const char *)base64);
}

static void put_policy(lx_html *h, const unsigned char *const *scripts, size_t n_scripts)
{
    lx_str policy = LX_STR_INIT;
    lx_str_puts(&policy, "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
                         "base-uri 'none'; form-action 'none'");
    if (n_scripts)
        lx_str_puts(&policy, "; script-src");
    for (size_t i = 0; i < n_scripts; i++)
        put_hash(&policy, scripts[i]);
    lx_html_void(h, "meta", "http-equiv", "Content-Security-Policy", "content",
                 lx_str_text(&policy), NULL);
    h->out->failed |= policy.failed;
    lx_str_release(&policy);
}

static void put_head(lx_html *h, const char *title, const unsigned char *const *scripts,
                     size_t n_scripts, const char *css)
{
    lx_html_markup(h, "<!DOCTYPE html>\n");
    lx_html_open(h, "html", "lang", "en", NULL);
    lx_html_open(h, "head", NULL);
    lx_html_void(h, "meta", "charset", "utf-8", NULL);
    put_policy(h, scripts, n_scripts);
    lx_html_void(h, "meta", "name", "viewport", "content",
                 "width=device-width, initial-scale=1", NULL);
    lx_html_void(h, "meta", "name", "referrer", "content", "no-referrer", NULL);
    lx_html_void(h, "meta", "name", "generator", "content", "lx " LX_VERSION, NULL);
    lx_html_leaf(h, "title", title, NULL);
    lx_html_open(h, "style", NULL);
    lx_html_markup(h, text_of(asset_page_css));
    lx_html_markup(h, css);
    lx_html_close(h);
    lx_html_close(h);
    lx_html_open(h, "body", NULL);
    lx_html_open(h, "main", NULL);
}

void lx_page_begin(lx_html *h, const char *title, bool has_curves)
{
    static const unsigned char *const scripts[] = {asset_dygraphs_js, asset_curves_js,
                                                   asset_parallel_js};

    put_head(h, title, scripts, has_curves ? 3 : 0, lx_svg_css);
}

void lx_page_begin_sheet(lx_html *h, const char *title)
{
    static const unsigned char *const scripts[] = {asset_sheet_js};

    put_head(h, title, scripts, 1, text_of(asset_sheet_css));
}

void lx_page_end_sheet(lx_html *h, const char *foot)
{
    lx_html_close(h);
    if (foot)
        lx_html_leaf(h, "footer", foot, "class", "foot", NULL);
    lx_html_markup(h, "<script>");
    lx_html_markup(h, text_of(asset_sheet_js));
    lx_html_markup(h, "</script>\n");
    lx_html_close_all(h, 0);
}

void lx_page_end(lx_html *h, const char *foot, bool has_curves)
{
    lx_html_close(h);
    if (foot)
        lx_html_leaf(h, "footer", foot, "class", "foot", NULL);
    if (has_curves) {
        lx_html_markup(h, "<!-- dygraphs, under this licence:\n");
        lx_html_markup(h, text_of(asset_dygraphs_license));
        lx_html_markup(h, "-->\n<script>");
        lx_html_markup(h, text_of(asset_dygraphs_js));
        lx_html_markup(h, "</script>\n<script>");
        lx_html_markup(h, text_of(asset_curves_js));
        lx_html_markup(h, "</script>\n<script>");
        lx_html_markup(h, text_of(asset_parallel_js));
        lx_html_markup(h, "</script>\n");
    }
    lx_html_close_all(h, 0);
}

/* ---- curves ------------------------------------------------------------------------ */

/* The raw values a smoothed line was made from: the nearest faint one before it of its
 * colour. */
static int source_of(const lx_svg_chart *c, size_t i)
{
    if (c->lines[i].is_faint)
        return -1;
    for (size_t k = i; k-- > 0;)
        if (c->lines[k].is_faint && c->lines[k].color == c->lines[i].color)
            return (int)k;
    return -1;
}

static void put_number(lx_str *out, double value)
{
    /* Seven digits are more than a screen shows. */
    if (isfinite(value))
        lx_str_printf(out, "%.7g", value);
    else
        lx_str_puts(out, "null");
}

static void put_numbers(lx_str *out, const char *key, const double *values, size_t n)
{
    lx_str_printf(out, ",\"%s\":[", key);
    for (size_t k = 0; k < n; k++) {
        if (k)
            lx_str_putc(out, ',');
        put_number(out, values[k]);
    }
    lx_str_putc(out, ']');
}

/* Steps mostly rise evenly: then the first, the distance and the number say it all. */
static void put_steps(lx_str *out, const double *x, size_t n)
{
    double distance = n > 1 ? x[1] - x[0] : 1;
    bool is_even = n > 2;
    for (size_t k = 1; k < n && is_even; k++)
        is_even = x[k] - x[k - 1] == distance;
    if (is_even)
        lx_str_printf(out, ",\"x\":{\"first\":%.15g,\"by\":%.15g,\"n\":%zu}", x[0],
                      distance, n);
    else
        put_numbers(out, "x", x, n);
}

/* For each point that was kept, the mean of those behind the one before, up to it: the least
 * and the greatest of a stretch alone are nothing to smooth a line by. Overwrites y. */
static void put_means(lx_str *out, const double *x, double *y, size_t n,
                      const lx_svg_line *l)
{
    size_t at = 0;

    for (size_t k = 0; k < n; k++) {
        double sum = 0;
        size_t n_finite = 0;
        bool is_kept = false;
        while (at < l->n && !is_kept) {
            is_kept = l->x[at] == x[k] && memcmp(&l->y[at], &y[k], sizeof *y) == 0;
            sum += isfinite(l->y[at]) ? l->y[at] : 0;
            n_finite += isfinite(l->y[at++]);
        }
        y[k] = n_finite ? sum / (double)n_finite : (double)NAN;
    }
    put_numbers(out, "means", y, n);
}

/* The points of a line; a smoothed one whose source is there whole is left to the script.
 */
static int put_points(lx_str *out, const lx_svg_line *l, bool has_source, lx_error *err)
{
    double *x, *y;
    size_t n;

    if (l->n <= MOST_POINTS) {
        if (!has_source) {
            put_steps(out, l->x, l->n);
            put_numbers(out, "y", l->y, l->n);
        }
        return LX_OK;
    }
    x = lx_alloc(MOST_POINTS * sizeof *x);
    y = lx_alloc(MOST_POINTS * sizeof *y);
    if (x && y) {
        lx_curve_thin(x, y, &n, l->x, l->y, l->n, MOST_POINTS);
        put_steps(out, x, n);
        put_numbers(out, "y", y, n);
        lx_str_printf(out, ",\"all\":%zu", l->n);
        if (l->is_faint)
            put_means(out, x, y, n, l);
    }
    n = x && y;
    lx_free(x);
    lx_free(y);
    return n ? LX_OK : lx_oom(err);
}

static void put_text_member(lx_str *out, const char *key, const char *text)
{
    lx_str_printf(out, "\"%s\":", key);
    lx_escape_json(out, text ? text : "", text ? strlen(text) : 0);
}

/* What is read by people: the script puts it on the page as it is, so controls and what
 * turns the direction of a line are made visible here. */
static void put_label(lx_str *out, const char *label)
{
    lx_str safe = LX_STR_INIT;
    lx_escape_terminal(&safe, label ? label : "", label ? strlen(label) : 0, true);
    put_text_member(out, "label", lx_str_text(&safe));
    out->failed |= safe.failed;
    lx_str_release(&safe);
}

static int put_lines(lx_str *out, const lx_svg_chart *c, bool *is_positive, lx_error *err)
{
    int rc = LX_OK;
    lx_str_puts(out, ",\"lines\":[");
    for (size_t i = 0; i < c->n_lines && rc == LX_OK; i++) {
        const lx_svg_line *l = &c->lines[i];
        int of = source_of(c, i);
        lx_str_puts(out, i ? ",{" : "{");
        put_label(out, l->label);
        if (l->key && of < 0) {
            lx_str_putc(out, ',');
            put_text_member(out, "key", l->key);
        }
        lx_str_printf(out, ",\"color\":%d,\"faint\":%s,\"of\":%d",
                      l->color % LX_SVG_COLORS, l->is_faint ? "true" : "false", of);
        rc = put_points(out, l, of >= 0 && c->lines[of].n == l->n, err);
        lx_str_putc(out, '}');
        for (size_t k = 0; k < l->n; k++)
            *is_positive &= !(l->y[k] <= 0);
    }
    lx_str_putc(out, ']');
    return rc;
}

static int put_chart_data(lx_html *h, const char *id, const lx_svg_chart *c,
                          double smoothing, lx_error *err)
{
    lx_str json = LX_STR_INIT;
    bool is_positive = true;
    int rc;

    lx_str_puts(&json, "{");
    put_text_member(&json, "x_label", c->x_label);
    lx_str_printf(&json, ",\"log\":%s,\"smoothing\":%.3f", c->is_log_y ? "true" : "false",
                  smoothing);
    lx_str_puts(&json, ",\"marks\":[");
    for (size_t i = 0; i < c->n_marks; i++) {
        lx_str_puts(&json, i ? ",{\"x\":" : "{\"x\":");
        put_number(&json, c->marks[i].x);
        lx_str_putc(&json, ',');
        put_label(&json, c->marks[i].label);
        lx_str_putc(&json, '}');
    }
    lx_str_putc(&json, ']');
    if ((rc = put_lines(&json, c, &is_positive, err)) == LX_OK) {
        lx_str_printf(&json, ",\"positive\":%s}", is_positive ? "true" : "false");
        if ((rc = lx_str_check(&json, err)) == LX_OK)
            lx_html_data(h, id, lx_str_text(&json));
    }
    lx_str_release(&json);
    return rc;
}

int lx_page_curves(lx_html *h, const char *id, const lx_svg_chart *chart,
                   double smoothing, const char *caption, lx_error *err)
{
    int rc;
    lx_html_open(h, "figure", "data-curves", id, NULL);
    if ((rc = lx_svg_curves(h->out, chart, err)) == LX_OK)
        rc = put_chart_data(h, id, chart, smoothing, err);
    if (caption)
        lx_html_leaf(h, "figcaption", caption, NULL);
    lx_html_close(h);
    return rc;
}

int lx_page_parallel(lx_html *h, const char *id, const lx_parallel *chart,
                     const char *caption, lx_error *err)
{
    lx_str json = LX_STR_INIT;
    int rc;

    lx_html_open(h, "figure", "class", "parallel", "data-parallel", id, NULL);
    lx_html_open(h, "div", "class", "table", NULL);
    rc = lx_parallel_svg(h->out, chart, err);
    lx_html_close(h);
    if (rc == LX_OK && (rc = lx_parallel_json(&json, chart, err)) == LX_OK)
        lx_html_data(h, id, lx_str_text(&json));
    if (caption)
        lx_html_leaf(h, "figcaption", caption, NULL);
    lx_html_close(h);
    lx_str_release(&json);
    return rc;
}

void lx_page_facts(lx_html *h, const char *const (*pairs)[2], size_t n)
{
    lx_html_open(h, "div", "class", "table", NULL);
    lx_html_open(h, "table", "class", "stack", NULL);
    lx_html_open(h, "tbody", NULL);
    for (size_t i = 0; i < n; i++) {
        if (!pairs[i][1])
            continue;
        lx_html_open(h, "tr", NULL);
        lx_html_leaf(h, "th", pairs[i][0], "scope", "row", NULL);
        lx_html_leaf(h, "td", pairs[i][1], NULL);
        lx_html_close(h);
    }
    lx_html_close(h);
    lx_html_close(h);
    lx_html_close(h);
}

const char *lx_page_asset(lx_page_asset_name name)
{
    static const unsigned char *const assets[] = {
        [LX_PAGE_CSS] = asset_page_css,
        [LX_PAGE_CURVES_JS] = asset_curves_js,
        [LX_PAGE_PARALLEL_JS] = asset_parallel_js,
        [LX_PAGE_DYGRAPHS_JS] = asset_dygraphs_js,
        [LX_PAGE_DYGRAPHS_LICENSE] = asset_dygraphs_license,
    };
    return text_of(assets[name]);
}
