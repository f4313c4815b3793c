/*
 * stats/bootstrap - how certain is the mean of a curve, or the difference of two?
 *
 * Neighbouring steps of a training are not independent, so whole blocks are drawn again:
 * the circular block bootstrap, with the block length of Politis & White. Draws are
 * counter-based: the same numbers and the same seed give the same interval everywhere.
 * A drawn mean is of at most 1,000 blocks: very long curves get longer blocks than they
 * need, which costs nothing in validity and bounds the time. Sources: Politis & Romano
 * 1992 (circular block bootstrap); Politis & White 2004, "Automatic block-length
 * selection for the dependent bootstrap", with the correction of Patton, Politis & White
 * 2009.
 */
#ifndef LX_STATS_BOOTSTRAP_H
#define LX_STATS_BOOTSTRAP_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"

enum { LX_BOOTSTRAP_DRAWS = 2000 };

typedef struct lx_interval {
    double mean;      /* of the values as they are */
    double low, high; /* 2.5 % and 97.5 % of the drawn means (linear interpolation) */
    double se;        /* standard deviation of the drawn means */
    size_t block;     /* length that was used */
    size_t n;
} lx_interval;

/* Of n finite values; block 0 chooses it. n = 0 gives NaN. `stream` names the draws
 * beside the seed. LX_ENOMEM. */
int lx_bootstrap_mean(lx_interval *out, const double *x, size_t n, size_t block,
                      uint64_t seed, uint64_t stream, lx_error *err);

/* mean(x) - mean(y) of two curves that share nothing: each is drawn by itself. block is
 * x's. */
int lx_bootstrap_difference(lx_interval *out, const double *x, size_t n_x,
                            const double *y, size_t n_y, uint64_t seed, lx_error *err);

/* A curve that was drawn again, to be set against several others at the price of one. */
typedef struct lx_drawn {
    double mean, means[LX_BOOTSTRAP_DRAWS];
    size_t block, n;
} lx_drawn;

/* n > 0. What lx_bootstrap_difference draws: x of stream 1, y of stream 2. LX_ENOMEM. */
int lx_bootstrap_draw(lx_drawn *out, const double *x, size_t n, uint64_t seed,
                      uint64_t stream, lx_error *err);

/* The interval of lx_bootstrap_difference, to the bit. */
void lx_bootstrap_between(lx_interval *out, const lx_drawn *x, const lx_drawn *y);

/* At least 1, at most 3 sqrt(n) and n/3. */
size_t lx_block_length(const double *x, size_t n);

/* The share q (0..1) of sorted values, interpolated between neighbours (numpy's default).
 */
double lx_quantile(const double *sorted, size_t n, double q);

#endif
