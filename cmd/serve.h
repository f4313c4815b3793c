/*
 * cmd/serve - what the pages of lx serve are made of; internal to cmd/serve*.c
 *
 * serve.c is the command and knows which address is which page. Each of the others reads
 * the store for its pages: runs, a run, its pictures, what is live, a comparison. src/serve
 * has the server and writes the pages. All are called by several threads at once; the
 * store's handle is one that only reads.
 */
#ifndef LX_CMD_SERVE_H
#define LX_CMD_SERVE_H

#include "cmd/report_collect.h"
#include "src/serve/server.h"
#include "store/query.h"

typedef struct lx_serve_tables lx_serve_tables;     /* serve_runs.c */
typedef struct lx_serve_darkroom lx_serve_darkroom; /* serve_picture.c */

typedef struct lx_serve_view {
    lx_store *store;
    const char *where; /* the store, as pages name it */
    lx_serve_tables *tables;
    lx_serve_darkroom *darkroom;
} lx_serve_view;

/* A page or a piece of JSON each: body and type of the reply. Errors become an apology. */
typedef int (*lx_serve_maker)(lx_serve_reply *reply, lx_serve_view *view,
                              const lx_serve_request *request, lx_arena *arena,
                              lx_error *err);

/* ?q= ?sort= ?columns= ?first=: the page says what is wrong with them, the JSON fails. */
int lx_serve_runs_as_page(lx_serve_reply *reply, lx_serve_view *view,
                          const lx_serve_request *request, lx_arena *arena,
                          lx_error *err);
int lx_serve_runs_as_json(lx_serve_reply *reply, lx_serve_view *view,
                          const lx_serve_request *request, lx_arena *arena,
                          lx_error *err);
int lx_serve_tables_new(lx_serve_tables **out, lx_error *err);
void lx_serve_tables_free(lx_serve_tables *tables);

/* Of the run that request->parts[at] names: id, beginning of one, or name. */
int lx_serve_run_find(lx_run_row *out, lx_serve_view *view,
                      const lx_serve_request *request, size_t at, lx_arena *arena,
                      lx_error *err);
int lx_serve_run_as_page(lx_serve_reply *reply, lx_serve_view *view,
                         const lx_serve_request *request, lx_arena *arena, lx_error *err);
int lx_serve_run_as_json(lx_serve_reply *reply, lx_serve_view *view,
                         const lx_serve_request *request, lx_arena *arena, lx_error *err);
int lx_serve_samples_as_page(lx_serve_reply *reply, lx_serve_view *view,
                             const lx_serve_request *request, lx_arena *arena,
                             lx_error *err);
int lx_serve_console_as_text(lx_serve_reply *reply, lx_serve_view *view,
                             const lx_serve_request *request, lx_arena *arena,
                             lx_error *err);

/* Event streams: the points, console and state of a run; that anything was written. */
int lx_serve_live(lx_serve_reply *reply, lx_serve_view *view,
                  const lx_serve_request *request, lx_arena *arena, lx_error *err);
int lx_serve_changes(lx_serve_reply *reply, lx_serve_view *view,
                     const lx_serve_request *request, lx_arena *arena, lx_error *err);
/* What a page tells of a live run, as ?seen= takes it: bytes of the console and, in the
 * order of their keys, points of the curves: "8192:120,120,40"; "8192:-": there are none
 * yet. "8192:", which only others say: any curves, from their beginning. In the arena. */
const char *lx_serve_seen(size_t console, const lx_report_run *run, lx_arena *arena);

/* ?run= twice or more. */
int lx_serve_comparison_as_page(lx_serve_reply *reply, lx_serve_view *view,
                                const lx_serve_request *request, lx_arena *arena,
                                lx_error *err);
int lx_serve_comparison_as_json(lx_serve_reply *reply, lx_serve_view *view,
                                const lx_serve_request *request, lx_arena *arena,
                                lx_error *err);

/* /run/ID/image/SHA256 and /run/ID/sample/SHA256 as a JPEG; ?full: as large as it is. A
 * picture that cannot be shown is one that says why. */
int lx_serve_picture(lx_serve_reply *reply, lx_serve_view *view,
                     const lx_serve_request *request, lx_arena *arena, lx_error *err);
/* Threads that decode, a few at once, and what they made lately. The view must outlive it. */
int lx_serve_darkroom_new(lx_serve_darkroom **out, lx_serve_view *view, lx_error *err);
void lx_serve_darkroom_free(lx_serve_darkroom *room);

#endif
