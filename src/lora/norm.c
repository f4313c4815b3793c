/*
 * |up x down|^2 = sum over r, s of (up^T up)[r, s] (down down^T)[r, s]: rank^2 dot
 * products instead of a matrix of the layer's size. In f64. A Kronecker product's norm is the product of the
 * norms. A LoHa's change is made row by row.
 */
#include <math.h>
#include <string.h>

#include "src/base/fast.h"
#include "src/lora/module.h"

/* |up x down|^2, up [out, rank], down [rank, in]. */
static double product_square(const float *up, const float *down, size_t out, size_t rank,
                             size_t in)
{
    double total = 0;

    for (size_t r = 0; r < rank; r++)
        for (size_t s = r; s < rank; s++) {
            double ups = 0, downs = 0;
            for (size_t o = 0; o < out; o++)
                ups += (double)up[o * rank + r] * up[o * rank + s];
            for (size_t i = 0; i < in; i++)
                downs += (double)down[r * in + i] * down[s * in + i];
            total += (s == r ? 1 : 2) * ups * downs;
        }
    return fmax(total, 0);
}

static double square(const float *values, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (double)values[i] * values[i];
    return sum;
}

static const float *value_of(const lx_lora *lora, const lx_lora_module *m, int k)
{
    return lx_lora_host_value(lora, &m->factors[k]);
}

enum { TILE = 512 };

/* row [n] = left [rank] right [rank, n], whose rows are `step` apart. */
LX_FAST static void make_row(float *row, const float *left, const float *right,
                             size_t rank, size_t n, size_t step)
{
    memset(row, 0, n * sizeof *row);
    for (size_t r = 0; r < rank; r++)
        for (size_t i = 0; i < n; i++)
            row[i] += left[r] * right[r * step + i];
}

static double loha_square(const lx_lora *lora, const lx_lora_module *m)
{
    const size_t rank = (size_t)m->rank, out = (size_t)m->factors[0].shape[0];
    const size_t in = (size_t)m->factors[1].shape[1];
    const float *w1_a = value_of(lora, m, 0), *w1_b = value_of(lora, m, 1);
    const float *w2_a = value_of(lora, m, 2), *w2_b = value_of(lora, m, 3);
    float first[TILE], second[TILE];
    double sum = 0;

    for (size_t o = 0; o < out; o++)
        for (size_t i = 0; i < in; i += TILE) {
            const size_t n = in - i < TILE ? in - i : TILE;
            make_row(first, w1_a + o * rank, w1_b + i, rank, n, in);
            make_row(second, w2_a + o * rank, w2_b + i, rank, n, in);
            for (size_t k = 0; k < n; k++)
                first[k] *= second[k];
            sum += square(first, n);
        }
    return sum;
}

/* Of w1 or w2: factor k, or the product of factors k and k + 1. */
static double part_square(const lx_lora *lora, const lx_lora_module *m, int *k,
                          bool is_product)
{
    const lx_param *p = &m->factors[*k];
    const float *first = value_of(lora, m, *k);

    *k += is_product ? 2 : 1;
    if (!is_product)
        return square(first, lx_lora__size(p));
    return product_square(first, value_of(lora, m, *k - 1), (size_t)p->shape[0],
                          (size_t)m->rank,
                          lx_lora__size(&m->factors[*k - 1]) / (size_t)m->rank);
}

static double lokr_square(const lx_lora *lora, const lx_lora_module *m)
{
    const lx_lokr_shape s = lx_lokr_shape_of(m);
    int k = 0;
    const double w1 = part_square(lora, m, &k, s.has_w1_factors);

    return w1 * part_square(lora, m, &k, s.has_w2_factors);
}

double lx_lora_module_norm(const lx_lora *lora, const lx_lora_module *m)
{
    const double scale = fabs((double)m->alpha) / m->rank;
    const size_t rank = (size_t)m->rank;

    if (m->kind == LX_KIND_LOHA)
        return scale * sqrt(loha_square(lora, m));
    if (m->kind == LX_KIND_LOKR)
        return scale * sqrt(lokr_square(lora, m));
    return scale * sqrt(product_square(value_of(lora, m, 1), value_of(lora, m, 0),
                                       lx_lora__size(&m->up) / rank, rank,
                                       lx_lora__size(&m->down) / rank));
}

static void scale(lx_lora *lora, const lx_param *param, float by)
{
    const size_t n = lx_lora__size(param);
    float *value = lx_lora_host_value(lora, param);

    for (size_t i = 0; i < n; i++)
        value[i] *= by;
}

lx_lora_norms lx_lora_limit_norms(lx_lora *lora, double most)
{
    lx_lora_norms found = {0};

    for (size_t i = 0; i < lora->count; i++) {
        lx_lora_module *m = &lora->modules[i];
        double norm = lx_lora_module_norm(lora, m);

        if (norm > most) {
            const float by =
                (float)(m->n_factors == 2 ? sqrt(most / norm)
                                          : pow(most / norm, 1.0 / m->n_factors));
            for (int k = 0; k < m->n_factors; k++)
                scale(lora, &m->factors[k], by);
            found.n_scaled++;
            norm = most;
        }
        found.mean += norm / (double)lora->count;
        found.largest = fmax(found.largest, norm);
    }
    return found;
}
