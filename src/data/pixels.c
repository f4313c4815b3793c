#include "src/data/pixels.h"

#include <stdio.h>
#include <string.h>

#include "src/image/resize.h"

int lx_background_parse(uint8_t rgb[3], const char *text, lx_error *err)
{
    static const struct {
        const char *name;
        uint8_t rgb[3];
    } names[] = {{"white", {255, 255, 255}}, {"black", {0, 0, 0}}, {"grey", {128, 128, 128}},
                 {"gray", {128, 128, 128}}};
    unsigned r, g, b;
    char rest;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!text || strcmp(text, names[i].name) == 0) {
            memcpy(rgb, names[i].rgb, 3);
            return LX_OK;
        }
    if (strlen(text) == 7 && sscanf(text, "#%2x%2x%2x%c", &r, &g, &b, &rest) == 3) {
        rgb[0] = (uint8_t)r;
        rgb[1] = (uint8_t)g;
        rgb[2] = (uint8_t)b;
        return LX_OK;
    }
    return lx_fail(err, LX_EUSAGE, "--background %s: must be white, black, grey or #rrggbb", text);
}

static int cut(lx_pixels *pixels, const lx_bucket *bucket, const lx_augment *a, lx_error *err)
{
    int excess_x = pixels->width - bucket->width, excess_y = pixels->height - bucket->height;
    if (a->crop_x == 0.5 && a->crop_y == 0.5)
        return lx_crop_center(pixels, bucket->width, bucket->height, err);
    return lx_crop(pixels, (int)(a->crop_x * (excess_x + 1)), (int)(a->crop_y * (excess_y + 1)),
                   bucket->width, bucket->height, err);
}

static int resize_to(lx_pixels *pixels, int width, int height, lx_interpolation how,
                     lx_error *err)
{
    lx_pixels resized = {0};
    int rc;

    if (pixels->width == width && pixels->height == height)
        return LX_OK;
    if ((rc = lx_resize(&resized, pixels, width, height, how, err)) < 0)
        return rc;
    lx_pixels_release(pixels);
    *pixels = resized;
    return LX_OK;
}

static int fit_face(lx_pixels *pixels, const lx_dataset_config *c, const lx_image *image,
                    const lx_bucket *bucket, const lx_augment *a, lx_error *err)
{
    const lx_face_crop crop =
        lx_face_place(&image->face, pixels->width, pixels->height, bucket->width, bucket->height,
                      c->face_crop_aug_range, c->random_crop, &a->face);
    int rc = resize_to(pixels, crop.width, crop.height, c->resize, err);

    return rc < 0 ? rc
                  : lx_crop(pixels, crop.left, crop.top, bucket->width, bucket->height, err);
}

/* Without buckets the peer crops at random what is large enough as it is (train_util.py, __getitem__). */
static bool is_cropped_unscaled(const lx_pixels *pixels, const lx_dataset_config *c,
                                const lx_bucket *bucket)
{
    return c->random_crop && !c->enable_bucket && pixels->width >= bucket->width &&
           pixels->height >= bucket->height;
}

/* Resized to cover the bucket, and cropped. */
static int fit(lx_pixels *pixels, const lx_dataset_config *c, const lx_image *image,
               const lx_bucket *bucket, const lx_augment *a, lx_error *err)
{
    int rc;

    if (a->has_face)
        return fit_face(pixels, c, image, bucket, a, err);
    if ((!is_cropped_unscaled(pixels, c, bucket) &&
         (rc = resize_to(pixels, image->resized_w, image->resized_h, c->resize, err)) < 0) ||
        (rc = cut(pixels, bucket, a, err)) < 0)
        return rc;
    if (pixels->width != bucket->width || pixels->height != bucket->height)
        return lx_fail(err, LX_EMISMATCH, "is %dx%d after cropping, its bucket %dx%d",
                       pixels->width, pixels->height, bucket->width, bucket->height);
    return LX_OK;
}

/* Means over 8 x 8 pixels of one channel, 0..1; mirrored like the image. */
static void shrink_mask(float *mask, const lx_pixels *pixels, int channel,
                        bool is_flipped)
{
    const int w = pixels->width / 8, h = pixels->height / 8;

    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            int sum = 0;
            for (int k = 0; k < 64; k++)
                sum += pixels->data[((size_t)(8 * y + k / 8) * (size_t)pixels->width +
                                     (size_t)(8 * x + k % 8)) *
                                        (size_t)pixels->channels +
                                    (size_t)channel];
            mask[y * w + (is_flipped ? w - 1 - x : x)] = (float)sum / (64 * 255.0f);
        }
}

/* Four channels become three, on the background. */
static void lay(lx_pixels *pixels, const uint8_t background[3])
{
    const size_t n = (size_t)pixels->width * (size_t)pixels->height;

    if (pixels->channels != 4)
        return;
    for (size_t i = 0; i < n; i++) {
        const unsigned a = pixels->data[4 * i + 3];
        for (size_t c = 0; c < 3; c++)
            pixels->data[3 * i + c] = (uint8_t)((a * pixels->data[4 * i + c] +
                                                 (255 - a) * background[c] + 127) /
                                                255);
    }
    pixels->channels = 3;
}

static int prepare(float *out, float *mask, lx_pixels *pixels, const lx_dataset_config *c,
                   const lx_image *image, const lx_bucket *bucket, const lx_augment *a,
                   lx_error *err)
{
    uint8_t background[3];
    int rc;

    if ((rc = lx_background_parse(background, c->background, err)) < 0 ||
        (rc = fit(pixels, c, image, bucket, a, err)) < 0)
        return rc;
    if (mask && pixels->channels == 4)
        shrink_mask(mask, pixels, 3, a->is_flipped);
    lay(pixels, background);
    if (a->hue != 0 && (rc = lx_shift_hue(pixels, a->hue, err)) < 0)
        return rc;
    if (a->gamma != 0)
        lx_apply_gamma(pixels, a->gamma);
    if (a->is_flipped)
        lx_pixels_to_tensor_flipped(out, pixels);
    else
        lx_pixels_to_tensor(out, pixels);
    return LX_OK;
}

/* The pixels of a file, turned, of the size that the scan saw. */
static int decode(lx_pixels *pixels, lx_decoder *decoder, const char *path,
                  const lx_image *image, const lx_decode_options *options, lx_error *err)
{
    lx_image_header header;
    int rc = lx_decode(pixels, &header, decoder, path, options, err);

    if (rc == LX_OK && image->orientation > 1)
        rc = lx_turn(pixels, image->orientation, err);
    return rc;
}

static int read_mask(float *mask, lx_decoder *decoder, const lx_dataset_config *c,
                     const lx_image *image, const lx_bucket *bucket, const lx_augment *a,
                     lx_error *err)
{
    const lx_decode_options options = {LX_ALPHA_DROP, {255, 255, 255}};
    lx_pixels pixels = {0};
    int rc = decode(&pixels, decoder, image->mask, image, &options, err);

    if (rc == LX_OK && (pixels.width != image->width || pixels.height != image->height))
        rc = lx_fail(err, LX_EMISMATCH, "is %dx%d, its image %dx%d", pixels.width,
                     pixels.height, image->width, image->height);
    if (rc == LX_OK && (rc = fit(&pixels, c, image, bucket, a, err)) == LX_OK)
        shrink_mask(mask, &pixels, 0, a->is_flipped);
    lx_pixels_release(&pixels);
    if (rc < 0)
        lx_within(err, "%s", image->mask);
    return rc;
}

int lx_image_alpha(float *out, lx_decoder *decoder, const lx_dataset *d, const lx_image *image,
                   lx_error *err)
{
    static const lx_augment none = LX_AUGMENT_NONE;
    const lx_bucket *bucket = &d->buckets[image->bucket];
    const size_t n = (size_t)bucket->width * (size_t)bucket->height;
    lx_decode_options options = LX_DECODE_DEFAULT;
    lx_pixels pixels = {0};
    int rc;

    options.alpha = LX_ALPHA_KEEP;
    if ((rc = decode(&pixels, decoder, image->path, image, &options, err)) == LX_OK)
        rc = fit(&pixels, lx_dataset_settings(d, image), image, bucket, &none, err);
    for (size_t i = 0; rc == LX_OK && i < n; i++)
        out[i] = pixels.channels == 4 ? (float)pixels.data[4 * i + 3] / 255.0f : 1;
    lx_pixels_release(&pixels);
    if (rc < 0)
        lx_within(err, "%s", image->path);
    return rc;
}

int lx_image_tensor(float *out, float *mask, lx_decoder *decoder, const lx_dataset *d,
                    const lx_image *image, const lx_augment *augment, lx_error *err)
{
    const lx_dataset_config *c = lx_dataset_settings(d, image);
    const lx_bucket *bucket = &d->buckets[image->bucket];
    lx_decode_options options = LX_DECODE_DEFAULT;
    lx_pixels pixels = {0};
    int rc;

    if ((rc = lx_background_parse(options.background, c->background, err)) < 0)
        return rc;
    if (mask && c->alpha_mask)
        options.alpha = LX_ALPHA_KEEP;
    rc = decode(&pixels, decoder, image->path, image, &options, err);
    if (rc == LX_OK && (pixels.width != image->width || pixels.height != image->height))
        rc = lx_fail(err, LX_EMISMATCH, "was %dx%d when the run began and is %dx%d now",
                     image->width, image->height, pixels.width, pixels.height);
    for (int i = 0; mask && rc == LX_OK && i < bucket->width / 8 * (bucket->height / 8);
         i++)
        mask[i] = 1;
    if (rc == LX_OK)
        rc = prepare(out, mask, &pixels, c, image, bucket, augment, err);
    lx_pixels_release(&pixels);
    if (rc == LX_EFORMAT || rc == LX_ELIMIT) {
        lx_error why = err ? *err : (lx_error){0};
        return lx_fail(err, rc,
                       "%s: %.1000s. Mend or remove it, or go on without it by "
                       "--skip-bad-images",
                       image->path, why.text);
    }
    if (rc < 0)
        lx_within(err, "%s", image->path);
    else if (mask && image->mask)
        rc = read_mask(mask, decoder, c, image, bucket, augment, err);
    return rc;
}
