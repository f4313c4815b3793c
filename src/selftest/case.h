/*
 * selftest/case - one call of a kernel with made-up operands, and how far its results are off
 *
 * Values are drawn from a stream named after the op and the operand, so that a failure can be repeated.
 * Building does not fail in the middle: what goes wrong is kept and told by lx_case_run.
 *
 * Order of use: lx_case_new, lx_case_in.. and lx_case_out.. in the order of ops.def; lx_case_run with
 * the plain kernels and lx_case_take of what they gave, lx_case_run with a device's, lx_case_compare;
 * lx_case_free. Used by lx selftest and by the tests of kernels (tests/support/kernel_case.h).
 */
#ifndef LX_SELFTEST_CASE_H
#define LX_SELFTEST_CASE_H

#include "kernels/kernel.h"

typedef struct lx_case lx_case;

lx_case *lx_case_new(lx_op_id op); /* NULL without memory */
lx_attrs *lx_case_attrs(lx_case *c);

/* Standard normals times `std`, plus `mean`. Dimensions end with -1. */
void lx_case_in(lx_case *c, double mean, double std, ...);
void lx_case_in_f16(lx_case *c, double std, ...); /* a frozen weight in F16 */
void lx_case_in_i64(lx_case *c, int64_t n, const int64_t *values);
void lx_case_in_data(lx_case *c, const float *values, ...);
void lx_case_absent_in(lx_case *c);
void lx_case_out(lx_case *c, ...);
void lx_case_out_sum(lx_case *c,
                     ...); /* one that is added to: begins as random numbers */
void lx_case_absent_out(lx_case *c);

/* The same with a shape that was read: dtype F32, or F16 for a frozen weight. */
void lx_case_in_shape(lx_case *c, lx_dtype dtype, double mean, double std, int n_dims,
                      const int64_t *shape);
void lx_case_out_shape(lx_case *c, bool is_sum, int n_dims, const int64_t *shape);

/* Let input i share the first output's memory where lx_case_run is asked to. */
void lx_case_in_place(lx_case *c, int i);

/*
 * A copy with activations rounded to `dtype` (F16, BF16), and kept in it or, wide, in F32: the same
 * numbers for a kernel that computes in half precision and for the plain one. Statistics, sums and what
 * is no activation stay as they are. NULL without memory.
 */
lx_case *lx_case_round(const lx_case *c, lx_dtype dtype, bool is_wide);

/*
 * How far the result of a call in F16 may be off (relative L2); eight times that in BF16. Rounding the
 * output once is at most 2^-11; attention rounds its weights too.
 */
double lx_case_f16_limit(lx_op_id op);

/* The plain kernels run on a CPU device. */
typedef struct lx_case_on {
    lx_device *dev;
    const lx_kernel *kernels; /* dev->kernels or lx_cpu_plain_kernels */
    bool is_in_place;         /* as lx_case_in_place says */
    bool
        has_guards; /* bytes around every operand are watched; on a CPU they are anyway */
} lx_case_on;

/*
 * Prepares the call, runs it once and fetches its outputs. LX_ECHECK when bytes were written outside the
 * outputs and the scratch that was asked for, an input was changed, or memory was not given back.
 */
int lx_case_run(lx_case *c, const lx_case_on *on, lx_error *err);

/* Seconds of one run, of as many as `budget` seconds allow (one at least, after one that is not
 * counted): recorded and replayed where the device can. */
int lx_case_time(double *seconds, const lx_case *c, const lx_case_on *on, double budget,
                 lx_error *err);

/* Outputs of a run, taken out of the case; NULL where an output is absent. */
typedef struct lx_case_results {
    void *out[LX_CALL_MAX_OUT];
} lx_case_results;

lx_case_results lx_case_take(lx_case *c);
void lx_case_results_free(lx_case_results *results);

/*
 * |result - wanted| / |wanted| of the worst output, wanted in F32; a NaN is wanted where `wanted` has
 * one. LX_ECHECK beyond the limit, with the worst element and both values.
 */
int lx_case_compare(double *error, const lx_case *c, const lx_case_results *wanted,
                    double limit, lx_error *err);
/* The first output that has other bits than `results`; -1 = none. */
int lx_case_differs(const lx_case *c, const lx_case_results *results);

/* Of the last run. */
float *lx_case_output(lx_case *c, int i);
float *lx_case_input(lx_case *c, int i);
float *lx_case_start(lx_case *c, int i); /* what a summed output begins as */

lx_op_id lx_case_op(const lx_case *c);
int64_t lx_case_elements(const lx_case *c); /* of all operands: how much work it is */
double lx_case_flops(const lx_case *c);
double lx_case_bytes(const lx_case *c); /* of operands and results, each once */
/* "2x77x768 320x768", the inputs' shapes. */
void lx_case_shapes(char *text, size_t n, const lx_case *c);

void lx_case_free(lx_case *c);

#endif
