#include "src/stats/bootstrap.h"

#include <math.h>
#include <stdlib.h>

#include "src/base/alloc.h"
#include "src/base/rng.h"

static double mean_of(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return sum / (double)n;
}

static double autocovariance(const double *x, size_t n, double mean, size_t lag)
{
    double sum = 0;
    for (size_t i = lag; i < n; i++)
        sum += (x[i] - mean) * (x[i - lag] - mean);
    return sum / (double)n;
}

enum { MOST_LAGS = 1024 };

/* How many autocorrelations in a row must be small for the rest to count as none. */
static size_t small_in_a_row(size_t n)
{
    return (size_t)fmax(5, sqrt(log10((double)n)));
}

/* The first lag of a row of autocorrelations within 2 sqrt(log10(n)/n). (The paper takes
 * the lag before it; Patton's code and those after it this one, which is the safer side.)
 */
static size_t correlated_lags(const double *covariance, size_t n_lags, size_t n)
{
    double limit = 2 * sqrt(log10((double)n) / (double)n);
    size_t wanted = small_in_a_row(n), row = 0;

    for (size_t lag = 1; lag <= n_lags; lag++) {
        row = fabs(covariance[lag] / covariance[0]) < limit ? row + 1 : 0;
        if (row == wanted)
            return lag - wanted + 1;
    }
    return n_lags;
}

size_t lx_block_length(const double *x, size_t n)
{
    double covariance[MOST_LAGS + 1], mean, g = 0, sum = 0, length, most;
    size_t n_lags, m;

    if (n < 8)
        return 1;
    mean = mean_of(x, n);
    n_lags = (size_t)ceil(sqrt((double)n)) + small_in_a_row(n);
    n_lags = n_lags > n - 1 ? n - 1 : n_lags > MOST_LAGS ? MOST_LAGS : n_lags;
    for (size_t lag = 0; lag <= n_lags; lag++)
        covariance[lag] = autocovariance(x, n, mean, lag);
    if (!(covariance[0] > 0))
        return 1;
    m = 2 * correlated_lags(covariance, n_lags, n);
    m = m < 2 ? 2 : m > n_lags ? n_lags : m;
    for (size_t lag = 0; lag <= m; lag++) { /* the flat-top lag window */
        double share = (double)lag / (double)m,
               window = share <= 0.5 ? 1 : 2 * (1 - share);
        double both_sides = lag ? 2 : 1;
        sum += both_sides * window * covariance[lag];
        g += both_sides * window * (double)lag * covariance[lag];
    }
    if (!(sum != 0))
        return 1;
    length = cbrt(2 * g * g / (4.0 / 3.0 * sum * sum) * (double)n);
    most = ceil(fmin(3 * sqrt((double)n), (double)n / 3));
    return length < 1 ? 1 : (size_t)lround(fmin(length, most));
}

double lx_quantile(const double *sorted, size_t n, double q)
{
    double at = q * (double)(n - 1);
    size_t i = (size_t)at;
    return i + 1 < n ? sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i])
                     : sorted[n - 1];
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double drawn_mean(const double *x, size_t n, size_t block, lx_rng *rng)
{
    double sum = 0;
    for (size_t done = 0; done < n;) {
        size_t at = (size_t)lx_rng_below(rng, n);
        for (size_t i = 0; i < block && done < n; i++, done++) {
            sum += x[at];
            at = at + 1 < n ? at + 1 : 0;
        }
    }
    return sum / (double)n;
}

/* From the drawn means, which it sorts. */
static void summarise(lx_interval *out, double *means)
{
    double mean = mean_of(means, LX_BOOTSTRAP_DRAWS), sum = 0;

    for (size_t i = 0; i < LX_BOOTSTRAP_DRAWS; i++)
        sum += (means[i] - mean) * (means[i] - mean);
    out->se = sqrt(sum / (LX_BOOTSTRAP_DRAWS - 1));
    qsort(means, LX_BOOTSTRAP_DRAWS, sizeof *means, by_value);
    out->low = lx_quantile(means, LX_BOOTSTRAP_DRAWS, 0.025);
    out->high = lx_quantile(means, LX_BOOTSTRAP_DRAWS, 0.975);
}

/* Adds sign * the drawn means. (Differences of running sums would be faster and lose
 * digits.) */
static size_t add_draws(double *means, double sign, const double *x, size_t n,
                        size_t block, uint64_t seed, uint64_t stream)
{
    block = block ? block : lx_block_length(x, n);
    for (size_t draw = 0; draw < LX_BOOTSTRAP_DRAWS; draw++) {
        lx_rng rng = lx_rng_stream(seed, LX_RNG_BOOTSTRAP, draw, stream);
        means[draw] += sign * drawn_mean(x, n, block, &rng);
    }
    return block;
}

int lx_bootstrap_mean(lx_interval *out, const double *x, size_t n, size_t block,
                      uint64_t seed, uint64_t stream, lx_error *err)
{
    double *means;

    *out = (lx_interval){(double)NAN, (double)NAN, (double)NAN, (double)NAN, 0, n};
    if (!n)
        return LX_OK;
    if (!(means = lx_calloc(LX_BOOTSTRAP_DRAWS, sizeof *means)))
        return lx_oom(err);
    out->mean = mean_of(x, n);
    out->block = add_draws(means, 1, x, n, block, seed, stream);
    summarise(out, means);
    lx_free(means);
    return LX_OK;
}

int lx_bootstrap_difference(lx_interval *out, const double *x, size_t n_x,
                            const double *y, size_t n_y, uint64_t seed, lx_error *err)
{
    double *means;

    *out =
        (lx_interval){(double)NAN, (double)NAN, (double)NAN, (double)NAN, 0, n_x + n_y};
    if (!n_x || !n_y)
        return LX_OK;
    if (!(means = lx_calloc(LX_BOOTSTRAP_DRAWS, sizeof *means)))
        return lx_oom(err);
    out->mean = mean_of(x, n_x) - mean_of(y, n_y);
    out->block = add_draws(means, 1, x, n_x, 0, seed, 1);
    add_draws(means, -1, y, n_y, 0, seed, 2);
    summarise(out, means);
    lx_free(means);
    return LX_OK;
}
