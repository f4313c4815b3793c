/*
 * support/kernel_case - one call of a kernel with made-up operands, against the plain kernel
 *
 * Order of use: lx_case_new, lx_case_in.. and lx_case_out.. in the order of ops.def, lx_case_check,
 * lx_case_free. Values are drawn from a stream named after the op and the operand, so that a
 * failure can be repeated.
 */
#ifndef LX_TESTS_KERNEL_CASE_H
#define LX_TESTS_KERNEL_CASE_H

#include "kernels/kernel.h"

typedef struct lx_case lx_case;

/*
 * What runs cases: the CPU, unless a program of another device's tests has put its own here. Its
 * variants 1, 2 and 3 must agree to the bit: numbers of threads on the CPU, orders in which a
 * kernel's threads run in the emulation of a GPU.
 */
typedef struct lx_case_device {
    int (*open)(lx_device **out, int variant, lx_error *err);
    bool (*skips)(lx_op_id op, int64_t elements); /* optional: has no such kernel, or is too slow */
    /* Optional: activations may be F16 and BF16 too. Cases are then repeated so, against the plain
     * kernel with the same rounded inputs, within this (relative L2), eight times it for BF16. */
    double (*f16_limit)(lx_op_id op);
} lx_case_device;

extern const lx_case_device *lx_case_device_used;
/* The CPU with one thread: variants are the baseline, AVX2 and the best instructions it has. */
extern const lx_case_device lx_case_isas;

/* The same for whole models: the CPU with all its threads, or the other device in order 1. */
int lx_test_device_open(lx_device **out, lx_error *err);

lx_case *lx_case_new(lx_op_id op);
lx_attrs *lx_case_attrs(lx_case *c);
/* LX_COMPUTE_BF16 where the device that runs cases has it, and only if asked for. */
lx_compute lx_case_compute(bool is_bf16);

/* Standard normals times `std`, plus `mean`. Dimensions end with -1. */
void lx_case_in(lx_case *c, double mean, double std, ...);
void lx_case_in_f16(lx_case *c, double std, ...); /* a frozen weight in F16 */
void lx_case_in_i64(lx_case *c, int64_t n, const int64_t *values);
void lx_case_in_data(lx_case *c, const float *values, ...);
void lx_case_absent_in(lx_case *c);
void lx_case_out(lx_case *c, ...);
void lx_case_out_sum(lx_case *c, ...); /* one that is added to: begins as random numbers */
void lx_case_absent_out(lx_case *c);

/* Let input i share the first output's memory in all but the plain run. */
void lx_case_in_place(lx_case *c, int i);

/*
 * Runs the plain kernel, then the device's in variants 1, 2 and 3 (numbers of threads on the CPU).
 * Fails the test unless every output is within `limit` (relative L2) of the plain one, the same to
 * the bit in every variant, and nothing was written outside the outputs and the scratch asked for.
 */
void lx_case_check(lx_case *c, double limit);

/* Runs the device's kernel, variant 1 (the CPU's where the device has none); its first outputs for
 * comparison elsewhere. */
void lx_case_run(lx_case *c);
float *lx_case_output(lx_case *c, int i);
float *lx_case_input(lx_case *c, int i);
float *lx_case_start(lx_case *c, int i); /* what a summed output begins as */

void lx_case_free(lx_case *c);

#endif
