/*
 * report/html - a writer of HTML that cannot forget to escape or to close
 *
 * Tags and attribute names are literals of ours; every text and attribute value is
 * escaped (base/str: lx_escape_html), whoever wrote it. The open elements are kept, so
 * closing needs no name and a page that is not balanced is an assertion, not a broken
 * page.
 *
 *     lx_html h;
 *     lx_html_init(&h, &out);
 *     lx_html_open(&h, "tr", NULL);
 *     lx_html_leaf(&h, "td", caption, "class", "caption", NULL);
 *     lx_html_leaf(&h, "td", "0.0813", "class", "num", NULL);
 *     lx_html_close(&h);
 *     rc = lx_html_finish(&h, err);
 *
 * report/page.h has the frame of a whole page: head, policy, style, interactive curves.
 */
#ifndef LX_REPORT_HTML_H
#define LX_REPORT_HTML_H

#include "src/base/error.h"
#include "src/base/str.h"

enum { LX_HTML_DEPTH = 32 };

typedef struct lx_html {
    lx_str *out; /* borrowed */
    const char *open[LX_HTML_DEPTH];
    int depth;
} lx_html;

void lx_html_init(lx_html *h, lx_str *out);
int lx_html_finish(lx_html *h, lx_error *err); /* all must be closed; LX_ENOMEM */

/* Attributes are pairs of const char *, ended by NULL; a pair whose value is NULL is left
 * out. A value "" gives name="". */
void lx_html_open(lx_html *h, const char *tag, ...) __attribute__((sentinel));
void lx_html_close(lx_html *h);                /* the innermost */
void lx_html_close_all(lx_html *h, int depth); /* down to what h->depth was */

/* <tag ...>text</tag> */
void lx_html_leaf(lx_html *h, const char *tag, const char *text, ...)
    __attribute__((sentinel));
/* <tag ...>: img, meta, input, br */
void lx_html_void(lx_html *h, const char *tag, ...) __attribute__((sentinel));

void lx_html_text(lx_html *h, const char *text);
/* Formatted, then escaped. */
void lx_html_textf(lx_html *h, const char *fmt, ...) LX_PRINTF(2, 3);

/* Trusted markup: a literal, or what report/svg made. Never a file's bytes. */
void lx_html_markup(lx_html *h, const char *markup);

/*
 * Data for a script of the page: <script type="application/json" id="ID">. `json` is
 * sound JSON (its texts by lx_escape_json). Browsers do not run it; every '<' in it is
 * written as \u003c, so nothing in it can end the element.
 */
void lx_html_data(lx_html *h, const char *id, const char *json);

/* "data:TYPE;base64,...", for an image's src; appended to out. */
void lx_data_uri(lx_str *out, const char *type, const void *bytes, size_t n);

#endif
