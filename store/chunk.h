/*
 * store/chunk - points of a curve as bytes
 *
 *     byte      version (1)
 *     byte      how: 0, or the order of the differences, 1 to 4
 *     varint    n
 *     varints   zigzag of the first step, then of the steps' differences of differences
 *     n x 8     words laid out in byte planes, the highest byte of all of them first
 *
 * the whole in one zstd frame. A value's word, of the 64 bits of its IEEE double: for 0
 * those bits XOR the ones before; else their difference of that order as integers (mod
 * 2^64), magnitude times two plus sign, so that bits that are zero in all values stay so.
 * Whichever packs best is taken: XOR for noise, differences for what is smooth (a
 * learning rate) or even (a count).
 *
 * Steps that rise evenly cost next to nothing; a noisy loss that was an f32 costs
 * about 3.5 bytes.
 */
#ifndef LX_STORE_CHUNK_H
#define LX_STORE_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"
#include "src/base/str.h"

enum { LX_CHUNK_POINTS = 4096 }; /* a chunk is closed when it is full */

int store__chunk_encode(lx_str *out, const int64_t *steps, const double *values, size_t n,
                        lx_error *err);
/* Room for `capacity` points; *n is what was there. LX_EFORMAT on damage, LX_ELIMIT on
 * too many. */
int store__chunk_decode(int64_t *steps, double *values, size_t *n, size_t capacity,
                        const void *data, size_t bytes, lx_error *err);

/* What a function of zstd returned: is it that memory ran out? */
bool store__zstd_is_oom(size_t result);

#endif
