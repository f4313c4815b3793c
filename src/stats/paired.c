#include "src/stats/paired.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/stats/bootstrap.h"

enum { EXACT_UP_TO = 16, N_DRAWN = 20000, N_RESAMPLES = 2000, FEW = 8, FEWEST = 7 };

const char *lx_estimate_percent(char out[64], lx_estimate e)
{
    if (isfinite(e.low) && isfinite(e.high))
        snprintf(out, 64, "%.2f%% [%.2f, %.2f]", 100 * e.value, 100 * e.low,
                 100 * e.high);
    else
        snprintf(out, 64, "%.2f%%", 100 * e.value);
    return out;
}

double lx_mean(const double *x, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return n ? sum / (double)n : 0;
}

double lx_stdev(const double *x, size_t n)
{
    double mean = lx_mean(x, n), square = 0;

    if (n < 2)
        return 0;
    for (size_t i = 0; i < n; i++)
        square += (x[i] - mean) * (x[i] - mean);
    return sqrt(square / (double)(n - 1));
}

/* ---- Student's t --------------------------------------------------------------- */

/*
 * The continued fraction of the incomplete beta function, by the modified Lentz method.
 * Source: Abramowitz & Stegun 26.5.8.
 */
static double beta_fraction(double a, double b, double x)
{
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1), h;

    d = 1 / (fabs(d) < tiny ? tiny : d);
    h = d;
    for (int m = 1; m < 500; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        double step = 1;

        for (int k = 0; k < 2; k++) {
            double term = k ? odd : even;
            d = 1 + term * d;
            d = 1 / (fabs(d) < tiny ? tiny : d);
            c = 1 + term / c;
            c = fabs(c) < tiny ? tiny : c;
            step = c * d;
            h *= step;
        }
        if (fabs(step - 1) < 1e-15)
            break;
    }
    return h;
}

/* I_x(a, b) */
static double incomplete_beta(double a, double b, double x)
{
    double front;

    if (x <= 0 || x >= 1)
        return x >= 1;
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x));
    return x < (a + 1) / (a + b + 2) ? front * beta_fraction(a, b, x) / a
                                     : 1 - front * beta_fraction(b, a, 1 - x) / b;
}

/* Near 0 by the middle, far out by the tail: neither loses digits where it is small. */
double lx_student_cdf(double t, double degrees)
{
    const double square = t * t;
    double tail;

    if (square < degrees)
        return 0.5 + (t < 0 ? -0.5 : 0.5) *
                         incomplete_beta(0.5, degrees / 2, square / (degrees + square));
    tail = 0.5 * incomplete_beta(degrees / 2, 0.5, degrees / (degrees + square));
    return t > 0 ? 1 - tail : tail;
}

double lx_student_quantile(double p, double degrees)
{
    double low = -1, high = 1;

    while (lx_student_cdf(low, degrees) > p)
        low *= 2;
    while (lx_student_cdf(high, degrees) < p)
        high *= 2;
    for (int i = 0; i < 200 && high - low > 1e-13 * (1 + fabs(high)); i++) {
        double middle = 0.5 * (low + high);
        *(lx_student_cdf(middle, degrees) < p ? &low : &high) = middle;
    }
    return 0.5 * (low + high);
}

/* ---- sign flips ---------------------------------------------------------------- */

static bool is_as_extreme(double sum, double seen, double slack, lx_tail tail)
{
    return tail == LX_TAIL_BOTH ? fabs(sum) >= fabs(seen) - slack : sum >= seen - slack;
}

double lx_sign_flip_p(const double *x, size_t n, lx_tail tail, lx_rng rng)
{
    double seen = 0, size = 0, slack;
    uint64_t total, extreme = 0;

    for (size_t i = 0; i < n; i++) {
        seen += x[i];
        size += fabs(x[i]);
    }
    slack = 1e-12 * size; /* sums of the same numbers in another order are equal */
    if (n == 0 || size == 0)
        return 1;
    if (n <= EXACT_UP_TO) {
        total = (uint64_t)1 << n;
        for (uint64_t signs = 0; signs < total; signs++) {
            double sum = 0;
            for (size_t i = 0; i < n; i++)
                sum += signs >> i & 1 ? -x[i] : x[i];
            extreme += is_as_extreme(sum, seen, slack, tail);
        }
        return (double)extreme / (double)total;
    }
    for (int k = 0; k < N_DRAWN; k++) {
        double sum = 0;
        uint32_t bits = 0;
        for (size_t i = 0; i < n; i++) {
            bits = i % 32 ? bits >> 1 : lx_rng_u32(&rng);
            sum += bits & 1 ? -x[i] : x[i];
        }
        extreme += is_as_extreme(sum, seen, slack, tail);
    }
    return (double)(extreme + 1) / (double)(N_DRAWN + 1);
}

/* ---- intervals ----------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The t values of resamples, without those that came out all equal. */
static size_t resample(double *t, double *sample, const double *x, size_t n, double mean,
                       lx_rng *rng)
{
    size_t count = 0;

    for (int k = 0; k < N_RESAMPLES; k++) {
        double se;
        for (size_t i = 0; i < n; i++)
            sample[i] = x[lx_rng_below(rng, n)];
        se = lx_stdev(sample, n) / sqrt((double)n);
        if (se > 0)
            t[count++] = (lx_mean(sample, n) - mean) / se;
    }
    return count;
}

int lx_estimate_mean(lx_estimate *out, const double *x, size_t n, lx_rng rng,
                     lx_error *err)
{
    double mean = lx_mean(x, n), se = n ? lx_stdev(x, n) / sqrt((double)n) : 0, half;
    double *t, *sample;
    size_t count;

    *out = (lx_estimate){mean, mean, mean};
    if (n < 2) {
        *out = (lx_estimate){mean, -INFINITY, INFINITY};
        return LX_OK;
    }
    if (se == 0)
        return LX_OK;
    if (n < FEW) {
        half = lx_student_quantile(0.975, (double)(n - 1)) * se;
        *out = (lx_estimate){mean, mean - half, mean + half};
        return LX_OK;
    }
    if (!(t = lx_alloc((N_RESAMPLES + n) * sizeof *t)))
        return lx_oom(err);
    sample = t + N_RESAMPLES;
    if ((count = resample(t, sample, x, n, mean, &rng)) > 0) {
        qsort(t, count, sizeof *t, by_value);
        out->low = mean - lx_quantile(t, count, 0.975) * se;
        out->high = mean - lx_quantile(t, count, 0.025) * se;
    }
    lx_free(t);
    return LX_OK;
}

/* ---- permutations -------------------------------------------------------------- */

int lx_two_sample_p(double *p, const double *x, size_t n_x, const double *y, size_t n_y,
                    lx_rng rng, lx_error *err)
{
    const size_t n = n_x + n_y;
    double seen = 0, slack = 0, *pool;
    int extreme = 0;

    *p = 1;
    if (!n_x || !n_y)
        return LX_OK;
    if (!(pool = lx_alloc(n * sizeof *pool)))
        return lx_oom(err);
    memcpy(pool, x, n_x * sizeof *pool);
    memcpy(pool + n_x, y, n_y * sizeof *pool);
    for (size_t i = 0; i < n; i++) {
        seen += i < n_x ? pool[i] : 0;
        slack += 1e-12 * fabs(pool[i]);
    }
    /* With the total fixed, the sum of the first group orders as the difference of means.
     */
    for (int k = 0; k < N_DRAWN; k++) {
        double sum = 0;
        for (size_t i = 0; i < n_x; i++) {
            size_t j = i + (size_t)lx_rng_below(&rng, n - i);
            double kept = pool[i];
            pool[i] = pool[j];
            pool[j] = kept;
            sum += pool[i];
        }
        extreme += sum >= seen - slack;
    }
    lx_free(pool);
    *p = (double)(extreme + 1) / (double)(N_DRAWN + 1);
    return LX_OK;
}

double lx_own_column_p(const double *table, size_t n, size_t m, lx_rng rng)
{
    double seen = 0, slack = 0;
    int extreme = 0;

    if (n == 0 || m < 2)
        return 1;
    /* The rows' sums are fixed: the smaller the sum of own values, the larger the
     * statistic. */
    for (size_t i = 0; i < n; i++) {
        seen += table[i * m];
        slack += 1e-12 * fabs(table[i * m]);
    }
    for (int k = 0; k < N_DRAWN; k++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += table[i * m + lx_rng_below(&rng, m)];
        extreme += sum <= seen + slack;
    }
    return (double)(extreme + 1) / (double)(N_DRAWN + 1);
}

/* ---- families ------------------------------------------------------------------ */

/* Indices by ascending p; the first of equals first. */
static int order_by_p(size_t **out, const double *p, size_t n, lx_error *err)
{
    size_t *order = lx_alloc(n * sizeof *order);

    if (!order)
        return lx_oom(err);
    for (size_t i = 0; i < n; i++) {
        size_t at = i;
        for (; at > 0 && p[order[at - 1]] > p[i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    *out = order;
    return LX_OK;
}

int lx_holm(double *out, const double *p, size_t n, lx_error *err)
{
    size_t *order;
    double least = 0;
    int rc = order_by_p(&order, p, n, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        double adjusted = p[order[i]] * (double)(n - i);
        least = adjusted > least ? adjusted : least;
        out[order[i]] = least < 1 ? least : 1;
    }
    lx_free(order);
    return LX_OK;
}

int lx_benjamini_hochberg(double *out, const double *p, size_t n, lx_error *err)
{
    size_t *order;
    double most = 1;
    int rc = order_by_p(&order, p, n, err);

    if (rc < 0)
        return rc;
    for (size_t i = n; i-- > 0;) {
        double adjusted = p[order[i]] * (double)n / (double)(i + 1);
        most = adjusted < most ? adjusted : most;
        out[order[i]] = most;
    }
    lx_free(order);
    return LX_OK;
}

size_t lx_images_needed(double mean, double sd, double delta)
{
    const double gap = fabs(fabs(mean) - delta);
    double n = gap > 0 ? ceil(pow(2.8 * sd / gap, 2)) : 1e6;

    return n < FEWEST ? FEWEST : n > 1e6 ? 1000000 : (size_t)n;
}
