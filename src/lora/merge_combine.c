/* Sums that are cut to a rank, sums that stay dense, and the methods that look at every element. */
#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/rng.h"
#include "src/lora/matrix.h"
#include "src/lora/merge_internal.h"
#include "src/lora/svd.h"

/* ---- sums -------------------------------------------------------------------------------- */

int lx_merge__factors(double **up, double **down, const lx_merge_target *t, lx_error *err)
{
    double *part_up = lx_calloc(t->shape.out * t->rank, sizeof **up);
    size_t column = 0;
    int rc = LX_OK;

    *up = lx_calloc(t->shape.out * t->rank, sizeof **up);
    *down = lx_calloc(t->rank * t->shape.in, sizeof **down);
    if (!part_up || !*up || !*down)
        rc = lx_oom(err);
    for (const lx_merge_part *p = t->first; p && rc == LX_OK; p = p->next) {
        const size_t rank = p->shape.rank;
        if (!rank)
            continue; /* only a bias */
        rc = lx_merge__within(lx_delta_factors(part_up, *down + column * t->shape.in,
                                               p->entry, &p->shape, err),
                              p, err);
        for (size_t o = 0; o < t->shape.out; o++)
            for (size_t r = 0; r < rank; r++)
                (*up)[o * t->rank + column + r] = p->strength * part_up[o * rank + r];
        column += rank;
    }
    lx_free(part_up);
    if (rc < 0) {
        lx_free(*up);
        lx_free(*down);
    }
    return rc;
}

static int sum_factors(double *sum, const lx_merge_target *t, lx_error *err)
{
    double *up, *down;
    int rc = lx_merge__factors(&up, &down, t, err);

    if (rc < 0)
        return rc;
    lx_matrix_multiply(sum, up, down, t->shape.out, t->rank, t->shape.in, 0);
    lx_free(up);
    lx_free(down);
    return LX_OK;
}

int lx_merge__sum(double *sum, const lx_merge_target *t, const lx_delta_base *base,
                  lx_error *err)
{
    const size_t n = base ? base->out * base->in : t->shape.out * t->shape.in;
    const size_t shorter = t->shape.out < t->shape.in ? t->shape.out : t->shape.in;
    double *delta;
    int rc = LX_OK;
    bool has_factors = true, is_expanded = false;

    for (const lx_merge_part *p = t->first; p; p = p->next) {
        has_factors &= !lx_delta_needs_base(p->entry) && (p->shape.rank || !p->shape.in);
        is_expanded |= p->entry->kind == LX_KIND_LOHA || p->entry->kind == LX_KIND_LOKR;
    }
    /* From such a rank on LoHa and LoKr are written out sooner than their factors are multiplied. */
    if (has_factors && t->rank && !(is_expanded && t->rank >= shorter))
        return sum_factors(sum, t, err);
    if (!(delta = lx_calloc(n, sizeof *delta)))
        return lx_oom(err);
    memset(sum, 0, n * sizeof *sum);
    for (const lx_merge_part *p = t->first; p && rc == LX_OK; p = p->next) {
        if (!p->shape.in && !lx_delta_needs_base(p->entry))
            continue;
        rc = lx_merge__within(lx_delta_dense(delta, p->entry, &p->shape, base, err), p,
                              err);
        if (rc == LX_OK)
            lx_matrix_add(sum, p->strength, delta, n);
    }
    lx_free(delta);
    return rc;
}

int lx_merge__sum_bias(double **sum, size_t *n, const lx_merge_target *t, lx_error *err)
{
    *sum = NULL;
    *n = 0;
    for (const lx_merge_part *p = t->first; p; p = p->next) {
        double *bias;
        size_t count;
        int rc = lx_merge__within(lx_delta_bias(&bias, &count, p->entry, err), p, err);
        if (rc == LX_OK && bias && !*sum) {
            *n = count;
            if (!(*sum = lx_calloc(count, sizeof **sum)))
                rc = lx_oom(err);
        }
        if (rc == LX_OK && bias && count != *n)
            rc = lx_fail(err, LX_EMISMATCH, "%s: biases of %zu and %zu values", t->name,
                         *n, count);
        if (rc == LX_OK && bias)
            lx_matrix_add(*sum, p->strength, bias, count);
        lx_free(bias);
        if (rc < 0) {
            lx_free(*sum);
            *sum = NULL;
            return rc;
        }
    }
    return LX_OK;
}

/* ---- what is written --------------------------------------------------------------------- */

static int put_values(lx_tensor_view *view, const double *values, lx_error *err)
{
    enum { CHUNK = 4096 };
    const size_t width = (size_t)lx_dtype_bits(view->dtype) / 8;
    float buffer[CHUNK], back[CHUNK];

    for (size_t at = 0; at < view->n_elements; at += CHUNK) {
        const size_t n = view->n_elements - at < CHUNK ? view->n_elements - at : CHUNK;
        char *to = (char *)view->data + at * width;
        for (size_t i = 0; i < n; i++)
            buffer[i] = (float)values[at + i];
        lx_from_f32(to, view->dtype, buffer, n);
        lx_to_f32(back, to, view->dtype, n);
        for (size_t i = 0; i < n; i++)
            if (!isfinite(back[i]))
                return lx_fail(
                    err, LX_ELIMIT,
                    "%s: the sum is too large for %s: add --save_precision float or bf16",
                    view->name, lx_dtype_name(view->dtype));
    }
    return LX_OK;
}

int lx_merge__put_bias(lx_merge_output *out, lx_dtype dtype, lx_error *err)
{
    double *sum;
    size_t n;
    int64_t shape[1];
    int rc;

    if (!out->target->has_bias)
        return LX_OK;
    if ((rc = lx_merge__sum_bias(&sum, &n, out->target, err)) < 0)
        return rc;
    shape[0] = (int64_t)n;
    if ((rc = lx_merge__shape_view(&out->views[LX_VIEW_BIAS], dtype, 1, shape, err)) ==
        LX_OK)
        rc = put_values(&out->views[LX_VIEW_BIAS], sum, err);
    lx_free(sum);
    return rc;
}

int lx_merge__put_dense(lx_merge_output *out, const double *sum, lx_dtype dtype,
                        lx_error *err)
{
    const lx_delta_shape *s = &out->target->shape;
    int rc =
        lx_merge__shape_view(&out->views[LX_VIEW_DENSE], dtype, s->n_dims, s->shape, err);

    return rc < 0 ? rc : put_values(&out->views[LX_VIEW_DENSE], sum, err);
}

/* Ones on the diagonal of a view [n, n]. */
static int put_unit(lx_tensor_view *view, size_t n, lx_error *err)
{
    const size_t width = n * (size_t)lx_dtype_bits(view->dtype) / 8;
    float *row = lx_calloc(n, sizeof *row);

    if (!row)
        return lx_oom(err);
    for (size_t i = 0; i < n; i++) {
        row[i] = 1;
        lx_from_f32((char *)view->data + i * width, view->dtype, row, n);
        row[i] = 0;
    }
    lx_free(row);
    return LX_OK;
}

/* Factors of the layer's shorter side: the sum and a unit matrix, which is as exact as the sum. */
static int put_sum_as_factors(lx_merge_output *out, const lx_merge *m, const double *sum,
                              lx_dtype dtype, lx_error *err)
{
    const size_t rank = lx_merge__exact_rank(out->target);
    const bool is_up_unit = rank == out->target->shape.out;
    lx_tensor_view *up = &out->views[LX_VIEW_UP], *down = &out->views[LX_VIEW_DOWN];
    int rc = lx_merge__shape_factors(out, m, rank, (float)rank, dtype, err);

    if (rc < 0 || (rc = put_values(is_up_unit ? down : up, sum, err)) < 0)
        return rc;
    return put_unit(is_up_unit ? up : down, rank, err);
}

static int put_floats(lx_tensor_view *view, const float *values, lx_error *err)
{
    for (size_t i = 0; i < view->n_elements; i++)
        if (!isfinite(values[i]) ||
            (view->dtype == LX_F16 && fabsf(values[i]) >= 65520.0f))
            return lx_fail(
                err, LX_ELIMIT,
                "%s: %g is too large for %s: add --save_precision float or bf16",
                view->name, (double)values[i], lx_dtype_name(view->dtype));
    lx_from_f32((void *)view->data, view->dtype, values, view->n_elements);
    return LX_OK;
}

int lx_merge__put_svd(lx_merge_output *out, const lx_merge *m, const lx_svd *svd,
                      size_t rank, float alpha, lx_dtype dtype, lx_error *err)
{
    const double scale = (double)alpha / (double)rank;
    const size_t n_up = svd->out * rank, n_down = rank * svd->in;
    float *up = lx_alloc((n_up + n_down) * sizeof *up);
    int rc;

    if (!up)
        return lx_oom(err);
    lx_svd_split(up, up + n_up, svd, rank);
    out->module->norm = fabs(scale) * lx_svd_norm(svd);
    out->module->error = lx_svd_error(svd, rank);
    out->lost = out->module->error * out->module->norm;
    out->lost *= out->lost;
    rc = lx_merge__shape_factors(out, m, rank, alpha, dtype, err);
    if (rc == LX_OK && (rc = put_floats(&out->views[LX_VIEW_UP], up, err)) == LX_OK)
        rc = put_floats(&out->views[LX_VIEW_DOWN], up + n_up, err);
    lx_free(up);
    return rc;
}

static size_t wanted_rank(const lx_merge_target *t, const lx_merge_options *o)
{
    const bool has_window =
        t->shape.n_dims == 4 && t->shape.shape[2] * t->shape.shape[3] > 1;

    return o->rank_rule != LX_RANK_FIXED ? t->rank
           : has_window && o->conv_rank  ? o->conv_rank
                                         : o->rank;
}

/* A product of factors, whose values are all known. */
static int cut_product(lx_merge_output *out, const lx_merge *m, const lx_merge_options *o,
                       const double *up, const double *down, size_t rank, lx_error *err)
{
    const lx_merge_target *t = out->target;
    size_t kept;
    lx_svd svd;
    int rc = lx_svd_product(&svd, up, down, t->shape.out, rank, t->shape.in, err);

    if (rc < 0)
        return rc;
    kept =
        o->rank_rule == LX_RANK_ERROR ? lx_svd_rank(&svd, o->error) : wanted_rank(t, o);
    kept = kept < svd.rank ? kept : svd.rank;
    rc = lx_merge__put_svd(out, m, &svd, kept, (float)kept, o->dtype, err);
    lx_svd_release(&svd);
    return rc;
}

static int cut_dense(lx_merge_output *out, const lx_merge *m, const lx_merge_options *o,
                     const double *sum, lx_error *err)
{
    const lx_delta_shape *s = &out->target->shape;
    const size_t most = s->out < s->in ? s->out : s->in,
                 wanted = wanted_rank(out->target, o);
    lx_svd svd;
    int rc;

    if (o->rank_rule == LX_RANK_ERROR)
        rc = lx_svd_dense_within(&svd, sum, s->out, s->in, o->error, o->seed,
                                 out->target->layer, err);
    else
        rc = lx_svd_dense(&svd, sum, s->out, s->in, wanted < most ? wanted : most,
                          o->seed, out->target->layer, err);
    if (rc < 0)
        return rc;
    rc = lx_merge__put_svd(out, m, &svd, svd.rank, (float)svd.rank, o->dtype, err);
    lx_svd_release(&svd);
    return rc;
}

/* ---- methods ----------------------------------------------------------------------------- */

/* The k-th largest |x|, by their bits, which are in the order of their values; 16 at a time. */
static uint64_t threshold(const double *x, size_t n, size_t k)
{
    uint64_t prefix = 0;
    size_t *counts = lx_calloc(1 << 16, sizeof *counts);

    if (!counts)
        return UINT64_MAX;
    for (int shift = 48; shift >= 0; shift -= 16) {
        uint64_t digit = (1 << 16) - 1;
        memset(counts, 0, (1 << 16) * sizeof *counts);
        for (size_t i = 0; i < n; i++) {
            const double size = fabs(x[i]);
            uint64_t bits;
            memcpy(&bits, &size, sizeof bits);
            if (shift == 48 || bits >> (shift + 16) == prefix >> (shift + 16))
                counts[bits >> shift & 0xFFFF]++;
        }
        for (; digit > 0 && counts[digit] < k; digit--)
            k -= counts[digit];
        prefix |= digit << shift;
    }
    lx_free(counts);
    return prefix;
}

/* Keeps the `density` share of the largest; of equal ones at the limit the first. */
static int prune(double *x, size_t n, double density, lx_error *err)
{
    const size_t k = (size_t)(density * (double)n);
    size_t above = 0, left;
    uint64_t limit = 0;

    if (k >= n)
        return LX_OK;
    if (k && (limit = threshold(x, n, k)) == UINT64_MAX)
        return lx_oom(err);
    for (int pass = 0; pass < 2; pass++) {
        left = k - above;
        for (size_t i = 0; i < n; i++) {
            const double size = fabs(x[i]);
            uint64_t bits;
            memcpy(&bits, &size, sizeof bits);
            if (pass == 0)
                above += k && bits > limit;
            else if (!k || bits < limit || (bits == limit && !left))
                x[i] = 0;
            else if (bits == limit)
                left--;
        }
    }
    return LX_OK;
}

static void drop(double *x, size_t n, double density, uint64_t seed, uint64_t file,
                 const char *layer)
{
    lx_rng rng = lx_rng_stream(seed, LX_RNG_MERGE, file, lx_hash_name(layer));
    const double limit = density * 4294967296.0;

    for (size_t i = 0; i < n; i++)
        x[i] = (double)lx_rng_u32(&rng) < limit ? x[i] / density : 0;
}

/* xs [count][n] -> sum [n]: per element the mean of w x over those that agree with the elected sign. */
static void elect(double *sum, const double *xs, const double *weights, size_t count,
                  size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double total = 0, agreed = 0;
        int voices = 0;
        for (size_t f = 0; f < count; f++)
            total += xs[f * n + i];
        for (size_t f = 0; f < count; f++) {
            const double x = xs[f * n + i];
            if (total >= 0 ? x > 0 : x < 0) {
                agreed += weights[f] * x;
                voices++;
            }
        }
        sum[i] = voices ? agreed / voices : 0;
    }
}

/* xs [count][n] are changed in place; sum [n]. */
static int mix(double *sum, double *xs, const double *weights, size_t count, size_t n,
               const lx_merge_target *t, const lx_merge_options *o, lx_error *err)
{
    const bool is_random = o->method == LX_MERGE_DARE || o->method == LX_MERGE_DARE_TIES;
    const lx_merge_part *p = t->first;
    int rc = LX_OK;

    for (size_t f = 0; f < count && rc == LX_OK; f++, p = p->next) {
        if (is_random)
            drop(xs + f * n, n, o->density, o->seed, p->n_source, t->layer);
        else
            rc = prune(xs + f * n, n, o->density, err);
    }
    if (rc < 0)
        return rc;
    if (o->method == LX_MERGE_PRUNE || o->method == LX_MERGE_DARE) {
        memset(sum, 0, n * sizeof *sum);
        for (size_t f = 0; f < count; f++)
            lx_matrix_add(sum, weights[f], xs + f * n, n);
    } else {
        elect(sum, xs, weights, count, n);
    }
    return LX_OK;
}

/* Each part's delta, dense, at strength 1; [count][out * in]. */
static int read_parts(double **xs, double **weights, const lx_merge_target *t,
                      lx_error *err)
{
    const size_t n = t->shape.out * t->shape.in;
    size_t f = 0, total;
    int rc = LX_OK;

    *xs = NULL;
    *weights = NULL;
    if (!t->is_dense && (rc = lx_delta_check_dense(t->first->entry, &t->shape, err)) < 0)
        return lx_merge__within(rc, t->first, err);
    if (!(*weights = lx_calloc(t->n_parts, sizeof **weights)) ||
        !lx_mul_size(&total, n, t->n_parts) || !(*xs = lx_calloc(total, sizeof **xs)))
        rc = lx_oom(err);
    for (const lx_merge_part *p = t->first; p && rc == LX_OK; p = p->next, f++) {
        (*weights)[f] = p->strength;
        if (p->shape.in)
            rc = lx_merge__within(
                lx_delta_dense(*xs + f * n, p->entry, &p->shape, NULL, err), p, err);
    }
    if (rc < 0) {
        lx_free(*xs);
        lx_free(*weights);
    }
    return rc;
}

static int run_method(lx_merge_output *out, const lx_merge *m, const lx_merge_options *o,
                      lx_error *err)
{
    const lx_merge_target *t = out->target;
    const size_t n = t->shape.out * t->shape.in;
    double *xs, *weights, *sum = NULL;
    int rc = read_parts(&xs, &weights, t, err);

    if (rc < 0)
        return rc;
    if (!(sum = lx_calloc(n, sizeof *sum)))
        rc = lx_oom(err);
    else
        rc = mix(sum, xs, weights, t->n_parts, n, t, o, err);
    lx_free(xs);
    lx_free(weights);
    if (rc == LX_OK) {
        const bool keeps_dense =
            t->is_norm || (t->is_dense && o->rank_rule != LX_RANK_FIXED &&
                           o->rank_rule != LX_RANK_ERROR);
        rc = keeps_dense ? lx_merge__put_dense(out, sum, o->dtype, err)
                         : cut_dense(out, m, o, sum, err);
    }
    lx_free(sum);
    return rc;
}

/* ---- KnOTS ------------------------------------------------------------------------------- */

/* svd of [D_1 | D_2 ...]: by the factors when all have them. */
static int decompose_side_by_side(lx_svd *svd, const lx_merge_target *t, lx_error *err)
{
    const size_t out = t->shape.out, in = t->shape.in, all = in * t->n_parts;
    double *up = NULL, *down = NULL, *wide = NULL;
    size_t column = 0, f = 0;
    int rc;

    if (t->is_dense) { /* row by row: [out, parts * in] */
        double *xs, *weights;
        if ((rc = read_parts(&xs, &weights, t, err)) < 0)
            return rc;
        if (!(wide = lx_calloc(out * all, sizeof *wide)))
            rc = lx_oom(err);
        for (size_t i = 0; wide && i < t->n_parts * out; i++)
            memcpy(wide + i % out * all + i / out * in, xs + i * in, in * sizeof *wide);
        if (wide)
            rc = lx_svd_dense(svd, wide, out, all, out, 0, t->layer, err);
        lx_free(wide);
        lx_free(xs);
        lx_free(weights);
        return rc;
    }
    up = lx_calloc(out * t->rank, 2 * sizeof *up);
    down = lx_calloc(t->rank * in, sizeof *down);
    wide = lx_calloc(t->rank * all, sizeof *wide);
    rc = up && down && wide ? LX_OK : lx_oom(err);
    for (const lx_merge_part *p = t->first; p && rc == LX_OK; p = p->next, f++) {
        const size_t rank = p->shape.rank;
        double *own = up + out * t->rank;
        if (!rank)
            continue;
        rc = lx_merge__within(
            lx_delta_factors(own, down, p->entry, &p->shape, err), p, err);
        for (size_t o = 0; o < out; o++)
            memcpy(up + o * t->rank + column, own + o * rank, rank * sizeof *up);
        for (size_t r = 0; r < rank; r++)
            memcpy(wide + (column + r) * all + f * in, down + r * in, in * sizeof *wide);
        column += rank;
    }
    if (rc == LX_OK)
        rc = lx_svd_product(svd, up, wide, out, t->rank, all, err);
    lx_free(wide);
    lx_free(down);
    lx_free(up);
    return rc;
}

static int run_knots(lx_merge_output *out, const lx_merge *m, const lx_merge_options *o,
                     lx_error *err)
{
    const lx_merge_target *t = out->target;
    const size_t in = t->shape.in, count = t->n_parts;
    double *xs = NULL, *weights = NULL, *up = NULL, *down = NULL;
    lx_svd svd;
    size_t f = 0, n;
    int rc = decompose_side_by_side(&svd, t, err);

    if (rc < 0)
        return rc;
    n = svd.rank * in;
    xs = lx_calloc(count * n, sizeof *xs);
    weights = lx_calloc(count, sizeof *weights);
    up = lx_calloc(t->shape.out * svd.rank, sizeof *up);
    down = lx_calloc(n, sizeof *down);
    if (!xs || !weights || !up || !down) {
        rc = lx_oom(err);
        goto done;
    }
    for (const lx_merge_part *p = t->first; p; p = p->next, f++) {
        weights[f] = p->strength;
        for (size_t k = 0; k < svd.rank; k++)
            memcpy(xs + f * n + k * in, svd.right + (k * count + f) * in,
                   in * sizeof *xs);
    }
    if ((rc = mix(down, xs, weights, count, n, t, o, err)) < 0)
        goto done;
    for (size_t i = 0; i < t->shape.out; i++)
        for (size_t k = 0; k < svd.rank; k++)
            up[i * svd.rank + k] = svd.left[k * t->shape.out + i] * svd.sigma[k];
    rc = cut_product(out, m, o, up, down, svd.rank, err);
done:
    lx_free(down);
    lx_free(up);
    lx_free(weights);
    lx_free(xs);
    lx_svd_release(&svd);
    return rc;
}

enum { SMALL = 256 }; /* as in resize */

/* ---- linear ------------------------------------------------------------------------------ */

static int run_linear(lx_merge_output *out, const lx_merge *m, const lx_merge_options *o,
                      lx_error *err)
{
    const lx_merge_target *t = out->target;
    const bool is_cut = o->rank_rule == LX_RANK_FIXED || o->rank_rule == LX_RANK_ERROR;
    const size_t shorter = t->shape.out < t->shape.in ? t->shape.out : t->shape.in;
    /* All values of a small matrix are soon known; of a larger one a sketch knows those that are kept. */
    const bool is_summed = lx_merge__is_excessive(t) &&
                           (!is_cut || shorter > SMALL || t->rank > 4 * shorter);
    double *up, *down, *sum;
    int rc;

    if (!t->is_dense && !is_summed) {
        if ((rc = lx_merge__factors(&up, &down, t, err)) < 0)
            return rc;
        rc = cut_product(out, m, o, up, down, t->rank, err);
        lx_free(up);
        lx_free(down);
        return rc;
    }
    if (!(sum = lx_calloc(t->shape.out * t->shape.in, sizeof *sum)))
        return lx_oom(err);
    if ((rc = lx_merge__sum(sum, t, NULL, err)) == LX_OK)
        rc = is_cut && !t->is_norm ? cut_dense(out, m, o, sum, err)
             : !t->is_dense        ? put_sum_as_factors(out, m, sum, o->dtype, err)
                                   : lx_merge__put_dense(out, sum, o->dtype, err);
    lx_free(sum);
    return rc;
}

int lx_merge__combine(lx_merge_output *out, const lx_merge *m, const lx_merge_options *o,
                      lx_error *err)
{
    const lx_merge_target *t = out->target;
    int rc = lx_merge__put_bias(out, o->dtype, err);

    if (rc < 0 || !t->shape.in)
        return rc;
    if (o->method == LX_MERGE_LINEAR)
        return run_linear(out, m, o, err);
    return o->method == LX_MERGE_KNOTS && !t->is_norm ? run_knots(out, m, o, err)
                                                      : run_method(out, m, o, err);
}
