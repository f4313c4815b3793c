/* The kinds whose change depends on the weight they change. */
#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/lora/delta_internal.h"
#include "src/lora/matrix.h"

/* ---- sizes ------------------------------------------------------------------------------- */

/* GLoRA's four factors by their place in s (W first second + left right). */
typedef struct glora {
    const lx_tensor_view *first, *second, *left, *right;
} glora;

/*
 * New files: a1 [in, r], a2 [r, in], b1 [out, r], b2 [r, in]; old ones: a2 and a1, b2 and b1 the other way
 * round, so that a1, b1 are [r, in]. The rank is the smaller size of a1.
 */
static int find_glora(glora *g, const lx_lora_entry *e, lx_error *err)
{
    const lx_tensor_view *a1 = e->tensors[LX_ROLE_GLORA_A1],
                         *a2 = e->tensors[LX_ROLE_GLORA_A2];
    const lx_tensor_view *b1 = e->tensors[LX_ROLE_GLORA_B1],
                         *b2 = e->tensors[LX_ROLE_GLORA_B2];

    if (!a1 || !a2 || !b1 || !b2)
        return lx_fail(err, LX_EFORMAT, "%s: one of a1, a2, b1, b2 is missing", e->name);
    if (e->tensors[LX_ROLE_GLORA_BM])
        return lx_fail(err, LX_EUNSUPPORTED, "%s: GLoRA with a middle factor (bm)",
                       e->name);
    if (lx_delta__dim(a1, 1) <= lx_delta__dim(a1, 0))
        *g = (glora){a1, a2, b1, b2};
    else
        *g = (glora){a2, a1, b2, b1};
    const size_t r = (size_t)lx_delta__dim(g->first, 1),
                 in = (size_t)lx_delta__dim(g->first, 0);
    if (!r || !in || !g->left->n_elements || g->first->n_elements != in * r ||
        (size_t)lx_delta__dim(g->second, 0) != r || g->second->n_elements != in * r ||
        lx_delta__rest(g->left) != r || (size_t)lx_delta__dim(g->right, 0) != r ||
        lx_delta__rest(g->right) % in)
        return lx_fail(err, LX_EFORMAT, "%s: the factors of GLoRA do not fit", e->name);
    return LX_OK;
}

static int shape_of_oft(lx_delta_shape *shape, const lx_lora_entry *e, lx_error *err)
{
    const lx_tensor_view *t = e->tensors[LX_ROLE_OFT_BLOCKS];
    const lx_tensor_view *rescale = e->tensors[LX_ROLE_OFT_RESCALE];
    int last;

    if (!t)
        return lx_fail(
            err, LX_EUNSUPPORTED,
            "%s: PEFT's OFT (oft_R) rotates inputs by a rule that lx does not have",
            e->name);
    last = t->n_dims - 1;
    if ((t->n_dims != 3 && t->n_dims != 4) || !t->n_elements ||
        t->shape[last] != t->shape[last - 1])
        return lx_fail(err, LX_EFORMAT,
                       "%s must be [blocks, size, size] or [steps, blocks, size, "
                       "size]",
                       t->name);
    shape->out = (size_t)(t->shape[last] * t->shape[last - 2]);
    if (rescale && rescale->n_elements != shape->out)
        return lx_fail(err, LX_EFORMAT, "%s has %zu values for %zu rows", rescale->name,
                       rescale->n_elements, shape->out);
    for (int64_t i = 0; t->n_dims == 4 && i < t->shape[0]; i++)
        if (t->shape[3] % 2 || i > 40 || shape->out % ((size_t)t->shape[3] << i))
            return lx_fail(err, LX_EFORMAT,
                           "%s: %lld butterfly steps do not fit %zu rows", t->name,
                           (long long)t->shape[0], shape->out);
    return LX_OK;
}

int lx_delta__base_shape(lx_delta_shape *shape, const lx_lora_entry *e, lx_error *err)
{
    glora g;
    int rc;

    if (e->kind == LX_KIND_IA3) {
        double on;
        const lx_tensor_view *t = e->tensors[LX_ROLE_IA3_ON_INPUT];
        if (t->n_elements != 1 || lx_to_f64(&on, t->data, t->dtype, 1) < 0)
            return lx_fail(err, LX_EFORMAT, "%s must be 0 or 1", t->name);
        return LX_OK;
    }
    if (e->kind == LX_KIND_OFT)
        return shape_of_oft(shape, e, err);
    if ((rc = find_glora(&g, e, err)) < 0)
        return rc;
    shape->out = (size_t)lx_delta__dim(g.left, 0);
    shape->in = lx_delta__rest(g.right);
    shape->n_dims = 2;
    shape->shape[0] = (int64_t)shape->out;
    shape->shape[1] = (int64_t)shape->in;
    return LX_OK;
}

/* ---- GLoRA and IA3 ----------------------------------------------------------------------- */

/* to[o, j, t] = sum over i of w[o, i, t] a[i, j], i, j < in / window */
static int mix_inputs(double *to, const lx_delta_base *w, const double *a, lx_error *err)
{
    const size_t n = w->in / w->window;
    double *turned = lx_calloc(w->out * w->in, 2 * sizeof *turned);
    double *mixed;

    if (!turned)
        return lx_oom(err);
    mixed = turned + w->out * w->in;
    for (size_t o = 0; o < w->out; o++) /* [out, window, in] */
        lx_matrix_turn(turned + o * w->in, w->values + o * w->in, n, w->window);
    lx_matrix_multiply(mixed, turned, a, w->out * w->window, n, n, 0);
    for (size_t o = 0; o < w->out; o++)
        lx_matrix_turn(to + o * w->in, mixed + o * w->in, w->window, n);
    lx_free(turned);
    return LX_OK;
}

static int add_glora(double *delta, const lx_lora_entry *e, const lx_delta_base *base,
                     lx_error *err)
{
    const double scale = lx_lora_entry_scale(e);
    double *x[4] = {NULL}, *a = NULL, *b = NULL;
    size_t n, r;
    glora g;
    int rc = find_glora(&g, e, err);

    if (rc < 0)
        return rc;
    n = (size_t)lx_delta__dim(g.first, 0);
    r = (size_t)lx_delta__dim(g.first, 1);
    if (n * base->window != base->in)
        return lx_fail(err, LX_EMISMATCH,
                       "%s: a has %zu inputs, the base model's layer %zu", e->name, n,
                       base->in / base->window);
    if ((rc = lx_delta_read(&x[0], g.first, err)) < 0 ||
        (rc = lx_delta_read(&x[1], g.second, err)) < 0 ||
        (rc = lx_delta_read(&x[2], g.left, err)) < 0 ||
        (rc = lx_delta_read(&x[3], g.right, err)) < 0)
        goto done;
    a = lx_calloc(n * n, sizeof *a);
    b = lx_calloc(base->out * base->in, sizeof *b);
    if (!a || !b) {
        rc = lx_oom(err);
        goto done;
    }
    lx_matrix_multiply(a, x[0], x[1], n, r, n, 0);
    lx_matrix_multiply(b, x[2], x[3], base->out, r, base->in, 0);
    if ((rc = mix_inputs(delta, base, a, err)) < 0)
        goto done;
    for (size_t i = 0; i < base->out * base->in; i++)
        delta[i] = scale * (delta[i] + b[i]);
done:
    for (int i = 0; i < 4; i++)
        lx_free(x[i]);
    lx_free(b);
    lx_free(a);
    return rc;
}

static int add_ia3(double *delta, const lx_lora_entry *e, const lx_delta_base *base,
                   lx_error *err)
{
    const lx_tensor_view *t = e->tensors[LX_ROLE_IA3_WEIGHT];
    const lx_tensor_view *side = e->tensors[LX_ROLE_IA3_ON_INPUT];
    double *w, on = 0;
    int rc;

    lx_to_f64(&on, side->data, side->dtype, 1);
    if (t->n_elements != (on != 0 ? base->in / base->window : base->out))
        return lx_fail(err, LX_EMISMATCH,
                       "%s has %zu values, the base model's layer is %zu x %zu", t->name,
                       t->n_elements, base->out, base->in / base->window);
    if ((rc = lx_delta_read(&w, t, err)) < 0)
        return rc;
    for (size_t o = 0; o < base->out; o++)
        for (size_t i = 0; i < base->in; i++)
            delta[o * base->in + i] =
                base->values[o * base->in + i] * (on != 0 ? w[i / base->window] : w[o]);
    lx_free(w);
    return LX_OK;
}

/* ---- rotations --------------------------------------------------------------------------- */

/* Solves m x = y for x in place of y; m [n, n] is destroyed. m = 1 - Q with skew Q is never singular. */
static void solve(double *y, double *m, size_t n, size_t cols)
{
    for (size_t p = 0; p < n; p++) {
        size_t best = p;
        for (size_t i = p + 1; i < n; i++)
            best = fabs(m[i * n + p]) > fabs(m[best * n + p]) ? i : best;
        for (size_t j = 0; best != p && j < n; j++) {
            double t = m[p * n + j];
            m[p * n + j] = m[best * n + j];
            m[best * n + j] = t;
        }
        for (size_t j = 0; best != p && j < cols; j++) {
            double t = y[p * cols + j];
            y[p * cols + j] = y[best * cols + j];
            y[best * cols + j] = t;
        }
        for (size_t i = 0; i < n; i++) {
            const double share = i == p ? 0 : m[i * n + p] / m[p * n + p];
            if (share == 0)
                continue;
            lx_matrix_add(m + i * n, -share, m + p * n, n);
            lx_matrix_add(y + i * cols, -share, y + p * cols, cols);
        }
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < cols; j++)
            y[i * cols + j] /= m[i * n + i];
}

/* r [n, n] = (1 + f Q) (1 - f Q)^-1, Q = block - block^T; f of sign -1 gives the inverse rotation. */
static void cayley(double *r, double *m, const double *block, size_t n, double f)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            const double q = f * (block[i * n + j] - block[j * n + i]);
            r[i * n + j] = (i == j) + q;
            m[i * n + j] = (i == j) - q;
        }
    solve(r, m, n, n); /* the two commute */
}

/* By which all blocks are multiplied so that |Q| <= limit. */
static double limit_factor(const double *blocks, size_t count, size_t n, double limit)
{
    double square = 0;

    for (size_t k = 0; k < count; k++)
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) {
                const double q =
                    blocks[(k * n + i) * n + j] - blocks[(k * n + j) * n + i];
                square += q * q;
            }
    return limit > 0 && sqrt(square) > limit ? limit / sqrt(square) : 1;
}

/* Row i of the permuted matrix: groups of 2k rows, (g, j) -> (j, g). */
static size_t butterfly(size_t i, size_t k)
{
    const size_t in_group = i % (2 * k);

    return i - in_group + in_group % 2 * k + in_group / 2;
}

/* w [count*n, in] = each block of rows times its rotation; k > 0: rows are butterflied around it. */
static int rotate_rows(double *w, const double *blocks, size_t count, size_t n, size_t in,
                       double factor, size_t k, lx_error *err)
{
    double *r = lx_calloc(n * n, 2 * sizeof *r),
           *rows = lx_calloc(n * in, 2 * sizeof *rows);
    double *all = k ? lx_calloc(count * n * in, sizeof *all) : NULL;
    int rc = LX_OK;

    if (!r || !rows || (k && !all)) {
        rc = lx_oom(err);
        goto done;
    }
    if (k)
        memcpy(all, w, count * n * in * sizeof *all);
    for (size_t b = 0; b < count; b++) {
        cayley(r, r + n * n, blocks + b * n * n, n, factor);
        for (size_t i = 0; i < n; i++)
            memcpy(rows + i * in,
                   (k ? all : w) + (k ? butterfly(b * n + i, k) : b * n + i) * in,
                   in * sizeof *rows);
        lx_matrix_multiply(rows + n * in, r, rows, n, n, in, 0);
        for (size_t i = 0; i < n; i++)
            memcpy(w + (k ? butterfly(b * n + i, k) : b * n + i) * in,
                   rows + (n + i) * in, in * sizeof *rows);
    }
done:
    lx_free(all);
    lx_free(rows);
    lx_free(r);
    return rc;
}

static int add_oft(double *delta, const lx_lora_entry *e, const lx_delta_base *base,
                   lx_error *err)
{
    const lx_tensor_view *t = e->tensors[LX_ROLE_OFT_BLOCKS],
                         *t2 = e->tensors[LX_ROLE_OFT_RESCALE];
    const bool is_butterfly = t->n_dims == 4;
    const size_t n = (size_t)t->shape[t->n_dims - 1], count = base->out / n;
    const size_t steps = is_butterfly ? (size_t)t->shape[0] : 1;
    double *blocks = NULL, *rescale = NULL, factor;
    int rc = lx_delta_read(&blocks, t, err);

    if (rc == LX_OK && t2)
        rc = lx_delta_read(&rescale, t2, err);
    if (rc < 0)
        goto done;
    factor = limit_factor(blocks, steps * count, n, e->alpha * (double)base->out);
    memcpy(delta, base->values, base->out * base->in * sizeof *delta);
    for (size_t i = 0; i < steps && rc == LX_OK; i++)
        rc = rotate_rows(delta, blocks + i * count * n * n, count, n, base->in,
                         is_butterfly ? factor : -factor, is_butterfly ? n / 2 << i : 0,
                         err);
    for (size_t i = 0; i < base->out * base->in; i++)
        delta[i] = delta[i] * (rescale ? rescale[i / base->in] : 1) - base->values[i];
done:
    lx_free(rescale);
    lx_free(blocks);
    return rc;
}

int lx_delta__from_base(double *delta, const lx_lora_entry *e, const lx_delta_base *base,
                        lx_error *err)
{
    return e->kind == LX_KIND_GLORA ? add_glora(delta, e, base, err)
           : e->kind == LX_KIND_IA3 ? add_ia3(delta, e, base, err)
                                    : add_oft(delta, e, base, err);
}

/* ---- DoRA -------------------------------------------------------------------------------- */

/* squares[group] of v; groups are output rows, or input channels without their window. */
static void group_squares(double *squares, const double *v, const lx_delta_base *base,
                          bool by_row)
{
    memset(squares, 0, (by_row ? base->out : base->in / base->window) * sizeof *squares);
    for (size_t o = 0; o < base->out; o++)
        for (size_t i = 0; i < base->in; i++) {
            const double x = v[o * base->in + i];
            squares[by_row ? o : i / base->window] += x * x;
        }
}

bool lx_delta_has_row_magnitudes(const lx_tensor_view *t, size_t out)
{
    return strstr(t->name, ".lora_magnitude_vector") ||
           (size_t)lx_delta__dim(t, 0) == out;
}

int lx_delta__decompose(double *delta, const lx_lora_entry *e, const lx_delta_base *base,
                        lx_error *err)
{
    const lx_tensor_view *t = e->tensors[LX_ROLE_DORA];
    const bool by_row = lx_delta_has_row_magnitudes(t, base->out);
    const size_t groups = by_row ? base->out : base->in / base->window;
    double *m = NULL, *squares = NULL;
    int rc;

    if (t->n_elements != groups)
        return lx_fail(err, LX_EMISMATCH,
                       "%s has %zu values, the base model's layer is %zu x %zu", t->name,
                       t->n_elements, base->out, base->in / base->window);
    if ((rc = lx_delta_read(&m, t, err)) < 0)
        return rc;
    if (!(squares = lx_calloc(groups, sizeof *squares))) {
        rc = lx_oom(err);
        goto done;
    }
    for (size_t i = 0; i < base->out * base->in; i++)
        delta[i] += base->values[i];
    group_squares(squares, delta, base, by_row);
    for (size_t i = 0; i < base->out * base->in; i++) {
        const size_t g = by_row ? i / base->in : i % base->in / base->window;
        /* A direction of length 0 has none: it stays 0. */
        delta[i] =
            (squares[g] > 0 ? m[g] * delta[i] / sqrt(squares[g]) : 0) - base->values[i];
    }
done:
    lx_free(squares);
    lx_free(m);
    return rc;
}
