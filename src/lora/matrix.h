/*
 * lora/matrix - products of f64 matrices, row after row
 *
 * What merging, resizing and extracting need of linear algebra, and no more. Every element is summed in
 * the order of k, so results do not depend on the number of threads nor on the machine.
 */
#ifndef LX_LORA_MATRIX_H
#define LX_LORA_MATRIX_H

#include <stddef.h>

/*
 * c [m, n] = a [m, k] b [k, n]; with b_turned b is [n, k] and its rows are the columns. c must not
 * overlap a or b.
 */
void lx_matrix_multiply(double *c, const double *a, const double *b, size_t m, size_t k,
                        size_t n, int b_turned);
void lx_matrix_turn(double *to, const double *from, size_t rows,
                    size_t cols); /* to [cols, rows] */
double lx_matrix_dot(const double *a, const double *b,
                     size_t n); /* eight lanes, in a fixed order */
void lx_matrix_add(double *y, double factor, const double *x,
                   size_t n); /* y += factor x */

#endif
