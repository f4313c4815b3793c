/*
 * store/chunk - points of a curve as bytes
 *
 *     byte      version (1)
 *     varint    n
 *     varints   zigzag of the first step, then of the differences of differences of the steps
 *     n x 8     values: IEEE doubles, each XOR the one before, laid out in byte planes
 *
 * the whole in one zstd frame. Steps that rise evenly cost next to nothing; a loss that was an f32
 * costs about four bytes.
 */
#ifndef LX_STORE_CHUNK_H
#define LX_STORE_CHUNK_H

#include <stdint.h>

#include "src/base/error.h"
#include "src/base/str.h"

enum { LX_CHUNK_POINTS = 4096 }; /* a chunk is closed when it is full */

int store__chunk_encode(lx_str *out, const int64_t *steps, const double *values, size_t n,
                        lx_error *err);
/* Room for `capacity` points; *n is what was there. LX_EFORMAT on damage, LX_ELIMIT on too many. */
int store__chunk_decode(int64_t *steps, double *values, size_t *n, size_t capacity,
                        const void *data, size_t bytes, lx_error *err);

#endif
