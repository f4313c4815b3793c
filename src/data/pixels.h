/*
 * data/pixels - one image of the dataset as the tensor of its bucket
 *
 * Decoded in a process of its own (image/decode), turned as EXIF says, laid on the background, resized to cover the
 * bucket, cropped in the middle or, with random_crop, where the draw says; with face_crop_aug_range resized and
 * cropped as data/face says.
 */
#ifndef LX_DATA_PIXELS_H
#define LX_DATA_PIXELS_H

#include "src/data/dataset.h"
#include "src/image/decode.h"

/* What varies from sample to sample. */
typedef struct lx_augment {
    bool is_flipped;
    double crop_x, crop_y; /* 0..1 of the excess; 0.5 is the middle */
    double hue;            /* half degrees; 0 = none */
    double gamma;          /* 0 = none */
    bool has_face;         /* crop around the image's face instead */
    lx_face_draws face;
} lx_augment;

#define LX_AUGMENT_NONE {.crop_x = 0.5, .crop_y = 0.5}

/*
 * out [3, H, W] of the image's bucket, in -1..1. mask [H/8, W/8], NULL if not wanted: how much the loss
 * counts there, the mean over the 8 x 8 pixels of the image's alpha (alpha_mask) or of the red channel of
 * its mask file, 1 without either. Errors carry the path.
 * The peer stretches a mask file to the bucket; here it is resized and cropped as its image.
 */
int lx_image_tensor(float *out, float *mask, lx_decoder *decoder,
                    const lx_dataset *dataset, const lx_image *image,
                    const lx_augment *augment, lx_error *err);

/* The image's alpha alone, 0..1, [H, W] of its bucket: resized and cropped as by lx_image_tensor without
 * draws. 1 where the image has none. */
int lx_image_alpha(float *out, lx_decoder *decoder, const lx_dataset *dataset,
                   const lx_image *image, lx_error *err);

/* "white", "black", "grey", "#rrggbb" (LX_EUSAGE). NULL is white. */
int lx_background_parse(uint8_t rgb[3], const char *text, lx_error *err);

#endif
