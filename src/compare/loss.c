#include "src/compare/loss.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/stats/paired.h"
#include "src/stats/rank.h"

typedef struct point {
    int64_t step;
    size_t at;
    double value;
} point;

static int by_step(const void *a, const void *b)
{
    const point *x = a, *y = b;
    if (x->step != y->step)
        return x->step < y->step ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

/* Copies the points up to the first that is out of order or not finite: nearly always
 * all of them. */
static size_t take_ordered(lx_loss_curve *out, const int64_t *steps, const double *values,
                           size_t n)
{
    size_t i = 0;

    for (; i < n && isfinite(values[i]) && (!i || steps[i] > steps[i - 1]); i++) {
        out->steps[i] = (double)steps[i];
        out->values[i] = values[i];
    }
    return out->n = i;
}

int lx_loss_order(lx_loss_curve *out, const int64_t *steps, const double *values,
                  size_t n, lx_arena *arena, lx_error *err)
{
    point *points;
    size_t kept = 0;

    out->n = 0;
    out->steps = lx_arena_calloc(arena, n + 1, sizeof *out->steps);
    out->values = lx_arena_calloc(arena, n + 1, sizeof *out->values);
    if (!out->steps || !out->values)
        return lx_oom(err);
    if (take_ordered(out, steps, values, n) == n)
        return LX_OK;
    out->n = 0;
    if (!(points = lx_arena_calloc(arena, n, sizeof *points)))
        return lx_oom(err);
    for (size_t i = 0; i < n; i++)
        if (isfinite(values[i]))
            points[kept++] = (point){steps[i], i, values[i]};
    qsort(points, kept, sizeof *points, by_step);
    for (size_t i = 0; i < kept; i++) {
        if (i + 1 < kept && points[i + 1].step == points[i].step)
            continue;
        out->steps[out->n] = (double)points[i].step;
        out->values[out->n++] = points[i].value;
    }
    return LX_OK;
}

double lx_loss_tail(const lx_loss_curve *c, double until, double share)
{
    size_t end = c->n, n = 0;
    double first, sum = 0;

    while (end && c->steps[end - 1] > until)
        end--;
    if (!end)
        return (double)NAN;
    first = c->steps[end - 1] - share * (c->steps[end - 1] - c->steps[0] + 1);
    for (size_t i = 0; i < end; i++)
        if (c->steps[i] > first) {
            sum += c->values[i];
            n++;
        }
    return sum / (double)n;
}

/* The first point at `step` or after it. */
static size_t find(const lx_loss_curve *c, double step)
{
    size_t low = 0, high = c->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (c->steps[middle] < step)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Points of both at the same steps from `first` on: x of a, y of b, their difference. */
static size_t pair(double *x, double *y, double *difference, const lx_loss_curve *a,
                   const lx_loss_curve *b, double first, double last)
{
    size_t i = find(a, first), k = find(b, first), n = 0;

    while (i < a->n && k < b->n && a->steps[i] <= last && b->steps[k] <= last) {
        if (a->steps[i] < b->steps[k]) {
            i++;
        } else if (a->steps[i] > b->steps[k]) {
            k++;
        } else {
            x[n] = a->values[i++];
            y[n] = b->values[k++];
            difference[n] = y[n] - x[n];
            n++;
        }
    }
    return n;
}

/* mean(b) - mean(a), each drawn by itself. */
static int difference_of_draws(lx_interval *out, const double *b, size_t n_b,
                               const double *a, size_t n_a, uint64_t seed,
                               lx_loss_draws *draws, lx_error *err)
{
    lx_drawn of_b;
    int rc;

    if (!draws)
        return lx_bootstrap_difference(out, b, n_b, a, n_a, seed, err);
    if (draws->values != a || draws->n != n_a || draws->seed != seed) {
        draws->values = NULL;
        if ((rc = lx_bootstrap_draw(&draws->drawn, a, n_a, seed, 2, err)) < 0)
            return rc;
        draws->values = a;
        draws->n = n_a;
        draws->seed = seed;
    }
    if ((rc = lx_bootstrap_draw(&of_b, b, n_b, seed, 1, err)) == LX_OK)
        lx_bootstrap_between(out, &of_b, &draws->drawn);
    return rc;
}

static bool are_zeros(const double *x, size_t n)
{
    while (n && x[n - 1] == 0)
        n--;
    return !n;
}

int lx_compare_loss(lx_loss_difference *out, const lx_loss_curve *a,
                    const lx_loss_curve *b, double share, bool can_pair, uint64_t seed,
                    lx_loss_draws *draws_of_a, lx_arena *arena, lx_error *err)
{
    size_t most = a->n < b->n ? a->n : b->n, i, k, n_a, n_b, n;
    double *x, *y, *difference, from;

    *out = (lx_loss_difference){.correlation = (double)NAN};
    if (!a->n || !b->n)
        return LX_OK;
    from = fmax(a->steps[0], b->steps[0]);
    out->last = fmin(a->steps[a->n - 1], b->steps[b->n - 1]);
    if (out->last < from)
        return LX_OK;
    out->first = fmin(ceil(out->last - share * (out->last - from + 1) + 1), out->last);
    i = find(a, out->first);
    k = find(b, out->first);
    n_a = find(a, out->last + 0.5) - i;
    n_b = find(b, out->last + 0.5) - k;
    if (!n_a || !n_b)
        return LX_OK;
    out->n = n_a;
    x = lx_arena_calloc(arena, 3 * most, sizeof *x);
    if (!x)
        return lx_oom(err);
    y = x + most;
    difference = y + most;
    n = can_pair ? pair(x, y, difference, a, b, out->first, out->last) : 0;
    out->a = lx_mean(a->values + i, n_a);
    out->b = lx_mean(b->values + k, n_b);
    /* some steps alone would compare other steps than it says */
    out->is_paired = n == n_a && n == n_b;
    out->is_estimated = (n_a >= LX_LOSS_POINTS && n_b >= LX_LOSS_POINTS) ||
                        (out->is_paired && are_zeros(difference, n));
    if (!out->is_estimated) {
        out->difference = (lx_interval){.mean = out->b - out->a,
                                        .low = (double)NAN,
                                        .high = (double)NAN,
                                        .se = (double)NAN};
        return LX_OK;
    }
    if (out->is_paired) {
        out->correlation = lx_pearson(x, y, n);
        return lx_bootstrap_mean(&out->difference, difference, n, 0, seed, 3, err);
    }
    return difference_of_draws(&out->difference, b->values + k, n_b, a->values + i, n_a,
                               seed, draws_of_a, err);
}

int64_t lx_loss_parting(size_t *n, const lx_loss_curve *a, const lx_loss_curve *b)
{
    *n = 0;
    for (size_t i = 0, k = 0; i < a->n && k < b->n;) {
        if (a->steps[i] == b->steps[k]) {
            (*n)++;
            if (memcmp(&a->values[i], &b->values[k], sizeof *a->values) != 0)
                return (int64_t)a->steps[i];
            i++;
            k++;
        } else if (a->steps[i] < b->steps[k]) {
            i++;
        } else {
            k++;
        }
    }
    return -1;
}
