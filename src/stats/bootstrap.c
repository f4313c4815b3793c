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

enum { MOST_LAGS = 1024, MOST_BLOCKS = 1000 };

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

/* A curve ready for drawing: running sums of what is above its mean, twice round, so that
 * a block is one difference wherever it begins. Sums of deviations stay small and lose no
 * digits. */
typedef struct circle {
    double *sums; /* 2n + 1 */
    double mean;
    size_t n, block;
} circle;

static int make_circle(circle *c, const double *x, size_t n, size_t block, lx_error *err)
{
    size_t least = (n + MOST_BLOCKS - 1) / MOST_BLOCKS;

    *c = (circle){
        .n = n, .mean = mean_of(x, n), .block = block ? block : lx_block_length(x, n)};
    c->block = c->block < least ? least : c->block > n ? n : c->block;
    if (!(c->sums = lx_calloc(2 * n + 1, sizeof *c->sums)))
        return lx_oom(err);
    for (size_t i = 0; i < 2 * n; i++)
        c->sums[i + 1] = c->sums[i] + (x[i < n ? i : i - n] - c->mean);
    return LX_OK;
}

/* Uniform in [0, n) from one word, unbiased. Source: Lemire 2019, "Fast random integer
 * generation in an interval". */
static size_t draw_below(lx_rng *rng, uint32_t n)
{
    uint64_t product = (uint64_t)lx_rng_u32(rng) * n;

    if ((uint32_t)product < n)
        for (uint32_t least = -n % n; (uint32_t)product < least;)
            product = (uint64_t)lx_rng_u32(rng) * n;
    return (size_t)(product >> 32);
}

static double drawn_mean(const circle *c, lx_rng *rng)
{
    double sum = 0;

    for (size_t done = 0; done < c->n; done += c->block) {
        size_t at = draw_below(rng, (uint32_t)c->n);
        size_t length = c->n - done < c->block ? c->n - done : c->block;
        sum += c->sums[at + length] - c->sums[at];
    }
    return c->mean + sum / (double)c->n;
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

/* Adds sign * the drawn means of x; *block is the length that was used. */
static int add_draws(double *means, size_t *block, double sign, const double *x, size_t n,
                     uint64_t seed, uint64_t stream, lx_error *err)
{
    circle c;
    int rc;

    if (n > UINT32_MAX)
        return lx_fail(err, LX_ELIMIT,
                       "a curve of %zu points is too long to be drawn again", n);
    if ((rc = make_circle(&c, x, n, *block, err)) < 0)
        return rc;
        /* Each draw has a stream of its own: who draws it does not matter. */
#pragma omp parallel for schedule(static) if (c.n / c.block > 100)
    for (size_t draw = 0; draw < LX_BOOTSTRAP_DRAWS; draw++) {
        lx_rng rng = lx_rng_stream(seed, LX_RNG_BOOTSTRAP, draw, stream);
        means[draw] += sign * drawn_mean(&c, &rng);
    }
    *block = c.block;
    lx_free(c.sums);
    return LX_OK;
}

static int summarise_draws(lx_interval *out, const double *x, size_t n_x, const double *y,
                           size_t n_y, size_t block, uint64_t seed, uint64_t stream,
                           lx_error *err)
{
    double *means = lx_calloc(LX_BOOTSTRAP_DRAWS, sizeof *means);
    size_t block_y = 0;
    int rc = means ? LX_OK : lx_oom(err);

    out->block = block;
    if (rc == LX_OK)
        rc = add_draws(means, &out->block, 1, x, n_x, seed, stream, err);
    if (rc == LX_OK && y)
        rc = add_draws(means, &block_y, -1, y, n_y, seed, stream + 1, err);
    if (rc == LX_OK)
        summarise(out, means);
    lx_free(means);
    return rc;
}

static lx_interval no_interval(size_t n)
{
    return (lx_interval){(double)NAN, (double)NAN, (double)NAN, (double)NAN, 0, n};
}

int lx_bootstrap_mean(lx_interval *out, const double *x, size_t n, size_t block,
                      uint64_t seed, uint64_t stream, lx_error *err)
{
    *out = no_interval(n);
    if (!n)
        return LX_OK;
    out->mean = mean_of(x, n);
    return summarise_draws(out, x, n, NULL, 0, block, seed, stream, err);
}

int lx_bootstrap_difference(lx_interval *out, const double *x, size_t n_x,
                            const double *y, size_t n_y, uint64_t seed, lx_error *err)
{
    *out = no_interval(n_x + n_y);
    if (!n_x || !n_y)
        return LX_OK;
    out->mean = mean_of(x, n_x) - mean_of(y, n_y);
    return summarise_draws(out, x, n_x, y, n_y, 0, seed, 1, err);
}
