/*
 * data/bucket - the sizes images are trained at, and which image goes where
 *
 * Images of one bucket are resized until they cover its size and cropped in the middle, so that a
 * batch is a rectangle. With area A = width x height and step s:
 *
 *     list     the square of side s * floor(sqrt(A) / s); then for w = min, min + s ... max:
 *              h = lowest of max and s * floor(floor(A / w) / s), kept with its mirror if h >= min
 *     choice   an image whose size is in the list takes it; else the smallest
 *              |w/h of the bucket - w/h of the image|, the first of equals
 *
 * bucket_no_upscale makes the list up from the images instead: those above A are shrunk to it,
 * sides are lowered to a multiple of s, nothing is enlarged.
 * Source: sd-scripts library/train_util.py (BucketManager), model_util.py
 * (make_bucket_resolutions); goldens data/buckets.
 */
#ifndef LX_DATA_BUCKET_H
#define LX_DATA_BUCKET_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/error.h"

typedef struct lx_size {
    int width, height;
} lx_size;

typedef struct lx_bucket_set {
    lx_size resolution;
    bool no_upscale;
    int min, max, steps; /* adjusted: min down, max up to multiples of steps */
    bool is_min_adjusted, is_max_adjusted;
    lx_size *sizes;      /* sorted by width, then height; none with no_upscale */
    size_t n_sizes;
} lx_bucket_set;

/* Free with lx_bucket_set_release. LX_EUSAGE names the flags that do not fit together. */
int lx_bucket_set_init(lx_bucket_set *out, lx_size resolution, int min, int max, int steps,
                       bool no_upscale, lx_error *err);
/* The only size when buckets are off: the resolution itself, whatever its sides. */
int lx_bucket_set_init_single(lx_bucket_set *out, lx_size resolution, lx_error *err);
void lx_bucket_set_release(lx_bucket_set *set);

typedef struct lx_bucket_choice {
    lx_size bucket;
    lx_size resized;     /* covers the bucket; then cropped */
    int crop_x, crop_y;  /* of the middle crop, in the resized image */
    double ar_error;     /* w/h of the bucket minus w/h of the image */
} lx_bucket_choice;

/* LX_EUNSUPPORTED for an image that no bucket can take (a side below steps with no_upscale). */
int lx_bucket_choose(lx_bucket_choice *out, const lx_bucket_set *set, lx_size image,
                     lx_error *err);

#endif
