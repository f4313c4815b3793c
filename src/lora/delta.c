#include "src/lora/delta.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/lora/delta_internal.h"
#include "src/lora/matrix.h"
#include "src/lora/module.h"

/* ---- reading ----------------------------------------------------------------------------- */

int64_t lx_delta__dim(const lx_tensor_view *t, int i)
{
    return i < t->n_dims ? t->shape[i] : 1;
}

size_t lx_delta__rest(const lx_tensor_view *t)
{
    return lx_delta__dim(t, 0) ? t->n_elements / (size_t)lx_delta__dim(t, 0) : 0;
}

int lx_delta_read(double **values, const lx_tensor_view *t, lx_error *err)
{
    double *x = lx_calloc(t->n_elements + 1, sizeof *x);

    *values = NULL;
    if (!x)
        return lx_oom(err);
    if (lx_to_f64(x, t->data, t->dtype, t->n_elements) < 0) {
        lx_free(x);
        return lx_fail(err, LX_EUNSUPPORTED, "%s: values of type %s have no meaning here",
                       t->name, lx_dtype_name(t->dtype));
    }
    for (size_t i = 0; i < t->n_elements; i++)
        if (!isfinite(x[i])) {
            double bad = x[i];
            lx_free(x);
            return lx_fail(err, LX_EFORMAT, "%s: element %zu is %g", t->name, i, bad);
        }
    *values = x;
    return LX_OK;
}

static const lx_tensor_view *tensor(const lx_lora_entry *e, lx_lora_role role)
{
    return e->tensors[role];
}

/* A product of two factors that stands for a matrix: a [out, rank] b [rank, in]. */
typedef struct pair {
    double *a, *b;
    size_t out, rank, in;
} pair;

static void release(pair *p)
{
    lx_free(p->a);
    lx_free(p->b);
    *p = (pair){0};
}

/* Where a half of LoHa or LoKr, or a LoRA, has its tensors. is_first_turned: a is [rank, out]. */
typedef struct half {
    const lx_tensor_view *whole, *a, *b, *core;
    lx_lora_role a_role, b_role;
} half;

static half half_of(const lx_lora_entry *e, int whole, int a, int b, int core)
{
    half h = {.a = tensor(e, (lx_lora_role)a),
              .b = tensor(e, (lx_lora_role)b),
              .a_role = (lx_lora_role)a,
              .b_role = (lx_lora_role)b};

    h.whole = whole < 0 ? NULL : tensor(e, (lx_lora_role)whole);
    h.core = core < 0 ? NULL : tensor(e, (lx_lora_role)core);
    return h;
}

/*
 * The sizes of a half: [out, in, window] in all and its rank as a product. LX_EFORMAT when the tensors
 * do not fit. a is [rank, out] beside a core of LoHa and LoKr, [out, rank] of a LoRA's.
 */
typedef struct half_shape {
    size_t out, rank, in,
        window; /* in: without the window, which is 1 when the file does not say it */
    bool is_turned;
    const lx_tensor_view
        *dims; /* whose dimensions behind the second are the window's; or NULL */
} half_shape;

typedef struct shape_text {
    char text[24 * LX_MAX_DIMS + 3];
} shape_text;

static shape_text say_shape(const lx_tensor_view *t)
{
    shape_text s = {"["};
    size_t n = 1;

    for (int i = 0; i < t->n_dims; i++)
        n += (size_t)snprintf(s.text + n, sizeof s.text - n, "%s%lld", i ? ", " : "",
                              (long long)t->shape[i]);
    snprintf(s.text + n, sizeof s.text - n, "]");
    return s;
}

static int misfit(const lx_lora_entry *e, const lx_tensor_view *a,
                  const lx_tensor_view *b, lx_error *err)
{
    return lx_fail(err, LX_EFORMAT, "%s: %s %s and %s %s do not fit", e->name, a->name,
                   say_shape(a).text, b->name, say_shape(b).text);
}

bool lx_delta_is_number(lx_dtype d)
{
    return d == LX_F64 || d == LX_F32 || d == LX_F16 || d == LX_BF16 ||
           d == LX_F8_E4M3 || d == LX_F8_E5M2;
}

/* Factors are numbers that can be multiplied and rounded. */
static int check_dtype(const lx_tensor_view *t, lx_error *err)
{
    if (!t || lx_delta_is_number(t->dtype))
        return LX_OK;
    return lx_fail(err, LX_EFORMAT, "%s: values of type %s are no factors", t->name,
                   lx_dtype_name(t->dtype));
}

static int check_dtypes(const half *h, lx_error *err)
{
    const lx_tensor_view *const all[] = {h->whole, h->a, h->b, h->core};
    int rc = LX_OK;

    for (int i = 0; i < 4 && rc == LX_OK; i++)
        rc = check_dtype(all[i], err);
    return rc;
}

static size_t window_of(const lx_tensor_view *t)
{
    size_t n = 1;

    for (int i = 2; i < t->n_dims; i++)
        n *= (size_t)t->shape[i];
    return n;
}

static int measure_whole(half_shape *s, const half *h, const lx_lora_entry *e,
                         lx_error *err)
{
    if (h->whole->n_dims < 2 || !h->whole->n_elements)
        return lx_fail(err, LX_EFORMAT,
                       "%s must have 2 dimensions or more, none of them 0",
                       h->whole->name);
    *s = (half_shape){.out = (size_t)h->whole->shape[0],
                      .in = (size_t)h->whole->shape[1],
                      .window = window_of(h->whole),
                      .dims = h->whole};
    s->rank = s->out < s->in * s->window ? s->out : s->in * s->window;
    return LX_OK;
}

static int measure_core(half_shape *s, const half *h, const lx_lora_entry *e,
                        bool is_turned, lx_error *err)
{
    const int rank_dim = is_turned ? 0 : 1;

    if (h->core->n_dims < 3 || !h->core->n_elements ||
        lx_delta__dim(h->a, rank_dim) != h->core->shape[0])
        return misfit(e, h->a, h->core, err);
    if (lx_delta__dim(h->b, 0) != h->core->shape[1])
        return misfit(e, h->core, h->b, err);
    *s = (half_shape){.out = (size_t)lx_delta__dim(h->a, 1 - rank_dim),
                      .rank = (size_t)h->core->shape[0],
                      .in = lx_delta__rest(h->b),
                      .window = window_of(h->core),
                      .is_turned = is_turned,
                      .dims = h->core};
    if (s->out * s->rank != h->a->n_elements)
        return misfit(e, h->a, h->core, err);
    return LX_OK;
}

static int measure(half_shape *s, const half *h, const lx_lora_entry *e, bool is_turned,
                   lx_error *err)
{
    int rc = check_dtypes(h, err);

    if (rc < 0)
        return rc;
    if (h->whole)
        return measure_whole(s, h, e, err);
    if (!h->a && !h->b)
        return lx_fail(err, LX_EFORMAT, "%s: a factor of %s is missing", e->name,
                       lx_lora_kind_name(e->kind));
    if (!h->a || !h->b)
        return lx_fail(err, LX_EFORMAT, "%s: %s is missing", e->name,
                       lx_lora__suffix(h->a ? h->b_role : h->a_role) + 1);
    if (!h->a->n_elements || !h->b->n_elements)
        return lx_fail(err, LX_EFORMAT, "%s: a factor is empty", e->name);
    if (h->core)
        return measure_core(s, h, e, is_turned, err);
    if (lx_delta__rest(h->a) != (size_t)lx_delta__dim(h->b, 0))
        return misfit(e, h->a, h->b, err);
    *s = (half_shape){.out = (size_t)lx_delta__dim(h->a, 0),
                      .rank = (size_t)lx_delta__dim(h->b, 0),
                      .in = lx_delta__rest(h->b),
                      .window = 1};
    if (h->b->n_dims > 2) {
        s->in = (size_t)h->b->shape[1];
        s->window = window_of(h->b);
        s->dims = h->b;
    }
    return LX_OK;
}

/* b' [rank, in, window] = sum over q of core[p, q, window] b[q, in] */
static int widen_core(double **wide, const half *h, const half_shape *s, lx_error *err)
{
    const size_t other = (size_t)h->core->shape[1];
    double *core = NULL, *b = NULL, *to = NULL;
    int rc;

    if ((rc = lx_delta_read(&core, h->core, err)) < 0 ||
        (rc = lx_delta_read(&b, h->b, err)) < 0)
        goto done;
    if (!(to = lx_calloc(s->rank * s->in, s->window * sizeof *to))) {
        rc = lx_oom(err);
        goto done;
    }
    for (size_t p = 0; p < s->rank; p++)
        for (size_t q = 0; q < other; q++)
            for (size_t i = 0; i < s->in; i++)
                lx_matrix_add(to + (p * s->in + i) * s->window, b[q * s->in + i],
                              core + (p * other + q) * s->window, s->window);
    *wide = to;
done:
    lx_free(b);
    lx_free(core);
    return rc;
}

static int read_unit(pair *p, const half *h, const half_shape *s, lx_error *err)
{
    const bool is_left = s->out < s->in * s->window; /* the unit matrix stands left */
    double *unit = lx_calloc(s->rank * s->rank, sizeof *unit), *whole;
    int rc;

    if (!unit)
        return lx_oom(err);
    if ((rc = lx_delta_read(&whole, h->whole, err)) < 0) {
        lx_free(unit);
        return rc;
    }
    for (size_t i = 0; i < s->rank; i++)
        unit[i * s->rank + i] = 1;
    p->a = is_left ? unit : whole;
    p->b = is_left ? whole : unit;
    return LX_OK;
}

/* The half as a product; after an error nothing is held. */
static int read_pair(pair *p, const half *h, const half_shape *s, lx_error *err)
{
    double *turned;
    int rc;

    *p = (pair){.out = s->out, .rank = s->rank, .in = s->in * s->window};
    if (h->whole)
        return read_unit(p, h, s, err);
    rc = lx_delta_read(&p->a, h->a, err);
    if (rc == LX_OK && s->is_turned) {
        if (!(turned = lx_calloc(s->out * s->rank, sizeof *turned))) {
            rc = lx_oom(err);
        } else {
            lx_matrix_turn(turned, p->a, s->rank, s->out);
            lx_free(p->a);
            p->a = turned;
        }
    }
    if (rc == LX_OK)
        rc = h->core ? widen_core(&p->b, h, s, err) : lx_delta_read(&p->b, h->b, err);
    if (rc < 0)
        release(p);
    return rc;
}

/* ---- the two halves of a kind ------------------------------------------------------------ */

/* A LoRA has one half, LoHa and LoKr two. */
typedef struct halves {
    half of[2];
    half_shape shape[2];
    int n;
} halves;

static int find_halves(halves *h, const lx_lora_entry *e, lx_error *err)
{
    const bool is_lora = e->kind == LX_KIND_LORA || e->kind == LX_KIND_TUCKER;
    int rc;

    h->n = is_lora ? 1 : 2;
    if (is_lora) {
        h->of[0] = half_of(e, -1, LX_ROLE_UP, LX_ROLE_DOWN, LX_ROLE_MID);
    } else if (e->kind == LX_KIND_LOHA) {
        h->of[0] = half_of(e, -1, LX_ROLE_HADA_W1_A, LX_ROLE_HADA_W1_B, LX_ROLE_HADA_T1);
        h->of[1] = half_of(e, -1, LX_ROLE_HADA_W2_A, LX_ROLE_HADA_W2_B, LX_ROLE_HADA_T2);
    } else {
        h->of[0] = half_of(e, LX_ROLE_LOKR_W1, LX_ROLE_LOKR_W1_A, LX_ROLE_LOKR_W1_B, -1);
        h->of[1] = half_of(e, LX_ROLE_LOKR_W2, LX_ROLE_LOKR_W2_A, LX_ROLE_LOKR_W2_B,
                           LX_ROLE_LOKR_T2);
    }
    for (int i = 0; i < h->n; i++)
        if ((rc = measure(&h->shape[i], &h->of[i], e, !is_lora, err)) < 0)
            return rc;
    return LX_OK;
}

/* LoHa and LoKr stand for more values than they have: a file of a few kB would fill the memory. The largest layers
 * that are trained have 2^27. */
static int check_expanded(const lx_lora_entry *e, size_t out, size_t in, lx_error *err)
{
    const size_t most = (size_t)1 << 28;
    size_t all;

    if (lx_mul_size(&all, out, in) && all <= most)
        return LX_OK;
    return lx_fail(err, LX_ELIMIT,
                   "%s: it stands for a layer of %zu x %zu, and no model that is known here has "
                   "one of more than %zu values: the file is damaged or made to fill the memory; "
                   "lx convert --drop '%s.*' leaves it out",
                   e->name, out, in, most, e->name);
}

int lx_delta_check_dense(const lx_lora_entry *e, const lx_delta_shape *shape, lx_error *err)
{
    return check_expanded(e, shape->out, shape->in, err);
}

static int set_shape(lx_delta_shape *shape, const lx_lora_entry *e, size_t out, size_t in,
                     const half_shape *window, size_t rank, lx_error *err)
{
    const size_t most = (size_t)1 << 40; /* elements: 8 TB, and sums of many stay within size_t */
    size_t all = 0, sides;

    if (!lx_mul_size(&shape->in, in, window->window) || !lx_mul_size(&all, out, shape->in) ||
        all > most || !lx_add_size(&sides, out, shape->in) || !lx_mul_size(&all, sides, rank) ||
        all > most)
        return lx_fail(err, LX_ELIMIT, "%s: a weight of %zu x %zu at rank %zu is too large", e->name,
                       out, in, rank);
    shape->out = out;
    shape->rank = rank;
    shape->n_dims = 2;
    shape->shape[0] = (int64_t)out;
    shape->shape[1] = (int64_t)in;
    for (int i = 2; window->dims && i < window->dims->n_dims; i++)
        shape->shape[shape->n_dims++] = window->dims->shape[i];
    return LX_OK;
}

static int shape_of_halves(lx_delta_shape *shape, const lx_lora_entry *e, lx_error *err)
{
    halves h;
    const half_shape *a = &h.shape[0], *b = &h.shape[1];
    size_t rank, out, in, wide;
    int rc = find_halves(&h, e, err);

    if (rc < 0)
        return rc;
    if (h.n == 1)
        return set_shape(shape, e, a->out, a->in, a, a->rank, err);
    if (e->kind == LX_KIND_LOHA) {
        if (a->out != b->out || a->in * a->window != b->in * b->window)
            return lx_fail(err, LX_EFORMAT,
                           "%s: the two products are %zu x %zu and %zu x %zu", e->name,
                           a->out, a->in * a->window, b->out, b->in * b->window);
        if (!lx_mul_size(&rank, a->rank, b->rank))
            rank = SIZE_MAX; /* refused below */
        if ((rc = check_expanded(e, a->out, a->in * a->window, err)) < 0)
            return rc;
        return set_shape(shape, e, a->out, a->in, a, rank, err);
    }
    if (a->window != 1 || !lx_mul_size(&out, a->out, b->out) ||
        !lx_mul_size(&in, a->in, b->in) || !lx_mul_size(&rank, a->rank, b->rank))
        return lx_fail(err, LX_EFORMAT,
                       "%s: lokr_w1 must be a matrix and the product fit memory",
                       e->name);
    if (!lx_mul_size(&wide, in, b->window))
        wide = SIZE_MAX; /* refused below */
    if ((rc = check_expanded(e, out, wide, err)) < 0)
        return rc;
    return set_shape(shape, e, out, in, b, rank, err);
}

static int shape_of_tensor(lx_delta_shape *shape, const lx_lora_entry *e, lx_error *err)
{
    const lx_tensor_view *t =
        tensor(e, e->kind == LX_KIND_FULL ? LX_ROLE_DIFF : LX_ROLE_W_NORM);
    int rc;

    if (!t)
        return LX_OK; /* only a bias */
    if (!t->n_elements)
        return lx_fail(err, LX_EFORMAT, "%s is empty", t->name);
    if ((rc = check_dtype(t, err)) < 0)
        return rc;
    shape->n_dims = t->n_dims;
    memcpy(shape->shape, t->shape, sizeof shape->shape);
    shape->out = (size_t)lx_delta__dim(t, 0);
    shape->in = lx_delta__rest(t);
    return LX_OK;
}

/* ---- the interface ----------------------------------------------------------------------- */

bool lx_delta_needs_base(const lx_lora_entry *e)
{
    return e->has_dora || e->kind == LX_KIND_GLORA || e->kind == LX_KIND_IA3 ||
           e->kind == LX_KIND_OFT;
}

int lx_delta_check_shape(const lx_lora_entry *e, lx_error *err)
{
    lx_delta_shape shape = {0};

    switch (e->kind) {
    case LX_KIND_LORA:
    case LX_KIND_TUCKER:
    case LX_KIND_LOHA:
    case LX_KIND_LOKR:
        return shape_of_halves(&shape, e, err);
    case LX_KIND_FULL:
    case LX_KIND_NORM:
        return shape_of_tensor(&shape, e, err);
    default:
        return LX_OK;
    }
}

int lx_delta_shape_of(lx_delta_shape *shape, const lx_lora_entry *e, lx_error *err)
{
    int rc;

    *shape = (lx_delta_shape){0};
    if (e->problem)
        return lx_fail(err, LX_EFORMAT, "%s: %s", e->name, e->problem);
    if (!isfinite(lx_lora_entry_scale(e)))
        return lx_fail(err, LX_EFORMAT, "%s: its scale is not a finite number", e->name);
    switch (e->kind) {
    case LX_KIND_LORA:
    case LX_KIND_TUCKER:
    case LX_KIND_LOHA:
    case LX_KIND_LOKR:
        rc = shape_of_halves(shape, e, err);
        break;
    case LX_KIND_FULL:
    case LX_KIND_NORM:
        rc = shape_of_tensor(shape, e, err);
        break;
    default:
        rc = lx_delta__base_shape(shape, e, err);
        break;
    }
    if (e->has_dora)
        shape->rank = 0;
    return rc;
}

/* up[o, (p, q)] = a1[o, p] a2[o, q]; down[(p, q), i] = b1[p, i] b2[q, i] */
static void pair_rows(double *up, double *down, const pair *x, const pair *y,
                      double scale)
{
    const size_t rank = x->rank * y->rank;

    for (size_t o = 0; o < x->out; o++)
        for (size_t p = 0; p < x->rank; p++)
            for (size_t q = 0; q < y->rank; q++)
                up[o * rank + p * y->rank + q] =
                    scale * x->a[o * x->rank + p] * y->a[o * y->rank + q];
    for (size_t p = 0; p < x->rank; p++)
        for (size_t q = 0; q < y->rank; q++)
            for (size_t i = 0; i < x->in; i++)
                down[(p * y->rank + q) * x->in + i] =
                    x->b[p * x->in + i] * y->b[q * y->in + i];
}

/* to [r1*r2, c1*c2] = factor * kron(x [r1, c1], y [r2, c2]) */
static void kron(double *to, const double *x, size_t r1, size_t c1, const double *y,
                 size_t r2, size_t c2, double factor)
{
    for (size_t a = 0; a < r1; a++)
        for (size_t b = 0; b < r2; b++)
            for (size_t c = 0; c < c1; c++) {
                const double share = factor * x[a * c1 + c];
                double *row = to + ((a * r2 + b) * c1 + c) * c2;
                for (size_t d = 0; d < c2; d++)
                    row[d] = share * y[b * c2 + d];
            }
}

static int read_halves(pair pairs[2], halves *h, const lx_lora_entry *e, lx_error *err)
{
    int rc = find_halves(h, e, err);

    for (int i = 0; i < h->n && rc == LX_OK; i++)
        rc = read_pair(&pairs[i], &h->of[i], &h->shape[i], err);
    if (rc < 0)
        release(&pairs[0]);
    return rc;
}

int lx_delta_factors(double *up, double *down, const lx_lora_entry *e,
                     const lx_delta_shape *shape, lx_error *err)
{
    const double scale = lx_lora_entry_scale(e);
    pair pairs[2] = {{0}};
    const pair *x = &pairs[0], *y = &pairs[1];
    halves h = {.n = 0};
    int rc;

    lx_assert(shape->rank > 0);
    if ((rc = read_halves(pairs, &h, e, err)) < 0)
        return rc;
    if (e->kind == LX_KIND_LOHA) {
        pair_rows(up, down, x, y, scale);
    } else if (e->kind == LX_KIND_LOKR) {
        kron(up, x->a, x->out, x->rank, y->a, y->out, y->rank, scale);
        kron(down, x->b, x->rank, x->in, y->b, y->rank, y->in, 1);
    } else {
        for (size_t i = 0; i < x->out * x->rank; i++)
            up[i] = scale * x->a[i];
        memcpy(down, x->b, x->rank * x->in * sizeof *down);
    }
    release(&pairs[0]);
    release(&pairs[1]);
    return LX_OK;
}

/* The matrix of a pair (lx_free). */
static double *multiply_out(const pair *p)
{
    double *to = lx_calloc(p->out * p->in, sizeof *to);

    if (to)
        lx_matrix_multiply(to, p->a, p->b, p->out, p->rank, p->in, 0);
    return to;
}

static int dense_of_halves(double *delta, const lx_lora_entry *e, lx_error *err)
{
    const double scale = lx_lora_entry_scale(e);
    pair pairs[2] = {{0}};
    const pair *x = &pairs[0], *y = &pairs[1];
    double *first = NULL, *second = NULL;
    halves h = {.n = 0};
    int rc;

    if ((rc = read_halves(pairs, &h, e, err)) < 0)
        return rc;
    if (h.n == 1) {
        for (size_t i = 0; i < x->out * x->rank; i++)
            x->a[i] *= scale;
        lx_matrix_multiply(delta, x->a, x->b, x->out, x->rank, x->in, 0);
    } else if (!(first = multiply_out(x)) || !(second = multiply_out(y))) {
        rc = lx_oom(err);
    } else if (e->kind == LX_KIND_LOHA) {
        for (size_t i = 0; i < x->out * x->in; i++)
            delta[i] = scale * (first[i] * second[i]);
    } else {
        kron(delta, first, x->out, x->in, second, y->out, y->in, scale);
    }
    lx_free(second);
    lx_free(first);
    release(&pairs[0]);
    release(&pairs[1]);
    return rc;
}

static int dense_of_tensor(double *delta, const lx_lora_entry *e,
                           const lx_delta_shape *shape, lx_error *err)
{
    double *values;
    int rc = lx_delta_read(
        &values, tensor(e, e->kind == LX_KIND_FULL ? LX_ROLE_DIFF : LX_ROLE_W_NORM), err);

    if (rc < 0)
        return rc;
    memcpy(delta, values, shape->out * shape->in * sizeof *delta);
    lx_free(values);
    return LX_OK;
}

static int check_base(const lx_lora_entry *e, const lx_delta_shape *shape,
                      const lx_delta_base *base, lx_error *err)
{
    if (!base)
        return lx_fail(err, LX_EUNSUPPORTED,
                       "%s is %s, whose change depends on the base model's weights",
                       e->name, e->has_dora ? "DoRA" : lx_lora_kind_name(e->kind));
    if ((shape->out && shape->out != base->out) || (shape->in && shape->in != base->in))
        return lx_fail(
            err, LX_EMISMATCH,
            "%s: the LoRA's layer is %zu x %zu, the base model's %zu x %zu: it is for "
            "another model",
            e->name, shape->out, shape->in, base->out, base->in);
    return LX_OK;
}

int lx_delta_dense(double *delta, const lx_lora_entry *e, const lx_delta_shape *shape,
                   const lx_delta_base *base, lx_error *err)
{
    const bool needs_base = lx_delta_needs_base(e);
    int rc;

    if ((needs_base || base) && (rc = check_base(e, shape, base, err)) < 0)
        return rc;
    if (e->kind == LX_KIND_FULL || e->kind == LX_KIND_NORM)
        rc = dense_of_tensor(delta, e, shape, err);
    else if (e->kind == LX_KIND_GLORA || e->kind == LX_KIND_IA3 || e->kind == LX_KIND_OFT)
        rc = lx_delta__from_base(delta, e, base, err);
    else
        rc = dense_of_halves(delta, e, err);
    if (rc == LX_OK && e->has_dora)
        rc = lx_delta__decompose(delta, e, base, err);
    return rc;
}

/* factor * t, added to what is there (lx_calloc'd), or put where nothing is. */
static int add_bias(double **values, size_t *n, const lx_tensor_view *t, double factor,
                    lx_error *err)
{
    double *x;
    int rc;

    if (*values && *n != t->n_elements)
        return lx_fail(err, LX_EFORMAT, "%s: biases of %zu and %zu values", t->name, *n,
                       t->n_elements);
    if ((rc = lx_delta_read(&x, t, err)) < 0)
        return rc;
    for (size_t i = 0; i < t->n_elements; i++)
        x[i] = factor * x[i] + (*values ? (*values)[i] : 0);
    lx_free(*values);
    *values = x;
    *n = t->n_elements;
    return LX_OK;
}

int lx_delta_bias(double **values, size_t *n, const lx_lora_entry *e, lx_error *err)
{
    static const lx_lora_role roles[] = {LX_ROLE_UP_BIAS, LX_ROLE_DIFF_B, LX_ROLE_B_NORM};
    int rc = LX_OK;

    *values = NULL;
    *n = 0;
    for (size_t i = 0; i < sizeof roles / sizeof *roles && rc == LX_OK; i++)
        if (tensor(e, roles[i]))
            rc = add_bias(values, n, tensor(e, roles[i]),
                          roles[i] == LX_ROLE_UP_BIAS ? lx_lora_entry_scale(e) : 1, err);
    if (rc < 0) {
        lx_free(*values);
        *values = NULL;
    }
    return rc;
}
