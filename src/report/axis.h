/*
 * report/axis - the range of a chart's axis and where its ticks stand
 *
 * Linear: steps of 1, 2 or 5 times a power of ten. Logarithmic: powers of ten, with 2 and
 * 5 between them where there are few. Equal input gives equal ticks whatever the locale.
 */
#ifndef LX_REPORT_AXIS_H
#define LX_REPORT_AXIS_H

#include <stdbool.h>

enum { LX_AXIS_TICKS = 12 };

typedef struct lx_axis {
    double low, high; /* low < high; ends on ticks unless asked to be tight */
    double step;      /* between ticks; 0 on a logarithmic axis */
    double ticks[LX_AXIS_TICKS];
    int n_ticks;
    bool is_log;
} lx_axis;

typedef enum lx_axis_kind {
    LX_AXIS_ROUND, /* widened to the next tick on both sides: for values */
    LX_AXIS_TIGHT, /* exactly low to high: for steps */
    LX_AXIS_LOG    /* low and high must be positive, else it becomes LX_AXIS_ROUND */
} lx_axis_kind;

/* About `wanted` ticks (3 or more). A range that is empty, upside down or not
 * finite is replaced by one around `low` (or 0), so the result can always be drawn. */
void lx_axis_fit(lx_axis *out, double low, double high, int wanted, lx_axis_kind kind);

/* 0 at low, 1 at high; outside of both for values outside. */
double lx_axis_share(const lx_axis *axis, double value);

/* A tick as people write it: "0.05", "1,000", "1e-05". */
void lx_axis_label(char out[32], const lx_axis *axis, double tick);

#endif
