/*
 * stats/smooth - curves made readable
 *
 * Exponential moving average without the pull of its start:
 *
 *     s_i = w s_(i-1) + (1 - w) x_i,  s_0 = 0;   out_i = s_i / (1 - w^i)
 *
 * as TensorBoard draws it. Values that are not finite are passed over and keep the
 * average.
 */
#ifndef LX_STATS_SMOOTH_H
#define LX_STATS_SMOOTH_H

#include <stddef.h>
#include <stdint.h>

/* weight in [0, 1); out may be x. NaN before the first finite value. */
void lx_smooth(double *out, const double *x, size_t n, double weight);

/* Means of the finite values of n points over [first, end] of `axis`, in n_bins >= 1 equal
 * stretches, and how many points each has; NaN where a stretch has none. The points may come in any order:
 * a step is told as late as whoever records it likes. */
void lx_bin_means(double *out, size_t *counts, size_t n_bins, const double *axis,
                  const double *values, size_t n, double first, double end);

#endif
