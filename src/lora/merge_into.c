#include "src/lora/merge_into.h"

#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/lora/layer.h"
#include "src/lora/merge_internal.h"

/* One tensor of the base and what changes it; parts[i] is for the i-th share of its rows. */
typedef struct plan_row {
    const lx_tensor_view *from;
    const lx_merge_target *parts[3];
    int n;
    bool is_bias;
} plan_row;

typedef struct work {
    const lx_merge_into *into;
    plan_row *rows;        /* one a tensor of the base */
    lx_tensor_view *views; /* the same, as they are written */
    size_t n;
    void *buffer; /* the bytes of the tensor being written */
} work;

static bool is_float(lx_dtype d)
{
    return d == LX_F16 || d == LX_BF16 || d == LX_F32 || d == LX_F64;
}

/* ---- which tensor is changed by what ------------------------------------------------------ */

static bool changes(const lx_merge_target *t, bool is_bias)
{
    if (is_bias)
        return t->has_bias;
    for (const lx_merge_part *p = t->first; p; p = p->next)
        if (p->shape.in || lx_delta_needs_base(p->entry))
            return true;
    return false;
}

static int check_layer(const plan_row *row, const lx_merge_target *t, lx_error *err)
{
    const size_t out = (size_t)row->from->shape[0] / (size_t)row->n;
    const size_t in = row->from->n_elements / (size_t)row->from->shape[0];

    if (row->is_bias)
        return LX_OK;
    for (const lx_merge_part *p = t->first; p; p = p->next)
        if ((p->shape.out && p->shape.in && p->shape.out != out) ||
            (p->shape.in && p->shape.in != in))
            return lx_fail(err, LX_EMISMATCH,
                           "%s of %s changes a layer of %zu x %zu, the base model's %s "
                           "is %zu x %zu: "
                           "it is for another model",
                           p->entry->name, p->source->label, p->shape.out, p->shape.in,
                           row->from->name, out, in);
    return LX_OK;
}

/* bits: 1 = its weight was found, 2 = its bias. */
static int plan_tensor(work *w, size_t i, const lx_merge *m, unsigned char *found,
                       lx_error *err)
{
    plan_row *row = &w->rows[i];
    lx_str key = LX_STR_INIT;
    lx_layer_rows layers;
    int rc = LX_OK;

    row->from = lx_tensor_file_at(w->into->base, i);
    lx_str_printf(&key, "%s%s", w->into->prefix ? w->into->prefix : "", row->from->name);
    if ((rc = lx_str_check(&key, err)) == LX_OK)
        rc = lx_layer_rows_of(&layers, lx_str_text(&key), err);
    lx_str_release(&key);
    if (rc < 0)
        return rc;
    row->n = layers.n;
    row->is_bias = layers.is_bias;
    if (row->from->n_dims < 1 || row->from->n_elements == 0 ||
        !is_float(row->from->dtype) || (layers.n && row->from->shape[0] % layers.n))
        row->n = 0;
    for (int k = 0; k < row->n && rc == LX_OK; k++) {
        const lx_merge_target *t = lx_merge__find(m, lx_str_text(&layers.layers[k]));
        if (!t || !changes(t, row->is_bias))
            continue;
        row->parts[k] = t;
        found[t - m->targets] |= row->is_bias ? 2 : 1;
        rc = check_layer(row, t, err);
    }
    lx_layer_rows_release(&layers);
    return rc;
}

static int check_missing(lx_merge_into_result *out, const lx_merge *m,
                         const unsigned char *found, bool is_allowed, lx_error *err)
{
    for (size_t i = 0; i < m->n_targets; i++) {
        const lx_merge_target *t = &m->targets[i];
        if ((!changes(t, false) || found[i] & 1) && (!t->has_bias || found[i] & 2))
            continue;
        if (!out->n_missing++)
            out->first_missing = t->first->entry->name;
    }
    if (out->n_missing == m->n_targets)
        return lx_fail(err, LX_EMISMATCH,
                       "the base model has no layer for any of the %zu modules, the "
                       "first is %s: the "
                       "LoRA is for another kind of model",
                       m->n_targets, out->first_missing);
    if (out->n_missing && !is_allowed)
        return lx_fail(
            err, LX_EMISMATCH,
            "the base model has no layer for %zu of %zu modules, the first is %s: add "
            "--allow_missing to leave them out",
            out->n_missing, m->n_targets, out->first_missing);
    return LX_OK;
}

static void plan_view(work *w, size_t i)
{
    lx_tensor_view *v = &w->views[i];

    *v = *w->rows[i].from;
    if (w->into->has_dtype && is_float(v->dtype)) {
        v->dtype = w->into->dtype;
        v->bytes = v->n_elements * (size_t)lx_dtype_bits(v->dtype) / 8;
    }
}

/* ---- one tensor --------------------------------------------------------------------------- */

/* values [rows, in] of one share, changed in place. */
static int add_share(double *values, const plan_row *row, const lx_merge_target *t,
                     lx_error *err)
{
    const size_t in = row->from->n_elements / (size_t)row->from->shape[0];
    lx_delta_base base = {values, (size_t)row->from->shape[0] / (size_t)row->n, in, 1};
    const size_t n = base.out * base.in;
    double *sum;
    size_t count;
    int rc;

    for (int d = 2; d < row->from->n_dims; d++)
        base.window *= (size_t)row->from->shape[d];
    if (row->is_bias) {
        if ((rc = lx_merge__sum_bias(&sum, &count, t, err)) < 0)
            return rc;
        if (count != n)
            rc = lx_fail(err, LX_EMISMATCH,
                         "%s: a bias of %zu values, the base model's has %zu", t->layer,
                         count, n);
    } else {
        if (!(sum = lx_calloc(n, sizeof *sum)))
            return lx_oom(err);
        rc = lx_merge__sum(sum, t, &base, err);
    }
    for (size_t i = 0; rc == LX_OK && i < n; i++)
        values[i] += sum[i];
    lx_free(sum);
    return rc;
}

static int put_rounded(void *to, lx_dtype dtype, const double *values,
                       const lx_tensor_view *from, lx_error *err)
{
    enum { CHUNK = 4096 };
    const size_t width = (size_t)lx_dtype_bits(dtype) / 8;
    float buffer[CHUNK], back[CHUNK];

    if (dtype == LX_F64) {
        memcpy(to, values, from->n_elements * sizeof *values);
        return LX_OK;
    }
    for (size_t at = 0; at < from->n_elements; at += CHUNK) {
        const size_t n = from->n_elements - at < CHUNK ? from->n_elements - at : CHUNK;
        for (size_t i = 0; i < n; i++)
            buffer[i] = (float)values[at + i];
        lx_from_f32((char *)to + at * width, dtype, buffer, n);
        lx_to_f32(back, (char *)to + at * width, dtype, n);
        for (size_t i = 0; i < n; i++)
            if (!isfinite(back[i]) && isfinite(values[at + i]))
                return lx_fail(err, LX_ELIMIT,
                               "%s: %g is too large for %s: add --save_precision",
                               from->name, values[at + i], lx_dtype_name(dtype));
    }
    return LX_OK;
}

/* What is added to NaN is lost. */
static int check_finite(const double *values, const lx_tensor_view *from, lx_error *err)
{
    for (size_t i = 0; i < from->n_elements; i++)
        if (!isfinite(values[i]))
            return lx_fail(err, LX_EFORMAT, "the base model: %s: element %zu is %g",
                           from->name, i, values[i]);
    return LX_OK;
}

/* The bytes of a tensor: the base's own, cast, or changed. lx_tensor_bytes of format/safetensors. */
static int tensor_bytes(const void **data, void *context, const lx_tensor_view *view,
                        lx_error *err)
{
    work *w = context;
    const plan_row *row = &w->rows[view - w->views];
    const size_t share = row->n ? row->from->n_elements / (size_t)row->n : 0;
    bool is_changed = false;
    double *values;
    int rc = LX_OK;

    for (int k = 0; k < row->n; k++)
        is_changed |= row->parts[k] != NULL;
    *data = row->from->data;
    if (!is_changed && view->dtype == row->from->dtype)
        return LX_OK;
    lx_free(w->buffer);
    w->buffer = lx_alloc(view->bytes);
    values = lx_calloc(row->from->n_elements + 1, sizeof *values);
    if (!w->buffer || !values)
        rc = lx_oom(err);
    else if (lx_to_f64(values, row->from->data, row->from->dtype, row->from->n_elements) <
             0)
        rc = lx_fail(err, LX_EUNSUPPORTED, "%s: cannot be read as numbers",
                     row->from->name);
    if (rc == LX_OK && is_changed)
        rc = check_finite(values, row->from, err);
    for (int k = 0; k < row->n && rc == LX_OK; k++)
        if (row->parts[k])
            rc = add_share(values + (size_t)k * share, row, row->parts[k], err);
    if (rc == LX_OK)
        rc = put_rounded(w->buffer, view->dtype, values, row->from, err);
    lx_free(values);
    *data = w->buffer;
    return rc;
}

static int plan_file(work *w, lx_merge_into_result *out, const lx_merge *m,
                     unsigned char *found, lx_error *err)
{
    int rc = LX_OK;

    w->n = lx_tensor_file_count(w->into->base);
    w->rows = lx_calloc(w->n + 1, sizeof *w->rows);
    w->views = lx_calloc(w->n + 1, sizeof *w->views);
    if (!w->rows || !w->views)
        return lx_oom(err);
    for (size_t i = 0; i < w->n && rc == LX_OK; i++) {
        if ((rc = plan_tensor(w, i, m, found, err)) == LX_OK)
            plan_view(w, i);
        out->n_changed +=
            w->rows[i].parts[0] || w->rows[i].parts[1] || w->rows[i].parts[2];
    }
    out->n_tensors += w->n;
    return rc;
}

static int run_files(lx_merge_into_result *out, const lx_merge *m,
                     const lx_merge_into *files, size_t n, bool is_written, lx_error *err)
{
    unsigned char *found = lx_calloc(m->n_targets + 1, 1);
    work *works = lx_calloc(n + 1, sizeof *works);
    int rc = found && works ? LX_OK : lx_oom(err);

    *out = (lx_merge_into_result){0};
    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        works[i].into = &files[i];
        rc = plan_file(&works[i], out, m, found, err);
    }
    if (rc == LX_OK)
        rc = check_missing(out, m, found, files[0].allows_missing, err);
    for (size_t i = 0; is_written && i < n && rc == LX_OK; i++) {
        work *w = &works[i];
        rc = lx_safetensors_write_from(w->into->output, w->views, w->n, w->into->metadata,
                                       w->into->n_metadata, tensor_bytes, w, err);
    }
    for (size_t i = 0; works && i < n; i++) {
        lx_free(works[i].buffer);
        lx_free(works[i].views);
        lx_free(works[i].rows);
    }
    lx_free(works);
    lx_free(found);
    return rc;
}

int lx_merge_write_files(lx_merge_into_result *out, lx_merge *m,
                         const lx_merge_into *files, size_t n, lx_error *err)
{
    return run_files(out, m, files, n, true, err);
}

int lx_merge_check_files(lx_merge_into_result *out, lx_merge *m,
                         const lx_merge_into *files, size_t n, lx_error *err)
{
    return run_files(out, m, files, n, false, err);
}

int lx_merge_write_into(lx_merge_into_result *out, lx_merge *m, const lx_merge_into *into,
                        lx_error *err)
{
    return lx_merge_write_files(out, m, into, 1, err);
}
