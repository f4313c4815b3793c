/*
 * image/resize - from the pixels of a file to the tensor of a bucket
 *
 *     size     cover: the smallest size of the image's shape that covers the bucket
 *     resize   shrinking: area averages (OpenCV's INTER_AREA); growing, in either direction:
 *              Lanczos with a window of 3 (Pillow's, 8-bit fixed point). Both match to the bit;
 *              bilinear and bicubic may be off by one from OpenCV's vector code.
 *     crop     the middle
 *     colour   hue or gamma, when asked
 *     tensor   x / 255 * 2 - 1, [3, H, W]
 *
 * Sizes of resized images come from data/bucket; here they are given. Pixels are 8-bit, 3 or 4
 * channels, as image/decode hands them out.
 * Sources: OpenCV's imgproc documentation (INTER_AREA), Pillow's documentation of resampling
 * filters (Image.resize), sd-scripts library/utils.py for which is used when.
 */
#ifndef LX_IMAGE_RESIZE_H
#define LX_IMAGE_RESIZE_H

#include <stdint.h>

#include "src/base/error.h"
#include "src/image/decode.h"

typedef enum lx_interpolation {
    LX_RESIZE_AUTO, /* area when neither side grows, else Lanczos */
    LX_RESIZE_NEAREST,
    LX_RESIZE_BILINEAR, /* nearest (the exact one), bilinear, bicubic, area: as OpenCV */
    LX_RESIZE_BICUBIC,
    LX_RESIZE_AREA,
    LX_RESIZE_LANCZOS, /* lanczos, box: as Pillow */
    LX_RESIZE_BOX
} lx_interpolation;

/* The peer's names: "lanczos", "nearest", "bilinear" or "linear", "bicubic" or "cubic", "area",
 * "box". LX_EUSAGE with the list. */
int lx_interpolation_from_name(lx_interpolation *out, const char *name, lx_error *err);

/* A new image of width x height. out may not be in. */
int lx_resize(lx_pixels *out, const lx_pixels *in, int width, int height, lx_interpolation how,
              lx_error *err);

/* Cut in place to width x height from (x, y). LX_EINTERNAL if that is not inside. */
int lx_crop(lx_pixels *pixels, int x, int y, int width, int height, lx_error *err);
/* The same from the middle: x = (pixels->width - width) / 2, rounded down, as the peer. Sides that
 * are already smaller stay. */
int lx_crop_center(lx_pixels *pixels, int width, int height, lx_error *err);

void lx_flip_horizontal(lx_pixels *pixels);
/* As an EXIF orientation (1..8) asks for: what a viewer would show. Others leave it as it is. */
int lx_turn(lx_pixels *pixels, int orientation, lx_error *err);

/*
 * Colour augmentation as the peer does it, on whichever draw the caller made.
 * hue: -8..8 in OpenCV's half degrees; note that the peer converts as if RGB were BGR.
 * gamma: clip(v ** gamma, 0, 255) of the raw 0..255 value, truncated.
 */
int lx_shift_hue(lx_pixels *pixels, double shift, lx_error *err);
void lx_apply_gamma(lx_pixels *pixels, double gamma);

/* out[3][H][W] = v / 255 * 2 - 1 in f32 as torch rounds it: (v / 255 - 0.5) / 0.5. */
void lx_pixels_to_tensor(float *out, const lx_pixels *pixels);
/* The same of the mirror image. */
void lx_pixels_to_tensor_flipped(float *out, const lx_pixels *pixels);

#endif
