/*
 * data/face - crops around a face, for --face_crop_aug_range
 *
 * The name of the file says where the face is, in pixels of the image: NAME_CX_CY_W_H.png, centre and
 * size. The image is scaled so that the face (its longer side) takes a drawn share of the picture, and
 * cropped with the face in its middle:
 *
 *     side       = shorter side of the picture; face = max(W, H)
 *     low, high  = min(1, max(cover, side / (face * range[1]))), min(1, max(low, side / (face * range[0])))
 *     scale      = low + u (high - low)
 *     start      = centre * scale - half the picture, + a shift, kept within the image
 *     shift      = with random_crop u1 + u2 - r over [-r, r], r = the larger part of the image beside the
 *                  face's centre; else within face / 20 either way, for faces of at least 40 pixels and a tenth
 *                  of the side, and only if the range is one
 *
 * where cover makes the image as large as the picture. An image that is smaller than the picture is
 * enlarged to cover it, where the peer stops.
 *
 * Source: sd-scripts v0.10.1 library/train_util.py (load_image_with_face_info, crop_target).
 */
#ifndef LX_DATA_FACE_H
#define LX_DATA_FACE_H

#include <stdbool.h>

typedef struct lx_face {
    int x, y, w, h; /* centre and size; x 0: none */
} lx_face;

/* Of a path; a face that has no size or lies outside of the image (width, height) is none. */
lx_face lx_face_of(const char *path, int width, int height);

/* Uniform in [0, 1): the scale, then two for y and two for x. */
typedef struct lx_face_draws {
    double scale, y[2], x[2];
} lx_face_draws;

typedef struct lx_face_crop {
    int width, height; /* of the scaled image */
    int left, top;     /* of the picture in it */
} lx_face_crop;

lx_face_crop lx_face_place(const lx_face *face, int image_w, int image_h, int picture_w,
                           int picture_h, const double range[2], bool is_random,
                           const lx_face_draws *draws);

#endif
