/*
 * lora/svd - the best approximation of a low-rank sum or of a dense difference, and its error
 *
 * Of a product of factors the full matrix is never formed:
 *
 *     up = Q1 R1,  down^T = Q2 R2,  up down = Q1 (R1 R2^T) Q2^T
 *
 * so singular values are those of the [rank, rank] core, and singular vectors are Q1 and Q2 times the
 * core's. Factors of a sum lie side by side: up = [up_1 | up_2], down = [down_1; down_2].
 *
 * The best matrix of rank q keeps the q largest (Eckart and Young 1936); what is lost is known without
 * looking:
 *
 *     error(q) = |A - A_q| / |A| = sqrt(sum_{i >= q} sigma_i^2 / sum sigma_i^2)      Frobenius norms
 *
 * Of a dense matrix of which only q values are wanted, a random sketch of q + 16 columns finds the range
 * with two power iterations (Halko, Martinsson and Tropp 2011, algorithm 4.4). The error is exact there
 * too, being what |A|^2 has left; only that the subspace is the best one is approximate, within a
 * fraction of a percent for spectra that decay at all.
 *
 * All in f64: Gram-Schmidt, twice, for the factors; one-sided Jacobi rotations for the core (Golub & Van
 * Loan, Matrix Computations, sections 5.2.8 and 8.6.3). A LAPACK would be faster on large dense matrices,
 * but its bits depend on the library and on the number of threads; here they do not.
 *
 * Order of use: lx_svd_product or lx_svd_dense, lx_svd_rank or lx_svd_error, lx_svd_split, lx_svd_release.
 */
#ifndef LX_LORA_SVD_H
#define LX_LORA_SVD_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"

typedef struct lx_svd {
    size_t out, in, rank; /* rank: how many values there are */
    double *sigma;        /* [rank], descending */
    double *left,
        *right; /* [rank, out], [rank, in]: vectors as rows; those of sigma 0 may be 0 */
    double
        residual; /* squared norm of what no value holds; 0 of an exact decomposition */
} lx_svd;

/* Of up [out, rank] times down [rank, in], exactly; at most min(out, in) values. LX_ENOMEM only. */
int lx_svd_product(lx_svd *svd, const double *up, const double *down, size_t out,
                   size_t rank, size_t in, lx_error *err);

/*
 * The `rank` largest of a [out, in]; exact when rank is min(out, in) or more, or when the sketch is as
 * large. `seed` and `name` choose the sketch's random numbers, so that no two modules share them.
 */
int lx_svd_dense(lx_svd *svd, const double *a, size_t out, size_t in, size_t rank,
                 uint64_t seed, const char *name, lx_error *err);
/* As many values as it takes for the error to be at most `error`, and no more. */
int lx_svd_dense_within(lx_svd *svd, const double *a, size_t out, size_t in, double error,
                        uint64_t seed, const char *name, lx_error *err);
void lx_svd_release(lx_svd *svd);

double lx_svd_norm(const lx_svd *svd); /* |A| */
/* Relative error of keeping `rank` values; 0 of a zero matrix. */
double lx_svd_error(const lx_svd *svd, size_t rank);
/* The least rank, 1 or more, whose error is at most `error`; svd->rank when none is. */
size_t lx_svd_rank(const lx_svd *svd, double error);

/*
 * Balanced factors of the best matrix of that rank: up [out, rank] = U sqrt(S), down [rank, in] =
 * sqrt(S) V^T. Both have columns or rows of equal length, which is best for half precision. rank may
 * exceed svd->rank: the rest is zero.
 */
void lx_svd_split(float *up, float *down, const lx_svd *svd, size_t rank);

/*
 * a: k vectors of n numbers, the columns of a matrix A. They become orthogonal, the columns of U S;
 * v [k][k] keeps the rotations: A = (U S) V^T, where column i of V is v[i].
 */
void lx_jacobi(double *a, double *v, size_t k, size_t n);

#endif
