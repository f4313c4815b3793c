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

static int prepare(float *out, lx_pixels *pixels, const lx_image *image, const lx_bucket *bucket,
                   const lx_augment *a, lx_error *err)
{
    lx_pixels resized = {0};
    int rc = LX_OK;

    if (pixels->width != image->resized_w || pixels->height != image->resized_h) {
        rc = lx_resize(&resized, pixels, image->resized_w, image->resized_h, LX_RESIZE_AUTO, err);
        if (rc < 0)
            return rc;
        lx_pixels_release(pixels);
        *pixels = resized;
    }
    if ((rc = cut(pixels, bucket, a, err)) < 0)
        return rc;
    if (a->hue != 0 && (rc = lx_shift_hue(pixels, a->hue, err)) < 0)
        return rc;
    if (a->gamma != 0)
        lx_apply_gamma(pixels, a->gamma);
    if (pixels->width != bucket->width || pixels->height != bucket->height)
        return lx_fail(err, LX_EMISMATCH, "is %dx%d after cropping, its bucket %dx%d",
                       pixels->width, pixels->height, bucket->width, bucket->height);
    if (a->is_flipped)
        lx_pixels_to_tensor_flipped(out, pixels);
    else
        lx_pixels_to_tensor(out, pixels);
    return LX_OK;
}

int lx_image_tensor(float *out, lx_decoder *decoder, const lx_dataset *d, const lx_image *image,
                    const lx_augment *augment, lx_error *err)
{
    lx_decode_options options = LX_DECODE_DEFAULT;
    lx_image_header header;
    lx_pixels pixels = {0};
    int rc;

    if ((rc = lx_background_parse(options.background, d->config.background, err)) < 0)
        return rc;
    rc = lx_decode(&pixels, &header, decoder, image->path, &options, err);
    if (rc == LX_OK && (header.width != image->width || header.height != image->height))
        rc = lx_fail(err, LX_EMISMATCH, "was %dx%d when the run began and is %dx%d now",
                     image->width, image->height, header.width, header.height);
    if (rc == LX_OK)
        rc = prepare(out, &pixels, image, &d->buckets[image->bucket], augment, err);
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
    return rc;
}
