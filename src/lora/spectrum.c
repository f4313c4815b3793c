#include "src/lora/spectrum.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/*
 * q [k, n]: k vectors of length n become orthonormal (one that depends on those before it
 * becomes zero); r [k, k], r[i][j]: the share of q_i in vector j.
 */
static void orthonormalise(double *q, double *r, size_t k, size_t n)
{
    memset(r, 0, k * k * sizeof *r);
    for (size_t j = 0; j < k; j++) {
        double *x = q + j * n;
        const double before = sqrt(dot(x, x, n));
        double length;

        for (int pass = 0; pass < 2; pass++)
            for (size_t i = 0; i < j; i++) {
                double share = dot(q + i * n, x, n);
                r[i * k + j] += share;
                for (size_t l = 0; l < n; l++)
                    x[l] -= share * q[i * n + l];
            }
        length = sqrt(dot(x, x, n));
        if (!(length > 1e-13 * before)) {
            memset(x, 0, n * sizeof *x);
            continue;
        }
        r[j * k + j] = length;
        for (size_t l = 0; l < n; l++)
            x[l] /= length;
    }
}

/* x, y of n numbers -> c x - s y, s x + c y */
static void turn(double *x, double *y, size_t n, double c, double s)
{
    for (size_t i = 0; i < n; i++) {
        double old = x[i];
        x[i] = c * old - s * y[i];
        y[i] = s * old + c * y[i];
    }
}

/* Turns two vectors until they are orthogonal; v keeps the rotations. */
static bool rotate(double *x, double *y, size_t n, double *vx, double *vy, size_t k)
{
    const double alpha = dot(x, x, n), beta = dot(y, y, n), gamma = dot(x, y, n);
    double zeta, t, c;

    if (fabs(gamma) <= 1e-15 * sqrt(alpha * beta))
        return false;
    zeta = (beta - alpha) / (2 * gamma);
    t = (zeta > 0 ? 1 : -1) / (fabs(zeta) + sqrt(1 + zeta * zeta));
    c = 1 / sqrt(1 + t * t);
    turn(x, y, n, c, c * t);
    turn(vx, vy, k, c, c * t);
    return true;
}

void lx_jacobi(double *a, double *v, size_t k, size_t n)
{
    bool is_turned = true;

    memset(v, 0, k * k * sizeof *v);
    for (size_t i = 0; i < k; i++)
        v[i * k + i] = 1;
    for (int sweep = 0; is_turned && sweep < 60; sweep++) {
        is_turned = false;
        for (size_t p = 0; p + 1 < k; p++)
            for (size_t q = p + 1; q < k; q++)
                is_turned |= rotate(a + p * n, a + q * n, n, v + p * k, v + q * k, k);
    }
}

/* Memory of one call: factors as vectors of length out and in, and three small squares.
 */
typedef struct work {
    double *q1, *q2, *r1, *r2, *core, *v;
} work;

static int take_work(work *w, size_t out, size_t rank, size_t in, lx_error *err)
{
    size_t square, n1, n2, total;

    if (!lx_mul_size(&square, rank, rank) || !lx_mul_size(&n1, out, rank) ||
        !lx_mul_size(&n2, in, rank) || !lx_mul_size(&total, square, 4) ||
        !lx_add_size(&total, total, n1) || !lx_add_size(&total, total, n2) ||
        !(w->q1 = lx_calloc(total, sizeof(double))))
        return lx_oom(err);
    w->q2 = w->q1 + n1;
    w->r1 = w->q2 + n2;
    w->r2 = w->r1 + square;
    w->core = w->r2 + square;
    w->v = w->core + square;
    return LX_OK;
}

/* The vectors' lengths, descending; order[i] is the vector of sigma[i]. */
static void sort_lengths(double *sigma, size_t *order, const double *a, size_t rank)
{
    for (size_t j = 0; j < rank; j++) {
        double length = sqrt(dot(a + j * rank, a + j * rank, rank));
        size_t at = j;

        for (; at > 0 && sigma[at - 1] < length; at--) {
            sigma[at] = sigma[at - 1];
            order[at] = order[at - 1];
        }
        sigma[at] = length;
        order[at] = j;
    }
}

/* right i = sum over k of v[order[i]][k] q2_k */
static void put_right(double *right, const work *w, const size_t *order, size_t rank,
                      size_t in)
{
    memset(right, 0, rank * in * sizeof *right);
    for (size_t i = 0; i < rank; i++)
        for (size_t k = 0; k < rank; k++) {
            double share = w->v[order[i] * rank + k];
            for (size_t l = 0; l < in; l++)
                right[i * in + l] += share * w->q2[k * in + l];
        }
}

int lx_spectrum(double *sigma, double *right, const float *up, const float *down,
                size_t out, size_t rank, size_t in, lx_error *err)
{
    size_t *order = lx_alloc(rank * sizeof *order);
    work w = {0};
    int rc;

    if (!order)
        return lx_oom(err);
    if ((rc = take_work(&w, out, rank, in, err)) < 0)
        goto done;
    for (size_t k = 0; k < rank; k++)
        for (size_t i = 0; i < out; i++)
            w.q1[k * out + i] = up[i * rank + k];
    for (size_t i = 0; i < rank * in; i++)
        w.q2[i] = down[i];
    orthonormalise(w.q1, w.r1, rank, out);
    orthonormalise(w.q2, w.r2, rank, in);
    for (size_t i = 0; i < rank; i++)
        for (size_t j = 0; j < rank; j++) /* column j of R1 R2^T is vector j */
            w.core[j * rank + i] = dot(w.r1 + i * rank, w.r2 + j * rank, rank);
    lx_jacobi(w.core, w.v, rank, rank);
    sort_lengths(sigma, order, w.core, rank);
    if (right)
        put_right(right, &w, order, rank, in);
done:
    lx_free(w.q1);
    lx_free(order);
    return rc;
}
