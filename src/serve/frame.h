/*
 * serve/frame - the frame of a page of the web view: head, bar on top, scripts
 *
 * The same look as a report (report/page), but style and scripts are fetched from this
 * server, so that the policy can forbid all that stands in a page itself.
 */
#ifndef LX_SERVE_FRAME_H
#define LX_SERVE_FRAME_H

#include <stdbool.h>

#include "src/report/html.h"

enum { /* scripts, to be joined by | */
       LX_FRAME_CURVES = 1,
       LX_FRAME_RUNS = 2,
       LX_FRAME_LIVE = 4,
    LX_FRAME_PARALLEL = 8
};

typedef struct lx_serve_frame {
    const char *title;
    const char *where; /* of the store; NULL = not told */
    unsigned scripts;
    bool is_wide;
} lx_serve_frame;

/* Up to and with <main>; report/html writes the rest. */
void lx_serve_frame_begin(lx_html *h, const lx_serve_frame *frame);
void lx_serve_frame_end(lx_html *h);

/* A page that says what went wrong, and leads back. */
int lx_serve_frame_problem(lx_str *out, int status, const char *text, lx_error *err);

/* One part of an address or of a query: all but letters, digits and -_.~ is escaped. */
void lx_serve_escape(lx_str *out, const char *text);

#endif
