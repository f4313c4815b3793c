/*
 * sweep/halving - successive halving: much for the good ones, little for the others
 *
 * n configurations are trained for a few steps; the best of them go on for eta times as many, and so
 * on, until the last ones have all R steps. Of rung i (0 .. s):
 *
 *     configurations   max(1, floor(n / eta^i))
 *     steps            ceil(R / eta^(s - i))
 *     s = floor(log_eta n), or less where the first rung would have fewer than `least` steps
 *
 * Source: Jamieson & Talwalkar 2016, arXiv:1502.07943; the rungs as in Li et al. 2018 (Hyperband),
 * arXiv:1603.06560, section 3. What a configuration is judged by is the caller's.
 */
#ifndef LX_SWEEP_HALVING_H
#define LX_SWEEP_HALVING_H

#include <stddef.h>
#include <stdint.h>

enum { LX_SWEEP_RUNGS = 32 };

typedef struct lx_sweep_rung {
    size_t n;      /* configurations in it */
    int64_t steps; /* each has done at its end */
} lx_sweep_rung;

/* How many rungs there are, at least 1. n and total at least 1, eta at least 2, least at least 1. */
size_t lx_sweep_halving(lx_sweep_rung rungs[LX_SWEEP_RUNGS], size_t n, int eta,
                        int64_t total, int64_t least);

/*
 * Puts the numbers 0 .. n-1 in the order of their scores, smaller first; scores that are not finite
 * come last; equal ones keep their order. The first rungs[i + 1].n of them go on.
 */
void lx_sweep_order(size_t *order, const double *scores, size_t n);

#endif
