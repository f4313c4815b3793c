#include "src/lora/resize.h"

#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/lora/merge_internal.h"
#include "src/lora/svd.h"

const char *const lx_resize_rule_names[LX_RESIZE_RULES] = {
    "", "error", "sv_ratio", "sv_cumulative", "sv_fro",
};

/* ---- how many values are kept -------------------------------------------------------------- */

static double sum_of(const lx_svd *svd, size_t n, bool of_squares)
{
    double sum = 0;

    for (size_t i = 0; i < n && i < svd->rank; i++)
        sum += of_squares ? svd->sigma[i] * svd->sigma[i] : svd->sigma[i];
    return sum;
}

/* The least q whose first q values make up that much of the sum. */
static size_t reach(const lx_svd *svd, double share, bool of_squares)
{
    const double wanted =
        share * (sum_of(svd, svd->rank, of_squares) + (of_squares ? svd->residual : 0));
    double sum = 0;
    size_t q = 0;

    while (q < svd->rank && sum < wanted) {
        sum += of_squares ? svd->sigma[q] * svd->sigma[q] : svd->sigma[q];
        q++;
    }
    return q;
}

/* The rank by the rule, not yet bounded; most = the layer's shorter side. */
static size_t rank_by_rule(const lx_svd *svd, const lx_resize_options *o, size_t most)
{
    size_t q = 0;

    switch (o->rule) {
    case LX_RESIZE_FIXED:
        return o->rank;
    case LX_RESIZE_ERROR:
        return lx_svd_rank(svd, o->x);
    case LX_RESIZE_RATIO:
        while (q < svd->rank && svd->sigma[q] > svd->sigma[0] / o->x)
            q++;
        break;
    case LX_RESIZE_CUMULATIVE:
        q = reach(svd, o->x, false);
        break;
    default:
        q = reach(svd, o->x * o->x, true);
        break;
    }
    if (q + 1 > most)
        q = most - 1;
    return (q < 1 ? 1 : q) + 1;
}

/* What bounds the rank of a layer; 0: nothing but its sizes. */
static size_t bound_of(const lx_merge_target *t, const lx_resize_options *o)
{
    const bool has_window = t->shape.n_dims == 4 &&
                            (o->counts_1x1 || t->shape.shape[2] * t->shape.shape[3] > 1);

    return has_window && o->conv_rank ? o->conv_rank : o->rank;
}

static size_t shorter_side(const lx_merge_target *t)
{
    return t->shape.out < t->shape.in ? t->shape.out : t->shape.in;
}

/* A module that changes nothing has no values to choose by: resize_lora.py's limit, of the product without
 * its scale. */
static bool is_nothing(const lx_svd *svd)
{
    return !svd->rank || svd->sigma[0] <= 1e-6;
}

static size_t choose_rank(const lx_svd *svd, const lx_merge_target *t,
                          const lx_resize_options *o)
{
    const size_t bound = bound_of(t, o), most = shorter_side(t);
    size_t rank = o->rule == LX_RESIZE_FIXED ? bound
                  : is_nothing(svd)          ? 1
                                             : rank_by_rule(svd, o, most);

    if (o->rule != LX_RESIZE_FIXED) {
        rank = bound && rank > bound ? bound : rank;
        rank = svd->rank && rank > svd->rank ? svd->rank : rank;
    }
    return rank < most ? rank : most;
}

/* ---- one module ---------------------------------------------------------------------------- */

/* The factor that stays outside: alpha / rank of a plain LoRA in a file that has alphas. */
static double kept_scale(const lx_merge *m, const lx_merge_target *t)
{
    /* A config beside the file told the scale: whoever reads the result may not have it. */
    const bool has_config = t->first->source->file->config != NULL;
    const lx_lora_entry *e = t->first->entry;
    const double scale = lx_lora_entry_scale(e);

    if (e->kind != LX_KIND_LORA || !lx_merge__has_alphas(m) || has_config ||
        !isnormal((float)scale))
        return 1;
    return scale;
}

/* svd becomes that of the matrix divided by the factor. */
static void divide(lx_svd *svd, double factor)
{
    for (size_t i = 0; i < svd->rank; i++)
        svd->sigma[i] /= fabs(factor);
    for (size_t i = 0; factor < 0 && i < svd->rank * svd->out; i++)
        svd->left[i] = -svd->left[i];
    svd->residual /= factor * factor;
}

/* As many values as the ratio asks for, found by sketches that grow. */
static int decompose_ratio(lx_svd *svd, const double *a, const lx_merge_target *t,
                           const lx_resize_options *o, size_t most, lx_error *err)
{
    for (size_t k = 32;; k *= 2) {
        const size_t n = k < most ? k : most;
        const int rc =
            lx_svd_dense(svd, a, t->shape.out, t->shape.in, n, o->seed, t->layer, err);
        if (rc < 0 || n == most || svd->sigma[n - 1] <= svd->sigma[0] / o->x)
            return rc;
        lx_svd_release(svd);
    }
}

/* The values that have that much of the norm, and the one more of the rule. */
static int decompose_fro(lx_svd *svd, const double *a, const lx_merge_target *t,
                         const lx_resize_options *o, size_t most, lx_error *err)
{
    size_t n = most;
    int rc;

    if (o->x < 1) {
        if ((rc = lx_svd_dense_within(svd, a, t->shape.out, t->shape.in,
                                      sqrt(1 - o->x * o->x), o->seed, t->layer, err)) < 0)
            return rc;
        n = svd->rank + 1 < most ? svd->rank + 1 : most;
        lx_svd_release(svd);
    }
    return lx_svd_dense(svd, a, t->shape.out, t->shape.in, n, o->seed, t->layer, err);
}

/* Of a dense matrix no more values than the rule looks at; the sum of all needs all of them. */
static int decompose_dense(lx_svd *svd, const double *a, const lx_merge_target *t,
                           const lx_resize_options *o, lx_error *err)
{
    const size_t most = shorter_side(t), bound = bound_of(t, o);

    if (o->rule == LX_RESIZE_ERROR)
        return lx_svd_dense_within(svd, a, t->shape.out, t->shape.in, o->x, o->seed,
                                   t->layer, err);
    if (o->rule == LX_RESIZE_RATIO)
        return decompose_ratio(svd, a, t, o, most, err);
    if (o->rule == LX_RESIZE_FRO)
        return decompose_fro(svd, a, t, o, most, err);
    return lx_svd_dense(svd, a, t->shape.out, t->shape.in,
                        o->rule == LX_RESIZE_FIXED && bound < most ? bound : most,
                        o->seed, t->layer, err);
}

/* Up to this size all values of a dense matrix cost no more than a moment; beyond it a sketch knows those that
 * are kept. */
enum { SMALL = 256 };

static int decompose(lx_svd *svd, const lx_merge_target *t, const lx_resize_options *o,
                     lx_error *err)
{
    const lx_delta_shape *s = &t->shape;
    double *up, *down, *dense;
    int rc;

    if (!t->is_dense && (t->rank < shorter_side(t) || shorter_side(t) <= SMALL)) {
        if ((rc = lx_merge__factors(&up, &down, t, err)) < 0)
            return rc;
        rc = lx_svd_product(svd, up, down, s->out, t->rank, s->in, err);
        lx_free(up);
        lx_free(down);
        return rc;
    }
    if (!(dense = lx_calloc(s->out * s->in, sizeof *dense)))
        return lx_oom(err);
    if ((rc = lx_merge__sum(dense, t, NULL, err)) == LX_OK)
        rc = decompose_dense(svd, dense, t, o, err);
    lx_free(dense);
    return rc;
}

static void describe(lx_resize_row *row, const lx_svd *svd, size_t rank, double alpha)
{
    const double all = sum_of(svd, svd->rank, false), error = lx_svd_error(svd, rank);

    row->alpha = alpha;
    row->sum_kept = svd->residual > 0 ? NAN
                    : all > 0         ? sum_of(svd, rank, false) / all
                                      : 1;
    row->fro_kept = sqrt(fmax(0, 1 - error * error));
    row->ratio = rank <= svd->rank && rank && svd->sigma[rank - 1] > 0
                     ? svd->sigma[0] / svd->sigma[rank - 1]
                     : 0;
}

static int resize_module(lx_merge_output *out, lx_resize_row *row, const lx_merge *m,
                         const lx_resize_options *o, lx_error *err)
{
    const lx_merge_target *t = out->target;
    const double scale = kept_scale(m, t);
    size_t rank;
    lx_svd svd;
    int rc = lx_merge__put_bias(out, o->dtype, err);

    if (rc < 0 || !t->shape.in)
        return rc;
    if (t->is_norm) {
        double *values = lx_calloc(t->shape.out * t->shape.in, sizeof *values);
        if (!values)
            return lx_oom(err);
        if ((rc = lx_merge__sum(values, t, NULL, err)) == LX_OK)
            rc = lx_merge__put_dense(out, values, o->dtype, err);
        lx_free(values);
        return rc;
    }
    if ((rc = decompose(&svd, t, o, err)) < 0)
        return rc;
    divide(&svd, scale);
    rank = choose_rank(&svd, t, o);
    describe(row, &svd, rank, scale * (double)rank);
    rc = lx_merge__put_svd(out, m, &svd, rank, (float)(scale * (double)rank), o->dtype,
                           err);
    lx_svd_release(&svd);
    return rc;
}

/* ---- all of them --------------------------------------------------------------------------- */

static int check_target(const lx_merge_target *t, lx_error *err)
{
    const lx_merge_part *p = t->first;

    if (lx_delta_needs_base(p->entry))
        return lx_fail(
            err, LX_EUNSUPPORTED,
            "%s is %s, whose change depends on the base model's weights: lx merge "
            "--into BASE, and lx extract of the result, make it a LoRA of any rank",
            p->entry->name,
            p->entry->has_dora ? "DoRA" : lx_lora_kind_name(p->entry->kind));
    if (p->next)
        return lx_fail(err, LX_EFORMAT, "%s and %s are the same layer", p->entry->name,
                       p->next->entry->name);
    return LX_OK;
}

static void count(lx_resize_result *out, const lx_merge_output *o,
                  const lx_resize_options *options)
{
    const lx_merge_target *t = o->target;
    const size_t rank = (size_t)o->module->rank, old = t->rank;

    out->n_kept += !rank;
    if (!rank)
        return;
    out->n_converted += t->first->entry->kind != LX_KIND_LORA;
    out->n_padded += old && rank > old;
    out->n_bounded += options->rule == LX_RESIZE_FIXED && rank < bound_of(t, options);
    if (old > out->old_rank)
        out->old_rank = old;
}

int lx_lora_resize(lx_resize_result *out, lx_merge *m, const lx_resize_options *o,
                   lx_error *err)
{
    size_t first_bad = m->n_targets;
    bool has_dense = false;
    lx_merge_output *outs;
    int rc = LX_OK;

    *out = (lx_resize_result){0};
    lx_assert(o->rank || o->rule != LX_RESIZE_FIXED);
    for (size_t i = 0; i < m->n_targets && rc == LX_OK; i++) {
        rc = check_target(&m->targets[i], err);
        has_dense |= m->targets[i].is_dense;
    }
    if (rc < 0)
        return rc;
    if (!(out->rows = lx_arena_calloc(m->arena, m->n_targets + 1, sizeof *out->rows)))
        return lx_oom(err);
    if ((rc = lx_merge__prepare(&out->merge, &outs, m, err)) < 0)
        return rc;
/* Dense modules share the threads within themselves, for memory's sake. */
#pragma omp parallel for schedule(dynamic, 1) if (!has_dense)
    for (size_t i = 0; i < m->n_targets; i++) {
        lx_error own;
        const int failed = resize_module(&outs[i], &out->rows[i], m, o, &own);
        if (failed < 0) {
#pragma omp critical(lx_merge_error)
            if (i < first_bad) {
                first_bad = i;
                rc = lx_fail_as(err, failed, &own);
            }
        }
    }
    lx_merge__keep(m, outs);
    for (size_t i = 0; i < m->n_targets && rc == LX_OK; i++)
        count(out, &outs[i], o);
    if (rc == LX_OK)
        lx_merge__gather(&out->merge, m, outs);
    return rc;
}
