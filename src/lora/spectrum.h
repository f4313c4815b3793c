/*
 * lora/spectrum - singular values of a low-rank update, never of the full matrix
 *
 *     up = Q1 R1,  down^T = Q2 R2,  up down = Q1 (R1 R2^T) Q2^T
 *
 * so the singular values of the [out, in] product are those of the [r, r] core R1 R2^T,
 * and its singular vectors are Q1 and Q2 times the core's. (The eigenvalues of the two
 * Gram matrices would give them too, with the squared condition number.) All in f64:
 * Gram-Schmidt, twice, for the factors; one-sided Jacobi rotations for the core. Source:
 * Golub & Van Loan, Matrix Computations, sections 5.2.8 and 8.6.3.
 */
#ifndef LX_LORA_SPECTRUM_H
#define LX_LORA_SPECTRUM_H

#include <stddef.h>

#include "src/base/error.h"

/*
 * sigma [rank], descending, of up [out, rank] times down [rank, in]. right [rank, in]
 * (may be NULL): the right singular vectors as rows; a row of a zero singular value may
 * be zero. LX_ENOMEM only.
 */
int lx_spectrum(double *sigma, double *right, const float *up, const float *down,
                size_t out, size_t rank, size_t in, lx_error *err);

/*
 * a: k vectors of n numbers, the columns of a matrix A. They become orthogonal, the
 * columns of U S; v [k][k] keeps the rotations: A = (U S) V^T, where column i of V is
 * v[i].
 */
void lx_jacobi(double *a, double *v, size_t k, size_t n);

#endif
