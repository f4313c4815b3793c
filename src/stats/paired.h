/*
 * stats/paired - tests and intervals for a handful of images
 *
 * The unit is the image: one number each, the mean over its draws of noise. Nothing is
 * assumed of how these numbers are distributed but for symmetry under the null hypothesis
 * (sign flips) or exchangeability (permutations).
 *
 *     sign flips   p = share of the 2^n sign patterns whose mean is at least as extreme;
 *                  for n > 16 (b + 1) / (m + 1) over m = 20000 drawn ones. With the
 *                  squares fixed, the mean and the studentised mean order the patterns
 *                  alike, so the mean is compared.
 *     bootstrap-t  2000 resamples of (mean* - mean) / se*; below 8 values Student's t
 *                  interval
 *     Holm         step-down; Benjamini-Hochberg: step-up
 *
 * Sources: Phipson & Smyth 2010 (p of drawn permutations); Efron & Tibshirani 1993,
 * section 12.5 (bootstrap-t); Holm 1979; Benjamini & Hochberg 1995. Goldens:
 * tests/golden/stats.
 */
#ifndef LX_STATS_PAIRED_H
#define LX_STATS_PAIRED_H

#include <stddef.h>

#include "src/base/error.h"
#include "src/base/rng.h"

typedef enum lx_tail { LX_TAIL_GREATER, LX_TAIL_BOTH } lx_tail;

typedef struct lx_estimate {
    double value, low, high; /* and its 95 % interval */
} lx_estimate;

/* "1.23% [0.50, 2.00]"; without an interval where that is not finite, as of one value alone. Returns out. */
const char *lx_estimate_percent(char out[64], lx_estimate e);

double lx_mean(const double *x, size_t n);  /* 0 of none */
double lx_stdev(const double *x, size_t n); /* n - 1 below; 0 of less than two */

double lx_student_cdf(double t, double degrees);
/* p in (0, 1). */
double lx_student_quantile(double p, double degrees);

/* Of the hypothesis that x is symmetric around 0. 1 for no values. */
double lx_sign_flip_p(const double *x, size_t n, lx_tail tail, lx_rng rng);
/* 95 %. LX_ENOMEM only. One value, or none, has no interval: low and high are infinite.
 */
int lx_estimate_mean(lx_estimate *out, const double *x, size_t n, lx_rng rng,
                     lx_error *err);
/* One-sided: mean(x) > mean(y), labels exchangeable; 20000 drawn permutations. LX_ENOMEM
 * only. */
int lx_two_sample_p(double *p, const double *x, size_t n_x, const double *y, size_t n_y,
                    lx_rng rng, lx_error *err);
/*
 * table [n][m]: row i has the value of the own item first, then those of m - 1 others.
 * One-sided: the mean over rows of (mean of the others - own) is above what it is when
 * any column may be the own.
 */
double lx_own_column_p(const double *table, size_t n, size_t m, lx_rng rng);

/* Adjusted p values; in place is allowed. LX_ENOMEM only. */
int lx_holm(double *out, const double *p, size_t n, lx_error *err);
int lx_benjamini_hochberg(double *out, const double *p, size_t n, lx_error *err);

/*
 * How many images would tell a mean from a bound `delta` (above or within), with 80 %
 * power at a two-sided 5 %: (2.8 sd / | |mean| - delta |)^2, at most 10^6 and at least 7:
 * sign flips of fewer cannot reach 5 % in a family of four tests.
 */
size_t lx_images_needed(double mean, double sd, double delta);

#endif
