/*
 * stats/rank - does one thing rise with another?
 *
 * Spearman's rank correlation with ties as mean ranks, and its interval by Fisher's z
 * with the standard error of Bonett and Wright, sqrt((1 + rho^2/2) / (n - 3)). Source:
 * Bonett & Wright 2000, "Sample size requirements for estimating Pearson, Kendall and
 * Spearman correlations", Psychometrika 65.
 */
#ifndef LX_STATS_RANK_H
#define LX_STATS_RANK_H

#include <stddef.h>

#include "src/base/error.h"

typedef struct lx_correlation {
    double rho;       /* NaN when one side is constant or n < 2 */
    double low, high; /* 95 %; NaN when n < 4, and at rho = +-1, where the formula has none */
    size_t n;
} lx_correlation;

/* x, y: n values each, finite. LX_ENOMEM. */
int lx_spearman(lx_correlation *out, const double *x, const double *y, size_t n,
                lx_error *err);

/* Ranks from 1, ties by their mean. LX_ENOMEM. */
int lx_rank(double *out, const double *x, size_t n, lx_error *err);

/* Pearson's correlation; NaN when one side is constant. */
double lx_pearson(const double *x, const double *y, size_t n);

#endif
