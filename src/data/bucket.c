#include "src/data/bucket.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"

/* Of a resolution and of an image; with both, every product below stays in range. */
enum { LARGEST_SIDE = 1 << 15, LARGEST_IMAGE_SIDE = 1 << 16 };
/* A line of pixels blown up to a bucket would take all memory: 800 MB of RGB is the end. */
static const int64_t largest_resized_area = (int64_t)1 << 28;

static int compare_sizes(const void *a, const void *b)
{
    const lx_size *x = a, *y = b;

    if (x->width != y->width)
        return x->width < y->width ? -1 : 1;
    return (x->height > y->height) - (x->height < y->height);
}

static int add_size(lx_bucket_set *set, size_t *capacity, int width, int height)
{
    if (lx_grow(&set->sizes, capacity, set->n_sizes + 1, sizeof set->sizes[0]) < 0)
        return LX_ENOMEM;
    set->sizes[set->n_sizes++] = (lx_size){width, height};
    return LX_OK;
}

static void sort_and_unite(lx_bucket_set *set)
{
    size_t n = 0;

    qsort(set->sizes, set->n_sizes, sizeof set->sizes[0], compare_sizes);
    for (size_t i = 0; i < set->n_sizes; i++)
        if (n == 0 || compare_sizes(&set->sizes[n - 1], &set->sizes[i]) != 0)
            set->sizes[n++] = set->sizes[i];
    set->n_sizes = n;
}

static int list_sizes(lx_bucket_set *set, lx_error *err)
{
    int64_t area = (int64_t)set->resolution.width * set->resolution.height;
    int s = set->steps, side = (int)floor(sqrt((double)area) / s) * s;
    size_t capacity = 0;

    if (add_size(set, &capacity, side, side) < 0)
        return lx_oom(err);
    for (int w = set->min; w <= set->max; w += s) {
        int64_t h = area / w / s * s;
        if (h > set->max)
            h = set->max;
        if (h >= set->min && (add_size(set, &capacity, w, (int)h) < 0 ||
                              add_size(set, &capacity, (int)h, w) < 0))
            return lx_oom(err);
    }
    sort_and_unite(set);
    return LX_OK;
}

static int check_resolution(lx_size resolution, lx_error *err)
{
    if (resolution.width < 8 || resolution.height < 8 || resolution.width > LARGEST_SIDE ||
        resolution.height > LARGEST_SIDE)
        return lx_fail(err, LX_EUSAGE, "--resolution %d,%d: sides go from 8 to %d",
                       resolution.width, resolution.height, LARGEST_SIDE);
    return LX_OK;
}

static int check_bounds(const lx_bucket_set *set, lx_error *err)
{
    int shorter = set->resolution.width, longer = set->resolution.height;

    if (shorter > longer) {
        shorter = set->resolution.height;
        longer = set->resolution.width;
    }
    if (set->min < set->steps && !set->no_upscale)
        return lx_fail(err, LX_EUSAGE,
                       "--min_bucket_reso is below one step of %d: give at least %d", set->steps,
                       set->steps);
    if (shorter < set->min)
        return lx_fail(err, LX_EUSAGE,
                       "--min_bucket_reso %d is larger than the shorter side of --resolution %d,%d: "
                       "lower it to at most %d",
                       set->min, set->resolution.width, set->resolution.height, shorter);
    if (longer > set->max)
        return lx_fail(err, LX_EUSAGE,
                       "--max_bucket_reso %d is smaller than the longer side of --resolution %d,%d: "
                       "raise it to at least %d",
                       set->max, set->resolution.width, set->resolution.height, longer);
    return LX_OK;
}

int lx_bucket_set_init(lx_bucket_set *out, lx_size resolution, int min, int max, int steps,
                       bool no_upscale, lx_error *err)
{
    int rc;

    *out = (lx_bucket_set){.resolution = resolution, .no_upscale = no_upscale, .steps = steps};
    if ((rc = check_resolution(resolution, err)) < 0)
        return rc;
    if (steps < 8 || steps % 8 != 0 || steps > LARGEST_SIDE)
        return lx_fail(err, LX_EUSAGE,
                       "--bucket_reso_steps %d: it must be a multiple of 8, the pixels of one "
                       "latent cell",
                       steps);
    if (min < !no_upscale || max < min || max > LARGEST_SIDE)
        return lx_fail(err, LX_EUSAGE,
                       "--min_bucket_reso %d and --max_bucket_reso %d: sides go from 1 to %d, the "
                       "smaller first",
                       min, max, LARGEST_SIDE);
    out->min = min - min % steps;
    out->max = (max + steps - 1) / steps * steps;
    out->is_min_adjusted = out->min != min;
    out->is_max_adjusted = out->max != max;
    if ((rc = check_bounds(out, err)) < 0)
        return rc;
    rc = no_upscale ? LX_OK : list_sizes(out, err);
    if (rc < 0)
        lx_bucket_set_release(out);
    return rc;
}

int lx_bucket_set_init_single(lx_bucket_set *out, lx_size resolution, lx_error *err)
{
    size_t capacity = 0;
    int rc;

    *out = (lx_bucket_set){.resolution = resolution, .steps = 8};
    if ((rc = check_resolution(resolution, err)) < 0)
        return rc;
    if (resolution.width % 8 != 0 || resolution.height % 8 != 0)
        return lx_fail(err, LX_EUSAGE,
                       "--resolution %d,%d: both sides must be multiples of 8, the pixels of one "
                       "latent cell",
                       resolution.width, resolution.height);
    if (add_size(out, &capacity, resolution.width, resolution.height) < 0)
        return lx_oom(err);
    return LX_OK;
}

void lx_bucket_set_release(lx_bucket_set *set)
{
    lx_free(set->sizes);
    set->sizes = NULL;
    set->n_sizes = 0;
}

static double ratio(lx_size size)
{
    return (double)size.width / size.height;
}

/* Nearest integer, as the peer's int(x + 0.5). */
static int rounded(double x)
{
    return (int)(x + 0.5);
}

static int lowered(int side, int steps)
{
    return side - side % steps;
}

static lx_size nearest_size(const lx_bucket_set *set, lx_size image)
{
    double wanted = ratio(image), least = INFINITY;
    lx_size best = set->sizes[0];

    for (size_t i = 0; i < set->n_sizes; i++) {
        double off = fabs(ratio(set->sizes[i]) - wanted);
        if (compare_sizes(&set->sizes[i], &image) == 0)
            return image;
        if (off < least) {
            least = off;
            best = set->sizes[i];
        }
    }
    return best;
}

/* The side that is shorter in proportion fills the bucket, the other is cropped. */
static void choose_from_list(lx_bucket_choice *out, const lx_bucket_set *set, lx_size image)
{
    double scale;

    out->bucket = nearest_size(set, image);
    scale = ratio(image) > ratio(out->bucket) ? (double)out->bucket.height / image.height
                                              : (double)out->bucket.width / image.width;
    out->resized.width = rounded(image.width * scale);
    out->resized.height = rounded(image.height * scale);
}

/*
 * Above the area the image is shrunk to it, with one side a multiple of the step: of "width fits"
 * and "height fits" the one whose bucket has the ratio nearer to the image's.
 */
static int shrink(lx_size *out, const lx_bucket_set *set, lx_size image)
{
    double area = (double)set->resolution.width * set->resolution.height, wanted = ratio(image);
    double width = sqrt(area * wanted), height = area / width;
    int s = set->steps;
    int fit_w = lowered(rounded(width), s), other_h, fit_h, other_w;

    other_h = lowered(rounded(fit_w / wanted), s);
    fit_h = lowered(rounded(height), s);
    other_w = lowered(rounded(fit_h * wanted), s);
    if (other_h == 0 || fit_h == 0)
        return LX_EUNSUPPORTED;
    if (fabs((double)fit_w / other_h - wanted) < fabs((double)other_w / fit_h - wanted))
        *out = (lx_size){fit_w, rounded(fit_w / wanted)};
    else
        *out = (lx_size){rounded(fit_h * wanted), fit_h};
    return LX_OK;
}

static int choose_without_upscale(lx_bucket_choice *out, const lx_bucket_set *set, lx_size image)
{
    int64_t area = (int64_t)set->resolution.width * set->resolution.height;

    out->resized = image;
    if ((int64_t)image.width * image.height > area && shrink(&out->resized, set, image) < 0)
        return LX_EUNSUPPORTED;
    out->bucket.width = lowered(out->resized.width, set->steps);
    out->bucket.height = lowered(out->resized.height, set->steps);
    return out->bucket.width > 0 && out->bucket.height > 0 ? LX_OK : LX_EUNSUPPORTED;
}

int lx_bucket_choose(lx_bucket_choice *out, const lx_bucket_set *set, lx_size image,
                     lx_error *err)
{
    memset(out, 0, sizeof *out);
    if (image.width < 1 || image.height < 1 || image.width > LARGEST_IMAGE_SIDE ||
        image.height > LARGEST_IMAGE_SIDE)
        return lx_fail(err, LX_EUNSUPPORTED, "%dx%d pixels: sides go from 1 to %d", image.width,
                       image.height, LARGEST_IMAGE_SIDE);
    if (!set->no_upscale)
        choose_from_list(out, set, image);
    else if (choose_without_upscale(out, set, image) < 0)
        return lx_fail(err, LX_EUNSUPPORTED,
                       "%dx%d pixels are too few for --bucket_no_upscale: a side would be below "
                       "%d; enlarge or remove the image, or train without --bucket_no_upscale",
                       image.width, image.height, set->steps);
    if (out->resized.width < out->bucket.width || out->resized.height < out->bucket.height)
        return lx_fail(err, LX_EUNSUPPORTED, "%dx%d pixels do not cover a bucket of %dx%d",
                       image.width, image.height, out->bucket.width, out->bucket.height);
    if ((int64_t)out->resized.width * out->resized.height > largest_resized_area)
        return lx_fail(err, LX_EUNSUPPORTED,
                       "%dx%d pixels are too long and thin: covering %dx%d takes %dx%d; crop the "
                       "image",
                       image.width, image.height, out->bucket.width, out->bucket.height,
                       out->resized.width, out->resized.height);
    out->crop_x = (out->resized.width - out->bucket.width) / 2;
    out->crop_y = (out->resized.height - out->bucket.height) / 2;
    out->ar_error = ratio(out->bucket) - ratio(image);
    return LX_OK;
}
