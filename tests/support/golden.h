/*
 * support/golden - numbers made by the peers' own code, and files that must be refused
 *
 * Goldens are looked for in the folder that the environment variable LX_GOLDENS names, else in
 * tests/golden (a slim copy); bad files in LX_BADFILES, else in tests/badfiles. A test whose file
 * is in neither is skipped by name. Arrays returned are freed with free().
 */
#ifndef LX_TESTS_GOLDEN_H
#define LX_TESTS_GOLDEN_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"
#include "src/format/tensor_file.h"

/* Path of "unet/forward.safetensors"; NULL when absent. Good until the eighth call after. */
const char *lx_golden(const char *sub_path);

/* The same, but an absent one skips the running CMocka test. */
const char *lx_golden_need(const char *sub_path);

/* The same for files that are damaged, hostile or merely odd (badfiles/manifest.json tells). */
const char *lx_badfile(const char *name);
const char *lx_badfile_need(const char *name);

/* Open or skip. A file that is there but cannot be read fails the test. */
lx_tensor_file *lx_golden_open(const char *sub_path);
cJSON *lx_golden_json(const char *sub_path); /* cJSON_Delete */

/* A tensor by its name (a printf format); its absence fails the test. n may be NULL. */
const lx_tensor_view *lx_golden_find(const lx_tensor_file *file, const char *fmt, ...)
    LX_PRINTF(2, 3);
float *lx_golden_f32(size_t *n, const lx_tensor_file *file, const char *fmt, ...)
    LX_PRINTF(3, 4);
double *lx_golden_f64(size_t *n, const lx_tensor_file *file, const char *fmt, ...)
    LX_PRINTF(3, 4);
int64_t *lx_golden_i64(size_t *n, const lx_tensor_file *file, const char *fmt, ...)
    LX_PRINTF(3, 4);

/* |a - b| / |b| over n values, in f64. NaN anywhere gives infinity. */
double lx_relative_error(const float *a, const float *b, size_t n);

/* Fails the running test when the relative error is above `limit`, saying which and how much. */
void lx_assert_close(const char *what, const float *a, const float *b, size_t n, double limit);

#endif
