/*
 * serve/run_page - the page of one run, and the grid of its samples
 *
 * What a report tells of a run (report/report.h), with pictures fetched as they come into
 * view, the end of what the command printed, and, while the run is under way, its curves
 * and its state live.
 */
#ifndef LX_SERVE_RUN_PAGE_H
#define LX_SERVE_RUN_PAGE_H

#include <stdbool.h>

#include "src/report/report.h"

/* Texts are borrowed and may be a stranger's; NULL or "" is left out. */
typedef struct lx_serve_run {
    const lx_report_run *run;
    const char *where;
    const char *group;
    const char *parent;   /* id of the run it goes on from */
    const char *console;  /* lines, by serve/console */
    size_t console_bytes; /* of all that was printed */
    bool is_live;
    const char *seen; /* of a live run: what the page already tells (?seen=) */
} lx_serve_run;

int lx_serve_run_page(lx_str *out, const lx_serve_run *run, lx_error *err);

/* Samples: a row a prompt, a column a step. */
typedef struct lx_serve_samples {
    const lx_report_picture *samples; /* url or missing; group: the prompt, or NULL */
    size_t n_samples;
    const char *id, *name; /* of the run */
    const char *where;
    size_t n_more; /* left out */
} lx_serve_samples;

int lx_serve_samples_page(lx_str *out, const lx_serve_samples *samples, lx_error *err);

#endif
