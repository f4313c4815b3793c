/*
 * report/parallel - settings against results of three and more runs, as parallel
 * coordinates
 *
 * An upright axis for each setting and, to the right of them, for each result; a run is a
 * line across all of them. A setting whose every value is a number has a scale, a
 * logarithmic one where the values are positive and the largest is 16 times the least
 * (learning rates, ranks); any other has a place for each of its texts, in order. Where a
 * run does not say a value its line is broken. Colours go in five steps from the least to
 * the most of the first result (classes lx-r0 to lx-r4; by order, not by size: one run that
 * failed must not make all others look alike).
 *
 * As SVG it stands by itself; report/page.h (lx_page_parallel) adds what the script of a
 * page needs to pick lines and to filter them by dragging along an axis.
 * Source: Inselberg 1985, "The plane with parallel coordinates".
 */
#ifndef LX_REPORT_PARALLEL_H
#define LX_REPORT_PARALLEL_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/error.h"
#include "src/base/str.h"

enum {
    LX_PARALLEL_AXES = 12, /* more than these are not read by anyone */
    LX_PARALLEL_TEXTS = 12 /* places on an axis of texts */
};

typedef struct lx_parallel_axis {
    const char *name;
    const char *const *texts; /* of each line; NULL = not known */
    bool is_result;
} lx_parallel_axis;

typedef struct lx_parallel {
    const char *title;
    const char *const *labels; /* of the lines: names of runs */
    size_t n_lines;
    const lx_parallel_axis *axes; /* results behind settings */
    size_t n_axes;
    bool is_standalone; /* a file of its own: carries its style */
} lx_parallel;

/*
 * Can this be an axis: at least two different values, and not more texts than there are
 * places? One that cannot (paths, names) says nothing here, and is for the caller to leave
 * out. `texts` as above.
 */
bool lx_parallel_is_axis(const char *const *texts, size_t n);

/* Appends one <svg>; its k-th <g class="lx-run"> is line k. "no data" when there are less
 * than two axes. LX_ENOMEM only. */
int lx_parallel_svg(lx_str *out, const lx_parallel *chart, lx_error *err);

/*
 * The same for a script, as one JSON object:
 *
 *     {"top": 30.0, "bottom": 270.0, "labels": ["a", ...],
 *      "axes": [{"name": "network_dim", "x": 60.0, "texts": ["4", null, ...],
 *                "y": [270.0, null, ...]}, ...]}
 *
 * x, y, top and bottom in the units of the SVG's viewBox.
 */
int lx_parallel_json(lx_str *out, const lx_parallel *chart, lx_error *err);

#endif
