/*
 * image/header - what an image file is, from its header alone
 *
 * Own bounded parsers for PNG, JPEG, WebP and BMP: no pixel is decoded, no library is called, at
 * most LX_IMAGE_HEADER_READ bytes of a file are looked at, so thousands of images are scanned in a
 * moment and in process. The bytes decide what a file is, never its name. What is reported is what
 * the peer's loader (Pillow) would see: width and height as stored, EXIF orientation not applied.
 *
 * A sound header does not promise sound pixels; image/decode finds that out.
 * Sources: PNG 3rd ed. (W3C), ITU-T T.81, RFC 9649 (WebP), TIFF 6.0 (EXIF), the BMP headers of
 * Windows 3 to 5.
 */
#ifndef LX_IMAGE_HEADER_H
#define LX_IMAGE_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"

enum {
    LX_IMAGE_MAX_SIDE = 16384,
    LX_IMAGE_MAX_PIXELS = 100000000,
    LX_IMAGE_HEADER_READ = 1 << 20 /* a JPEG may carry thumbnails and profiles before its frame */
};

typedef enum lx_image_kind {
    LX_IMAGE_UNKNOWN,
    LX_IMAGE_PNG,
    LX_IMAGE_JPEG,
    LX_IMAGE_WEBP,
    LX_IMAGE_BMP
} lx_image_kind;

typedef struct lx_image_header {
    lx_image_kind kind;
    int width, height; /* as stored */
    int bits;          /* a sample; 1, 2, 4, 8 or 16 */
    int channels;      /* as stored: 1 grey or palette, 2 grey + alpha, 3, 4 (RGBA or CMYK) */
    bool is_palette;
    bool is_grey;
    bool is_cmyk;
    bool has_alpha;   /* an alpha channel, or transparency by palette entry or by colour key */
    int orientation;  /* EXIF, 1..8; 1 when absent. Not applied here. */
    int frames;       /* 1; more for an animation. 0: animated, count not known from the header */
} lx_image_header;

const char *lx_image_kind_name(lx_image_kind kind); /* "PNG" */

/*
 * Errors: LX_EFORMAT (not an image of these kinds, or broken before its size is known),
 * LX_ELIMIT (over LX_IMAGE_MAX_SIDE or LX_IMAGE_MAX_PIXELS), LX_EUNSUPPORTED (arithmetic JPEG ...),
 * LX_ENOTFOUND, LX_EIO. The text names the byte offset, not the path.
 */
int lx_image_header_read(lx_image_header *out, const char *path, lx_error *err);

/*
 * The same from the first n bytes of a file of `file_size` bytes. Where the bytes end before the
 * size is known, but the file does not, the answer is LX_ELIMIT.
 */
int lx_image_header_parse(lx_image_header *out, const void *bytes, size_t n, uint64_t file_size,
                          lx_error *err);

#endif
