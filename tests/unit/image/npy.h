/* unit/image/npy - arrays of the image goldens (numpy 1.0, |u1 [H,W,C] or <f4) */
#ifndef LX_TESTS_NPY_H
#define LX_TESTS_NPY_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/image/decode.h"
#include "tests/support/golden.h"

/* The header's shape into dims; returns the data's offset. */
static inline size_t npy_shape(int dims[3], const lx_str *file)
{
    const char *shape = strstr(file->data + 10, "'shape': (");

    assert_non_null(shape);
    dims[2] = 1;
    assert_true(sscanf(shape, "'shape': (%d, %d, %d", &dims[0], &dims[1], &dims[2]) >= 2);
    return 10 + ((unsigned char)file->data[8] | (size_t)(unsigned char)file->data[9] << 8);
}

static inline lx_pixels read_npy(const char *name)
{
    lx_str file = LX_STR_INIT;
    char path[4096];
    lx_error err;
    int dims[3];
    size_t at, n;
    lx_pixels out;

    snprintf(path, sizeof(path), "data/images/out/%s", name);
    assert_int_equal(lx_file_read(&file, lx_golden_need(path), 1 << 26, &err), 0);
    at = npy_shape(dims, &file);
    n = (size_t)dims[0] * (size_t)dims[1] * (size_t)dims[2];
    assert_int_equal(file.len, at + n);
    out = (lx_pixels){lx_alloc(n), dims[1], dims[0], dims[2]};
    memcpy(out.data, file.data + at, n);
    lx_str_release(&file);
    return out;
}

static inline void compare_pixels(const char *what, const lx_pixels *got, const lx_pixels *want,
                                  int most, double mean)
{
    size_t n = (size_t)want->width * (size_t)want->height * (size_t)want->channels, n_off = 0;
    int worst = 0;
    double sum = 0;

    if (got->width != want->width || got->height != want->height ||
        got->channels != want->channels)
        fail_msg("%s: %d x %d x %d, not %d x %d x %d", what, got->width, got->height,
                 got->channels, want->width, want->height, want->channels);
    for (size_t i = 0; i < n; i++) {
        int off = abs(got->data[i] - want->data[i]);
        worst = off > worst ? off : worst;
        sum += off;
        n_off += off != 0;
    }
    if (getenv("LX_SHOW"))
        printf("%s: worst %d, %zu of %zu differ\n", what, worst, n_off, n);
    if (worst > most || (mean > 0 && sum / (double)n > mean))
        fail_msg("%s: off by %d (mean %g), %zu of %zu values", what, worst, sum / (double)n,
                 n_off, n);
}

#endif
