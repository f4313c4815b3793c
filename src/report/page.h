/*
 * report/page - the frame of a page: one file, nothing fetched, nothing run but what is
 * inside
 *
 * The head has a Content-Security-Policy that forbids every request and every script but
 * ours, named by their SHA-256. The style follows the reader's light or dark
 * setting, fits a phone and prints. report/html writes the body.
 *
 *     lx_page_begin(&h, "Report of hifumi", true);
 *     lx_html_leaf(&h, "h1", "hifumi", NULL);
 *     lx_page_curves(&h, "loss", &chart, "Loss by step", err);
 *     lx_page_end(&h);
 *
 * Classes for the body are described in src/report/assets/page.css.
 */
#ifndef LX_REPORT_PAGE_H
#define LX_REPORT_PAGE_H

#include <stdbool.h>

#include "src/report/html.h"
#include "src/report/parallel.h"
#include "src/report/svg.h"

/* Up to and with <main>. has_curves: lx_page_curves or lx_page_parallel is going to be
 * called. */
void lx_page_begin(lx_html *h, const char *title, bool has_curves);
/* Closes <main>; `foot` (may be NULL) in small print under it; then the scripts. */
void lx_page_end(lx_html *h, const char *foot, bool has_curves);

/* The same of a contact sheet (report/sheet), with its style and its script. */
void lx_page_begin_sheet(lx_html *h, const char *title);
void lx_page_end_sheet(lx_html *h, const char *foot);

/*
 * A figure with the chart as SVG, and its points for the script that makes it
 * interactive. A faint line stands for the raw values of the next line of the same
 * colour, if that one is smoothed by lx_smooth with `smoothing`: the reader may
 * change that. Lines longer than ten thousand points are thinned. `id` is unique on the
 * page.
 */
int lx_page_curves(lx_html *h, const char *id, const lx_svg_chart *chart,
                   double smoothing, const char *caption, lx_error *err);

/* A figure with parallel coordinates, in which lines can be picked and filtered. */
int lx_page_parallel(lx_html *h, const char *id, const lx_parallel *chart,
                     const char *caption, lx_error *err);

/* A <table> whose first column is a heading: pairs of texts; a NULL value leaves the row
 * out. */
void lx_page_facts(lx_html *h, const char *const (*pairs)[2], size_t n);

/* What is inside a page, for pages that fetch it from their own server (src/serve). Its
 * style goes on with lx_svg_css. */
typedef enum lx_page_asset_name {
    LX_PAGE_CSS,
    LX_PAGE_CURVES_JS,
    LX_PAGE_PARALLEL_JS,
    LX_PAGE_DYGRAPHS_JS,
    LX_PAGE_DYGRAPHS_LICENSE
} lx_page_asset_name;
const char *lx_page_asset(lx_page_asset_name name);

#endif
