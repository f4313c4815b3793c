#include "src/lora/kinship.h"

#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/lora/factors.h"
#include "src/lora/spectrum.h"
#include "src/lora/weights.h"

/* One pair of modules, and what its sums need. */
typedef struct pair {
    lx_lora_factors a, b;
    double scale_a, scale_b;
    double *memory;
    size_t capacity;
} pair;

/* Squares and products of the updates, summed over modules. */
typedef struct sums {
    double aa, bb, ab;
} sums;

/* <up_x^T up_y, (down_y down_x^T)^T> for two modules of equal sizes. */
static double inner(const lx_lora_factors *x, const lx_lora_factors *y)
{
    double total = 0;

    for (size_t i = 0; i < x->rank; i++)
        for (size_t j = 0; j < y->rank; j++) {
            double ups = 0, downs = 0;
            for (size_t l = 0; l < x->out; l++)
                ups += (double)x->up[l * x->rank + i] * y->up[l * y->rank + j];
            for (size_t l = 0; l < x->in; l++)
                downs += (double)x->down[i * x->in + l] * y->down[j * y->in + l];
            total += ups * downs;
        }
    return total;
}

/* The space of k vectors of n numbers: orthonormal rows of q, found as right singular
 * vectors. is_columns: they are the columns of x [n, k]. */
static int span(double *q, const float *x, size_t k, size_t n, bool is_columns,
                lx_error *err)
{
    double *sigma = lx_alloc(k * sizeof *sigma);
    float *rows = lx_calloc(k * (n + k), sizeof *rows), *one = rows ? rows + k * n : NULL;
    int rc = sigma && rows ? LX_OK : lx_oom(err);

    for (size_t i = 0; i < k && rc == LX_OK; i++) {
        one[i * k + i] = 1;
        for (size_t l = 0; l < n; l++)
            rows[i * n + l] = is_columns ? x[l * k + i] : x[i * n + l];
    }
    if (rc == LX_OK)
        rc = lx_spectrum(sigma, q, one, rows, k, k, n, err);
    lx_free(rows);
    lx_free(sigma);
    return rc;
}

/* |Q_x Q_y^T|^2 / min(k_x, k_y) of the spaces of k_x and k_y vectors of n numbers. */
static int overlap(double *out, pair *p, const float *x, size_t k_x, const float *y,
                   size_t k_y, size_t n, bool is_columns, lx_error *err)
{
    double *q_x, *q_y, square = 0;
    int rc;

    if (lx_grow(&p->memory, &p->capacity, (k_x + k_y) * n, sizeof *p->memory) < 0)
        return lx_oom(err);
    q_x = p->memory;
    q_y = q_x + k_x * n;
    if ((rc = span(q_x, x, k_x, n, is_columns, err)) < 0 ||
        (rc = span(q_y, y, k_y, n, is_columns, err)) < 0)
        return rc;
    for (size_t i = 0; i < k_x; i++)
        for (size_t j = 0; j < k_y; j++) {
            double share = 0;
            for (size_t l = 0; l < n; l++)
                share += q_x[i * n + l] * q_y[j * n + l];
            square += share * share;
        }
    *out = square / (double)(k_x < k_y ? k_x : k_y);
    return LX_OK;
}

static bool is_finite(const lx_lora_factors *f)
{
    for (size_t i = 0; i < f->rank * (f->out + f->in); i++)
        if (!isfinite(f->memory[i]))
            return false;
    return true;
}

/* 1: the two cannot be compared. */
static int read_pair(pair *p, const lx_lora_entry *a, const lx_lora_entry *b,
                     lx_error *err)
{
    int rc;

    if (!b || !lx_lora_is_plain(a) || !lx_lora_is_plain(b) ||
        a->rank > LX_SPECTRUM_RANK || b->rank > LX_SPECTRUM_RANK)
        return 1;
    if ((rc = lx_lora_factors_read(&p->a, a, err)) != LX_OK ||
        (rc = lx_lora_factors_read(&p->b, b, err)) != LX_OK)
        return rc;
    p->scale_a = lx_lora_entry_scale(a);
    p->scale_b = lx_lora_entry_scale(b);
    return p->a.out == p->b.out && p->a.in == p->b.in && is_finite(&p->a) &&
                   is_finite(&p->b)
               ? LX_OK
               : 1;
}

static int add_pair(lx_kinship *k, sums *s, pair *p, lx_error *err)
{
    const lx_lora_factors *a = &p->a, *b = &p->b;
    const double most = (double)(a->rank > b->rank ? a->rank : b->rank);
    double down, up;
    int rc;

    if ((rc = overlap(&down, p, a->down, a->rank, b->down, b->rank, a->in, false, err)) <
            0 ||
        (rc = overlap(&up, p, a->up, a->rank, b->up, b->rank, a->out, true, err)) < 0)
        return rc;
    k->common_down += down;
    k->common_up += up;
    k->chance_down += fmin(1, most / (double)a->in);
    k->chance_up += fmin(1, most / (double)a->out);
    s->aa += p->scale_a * p->scale_a * inner(a, a);
    s->bb += p->scale_b * p->scale_b * inner(b, b);
    s->ab += p->scale_a * p->scale_b * inner(a, b);
    k->n_common++;
    return LX_OK;
}

int lx_lora_kinship(lx_kinship *out, const lx_lora_file *a, const lx_lora_file *b,
                    lx_error *err)
{
    lx_kinship k = {0};
    sums s = {0};
    pair p = {0};
    int rc = LX_OK;

    for (size_t i = 0; i < a->n_modules && rc >= 0; i++) {
        const lx_lora_entry *e = &a->modules[i];
        if ((rc = read_pair(&p, e, lx_lora_file_find(b, e->name), err)) == LX_OK)
            rc = add_pair(&k, &s, &p, err);
    }
    const double n = k.n_common ? (double)k.n_common : NAN;
    *out = (lx_kinship){.n_common = k.n_common,
                        .cosine = s.ab / sqrt(s.aa * s.bb),
                        .step = sqrt(fmax(0, s.aa + s.bb - 2 * s.ab) / s.bb),
                        .common_down = k.common_down / n,
                        .common_up = k.common_up / n,
                        .chance_down = k.chance_down / n,
                        .chance_up = k.chance_up / n};
    lx_lora_factors_release(&p.a);
    lx_lora_factors_release(&p.b);
    lx_free(p.memory);
    return rc < 0 ? rc : LX_OK;
}
