/*
 * support/kernel_case - cases of kernels (src/selftest/case.h), checked in a test
 *
 * Order of use: lx_case_new, lx_case_in.. and lx_case_out.. in the order of ops.def, lx_case_check,
 * lx_case_free.
 */
#ifndef LX_TESTS_KERNEL_CASE_H
#define LX_TESTS_KERNEL_CASE_H

#include "src/selftest/case.h"

/*
 * What runs cases: the CPU, unless a program of another device's tests has put its own here. Its
 * variants 1, 2 and 3 must agree to the bit: numbers of threads on the CPU, orders in which a
 * kernel's threads run in the emulation of a GPU.
 */
typedef struct lx_case_device {
    int (*open)(lx_device **out, int variant, lx_error *err);
    bool (*skips)(lx_op_id op,
                  int64_t elements); /* optional: has no such kernel, or is too slow */
    bool has_guards;                 /* lx_case_on */
    /* Activations may be F16, BF16: cases are then repeated so, against the plain kernel with the same
     * rounded inputs, within lx_case_f16_limit. */
    bool has_f16, has_bf16;
} lx_case_device;

extern const lx_case_device *lx_case_device_used;
/* The CPU with one thread: variants are the baseline, AVX2 and the best instructions it has. */
extern const lx_case_device lx_case_isas;

/* The same for whole models: the CPU with all its threads, or the other device in order 1. */
int lx_test_device_open(lx_device **out, lx_error *err);

/* LX_COMPUTE_BF16 where the device that runs cases has it, and only if asked for. */
lx_compute lx_case_compute(bool is_bf16);

/*
 * Runs the plain kernel, then the device's in variants 1, 2 and 3 (numbers of threads on the CPU).
 * Fails the test unless every output is within `limit` (relative L2) of the plain one, the same to
 * the bit in every variant, and nothing was written outside the outputs and the scratch asked for.
 */
void lx_case_check(lx_case *c, double limit);

/* Runs the device's kernel, variant 1 (the CPU's where the device has none); its first outputs for
 * comparison elsewhere. */
void lx_case_run_one(lx_case *c);

#endif
