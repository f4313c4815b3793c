/*
 * compare/loss - two loss curves side by side, and how certain their difference is
 *
 * Where both runs drew the same noise, timesteps and images at the same step, their
 * losses rise and fall together, and the differences step by step are far more certain
 * than either mean: that is the paired comparison. Otherwise each curve is drawn again by
 * itself. See stats/bootstrap for both.
 */
#ifndef LX_COMPARE_LOSS_H
#define LX_COMPARE_LOSS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/arena.h"
#include "src/base/error.h"
#include "src/stats/bootstrap.h"

/* A curve in order: steps rise, each once (a resumed run repeats some: the later value
 * holds), values are finite. */
typedef struct lx_loss_curve {
    double *steps, *values;
    size_t n;
} lx_loss_curve;

/* From n points as they were recorded; in the arena. */
int lx_loss_order(lx_loss_curve *out, const int64_t *steps, const double *values,
                  size_t n, lx_arena *arena, lx_error *err);

/* Mean over the last `share` of the steps up to `until`; NaN when there is none. */
double lx_loss_tail(const lx_loss_curve *curve, double until, double share);

enum { LX_LOSS_POINTS = 8 }; /* of each, at least, for an interval */

typedef struct lx_loss_difference {
    bool is_paired;
    double first, last;     /* steps that were compared */
    size_t n;               /* points of a in them */
    bool is_estimated;      /* false: too few points, and not the same; low and high are NaN */
    double a, b;            /* means there */
    lx_interval difference; /* b - a */
    double correlation;     /* of the paired losses; NaN when not paired */
} lx_loss_difference;

/* What was drawn of a curve that is compared with several. Begin with {0}; the curve must
 * outlive it. */
typedef struct lx_loss_draws {
    const double *values; /* the part that was drawn */
    size_t n;
    uint64_t seed;
    lx_drawn drawn;
} lx_loss_draws;

/*
 * Over the last `share` of the steps that both reached (0.25: the last quarter).
 * can_pair: the draws are shared. n = 0 when they have no steps in common. draws_of_a
 * keeps what is drawn of a for the next call and takes what the last one left; NULL: each
 * time anew. LX_ENOMEM.
 */
int lx_compare_loss(lx_loss_difference *out, const lx_loss_curve *a,
                    const lx_loss_curve *b, double share, bool can_pair, uint64_t seed,
                    lx_loss_draws *draws_of_a, lx_arena *arena, lx_error *err);

/* The first step at which two curves are not equal to the last bit; -1 = they are equal
 * as far as both go. *n is how many steps both have. */
int64_t lx_loss_parting(size_t *n, const lx_loss_curve *a, const lx_loss_curve *b);

#endif
