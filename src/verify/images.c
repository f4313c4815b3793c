#include "src/verify/images.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/rng.h"
#include "src/data/caption.h"
#include "src/data/pixels.h"
#include "src/data/scan.h"

static const float latent_scale = 0.18215f;

/* ---- folders ------------------------------------------------------------------- */

/* Pictures right in it: then it is one folder of images and not one of such folders. */
static int is_flat(bool *out, const char *folder, lx_error *err)
{
    lx_dir dir = {0};
    int rc = lx_dir_list(&dir, folder, err);

    *out = false;
    for (size_t i = 0; rc == LX_OK && i < dir.count && !*out; i++)
        *out = lx_scan__is_image_name(dir.names[i]);
    lx_dir_free(&dir);
    return rc;
}

/* "10_nhh 1girl/" -> "nhh 1girl", in the arena; NULL for a name without a number. */
static const char *words_of(const char *folder, lx_arena *arena)
{
    char *path = lx_arena_strdup(arena, folder);
    const char *words = NULL;
    int64_t repeats;
    size_t n = path ? strlen(path) : 0;

    while (n > 1 && path[n - 1] == '/')
        path[--n] = 0;
    return path && lx_scan__folder_name(&repeats, &words, lx_path_base(path)) ? words
                                                                              : NULL;
}

/* What is judged is all of the data: there is no flag here that goes on without an image. */
static void drop_advice(lx_error *err)
{
    static const char advice[] = ", or go on without it by --skip-bad-images";
    char *at = err ? strstr(err->text, advice) : NULL;

    if (at)
        memmove(at, at + strlen(advice), strlen(at + strlen(advice)) + 1);
}

int lx_verify_scan(lx_dataset **out, const char *folder, const lx_dataset_config *given,
                   bool is_whole, lx_error *err)
{
    lx_dataset_config config = *given;
    lx_subset_config flat = {.image_dir = folder, .repeats = 1};
    lx_arena *arena = lx_arena_new();
    bool has_images;
    int rc;

    *out = NULL;
    if (!arena)
        return lx_oom(err);
    config.train_data_dir = folder;
    config.reg_data_dir = NULL;
    config.n_subsets = 0;
    config.allow_untagged =
        true; /* whether captions were read is what is to be found out */
    if ((rc = is_flat(&has_images, folder, err)) < 0)
        goto done;
    if (has_images) {
        config.train_data_dir = NULL;
        flat.class_tokens = words_of(folder, arena);
        config.subsets = &flat;
        config.n_subsets = 1;
    }
    if ((rc = lx_dataset_scan(out, &config, err)) == LX_OK && is_whole &&
        (rc = lx_dataset_check(*out, err)) == LX_OK &&
        (rc = lx_dataset_plan(*out, err)) == LX_OK)
        rc = lx_dataset_hash(*out, err);
    if (*out) /* the subset lives on this stack */
        (*out)->config.subsets = NULL;
    if (rc < 0) {
        drop_advice(err);
        lx_dataset_free(*out);
        *out = NULL;
    }
done:
    lx_arena_free(arena);
    return rc;
}

/* ---- choosing ------------------------------------------------------------------ */

static uint64_t first_word(const lx_hash *hash)
{
    uint64_t x;

    memcpy(&x, hash->bytes, sizeof x);
    return x;
}

typedef struct candidate {
    uint64_t lot;
    size_t image;
} candidate;

static int by_lot(const void *a, const void *b)
{
    const candidate *x = a, *y = b;

    if (x->lot != y->lot)
        return x->lot < y->lot ? -1 : 1;
    return (x->image > y->image) - (x->image < y->image);
}

/* The images in the order of lots drawn by their contents. */
static int draw_lots(candidate **out, size_t *n, const lx_dataset *d, uint64_t seed,
                     lx_error *err)
{
    enum { STREAM_LOTS = 1 << 23 };
    candidate *list = lx_alloc((d->n_images + 1) * sizeof *list);

    if (!list)
        return lx_oom(err);
    *n = 0;
    for (size_t i = 0; i < d->n_images; i++) {
        lx_rng rng = lx_rng_stream(seed, LX_RNG_VERIFY, STREAM_LOTS,
                                   first_word(&d->images[i].hash));
        list[(*n)++] =
            (candidate){(uint64_t)lx_rng_u32(&rng) << 32 | lx_rng_u32(&rng), i};
    }
    qsort(list, *n, sizeof *list, by_lot);
    *out = list;
    return LX_OK;
}

static bool is_twin(const lx_verify_image *a, const lx_verify_image *b)
{
    const size_t n = 4 * (size_t)(a->h * a->w);
    double difference = 0, size = 0;

    if (a->role != b->role || a->h != b->h || a->w != b->w)
        return false;
    for (size_t i = 0; i < n; i++) {
        double gap = (double)a->latents[i] - b->latents[i];
        difference += gap * gap;
        size += (double)b->latents[i] * b->latents[i];
    }
    return difference < 0.05 * 0.05 * size || (difference == 0 && size == 0);
}

/* ---- one image ----------------------------------------------------------------- */

/* What reading the pictures of one folder needs. */
typedef struct reader {
    lx_verify_images *images;
    const lx_dataset *dataset;
    lx_decoder *decoder;
    lx_latents *encoder;
    float *pixels, *logvar;
    size_t pixels_capacity, logvar_capacity;
} reader;

static int encode(lx_verify_image *out, reader *r, const lx_image *image, lx_error *err)
{
    const lx_bucket *b = &r->dataset->buckets[image->bucket];
    const lx_augment none = LX_AUGMENT_NONE;
    const size_t n = 4 * (size_t)(b->width / 8) * (size_t)(b->height / 8);
    int rc;

    if (lx_grow(&r->pixels, &r->pixels_capacity, 3 * (size_t)b->width * (size_t)b->height,
                sizeof(float)) < 0 ||
        lx_grow(&r->logvar, &r->logvar_capacity, n, sizeof(float)) < 0 ||
        !(out->latents = lx_arena_alloc(r->images->arena, n * sizeof(float))))
        return lx_oom(err);
    out->h = b->height / 8;
    out->w = b->width / 8;
    if ((rc = lx_image_tensor(r->pixels, NULL, r->decoder, r->dataset, image, &none,
                              err)) < 0 ||
        (rc = lx_latents_encode(r->encoder, r->pixels, b->width, b->height, out->latents,
                                r->logvar, err)) < 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        out->latents[i] *= latent_scale;
        if (!isfinite(out->latents[i]))
            return lx_fail(err, LX_ECHECK,
                           "%s: the VAE gives latents that are not numbers", image->path);
    }
    return LX_OK;
}

static int put_caption(lx_verify_image *out, reader *r, const lx_image *image,
                       lx_error *err)
{
    const lx_caption_moment when = {.epoch = 1};
    lx_rng rng = lx_rng_stream(0, LX_RNG_CAPTION, 0, 0);
    lx_str text = LX_STR_INIT;
    int rc =
        lx_caption_process(&text, image->caption, &r->dataset->config, &when, &rng, err);

    if (rc == LX_OK &&
        !(out->caption = lx_arena_strdup(r->images->arena, lx_str_text(&text))))
        rc = lx_oom(err);
    lx_str_release(&text);
    return rc;
}

static int add_image(reader *r, lx_image_role role, const lx_image *image, lx_error *err)
{
    lx_verify_images *list = r->images;
    const char *words = r->dataset->folders[image->folder].class_tokens;
    lx_verify_image one = {.role = role, .stream = first_word(&image->hash)};
    int rc;

    if (!(one.path = lx_arena_strdup(list->arena, image->path)) ||
        !(one.class_words = lx_arena_strdup(list->arena, words ? words : "")))
        return lx_oom(err);
    if ((rc = put_caption(&one, r, image, err)) < 0 ||
        (rc = encode(&one, r, image, err)) < 0)
        return rc;
    for (size_t i = 0; i < list->count; i++)
        if (is_twin(&one, &list->items[i])) {
            list->n_twins++;
            return LX_OK;
        }
    if (lx_grow(&list->items, &list->capacity, list->count + 1, sizeof one) < 0)
        return lx_oom(err);
    list->items[list->count++] = one;
    list->n_captions[role] += image->has_caption_file;
    return LX_OK;
}

int lx_verify_images_add(lx_verify_images *images, lx_image_role role, const char *folder,
                         const lx_dataset_config *config, size_t most, uint64_t seed,
                         lx_latents *encoder, lx_error *err)
{
    const size_t before = images->count;
    reader r = {.images = images, .encoder = encoder};
    candidate *lots = NULL;
    lx_dataset *d = NULL;
    size_t n = 0;
    int rc;

    if ((rc = lx_verify_scan(&d, folder, config, true, err)) < 0 ||
        (rc = draw_lots(&lots, &n, d, seed, err)) < 0 ||
        (rc = lx_decoder_new(&r.decoder, err)) < 0)
        goto done;
    r.dataset = d;
    images->n_found[role] = n;
    for (size_t i = 0; i < n && rc == LX_OK && images->count - before < most; i++)
        rc = add_image(&r, role, &d->images[lots[i].image], err);
done:
    if (rc < 0) {
        drop_advice(err);
        lx_within(err, "%s", folder);
    }
    lx_decoder_free(r.decoder);
    lx_dataset_free(d);
    lx_free(lots);
    lx_free(r.pixels);
    lx_free(r.logvar);
    return rc;
}

const char *lx_image_role_name(lx_image_role role)
{
    static const char *const names[] = {
        [LX_IMAGES_TRAINING] = "training images",
        [LX_IMAGES_HELD_OUT] = "held-out images",
        [LX_IMAGES_CLASS] = "class images",
        [LX_IMAGES_FOREIGN] = "foreign images",
    };
    return names[role];
}
