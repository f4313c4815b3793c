/* report/svg_internal - how elements of a chart are written; shared by svg.c and
 * parallel.c */
#ifndef LX_REPORT_SVG_INTERNAL_H
#define LX_REPORT_SVG_INTERNAL_H

#include <stdbool.h>

#include "src/base/error.h"
#include "src/base/str.h"

/* <svg> with its title, and the style of one that is a file of its own. */
void report__svg_begin(lx_str *out, const char *title, int width, double height,
                       bool is_standalone);
int report__svg_end(lx_str *out, lx_error *err);

/* Escaped; classes "" = none, "lx-e" ends at x, "lx-m" has its middle there. */
void report__svg_text(lx_str *out, double x, double y, const char *classes,
                      const char *text);
/* The same, cut with an ellipsis to `most` code points. */
void report__svg_short(lx_str *out, double x, double y, const char *classes,
                       const char *text, int most);
/* How wide a text of the charts' 11 px is drawn, about: there are no font metrics here. */
double report__svg_width(const char *text);

#endif
