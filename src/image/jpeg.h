/*
 * image/jpeg - pixels as a baseline JPEG, for thumbnails
 *
 * libjpeg underneath, in process: what it gets are pixels of ours, no stranger's file.
 */
#ifndef LX_IMAGE_JPEG_H
#define LX_IMAGE_JPEG_H

#include "src/base/str.h"
#include "src/image/decode.h"

/* Appends a JPEG of 3-channel pixels; quality 1..100. No metadata. LX_ENOMEM,
 * LX_EINTERNAL. */
int lx_jpeg_encode(lx_str *out, const lx_pixels *pixels, int quality, lx_error *err);

/* A picture of at most `side` pixels a side, its shape kept; one that is smaller stays.
 * May not be in. */
int lx_thumbnail(lx_pixels *out, const lx_pixels *in, int side, lx_error *err);

#endif
