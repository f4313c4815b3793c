/*
 * support/golden - numbers made by the peers' own code
 *
 * Looked for in the folder that the environment variable LX_GOLDENS names, else in tests/golden (a
 * slim copy). A test whose golden is in neither is skipped by name.
 */
#ifndef LX_TESTS_GOLDEN_H
#define LX_TESTS_GOLDEN_H

#include <stdbool.h>
#include <stddef.h>

/* Path of "unet/forward.safetensors"; NULL when absent. Good until the eighth call after. */
const char *lx_golden(const char *sub_path);

/* The same, but an absent one skips the running CMocka test. */
const char *lx_golden_need(const char *sub_path);

/* |a - b| / |b| over n values, in f64. NaN anywhere gives infinity. */
double lx_relative_error(const float *a, const float *b, size_t n);

/* Fails the running test when the relative error is above `limit`, saying which and how much. */
void lx_assert_close(const char *what, const float *a, const float *b, size_t n, double limit);

#endif
