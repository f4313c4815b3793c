/*
 * sweep/plan - which settings a sweep tries
 *
 * An axis is a flag with what it may be:
 *
 *     4,32              a list; "512,512;768,768" where values have commas themselves
 *     1e-5..1e-3        a range, for random search: whole numbers where both ends are written so
 *     1e-5..1e-3:log    the same, evenly in the logarithm
 *
 * A grid is every combination, the first axis slowest. Random search draws each configuration by
 * (seed, configuration, axis), so that another axis or more configurations change nothing of those
 * that were drawn; one that was drawn already is drawn again, and where a space of lists holds
 * fewer than were asked for, there are fewer. Numbers that are drawn have four digits.
 *
 * Order of use: lx_sweep_axis_parse per flag, then lx_sweep_grid or lx_sweep_random.
 */
#ifndef LX_SWEEP_PLAN_H
#define LX_SWEEP_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/arena.h"
#include "src/base/error.h"

enum { LX_SWEEP_CONFIGS = 10000 }; /* at most: more is a slip, not a sweep */

typedef struct lx_sweep_axis {
    const char *flag;          /* its whole name */
    const char *const *values; /* of a list */
    size_t n_values;           /* 0: a range */
    double low, high;          /* of a range, ends included */
    bool is_log, is_whole;
} lx_sweep_axis;

/* values[configuration * n_axes + axis], as words of a command line. */
typedef struct lx_sweep_configs {
    const char **values;
    size_t n_axes, count;
} lx_sweep_configs;

/* All in the arena. LX_EUSAGE: nothing in the list, or a range whose ends are no range. */
int lx_sweep_axis_parse(lx_sweep_axis *out, const char *flag, const char *text,
                        lx_arena *arena, lx_error *err);

/* Every combination. No axes give one configuration of no values. LX_EUSAGE: a range among the
 * axes. LX_ELIMIT. */
int lx_sweep_grid(lx_sweep_configs *out, const lx_sweep_axis *axes, size_t n_axes,
                  lx_arena *arena, lx_error *err);
/* `wanted` configurations, or as many different ones as there are. LX_ELIMIT. */
int lx_sweep_random(lx_sweep_configs *out, const lx_sweep_axis *axes, size_t n_axes,
                    size_t wanted, uint64_t seed, lx_arena *arena, lx_error *err);

#endif
