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

enum { N_WORDS = 128 };

/* The words of a stream, many at a time. */
typedef struct words {
    lx_rng rng;
    uint32_t block[N_WORDS];
    size_t used;
} words;

static uint32_t next_word(words *w)
{
    if (w->used == N_WORDS) {
        lx_rng_words(w->block, N_WORDS, &w->rng);
        w->used = 0;
    }
    return w->block[w->used++];
}

/* Uniform in [0, n) from words in turn, unbiased. Source: Lemire 2019, "Fast random
 * integer generation in an interval". */
static size_t draw_below(words *w, uint32_t n)
{
    uint64_t product = (uint64_t)next_word(w) * n;

    if ((uint32_t)product < n)
        for (uint32_t least = -n % n; (uint32_t)product < least;)
            product = (uint64_t)next_word(w) * n;
    return (size_t)(product >> 32);
}

static double drawn_mean(const circle *c, const lx_rng *stream)
{
    words w = {.rng = *stream, .used = N_WORDS};
    double sum = 0;

    for (size_t done = 0; done < c->n; done += c->block) {
        size_t at = draw_below(&w, (uint32_t)c->n);
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

/* The drawn means of x; *block is the length that was used. */
static int draw_means(double *means, size_t *block, const double *x, size_t n,
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
        means[draw] = drawn_mean(&c, &rng);
    }
    *block = c.block;
    lx_free(c.sums);
    return LX_OK;
}

static lx_interval no_interval(size_t n)
{
    return (lx_interval){(double)NAN, (double)NAN, (double)NAN, (double)NAN, 0, n};
}

int lx_bootstrap_mean(lx_interval *out, const double *x, size_t n, size_t block,
                      uint64_t seed, uint64_t stream, lx_error *err)
{
    double means[LX_BOOTSTRAP_DRAWS];
    int rc;

    *out = no_interval(n);
    if (!n)
        return LX_OK;
    out->mean = mean_of(x, n);
    out->block = block;
    if ((rc = draw_means(means, &out->block, x, n, seed, stream, err)) == LX_OK)
        summarise(out, means);
    return rc;
}

int lx_bootstrap_draw(lx_drawn *out, const double *x, size_t n, uint64_t seed,
                      uint64_t stream, lx_error *err)
{
    out->n = n;
    out->mean = mean_of(x, n);
    out->block = 0;
    return draw_means(out->means, &out->block, x, n, seed, stream, err);
}

void lx_bootstrap_between(lx_interval *out, const lx_drawn *x, const lx_drawn *y)
{
    double means[LX_BOOTSTRAP_DRAWS];

    for (size_t i = 0; i < LX_BOOTSTRAP_DRAWS; i++)
        means[i] = x->means[i] - y->means[i];
    *out = (lx_interval){.mean = x->mean - y->mean, .block = x->block, .n = x->n + y->n};
    summarise(out, means);
}

int lx_bootstrap_difference(lx_interval *out, const double *x, size_t n_x,
                            const double *y, size_t n_y, uint64_t seed, lx_error *err)
{
    lx_drawn drawn_x, drawn_y;
    int rc;

    *out = no_interval(n_x + n_y);
    if (!n_x || !n_y)
        return LX_OK;
    if ((rc = lx_bootstrap_draw(&drawn_x, x, n_x, seed, 1, err)) == LX_OK &&
        (rc = lx_bootstrap_draw(&drawn_y, y, n_y, seed, 2, err)) == LX_OK)
        lx_bootstrap_between(out, &drawn_x, &drawn_y);
    return rc;
}
