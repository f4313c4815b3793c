/*
 * selftest/selftest - does this build compute rightly on this device, and how fast?
 *
 * Ops: every call of rows.h on the device, twice (the bits must be the same), in each precision that it
 * has. Small calls are compared with the plain kernels, in f64 sums; calls of SD 1.5's sizes with the
 * CPU's kernels, on the CPU itself with those of one thread (no bit may differ), and timed.
 *
 * Training: steps of AdamW on a tiny model with random weights: twice with the same bits, and compared
 * with the CPU's; on the CPU with one thread's, to the bit, and with losses that are written down here.
 *
 * A check that fails is a result, not an error. Results are told as they come.
 */
#ifndef LX_SELFTEST_SELFTEST_H
#define LX_SELFTEST_SELFTEST_H

#include "kernels/peak.h"

typedef struct lx_selftest_result {
    const char *what;      /* an op, or "training" */
    const char *shape;     /* of the inputs, or of the training */
    const char *precision; /* "f32", "f16", "bf16" */
    bool is_ok;
    double error, limit; /* relative; limit 0: the same bits are wanted */
    double seconds;      /* of one run; 0 = not timed */
    double flops, bytes; /* of one run */
    double share; /* what the measured peak allows over what was needed; 0 = not known */
    const char *why; /* not ok: what was wrong; else "" */
} lx_selftest_result;

typedef struct lx_selftest_options {
    bool is_quick;          /* small calls only, nothing is timed */
    const char *const *ops; /* only these ("training" is one); n 0 = all */
    size_t n_ops;
    void (*tell)(void *context, const lx_selftest_result *result);
    bool (*stops)(void *context); /* asked between checks; NULL = never */
    void *context;
    const char *folder; /* for a file of 12 MB, removed at the end */
} lx_selftest_options;

typedef struct lx_selftest_counts {
    size_t n_checks, n_failed;
    lx_peak peak; /* all 0 when nothing was timed */
} lx_selftest_counts;

/*
 *   LX_EUSAGE        an op that there is not
 *   LX_EINTERRUPTED  stops said so
 */
int lx_selftest_run(lx_selftest_counts *out, lx_device *dev,
                    const lx_selftest_options *options, lx_error *err);

#endif
