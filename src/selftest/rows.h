/*
 * selftest/rows - which calls of which op a self-test makes
 *
 * Every op has a few small and awkward shapes, compared with the plain kernels, and mostly one of SD 1.5 at
 * 512 x 512, which is timed. An operand is a letter and its dimensions; NULL = absent:
 *
 *     x  activations, standard normals            w  a frozen weight in F16, normals of 0.1
 *     g  a norm's gains, normals around 1         f  as x, but never in half precision (an output too)
 *     s  statistics of a norm, around (.5, .5)    a  factors of samples, around 1
 *     z  log-sum-exp over in[1]'s keys            +  an output that is added to
 *     t  timesteps   i  rows of in[1]   m  a dropout's (seed, micro-step)
 */
#ifndef LX_SELFTEST_ROWS_H
#define LX_SELFTEST_ROWS_H

#include "src/selftest/case.h"

typedef struct lx_selftest_row {
    lx_op_id op;
    double limit; /* of the relative error in f32 */
    bool is_large;
    lx_attrs attrs;
    const char *in[LX_CALL_MAX_IN], *out[LX_CALL_MAX_OUT];
} lx_selftest_row;

extern const lx_selftest_row lx_selftest_rows[];
extern const size_t lx_selftest_n_rows;

/* Does the op's attribute say what its products are computed in? */
bool lx_selftest_has_arithmetic(lx_op_id op);

/* NULL without memory. */
lx_case *lx_selftest_case(const lx_selftest_row *row, lx_compute compute);

#endif
