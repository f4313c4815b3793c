/*
 * cmd/progress - how far a training is, on stderr
 *
 * On a terminal one line is rewritten in place, cut to the width, at most ten times a second. Piped,
 * a plain line comes every 30 seconds and at the ends. --quiet silences both.
 */
#ifndef LX_CMD_PROGRESS_H
#define LX_CMD_PROGRESS_H

#include "cmd/cli.h"
#include "src/train/observer.h"

typedef struct lx_progress_view {
    lx_cli *cli;
    double started;    /* of the first step, monotonic seconds; 0 = not yet */
    double shown_at;
    int64_t first_step;
    bool is_open;      /* a line without its newline stands on the terminal */
} lx_progress_view;

void lx_progress_init(lx_progress_view *view, lx_cli *cli);
void lx_progress_phase(lx_progress_view *view, const char *phase, int64_t done, int64_t total);
void lx_progress_step(lx_progress_view *view, const lx_step_report *report);
/* Before other text is printed, and at the end. */
void lx_progress_close(lx_progress_view *view);

/* "3 h 05 min", "42 s". */
void lx_duration_text(char out[32], double seconds);

#endif
