/* Pixels and bytes of the images: what can be seen of each, and which are there twice. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/data/check_internal.h"
#include "src/image/decode.h"
#include "src/image/jpeg.h"

/* Beyond it decoding costs more than training on it gains: buckets are of half a megapixel. */
enum { HUGE_SIDE = 8192, HUGE_PIXELS = 40000000 };

/* ---- looking ------------------------------------------------------------------------------ */

static double share_transparent(const lx_pixels *p)
{
    const size_t n = (size_t)p->width * (size_t)p->height;
    size_t n_clear = 0;

    if (p->channels != 4)
        return 0;
    for (size_t i = 0; i < n; i++)
        n_clear += p->data[4 * i + 3] != 255;
    return (double)n_clear / (double)n;
}

/* Four channels laid on white, in place. */
static void lay_on_white(lx_pixels *p)
{
    const size_t n = (size_t)p->width * (size_t)p->height;

    if (p->channels != 4)
        return;
    for (size_t i = 0; i < n; i++)
        for (int c = 0; c < 3; c++) {
            const int alpha = p->data[4 * i + 3], colour = p->data[4 * i + (size_t)c];
            p->data[3 * i + (size_t)c] =
                (uint8_t)((alpha * colour + (255 - alpha) * 255 + 127) / 255);
        }
    p->channels = 3;
}

static int make_thumbnail(lx_check_image *out, lx_pixels *pixels, int side, lx_error *err)
{
    lx_pixels small = {0};
    int rc;

    lay_on_white(pixels);
    if ((rc = lx_thumbnail(&small, pixels, side, err)) == LX_OK)
        rc = lx_jpeg_encode(&out->thumbnail, &small, 75, err);
    out->thumbnail_w = small.width;
    out->thumbnail_h = small.height;
    lx_pixels_release(&small);
    return rc;
}

static int look_at(lx_check_image *out, lx_decoder *decoder, const lx_image *image,
                   const lx_check_options *options, lx_error *err)
{
    const lx_decode_options keep = {.alpha = LX_ALPHA_KEEP};
    lx_pixels pixels = {0};
    int rc;

    if ((rc = lx_file_hash(&out->hash, image->path, err)) < 0)
        return rc;
    rc = lx_decode(&pixels, &out->header, decoder, image->path, &keep, &out->problem);
    if (rc == LX_ENOMEM)
        rc = lx_oom(err);
    else if (rc < 0)
        rc = LX_OK; /* a finding */
    else if ((rc = lx_turn(&pixels, image->orientation, err)) == LX_OK &&
             (rc = lx_phash_of(&out->looks, &pixels, err)) == LX_OK) {
        out->transparent = share_transparent(&pixels);
        if (options->thumbnail > 0)
            rc = make_thumbnail(out, &pixels, options->thumbnail, err);
    }
    lx_pixels_release(&pixels);
    return rc;
}

int lx_check__look(lx_checking *k, lx_error *err)
{
    const lx_dataset *d = k->dataset;
    lx_check_image *images = k->out->images;
    lx_error first = {0};

#pragma omp parallel
    {
        lx_decoder *decoder = NULL;
        lx_error mine = {0};
        int rc = lx_decoder_new(&decoder, &mine);

#pragma omp for schedule(dynamic, 1)
        for (size_t i = 0; i < d->n_images; i++)
            if (rc == LX_OK)
                rc = look_at(&images[i], decoder, &d->images[i], k->options, &mine);
        lx_decoder_free(decoder);
        if (rc < 0)
#pragma omp critical
            first = mine;
    }
    return lx_fail_as(err, first.code, &first);
}

/* ---- each --------------------------------------------------------------------------------- */

static void check_alpha(lx_checking *k, size_t i)
{
    const char *file = k->dataset->images[i].path,
               *background = k->dataset->config.background;
    const double share = k->out->images[i].transparent;

    if (share > 0)
        lx_check__find(
            k, LX_SEVERITY_WARNING, "alpha", (int64_t)i, file,
            "lay it on the background that you want; --background COLOUR says "
            "which for all, --alpha_mask leaves it out of the loss",
            "%.3g %% of its pixels are transparent, in part or all: lx trains them on "
            "%s, sd-scripts on whatever colour lies under them",
            100 * share, background ? background : "white");
}

static void check_rotation(lx_checking *k, size_t i)
{
    static const char *const turns[] = {
        [2] = "mirrored",
        [3] = "upside down",
        [4] = "upside down and mirrored",
        [5] = "on its side and mirrored",
        [6] = "on its side",
        [7] = "on its side and mirrored",
        [8] = "on its side",
    };
    const int orientation = k->out->images[i].header.orientation;

    if (orientation < 2 || orientation > 8)
        return;
    lx_check__find(
        k, LX_SEVERITY_WARNING, "rotated", (int64_t)i, k->dataset->images[i].path,
        "store it upright",
        "its pixels are stored %s and EXIF orientation %d turns them when shown: %s, "
        "sd-scripts trains it %s",
        turns[orientation], orientation,
        k->dataset->images[i].orientation == orientation
            ? "lx turns it too"
            : "with --ignore_exif lx does not",
        turns[orientation]);
    if (k->out->images[i].transparent == 0)
        lx_check__fixable(k);
}

static const char *kind_by_name(const char *path)
{
    const char *ending = lx_path_ext(path);

    return strcasecmp(ending, ".png") == 0    ? "PNG"
           : strcasecmp(ending, ".webp") == 0 ? "WebP"
           : strcasecmp(ending, ".bmp") == 0  ? "BMP"
                                              : "JPEG";
}

static void check_storage(lx_checking *k, size_t i)
{
    const lx_image_header *h = &k->out->images[i].header;
    const char *file = k->dataset->images[i].path, *kind = lx_image_kind_name(h->kind);

    if (h->is_cmyk) {
        lx_check__find(
            k, LX_SEVERITY_WARNING, "cmyk", (int64_t)i, file, "store it as RGB",
            "it is in CMYK, the colours of a printer: they become RGB by a plain "
            "formula without its profile, mostly too bright and too strong");
        lx_check__fixable(k);
    }
    if (h->is_palette)
        lx_check__find(
            k, LX_SEVERITY_NOTE, "palette", (int64_t)i, file,
            "nothing, or take the original if there is one with more colours",
            "it has a palette of at most 256 colours: steps and dither are learned "
            "like anything else");
    if (h->is_grey && h->bits == 16 && h->channels == 1)
        lx_check__find(
            k, LX_SEVERITY_WARNING, "grey16", (int64_t)i, file, "store it with 8 bits",
            "it is grey in 16 bits, which the loaders clip to 8: nearly all of it "
            "trains as white");
    if (h->frames != 1)
        lx_check__find(k, LX_SEVERITY_NOTE, "animation", (int64_t)i, file,
                       "keep the frame that you want as an image of its own",
                       "it is an animation: only its first frame is trained");
    if (strcmp(kind, kind_by_name(file)) != 0)
        lx_check__find(
            k, LX_SEVERITY_NOTE, "ending", (int64_t)i, file,
            "rename it, so that other programs open it",
            "it is a %s by its bytes, whatever its name says: it is read as such", kind);
    if (h->width > HUGE_SIDE || h->height > HUGE_SIDE ||
        (int64_t)h->width * h->height > HUGE_PIXELS)
        lx_check__find(
            k, LX_SEVERITY_NOTE, "huge", (int64_t)i, file,
            "store it smaller, or crop what matters out of it",
            "it has %d x %d pixels: decoding it takes long every time, and details "
            "are gone once it is resized",
            h->width, h->height);
}

void lx_check__images(lx_checking *k)
{
    for (size_t i = 0; i < k->dataset->n_images; i++) {
        const lx_check_image *seen = &k->out->images[i];
        const char *file = k->dataset->images[i].path;
        if (seen->problem.code < 0) {
            lx_check__find(k, LX_SEVERITY_ERROR, "bad-image", (int64_t)i, file,
                           "mend or remove it; --skip-bad-images trains without it",
                           "it cannot be decoded: %s", seen->problem.text);
            continue;
        }
        check_alpha(k, i);
        check_rotation(k, i);
        check_storage(k, i);
        if (seen->looks.is_flat)
            lx_check__find(
                k, LX_SEVERITY_WARNING, "flat", (int64_t)i, file, "remove it",
                "it is of one colour all over: it teaches that the words of its "
                "caption look like that");
    }
}

/* ---- twice -------------------------------------------------------------------------------- */

typedef struct seen_hash {
    lx_hash hash;
    size_t image;
} seen_hash;

static int by_hash(const void *a, const void *b)
{
    const seen_hash *x = a, *y = b;
    int order = memcmp(x->hash.bytes, y->hash.bytes, sizeof x->hash.bytes);

    return order ? order : (x->image > y->image) - (x->image < y->image);
}

static void tell_same(lx_checking *k, size_t i, size_t first)
{
    const lx_image *a = &k->dataset->images[first], *b = &k->dataset->images[i];

    if (a->is_reg != b->is_reg)
        lx_check__find(
            k, LX_SEVERITY_WARNING, "reg-duplicate", (int64_t)i, b->path,
            "remove it from the regularisation images",
            "the same file is among training and regularisation images (\"%s\"): what "
            "one teaches the other takes back",
            a->path);
    else
        lx_check__find(
            k, LX_SEVERITY_WARNING, "duplicate", (int64_t)i, b->path,
            "remove one of them; to show an image more often, raise the repeats of a "
            "folder",
            "the same file as \"%s\"%s: it is shown twice as often as the others",
            a->path, strcmp(a->caption, b->caption) ? ", with another caption" : "");
}

/* A folder may be in several datasets, at several sizes: the file that has been told, and no copy of it. As both
 * training and regularisation image it is worth a word. all[first, at): of the same bytes, before it. */
static bool is_known(const lx_checking *k, const seen_hash *all, size_t first, size_t at)
{
    const lx_image *images = k->dataset->images, *image = &images[all[at].image];

    for (size_t i = first; i < at; i++)
        if (images[all[i].image].is_reg == image->is_reg &&
            strcmp(images[all[i].image].path, image->path) == 0)
            return true;
    return false;
}

/* *is_copy[i]: its bytes are those of an earlier image. */
static int find_same(lx_checking *k, bool *is_copy, lx_error *err)
{
    const size_t n = k->dataset->n_images;
    seen_hash *all = lx_calloc(n + 1, sizeof *all);
    size_t first = 0;

    if (!all)
        return lx_oom(err);
    for (size_t i = 0; i < n; i++)
        all[i] = (seen_hash){k->out->images[i].hash, i};
    qsort(all, n, sizeof *all, by_hash);
    for (size_t i = 1; i < n; i++) {
        if (!lx_hash_equal(&all[i].hash, &all[first].hash)) {
            first = i;
            continue;
        }
        is_copy[all[i].image] = true;
        if (!is_known(k, all, first, i))
            tell_same(k, all[i].image, all[first].image);
    }
    lx_free(all);
    return LX_OK;
}

static bool can_compare(const lx_check_image *seen, const bool *is_copy, size_t i)
{
    return !is_copy[i] && seen[i].problem.code == 0 && !seen[i].looks.is_flat;
}

/* Each image beside the most similar of those before it. */
static void find_near(lx_checking *k, const bool *is_copy)
{
    const lx_check_image *seen = k->out->images;
    const lx_dataset *d = k->dataset;

    for (size_t i = 1; i < d->n_images; i++) {
        int least = LX_PHASH_BITS + 1;
        size_t other = 0;
        if (!can_compare(seen, is_copy, i))
            continue;
        for (size_t j = 0; j < i; j++) {
            int distance = lx_phash_distance(seen[i].looks.bits, seen[j].looks.bits);
            if (distance < least && can_compare(seen, is_copy, j)) {
                least = distance;
                other = j;
            }
        }
        if (least <= k->options->near)
            lx_check__find(
                k, LX_SEVERITY_WARNING, "near-duplicate", (int64_t)i, d->images[i].path,
                "look at both (lx data sheet) and keep the better one",
                "it looks like \"%s\" (%d of 64 bits differ): nearly the same picture "
                "twice counts twice",
                d->images[other].path, least);
    }
}

int lx_check__duplicates(lx_checking *k, lx_error *err)
{
    bool *is_copy = lx_calloc(k->dataset->n_images + 1, sizeof *is_copy);
    int rc;

    if (!is_copy)
        return lx_oom(err);
    rc = find_same(k, is_copy, err);
    if (rc == LX_OK && k->options->near >= 0)
        find_near(k, is_copy);
    lx_free(is_copy);
    return rc;
}
