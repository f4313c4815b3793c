/*
 * image/bmp - uncompressed BMP to 8-bit RGB or RGBA
 *
 * Runs in the decoder's worker; libvips has no BMP of its own. 1, 4 and 8 bits with a palette, 16,
 * 24 and 32 bits with or without masks, rows from either end.
 */
#ifndef LX_IMAGE_BMP_H
#define LX_IMAGE_BMP_H

#include <stdint.h>

#include "src/image/header.h"

/* out: height rows of width pixels of h->has_alpha ? 4 : 3 bytes. */
int lx_bmp_decode(uint8_t *out, int fd, const lx_image_header *h, lx_error *err);

#endif
