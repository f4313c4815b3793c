/*
 * image/decode - an image file to 8-bit pixels, in a process of its own
 *
 * Image libraries abort, exhaust memory or loop on what strangers send, and libvips ends the
 * process when an allocation fails. So pixels are decoded by a worker: a child with bounded memory
 * and processor time, watched by a clock, that decodes many images one after the other and hands
 * the pixels back through shared memory. When it dies, that one image is an error and the next
 * gets a new worker.
 *
 * Pixels are those the peer's loader has (Pillow, convert("RGB")): palettes looked up, grey
 * spread to three channels, 16-bit RGB cut to its high byte, 16-bit grey saturated (Pillow clips
 * it at 255: nearly all of it becomes white), CMYK by the plain formula without a profile, EXIF
 * orientation not applied. Two things differ on purpose: a cut file is an error, and alpha is
 * composited on a background instead of dropped, unless asked.
 *
 * Order of use: lx_decoder_new once (per thread), lx_decode per image, lx_decoder_free.
 */
#ifndef LX_IMAGE_DECODE_H
#define LX_IMAGE_DECODE_H

#include <stdbool.h>
#include <stdint.h>

#include "src/base/error.h"
#include "src/image/header.h"

/* Owns its bytes: 3 (or 4, with alpha kept) a pixel, rows from the top, no padding. */
typedef struct lx_pixels {
    uint8_t *data;
    int width, height, channels;
} lx_pixels;

typedef enum lx_alpha {
    LX_ALPHA_COMPOSITE, /* on the background: c = (a * c + (255 - a) * background) / 255, rounded */
    LX_ALPHA_DROP,      /* the colours under transparency show, as the peer trains them */
    LX_ALPHA_KEEP       /* four channels; an opaque image gets 255 (for alpha masks) */
} lx_alpha;

typedef struct lx_decode_options {
    lx_alpha alpha;
    uint8_t background[3]; /* white is what LX_DECODE_DEFAULT has */
} lx_decode_options;

#define LX_DECODE_DEFAULT {LX_ALPHA_COMPOSITE, {255, 255, 255}}

typedef struct lx_decoder lx_decoder;

/*
 * Starts no process yet: the worker is started by the first lx_decode. A decoder belongs to one
 * thread at a time; several decoders are independent.
 *
 * The worker is this same binary started with the hidden command `__decode` (LX_HELPER names
 * another lx); where neither is to be had, as in a test program, it is a fork of the caller, and is
 * forked again where it does not begin (another thread may have held a lock).
 */
int lx_decoder_new(lx_decoder **out, lx_error *err);
void lx_decoder_free(lx_decoder *d);

/*
 * header (may be NULL): what the file said of itself. Errors as lx_image_header_read, and
 * LX_EFORMAT when the pixels are broken or cut or the worker died of them, LX_ELIMIT when it ran
 * out of memory or of time (20 s). The text does not name the path.
 */
int lx_decode(lx_pixels *out, lx_image_header *header, lx_decoder *d, const char *path,
              const lx_decode_options *options, lx_error *err);
void lx_pixels_release(lx_pixels *pixels);

/* The worker's life, for `lx __decode FD`: serves until the socket closes. An exit status. */
int lx_decode_serve(int socket);

/* What main calls first: true when argv asks for the worker, whose exit status is then *status. */
bool lx_decode_is_worker(int *status, int argc, char **argv);

#endif
