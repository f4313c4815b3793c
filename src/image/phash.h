/*
 * image/phash - what a picture looks like, in 64 bits
 *
 *     grey      L = (19595 R + 38470 G + 7471 B + 32768) / 65536, transparency on white
 *     small     32 x 32 by Lanczos
 *     DCT       type II along both sides, not scaled; of it the 8 x 8 lowest frequencies
 *     bits      row by row, the highest first: is the value above the median of the 64?
 *
 * Pictures that were scaled, recompressed or lightened keep nearly all bits; the distance of two is the
 * number of bits in which they differ, 0 to 64, about 32 for pictures that have nothing in common.
 * Mirrored, turned or strongly cropped pictures are different ones.
 * Source: Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions", in the form
 * that the Python package imagehash gives it (phash, hash_size 8), with which it agrees to the bit.
 */
#ifndef LX_IMAGE_PHASH_H
#define LX_IMAGE_PHASH_H

#include "src/image/decode.h"

enum { LX_PHASH_BITS = 64 };

typedef struct lx_phash {
    uint64_t bits;
    bool is_flat; /* less than one grey level of structure: the bits mean nothing */
} lx_phash;

/* pixels: 3 channels, or 4 with alpha. LX_ENOMEM. */
int lx_phash_of(lx_phash *out, const lx_pixels *pixels, lx_error *err);

int lx_phash_distance(uint64_t a, uint64_t b);

#endif
