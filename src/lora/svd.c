#include "src/lora/svd.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/fast.h"
#include "src/base/rng.h"
#include "src/lora/matrix.h"

/*
 * q [k, n]: k vectors of length n become orthonormal (one that depends on those before it becomes
 * zero); r [k, k], r[i][j]: the share of q_i in vector j. r may be NULL.
 */
static void orthonormalise(double *q, double *r, size_t k, size_t n)
{
    if (r)
        memset(r, 0, k * k * sizeof *r);
    for (size_t j = 0; j < k; j++) {
        double *x = q + j * n;
        const double before = sqrt(lx_matrix_dot(x, x, n));
        double length;

        for (int pass = 0; pass < 2; pass++)
            for (size_t i = 0; i < j; i++) {
                double share = lx_matrix_dot(q + i * n, x, n);
                if (r)
                    r[i * k + j] += share;
                lx_matrix_add(x, -share, q + i * n, n);
            }
        length = sqrt(lx_matrix_dot(x, x, n));
        if (!(length > 1e-13 * before)) {
            memset(x, 0, n * sizeof *x);
            continue;
        }
        if (r)
            r[j * k + j] = length;
        for (size_t l = 0; l < n; l++)
            x[l] /= length;
    }
}

/* ---- rotations --------------------------------------------------------------------------- */

/* x, y of n numbers -> c x - s y, s x + c y */
LX_FAST static void turn(double *restrict x, double *restrict y, size_t n, double c,
                         double s)
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
    const double alpha = lx_matrix_dot(x, x, n), beta = lx_matrix_dot(y, y, n);
    const double gamma = lx_matrix_dot(x, y, n);
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

/* ---- the core ---------------------------------------------------------------------------- */

static int take(lx_svd *svd, size_t out, size_t in, size_t rank, lx_error *err)
{
    size_t sides, total;

    *svd = (lx_svd){.out = out, .in = in, .rank = rank};
    if (!lx_add_size(&sides, out, in) || !lx_add_size(&sides, sides, 1) ||
        !lx_mul_size(&total, sides, rank) ||
        !(svd->sigma = lx_calloc(total ? total : 1, sizeof(double))))
        return lx_oom(err);
    svd->left = svd->sigma + rank;
    svd->right = svd->left + rank * out;
    return LX_OK;
}

void lx_svd_release(lx_svd *svd)
{
    lx_free(svd->sigma);
    *svd = (lx_svd){0};
}

/* The vectors' lengths, descending; order[i] is the vector of sigma[i]. */
static void sort_lengths(double *sigma, size_t *order, const double *a, size_t k)
{
    for (size_t j = 0; j < k; j++) {
        double length = sqrt(lx_matrix_dot(a + j * k, a + j * k, k));
        size_t at = j;

        for (; at > 0 && sigma[at - 1] < length; at--) {
            sigma[at] = sigma[at - 1];
            order[at] = order[at - 1];
        }
        sigma[at] = length;
        order[at] = j;
    }
}

/* Rows of `from` in that order, each divided by its sigma if asked; a zero one stays zero. */
static void pick_rows(double *to, const double *from, const size_t *order,
                      const double *sigma, size_t k, bool is_divided)
{
    for (size_t i = 0; i < k; i++)
        for (size_t l = 0; l < k; l++)
            to[i * k + l] = from[order[i] * k + l] / (!is_divided    ? 1
                                                      : sigma[i] > 0 ? sigma[i]
                                                                     : INFINITY);
}

/*
 * svd of (sum over i of q1_i core_ij q2_j): core [k, k] holds column j as vector j and is destroyed.
 * q1 [k, out] or NULL for the unit vectors (then out is k), q2 [k, in] likewise.
 */
static int decompose_core(lx_svd *svd, double *core, const double *q1, const double *q2,
                          size_t out, size_t k, size_t in, lx_error *err)
{
    double *v = NULL, *picked = NULL;
    size_t *order = NULL;
    int rc = take(svd, out, in, k, err);

    if (rc < 0)
        return rc;
    v = lx_calloc(k * k, sizeof *v);
    picked = lx_calloc(k * k, sizeof *picked);
    order = lx_calloc(k, sizeof *order);
    if (!v || !picked || !order) {
        rc = lx_oom(err);
        lx_svd_release(svd);
        goto done;
    }
    lx_jacobi(core, v, k, k);
    sort_lengths(svd->sigma, order, core, k);
    pick_rows(q1 ? picked : svd->left, core, order, svd->sigma, k, true);
    if (q1)
        lx_matrix_multiply(svd->left, picked, q1, k, k, out, 0);
    pick_rows(q2 ? picked : svd->right, v, order, svd->sigma, k, false);
    if (q2)
        lx_matrix_multiply(svd->right, picked, q2, k, k, in, 0);
done:
    lx_free(order);
    lx_free(picked);
    lx_free(v);
    return rc;
}

/* All min(out, in) values of a dense matrix: the longer side is made orthonormal first. */
static int decompose_dense(lx_svd *svd, const double *a, size_t out, size_t in,
                           lx_error *err)
{
    const bool is_flat = out <= in;
    const size_t k = is_flat ? out : in, n = is_flat ? in : out;
    double *q = lx_calloc(k * n, sizeof *q), *r = lx_calloc(k * k, sizeof *r);
    double *core = lx_calloc(k * k, sizeof *core);
    int rc;

    if (!q || !r || !core) {
        rc = lx_oom(err);
        goto done;
    }
    if (is_flat)
        memcpy(q, a, k * n * sizeof *q);
    else
        lx_matrix_turn(q, a, out, in);
    orthonormalise(q, r, k, n);
    /* a = R^T Q of rows (flat), else Q^T R: column j of the core as vector j. */
    if (is_flat)
        memcpy(core, r, k * k * sizeof *core);
    else
        lx_matrix_turn(core, r, k, k);
    rc = decompose_core(svd, core, is_flat ? NULL : q, is_flat ? q : NULL, out, k, in,
                        err);
done:
    lx_free(core);
    lx_free(r);
    lx_free(q);
    return rc;
}

int lx_svd_product(lx_svd *svd, const double *up, const double *down, size_t out,
                   size_t rank, size_t in, lx_error *err)
{
    double *q1 = NULL, *q2 = NULL, *squares = NULL, *core;
    int rc;

    *svd = (lx_svd){0};
    if (rank >= out || rank >= in) {
        double *a = lx_calloc(out * in, sizeof *a);
        if (!a)
            return lx_oom(err);
        lx_matrix_multiply(a, up, down, out, rank, in, 0);
        rc = decompose_dense(svd, a, out, in, err);
        lx_free(a);
        return rc;
    }
    q1 = lx_calloc(rank * out, sizeof *q1);
    q2 = lx_calloc(rank * in, sizeof *q2);
    squares = lx_calloc(rank * rank, 3 * sizeof *squares);
    if (!q1 || !q2 || !squares) {
        rc = lx_oom(err);
        goto done;
    }
    core = squares + 2 * rank * rank;
    lx_matrix_turn(q1, up, out, rank);
    memcpy(q2, down, rank * in * sizeof *q2);
    orthonormalise(q1, squares, rank, out);
    orthonormalise(q2, squares + rank * rank, rank, in);
    /* Column j of R1 R2^T is vector j. */
    lx_matrix_multiply(core, squares + rank * rank, squares, rank, rank, rank, 1);
    rc = decompose_core(svd, core, q1, q2, out, rank, in, err);
done:
    lx_free(squares);
    lx_free(q2);
    lx_free(q1);
    return rc;
}

/* ---- sketches ---------------------------------------------------------------------------- */

static double square_norm(const double *a, size_t n)
{
    return lx_matrix_dot(a, a, n);
}

/* q [k, out]: an orthonormal basis of most of a's range. */
static int find_range(double *q, const double *a, size_t out, size_t in, size_t k,
                      uint64_t seed, const char *name, lx_error *err)
{
    double *z = lx_calloc(k * in, sizeof *z);
    float *draws = lx_alloc(in * sizeof *draws);
    lx_rng rng = lx_rng_stream(seed, LX_RNG_SKETCH, 0, lx_hash_name(name));

    if (!z || !draws) {
        lx_free(draws);
        lx_free(z);
        return lx_oom(err);
    }
    for (size_t i = 0; i < k; i++) {
        /* Vector i has its own place in the stream, whatever k is. */
        lx_rng_normal(draws, in, (uint64_t)i * ((in + 3) / 4 * 4), &rng);
        for (size_t l = 0; l < in; l++)
            z[i * in + l] = (double)draws[l];
    }
    for (int pass = 0; pass < 3; pass++) {
        lx_matrix_multiply(q, z, a, k, in, out, 1);
        orthonormalise(q, NULL, k, out);
        if (pass == 2)
            break;
        lx_matrix_multiply(z, q, a, k, out, in, 0);
        orthonormalise(z, NULL, k, in);
    }
    lx_free(draws);
    lx_free(z);
    return LX_OK;
}

/* k values by a sketch of k vectors. */
static int decompose_sketch(lx_svd *svd, const double *a, size_t out, size_t in, size_t k,
                            uint64_t seed, const char *name, lx_error *err)
{
    double *q = lx_calloc(k * out, sizeof *q), *b = lx_calloc(k * in, sizeof *b);
    double *squares = lx_calloc(k * k, sizeof *squares);
    double kept = 0;
    int rc;

    if (!q || !b || !squares) {
        rc = lx_oom(err);
        goto done;
    }
    if ((rc = find_range(q, a, out, in, k, seed, name, err)) < 0)
        goto done;
    lx_matrix_multiply(b, q, a, k, out, in, 0);
    orthonormalise(b, squares, k,
                   in); /* b_i = sum_j r[j][i] b'_j: vector j of the core is row j */
    if ((rc = decompose_core(svd, squares, q, b, out, k, in, err)) < 0)
        goto done;
    for (size_t i = 0; i < k; i++)
        kept += svd->sigma[i] * svd->sigma[i];
    svd->residual = fmax(0, square_norm(a, out * in) - kept);
done:
    lx_free(squares);
    lx_free(b);
    lx_free(q);
    return rc;
}

/* Keeps the first `rank` values; the others' energy joins the residual. The memory stays. */
static void cut(lx_svd *svd, size_t rank)
{
    for (size_t i = rank; i < svd->rank; i++)
        svd->residual += svd->sigma[i] * svd->sigma[i];
    if (rank < svd->rank)
        svd->rank = rank;
}

enum { OVERSAMPLING = 16 };

int lx_svd_dense(lx_svd *svd, const double *a, size_t out, size_t in, size_t rank,
                 uint64_t seed, const char *name, lx_error *err)
{
    const size_t most = out < in ? out : in;
    int rc;

    if (rank + OVERSAMPLING >= most)
        rc = decompose_dense(svd, a, out, in, err);
    else
        rc = decompose_sketch(svd, a, out, in, rank + OVERSAMPLING, seed, name, err);
    if (rc == LX_OK)
        cut(svd, rank);
    return rc;
}

int lx_svd_dense_within(lx_svd *svd, const double *a, size_t out, size_t in, double error,
                        uint64_t seed, const char *name, lx_error *err)
{
    const size_t most = out < in ? out : in;
    int rc;

    for (size_t k = 32;; k *= 2) {
        if (2 * k >= most)
            rc = decompose_dense(svd, a, out, in, err);
        else
            rc = decompose_sketch(svd, a, out, in, k, seed, name, err);
        if (rc < 0)
            return rc;
        /* The last of a sketch's values are not yet the matrix's. */
        if (2 * k >= most || lx_svd_error(svd, k - OVERSAMPLING) <= error)
            break;
        lx_svd_release(svd);
    }
    cut(svd, lx_svd_rank(svd, error));
    return LX_OK;
}

/* ---- what is lost, what is kept ---------------------------------------------------------- */

static double energy(const lx_svd *svd, size_t from)
{
    double sum = 0;

    for (size_t i = svd->rank; i > from; i--) /* the small ones first */
        sum += svd->sigma[i - 1] * svd->sigma[i - 1];
    return sum;
}

double lx_svd_norm(const lx_svd *svd)
{
    return sqrt(svd->residual + energy(svd, 0));
}

double lx_svd_error(const lx_svd *svd, size_t rank)
{
    const double all = svd->residual + energy(svd, 0);

    return all > 0 ? sqrt((svd->residual + energy(svd, rank)) / all) : 0;
}

size_t lx_svd_rank(const lx_svd *svd, double error)
{
    const double most = error * error * (svd->residual + energy(svd, 0));
    double lost = svd->residual;
    size_t rank = svd->rank;

    for (; rank > 1; rank--) {
        lost += svd->sigma[rank - 1] * svd->sigma[rank - 1];
        if (lost > most)
            break;
    }
    return rank;
}

void lx_svd_split(float *up, float *down, const lx_svd *svd, size_t rank)
{
    const size_t kept = rank < svd->rank ? rank : svd->rank;

    memset(up, 0, svd->out * rank * sizeof *up);
    memset(down, 0, rank * svd->in * sizeof *down);
    for (size_t i = 0; i < kept; i++) {
        const double root = sqrt(svd->sigma[i]);
        const double *left = svd->left + i * svd->out, *right = svd->right + i * svd->in;

        for (size_t o = 0; o < svd->out; o++)
            up[o * rank + i] = (float)(root * left[o]);
        for (size_t l = 0; l < svd->in; l++)
            down[i * svd->in + l] = (float)(root * right[l]);
    }
}
