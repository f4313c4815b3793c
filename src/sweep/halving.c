#include "src/sweep/halving.h"

#include <math.h>
#include <stdbool.h>

size_t lx_sweep_halving(lx_sweep_rung rungs[LX_SWEEP_RUNGS], size_t n, int eta,
                        int64_t total, int64_t least)
{
    const int64_t e = eta;
    int64_t share = 1; /* eta^s */
    size_t s = 0;

    while (share <= (int64_t)n / e && (total - 1) / (share * e) + 1 >= least &&
           share * e <= total && s + 1 < LX_SWEEP_RUNGS) {
        share *= e;
        s++;
    }
    for (size_t i = 0; i <= s; i++) {
        rungs[i].n = n ? n : 1;
        rungs[i].steps = (total - 1) / share + 1;
        n /= (size_t)e;
        share /= e;
    }
    return s + 1;
}

static bool comes_before(const double *scores, size_t a, size_t b)
{
    const bool is_a = isfinite(scores[a]), is_b = isfinite(scores[b]);

    return is_a != is_b ? is_a : is_a && scores[a] < scores[b];
}

/* By insertion: stable, and there are few. */
void lx_sweep_order(size_t *order, const double *scores, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t k = i;
        for (; k > 0 && comes_before(scores, i, order[k - 1]); k--)
            order[k] = order[k - 1];
        order[k] = i;
    }
}
