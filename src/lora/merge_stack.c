/* Exact sums: factors side by side, rounded once. */
#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/fast.h"
#include "src/lora/merge_internal.h"

enum { CHUNK = 4096 };

/* All exponents below the top one: no infinity, no NaN. */
LX_FAST static bool is_finite_f32(const float *x, size_t n)
{
    uint32_t bad = 0;

    for (size_t i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, x + i, sizeof u);
        bad |= (u & 0x7F800000u) == 0x7F800000u;
    }
    return !bad;
}

LX_FAST static bool is_finite_16(const void *data, size_t n, uint16_t exponent)
{
    const unsigned char *at = data;
    uint16_t bad = 0;

    for (size_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, at + 2 * i, sizeof h);
        bad |= (h & exponent) == exponent;
    }
    return !bad;
}

LX_FAST static void scale(float *x, size_t n, double factor)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(factor * (double)x[i]);
}

static int report_value(const lx_tensor_view *t, lx_error *err)
{
    double *ignored;
    int rc = lx_delta_read(&ignored, t, err); /* names the element */

    lx_free(ignored);
    return rc < 0 ? rc
                  : lx_fail(err, LX_EFORMAT, "%s: not all values are finite", t->name);
}

static int report_large(const lx_tensor_view *t, lx_dtype dtype, lx_error *err)
{
    return lx_fail(err, LX_ELIMIT,
                   "%s: times its strength it is too large for %s: add --save_precision "
                   "float or bf16",
                   t->name, lx_dtype_name(dtype));
}

/* n values at `at` of t, in dtype, each times factor, rounded once from f64. */
static int convert_chunk(void *to, lx_dtype dtype, const lx_tensor_view *t, size_t at,
                         size_t n, double factor, lx_error *err)
{
    const char *from = (const char *)t->data + at * ((size_t)lx_dtype_bits(t->dtype) / 8);
    float buffer[CHUNK];

    if (lx_to_f32(buffer, from, t->dtype, n) < 0 || !is_finite_f32(buffer, n))
        return report_value(t, err);
    if (factor != 1)
        scale(buffer, n, factor);
    lx_from_f32(to, dtype, buffer, n);
    if (dtype == LX_F32 ? !is_finite_f32(buffer, n)
                        : !is_finite_16(to, n, dtype == LX_F16 ? 0x7C00 : 0x7F80))
        return report_large(t, dtype, err);
    return LX_OK;
}

/*
 * The values of t as rows of `width`, each row `step` bytes behind the one before. Work goes by chunks that stay
 * in the first cache: whole rows when they are short, pieces of one when it is long.
 */
static int convert(char *to, size_t step, size_t width, lx_dtype dtype,
                   const lx_tensor_view *t, double factor, lx_error *err)
{
    const size_t bytes = (size_t)lx_dtype_bits(dtype) / 8, rows = t->n_elements / width;
    const size_t at_once = width < CHUNK ? CHUNK / width : 1;
    const bool is_copied = factor == 1 && dtype == t->dtype && bytes == 2;
    uint32_t chunk[CHUNK]; /* of any dtype */
    int rc = LX_OK;

    if (is_copied &&
        !is_finite_16(t->data, t->n_elements, dtype == LX_F16 ? 0x7C00 : 0x7F80))
        return report_value(t, err);
    for (size_t row = 0; row < rows && rc == LX_OK; row += at_once) {
        const size_t n = rows - row < at_once ? rows - row : at_once;
        const char *from = (const char *)chunk;
        if (is_copied) {
            from = (const char *)t->data + row * width * bytes;
        } else if (width > CHUNK) {
            for (size_t at = 0; at < width && rc == LX_OK; at += CHUNK)
                rc = convert_chunk(to + row * step + at * bytes, dtype, t,
                                   row * width + at,
                                   width - at < CHUNK ? width - at : CHUNK, factor, err);
            continue;
        } else {
            rc = convert_chunk(chunk, dtype, t, row * width, n * width, factor, err);
        }
        for (size_t i = 0; i < n && rc == LX_OK; i++)
            memcpy(to + (row + i) * step, from + i * width * bytes, width * bytes);
    }
    return rc;
}

/* A part's factors as tensors: its own, or computed (then `memory` is to be freed). */
typedef struct factors {
    lx_tensor_view up, down;
    double *memory;
} factors;

static int find_factors(factors *f, const lx_merge_part *p, lx_error *err)
{
    const size_t n_up = p->shape.out * p->shape.rank,
                 n_down = p->shape.rank * p->shape.in;
    size_t total;
    int rc;

    f->memory = NULL;
    if (p->entry->kind == LX_KIND_LORA) {
        f->up = *p->entry->tensors[LX_ROLE_UP];
        f->down = *p->entry->tensors[LX_ROLE_DOWN];
        return LX_OK;
    }
    if (!lx_add_size(&total, n_up, n_down) ||
        !(f->memory = lx_calloc(total, sizeof *f->memory)))
        return lx_oom(err);
    if ((rc = lx_delta_factors(f->memory, f->memory + n_up, p->entry, &p->shape, err)) <
        0) {
        lx_free(f->memory);
        return rc;
    }
    f->up = (lx_tensor_view){.name = p->entry->name,
                             .dtype = LX_F64,
                             .n_elements = n_up,
                             .data = f->memory,
                             .bytes = 8 * n_up};
    f->down = f->up;
    f->down.n_elements = n_down;
    f->down.data = f->memory + n_up;
    f->down.bytes = 8 * n_down;
    return LX_OK;
}

/* The computed factors have alpha / rank in them. */
static double weight_of(const lx_merge_part *p)
{
    return p->strength *
           (p->entry->kind == LX_KIND_LORA ? lx_lora_entry_scale(p->entry) : 1);
}

/* Of those with factors: beside them may be one that is only a bias. */
static const lx_merge_part *heaviest_part(const lx_merge_target *t)
{
    const lx_merge_part *most = NULL;

    for (const lx_merge_part *p = t->first; p; p = p->next)
        if (p->shape.rank && (!most || fabs(weight_of(p)) > fabs(weight_of(most))))
            most = p;
    return most;
}

/* The part's columns of up and rows of down. */
static int put_part(lx_merge_output *out, const lx_merge_part *p, size_t column,
                    double per_weight, lx_error *err)
{
    const lx_tensor_view *up = &out->views[LX_VIEW_UP], *down = &out->views[LX_VIEW_DOWN];
    const size_t bytes = (size_t)lx_dtype_bits(up->dtype) / 8;
    factors f;
    int rc = find_factors(&f, p, err);

    if (rc < 0)
        return rc;
    rc = convert((char *)down->data + column * p->shape.in * bytes, 0, f.down.n_elements,
                 down->dtype, &f.down, 1, err);
    if (rc == LX_OK)
        rc = convert((char *)up->data + column * bytes, out->target->rank * bytes,
                     p->shape.rank, up->dtype, &f.up, weight_of(p) * per_weight, err);
    lx_free(f.memory);
    return rc;
}

static int describe_factors(lx_merge_output *out, const lx_merge *m, size_t rank,
                            float alpha, lx_dtype dtype, lx_error *err)
{
    const lx_delta_shape *s = &out->target->shape;
    int64_t shape[LX_MAX_DIMS];
    int rc;

    out->module->rank = (int64_t)rank;
    out->alpha = alpha;
    memcpy(shape, s->shape, sizeof shape);
    shape[0] = (int64_t)rank;
    if ((rc = lx_merge__describe_view(&out->views[LX_VIEW_DOWN], dtype, s->n_dims, shape,
                                      err)) < 0)
        return rc;
    shape[0] = (int64_t)s->out;
    shape[1] = (int64_t)rank;
    for (int i = 2; i < s->n_dims; i++)
        shape[i] = 1;
    if ((rc = lx_merge__describe_view(&out->views[LX_VIEW_UP], dtype, s->n_dims, shape,
                                      err)) < 0 ||
        !lx_merge__has_alphas(m))
        return rc;
    return lx_merge__describe_view(&out->views[LX_VIEW_ALPHA], LX_F32, 0, NULL, err);
}

void lx_merge__put_alpha(lx_merge_output *out)
{
    void *to = (void *)out->views[LX_VIEW_ALPHA].data;

    if (to)
        memcpy(to, &out->alpha, sizeof out->alpha);
}

int lx_merge__shape_factors(lx_merge_output *out, const lx_merge *m, size_t rank,
                            float alpha, lx_dtype dtype, lx_error *err)
{
    int rc = describe_factors(out, m, rank, alpha, dtype, err);

    for (int v = LX_VIEW_DOWN; v <= LX_VIEW_ALPHA && rc == LX_OK; v++)
        if (out->views[v].bytes && !(out->views[v].data = lx_alloc(out->views[v].bytes)))
            rc = lx_oom(err);
    if (rc == LX_OK)
        lx_merge__put_alpha(out);
    return rc;
}

int lx_merge__describe_stack(lx_merge_output *out, const lx_merge *m, lx_dtype dtype,
                             lx_error *err)
{
    const lx_merge_target *t = out->target;
    const double most = fabs(weight_of(heaviest_part(t)));
    /* Rounded first, so that the factors make up for what the file's alpha cannot say. A family
     * that stores no alpha is read with alpha = rank. */
    const float alpha = lx_merge__has_alphas(m) && most > 0
                            ? (float)(most * (double)t->rank)
                            : (float)t->rank;

    if (!isfinite(alpha) || !(alpha > 0))
        return lx_merge__within(
            lx_fail(err, LX_ELIMIT, "%s: a strength of %g has no alpha in f32", t->name,
                    most),
            heaviest_part(t), err);
    return describe_factors(out, m, t->rank, alpha, dtype, err);
}

int lx_merge__stack(lx_merge_output *out, lx_dtype dtype, lx_error *err)
{
    const lx_merge_target *t = out->target;
    size_t column = 0;
    int rc = LX_OK;

    for (const lx_merge_part *p = t->first; p && rc == LX_OK;
         column += p->shape.rank, p = p->next)
        if (p->shape.rank)
            rc = lx_merge__within(
                put_part(out, p, column, (double)t->rank / (double)out->alpha, err), p,
                err);
    if (rc == LX_OK)
        rc = lx_merge__put_bias(out, dtype, err);
    return rc;
}
