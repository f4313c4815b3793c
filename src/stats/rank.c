#include "src/stats/rank.h"

#include <math.h>
#include <stdlib.h>

#include "src/base/alloc.h"

typedef struct item {
    double value;
    size_t at;
} item;

static int by_value(const void *a, const void *b)
{
    const item *x = a, *y = b;
    return (x->value > y->value) - (x->value < y->value);
}

int lx_rank(double *out, const double *x, size_t n, lx_error *err)
{
    item *items = lx_calloc(n ? n : 1, sizeof *items);

    if (!items)
        return lx_oom(err);
    for (size_t i = 0; i < n; i++)
        items[i] = (item){x[i], i};
    qsort(items, n, sizeof *items, by_value);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && !(items[end].value > items[i].value);)
            end++;
        for (size_t k = i; k < end; k++) /* the mean of i+1 .. end */
            out[items[k].at] = ((double)i + 1 + (double)end) / 2;
    }
    lx_free(items);
    return LX_OK;
}

double lx_pearson(const double *x, const double *y, size_t n)
{
    double mx = 0, my = 0, xx = 0, yy = 0, xy = 0, r;

    for (size_t i = 0; i < n; i++) {
        mx += x[i] / (double)n;
        my += y[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        xx += (x[i] - mx) * (x[i] - mx);
        yy += (y[i] - my) * (y[i] - my);
        xy += (x[i] - mx) * (y[i] - my);
    }
    if (!(xx > 0 && yy > 0))
        return (double)NAN;
    r = xy / sqrt(xx * yy);
    return r > 1 ? 1 : r < -1 ? -1 : r;
}

int lx_spearman(lx_correlation *out, const double *x, const double *y, size_t n,
                lx_error *err)
{
    double *ranks = lx_calloc(2 * n + 1, sizeof *ranks);
    int rc;

    *out = (lx_correlation){(double)NAN, (double)NAN, (double)NAN, n};
    if (!ranks)
        return lx_oom(err);
    if ((rc = lx_rank(ranks, x, n, err)) == LX_OK &&
        (rc = lx_rank(ranks + n, y, n, err)) == LX_OK)
        out->rho = n > 1 ? lx_pearson(ranks, ranks + n, n) : (double)NAN;
    lx_free(ranks);
    if (rc == LX_OK && n > 3 && fabs(out->rho) < 1) {
        double z = atanh(out->rho);
        double reach =
            1.959963984540054 * sqrt((1 + out->rho * out->rho / 2) / ((double)n - 3));
        out->low = tanh(z - reach);
        out->high = tanh(z + reach);
    }
    return rc;
}
