#include "src/data/loader.h"

#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/rng.h"
#include "src/data/caption.h"
#include "src/data/latent_cache.h"
#include "src/data/npz_latents.h"
#include "src/data/pixels.h"

static const float latent_scale = 0.18215f;

/* One batch of an epoch: `n` samples of the order, from `first`. */
typedef struct slot {
    size_t first, n;
} slot;

/* The samples of an epoch, bucket by bucket, and its batches, shuffled. */
typedef struct arrangement {
    int epoch;  /* -1 = none */
    int *order; /* image of each sample */
    slot *slots;
    size_t n_slots;
} arrangement;

/* One image and mirror to be cached. */
typedef struct pending {
    int image;
    bool is_mirror;
} pending;

struct lx_loader {
    const lx_dataset *dataset;
    uint64_t seed;
    double prior_loss_weight;
    int64_t max_train_steps;
    lx_encode_image encode;
    void *encode_context;
    lx_latent_cache kept; /* folder NULL: nothing is kept on disk */
    lx_decoder *decoder;

    float **
        cache; /* [images][2]: straight, mirrored, its mask behind it; NULL = not cached */

    arrangement arranged[2]; /* even and odd epochs */
    size_t n_samples;

    lx_prefetch *ahead; /* NULL = pixels are made when they are wanted */
    /* What is asked of it next: sample ahead_sample of batch ahead_moment (counted over all epochs), or, while
     * latents are cached, place ahead_sample of the list. */
    uint64_t ahead_moment;
    size_t ahead_sample;
    bool is_encoded_ahead; /* it makes mean and logvar, not pixels */
    uint64_t ahead_end;    /* nothing is asked for at this moment and later */

    lx_batch batch;
    float *latents, *loss_weights, *pixels, *moments;
    float *masks;         /* NULL without */
    bool has_checked_npz; /* one of the files that are read */
    size_t latents_capacity, pixels_capacity, moments_capacity, masks_capacity;
    lx_str *captions;
    const char **caption_texts;
    int *images;
    uint8_t *is_flipped;
};

/* ---- life -------------------------------------------------------------------------------- */

int lx_loader_new(lx_loader **out, const lx_dataset *d, uint64_t seed,
                  double prior_loss_weight, int64_t max_train_steps,
                  lx_encode_image encode, void *encode_context, lx_error *err)
{
    const size_t batch = lx_dataset_largest_batch(d);
    lx_loader *l = lx_calloc(1, sizeof *l);
    int rc = LX_OK;

    if (!l)
        return lx_oom(err);
    l->dataset = d;
    l->seed = seed;
    l->prior_loss_weight = prior_loss_weight;
    l->max_train_steps = max_train_steps;
    l->encode = encode;
    l->encode_context = encode_context;
    l->n_samples = d->n_train_samples + d->n_reg_samples;
    l->cache = lx_calloc(2 * d->n_images, sizeof *l->cache);
    for (int i = 0; i < 2; i++) {
        arrangement *a = &l->arranged[i];
        a->epoch = -1;
        a->order = lx_calloc(l->n_samples, sizeof *a->order);
        a->slots = lx_calloc(d->n_batches, sizeof *a->slots);
        if (!a->order || !a->slots)
            rc = lx_oom(err);
    }
    l->captions = lx_calloc(batch, sizeof *l->captions);
    l->caption_texts = lx_calloc(batch, sizeof *l->caption_texts);
    l->images = lx_calloc(batch, sizeof *l->images);
    l->is_flipped = lx_calloc(batch, 1);
    l->loss_weights = lx_calloc(batch, sizeof *l->loss_weights);
    if (!l->cache || !l->captions || !l->caption_texts || !l->images || !l->is_flipped ||
        !l->loss_weights)
        rc = lx_oom(err);
    if (rc == LX_OK)
        rc = lx_decoder_new(&l->decoder, err);
    if (rc < 0)
        lx_loader_free(l);
    else
        *out = l;
    return rc;
}

void lx_loader_free(lx_loader *l)
{
    if (!l)
        return;
    lx_prefetch_free(l->ahead);
    for (size_t i = 0; l->cache && i < 2 * l->dataset->n_images; i++)
        lx_free(l->cache[i]);
    for (size_t i = 0; l->captions && i < lx_dataset_largest_batch(l->dataset); i++)
        lx_str_release(&l->captions[i]);
    lx_decoder_free(l->decoder);
    lx_free(l->cache);
    for (int i = 0; i < 2; i++) {
        lx_free(l->arranged[i].order);
        lx_free(l->arranged[i].slots);
    }
    lx_free(l->captions);
    lx_free(l->caption_texts);
    lx_free(l->images);
    lx_free(l->is_flipped);
    lx_free(l->loss_weights);
    lx_free(l->latents);
    lx_free(l->masks);
    lx_free(l->pixels);
    lx_free(l->moments);
    lx_free(l);
}

int lx_loader_read_ahead(lx_loader *l, lx_error *err)
{
    l->ahead_end = UINT64_MAX;
    return lx_prefetch_new(&l->ahead, l->dataset, NULL, NULL, err);
}

int lx_loader_encode_ahead(lx_loader *l, uint64_t n_batches, lx_error *err)
{
    l->ahead_end = n_batches;
    l->is_encoded_ahead = true;
    return lx_prefetch_new(&l->ahead, l->dataset, l->encode, l->encode_context, err);
}

/* ---- latents ----------------------------------------------------------------------------- */

static size_t latent_size(const lx_bucket *b)
{
    return 4 * (size_t)(b->width / 8) * (size_t)(b->height / 8);
}

/* Of the image as it is when latents are cached: that is what is kept on disk. */
static bool is_kept(const lx_loader *l, const float *mask, const lx_augment *a)
{
    return l->kept.folder && !mask && !a->has_face && a->crop_x == 0.5 &&
           a->crop_y == 0.5 && a->hue == 0 && a->gamma == 0;
}

/* Into l->pixels: what was made ahead under this name (NULL: none was), else now. */
static int make_pixels(float *mask, lx_loader *l, const lx_image *image,
                       const lx_augment *augment, const uint64_t *name, lx_error *err)
{
    bool found = false;
    int rc = l->ahead && name
                 ? lx_prefetch_take(&found, l->ahead, name, l->pixels, mask, err)
                 : LX_OK;

    if (rc < 0 || found)
        return rc;
    return lx_image_tensor(l->pixels, mask, l->decoder, l->dataset, image, augment, err);
}

/* Mean, and logvar behind it, of the thread that has the encoder: asked of it now if that was not done before. */
static int take_moments(float *moments, float *mask, lx_loader *l, const lx_image *image,
                        const lx_augment *augment, const uint64_t name[2], lx_error *err)
{
    const lx_prefetch_request now = {
        .name = {name[0], name[1]}, .image = image, .augment = *augment};
    bool found;
    int rc = lx_prefetch_take(&found, l->ahead, name, moments, mask, err);

    if (rc < 0 || found)
        return rc;
    lx_prefetch_ask(l->ahead, &now); /* there is room: all others were dropped */
    return lx_prefetch_take(&found, l->ahead, name, moments, mask, err);
}

/* Mean and logvar from the disk, or from the encoder. */
static int find_moments(float *mean, float *logvar, float *mask, lx_loader *l,
                        const lx_image *image, const lx_augment *augment,
                        const uint64_t *name, lx_error *err)
{
    const lx_bucket *b = &l->dataset->buckets[image->bucket];
    const bool keeps = is_kept(l, mask, augment);
    bool found = false;
    int rc;

    if (keeps && (rc = lx_latent_cache_read(&found, mean, logvar, &l->kept, l->dataset,
                                            image, augment->is_flipped, err)) < 0)
        return rc;
    if (found)
        return LX_OK;
    if ((rc = make_pixels(mask, l, image, augment, name, err)) < 0 ||
        (rc = l->encode(l->encode_context, l->pixels, b->width, b->height, mean, logvar,
                        err)) < 0)
        return rc;
    return keeps ? lx_latent_cache_write(&l->kept, l->dataset, image, augment->is_flipped,
                                         mean, logvar, err)
                 : LX_OK;
}

/* Pixels of an image, and mean, logvar and noise of its latents. */
static int make_room(lx_loader *l, const lx_bucket *b, lx_error *err)
{
    const size_t n_pixels = 3 * (size_t)b->width * (size_t)b->height;

    return lx_grow(&l->pixels, &l->pixels_capacity, n_pixels, sizeof(float)) < 0 ||
                   lx_grow(&l->moments, &l->moments_capacity, 3 * latent_size(b),
                           sizeof(float)) < 0
               ? lx_oom(err)
               : LX_OK;
}

static float clamped(float logvar)
{
    return logvar < -30 ? -30 : logvar > 20 ? 20 : logvar;
}

/* One draw from the VAE's posterior, not yet times 0.18215. */
static int sample_latents(float *out, float *mask, lx_loader *l, const lx_image *image,
                          const lx_augment *augment, const uint64_t *name, lx_rng rng,
                          lx_error *err)
{
    const lx_bucket *b = &l->dataset->buckets[image->bucket];
    const size_t n = latent_size(b);
    float *mean, *logvar, *noise;
    int rc;

    if ((rc = make_room(l, b, err)) < 0)
        return rc;
    mean = l->moments;
    logvar = mean + n;
    noise = logvar + n;
    rc = l->is_encoded_ahead
             ? take_moments(mean, mask, l, image, augment, name, err)
             : find_moments(mean, logvar, mask, l, image, augment, name, err);
    if (rc < 0)
        return rc;
    lx_rng_normal(noise, n, 0, &rng);
    for (size_t i = 0; i < n; i++) {
        out[i] = mean[i] + expf(0.5f * clamped(logvar[i])) * noise[i];
        if (!isfinite(out[i]))
            return lx_fail(
                err, LX_ECHECK,
                "%s: the VAE gives latents that are not numbers; try another --vae",
                image->path);
    }
    return LX_OK;
}

static uint64_t image_stream(const lx_image *image)
{
    uint64_t x;
    memcpy(&x, image->hash.bytes, sizeof x);
    return x;
}

static void scale(float *latents, size_t n)
{
    for (size_t i = 0; i < n; i++)
        latents[i] *= latent_scale;
}

static double norm(const float *x, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

/*
 * The first latents that come from a file are compared with what this VAE makes of their image. A draw
 * is about as far from the posterior's mean as the posterior is wide, and half precision adds far less than
 * a tenth of the mean's length; of another picture, or one cropped otherwise, they are about as far away as
 * the mean is long.
 */
static int check_npz(lx_loader *l, const lx_image *image, const float *found,
                     lx_error *err)
{
    const lx_bucket *b = &l->dataset->buckets[image->bucket];
    const size_t n = latent_size(b);
    const lx_augment none = LX_AUGMENT_NONE;
    double width = 0, far = 0;
    float *mean, *logvar;
    int rc;

    /* sd-scripts lays a transparent image on no background: what it encoded is not what is read here */
    if (l->has_checked_npz || image->has_alpha)
        return LX_OK;
    if ((rc = make_room(l, b, err)) < 0)
        return rc;
    mean = l->moments;
    logvar = mean + n;
    if ((rc = find_moments(mean, logvar, NULL, l, image, &none, NULL, err)) < 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        const double apart = (double)found[i] - (double)mean[i];
        far += apart * apart;
        width += exp((double)clamped(logvar[i]));
    }
    if (sqrt(far) > 2 * sqrt(width) + 0.1 * norm(mean, n))
        return lx_fail(
            err, LX_ECHECK,
            "%s: its latents are not what this VAE makes of %s: another --vae, resize "
            "or picture made them. Add --latents_npz off, or replace to write them anew",
            image->npz, image->path);
    l->has_checked_npz = true;
    return LX_OK;
}

static void name_pending(uint64_t name[2], size_t at)
{
    name[0] = UINT64_MAX;
    name[1] = at;
}

/* Unscaled, the mask behind them; of place `at` of the list. */
static int make_latents(float *out, lx_loader *l, const pending *what, size_t at,
                        lx_error *err)
{
    const lx_image *image = &l->dataset->images[what->image];
    const bool is_mirror = what->is_mirror;
    const size_t n = latent_size(&l->dataset->buckets[image->bucket]);
    float *mask = l->dataset->config.has_masks ? out + n : NULL;
    lx_augment augment = LX_AUGMENT_NONE;
    uint64_t name[2];
    int rc;

    if (image->npz) {
        rc = lx_npz_latents_read(out, mask, l->dataset, image, is_mirror, err);
        return rc < 0 || is_mirror ? rc : check_npz(l, image, out, err);
    }
    augment.is_flipped = is_mirror;
    name_pending(name, at);
    return sample_latents(
        out, mask, l, image, &augment, name,
        lx_rng_stream(l->seed, LX_RNG_LATENT, is_mirror, image_stream(image)), err);
}

/* Of the image at *at of the list, with its mirror if that is next; moves *at behind it. */
static int cache_image(lx_loader *l, const pending *list, size_t n_list, size_t *at,
                       lx_error *err)
{
    const lx_dataset *d = l->dataset;
    const int index = list[*at].image;
    const lx_image *image = &d->images[index];
    const size_t n = latent_size(&d->buckets[image->bucket]);
    float **places = &l->cache[2 * index];
    bool is_written;
    int rc = LX_OK;

    for (; *at < n_list && list[*at].image == index && rc == LX_OK; ++*at) {
        float **place = &places[list[*at].is_mirror];
        rc = (*place = lx_alloc((n + n / 4) * sizeof(float)))
                 ? make_latents(*place, l, &list[*at], *at, err)
                 : lx_oom(err);
    }
    if (rc == LX_OK && d->config.npz_latents >= LX_NPZ_WRITE)
        rc = lx_npz_latents_write(&is_written, places[0], places[1], l->decoder, d, image,
                                  err);
    for (int k = 0; k < 2 && rc == LX_OK; k++)
        if (places[k])
            scale(places[k], n);
    return rc;
}

void lx_loader_keep_latents(lx_loader *l, const lx_latent_cache *cache)
{
    l->kept = *cache;
}

/* Bucket by bucket, so that the encoder's graph of a size is made once. */
static size_t list_pending(pending *list, const lx_dataset *d)
{
    size_t n = 0;

    for (size_t b = 0; b < d->n_buckets; b++)
        for (size_t i = 0; i < d->n_images; i++) {
            const lx_image *image = &d->images[i];
            if (!image->repeats || (size_t)image->bucket != b)
                continue;
            list[n++] = (pending){(int)i, false};
            if (lx_dataset_settings(d, image)->flip_aug)
                list[n++] = (pending){(int)i, true};
        }
    return n;
}

/* Asks for the pixels behind place `at`, of images whose latents are nowhere yet. */
static void ask_pending(lx_loader *l, const pending *list, size_t n, size_t at)
{
    lx_prefetch_request r = {.augment = LX_AUGMENT_NONE};

    if (!l->ahead)
        return;
    if (l->ahead_sample < at)
        l->ahead_sample = at;
    for (; l->ahead_sample < n; l->ahead_sample++) {
        const pending *what = &list[l->ahead_sample];
        r.image = &l->dataset->images[what->image];
        if (r.image->npz ||
            (!l->dataset->config.has_masks &&
             lx_latent_cache_has(&l->kept, l->dataset, r.image, what->is_mirror)))
            continue;
        r.augment.is_flipped = what->is_mirror;
        name_pending(r.name, l->ahead_sample);
        if (!lx_prefetch_ask(l->ahead, &r))
            return;
    }
}

int lx_loader_cache_latents(lx_loader *l, lx_progress progress, void *progress_context,
                            lx_error *err)
{
    pending *list = lx_calloc(2 * l->dataset->n_images + 1, sizeof *list);
    int64_t done = 0, total = 0;
    size_t n;
    int rc = LX_OK;

    lx_assert(!l->is_encoded_ahead);
    if (!list)
        return lx_oom(err);
    n = list_pending(list, l->dataset);
    for (size_t i = 0; i < n; i++)
        total += !list[i].is_mirror;
    for (size_t at = 0; at < n && rc == LX_OK;) {
        ask_pending(l, list, n, at);
        if ((rc = cache_image(l, list, n, &at, err)) == LX_OK && progress)
            rc = progress(progress_context, ++done, total, err);
    }
    lx_free(list);
    lx_prefetch_free(l->ahead); /* nothing is read in the steps */
    l->ahead = NULL;
    return rc;
}

/* ---- order ------------------------------------------------------------------------------- */

/* Fisher-Yates over items of one size. */
static void shuffle(void *items, size_t n, size_t size, lx_rng rng)
{
    unsigned char *at = items, spare[sizeof(slot)];
    lx_assert(size <= sizeof spare);
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)lx_rng_below(&rng, i);
        memcpy(spare, at + (i - 1) * size, size);
        memcpy(at + (i - 1) * size, at + j * size, size);
        memcpy(at + j * size, spare, size);
    }
}

static const arrangement *arrange(lx_loader *l, int epoch)
{
    const lx_dataset *d = l->dataset;
    arrangement *a = &l->arranged[epoch & 1];
    size_t at = 0;

    if (a->epoch == epoch)
        return a;
    a->n_slots = 0;
    for (size_t b = 0; b < d->n_buckets; b++) {
        const size_t batch = lx_dataset_batch_size(d, &d->buckets[b]);
        size_t first = at;
        for (size_t i = 0; i < d->n_images; i++)
            for (int k = 0; (size_t)d->images[i].bucket == b && k < d->images[i].repeats;
                 k++)
                a->order[at++] = (int)i;
        shuffle(a->order + first, at - first, sizeof *a->order,
                lx_rng_stream(l->seed, LX_RNG_ORDER, (uint64_t)epoch, b + 1));
        for (size_t from = first; from < at; from += batch)
            a->slots[a->n_slots++] = (slot){from, at - from < batch ? at - from : batch};
    }
    shuffle(a->slots, a->n_slots, sizeof *a->slots,
            lx_rng_stream(l->seed, LX_RNG_ORDER, (uint64_t)epoch, 0));
    a->epoch = epoch;
    return a;
}

/* ---- batches ----------------------------------------------------------------------------- */

/* Draws in the peer's order: flip, crop, colour. */
static lx_augment draw_augment(const lx_loader *l, const lx_dataset_config *c,
                               const lx_image *image, uint64_t moment, uint64_t sample)
{
    lx_rng rng = lx_rng_stream(l->seed, LX_RNG_AUGMENT, moment, sample);
    lx_augment a = LX_AUGMENT_NONE;

    a.is_flipped = c->flip_aug && lx_rng_uniform(&rng) < 0.5;
    if (image->face.x) {
        a.has_face = true;
        a.face.scale = lx_rng_uniform(&rng);
        for (int i = 0; i < 2; i++)
            a.face.y[i] = lx_rng_uniform(&rng);
        for (int i = 0; i < 2; i++)
            a.face.x[i] = lx_rng_uniform(&rng);
    } else if (c->random_crop) {
        a.crop_x = lx_rng_uniform(&rng);
        a.crop_y = lx_rng_uniform(&rng);
    }
    if (c->color_aug && lx_rng_uniform(&rng) <= 0.33) {
        if (lx_rng_uniform(&rng) > 0.5)
            a.hue = -8 + 16 * lx_rng_uniform(&rng);
        else
            a.gamma = 0.95 + 0.1 * lx_rng_uniform(&rng);
    }
    return a;
}

static int fill_sample(lx_loader *l, size_t i, int index, uint64_t moment,
                       const lx_caption_moment *when, lx_error *err)
{
    const lx_image *image = &l->dataset->images[index];
    const size_t n = latent_size(&l->dataset->buckets[image->bucket]);
    const lx_dataset_config *settings = lx_dataset_settings(l->dataset, image);
    const lx_augment augment = draw_augment(l, settings, image, moment, i);
    const float *cached = l->cache[2 * index + augment.is_flipped];
    float *mask = l->masks ? l->masks + i * (n / 4) : NULL;
    lx_rng rng = lx_rng_stream(l->seed, LX_RNG_CAPTION, moment, i);
    int rc;

    l->images[i] = index;
    l->is_flipped[i] = augment.is_flipped;
    l->loss_weights[i] = image->is_reg ? (float)l->prior_loss_weight : 1.0f;
    if ((rc = lx_caption_process(&l->captions[i], image->caption, settings, when, &rng,
                                 err)) < 0)
        return rc;
    l->caption_texts[i] = lx_str_text(&l->captions[i]);
    if (cached) {
        memcpy(l->latents + i * n, cached, n * sizeof(float));
        if (mask)
            memcpy(mask, cached + n, n / 4 * sizeof(float));
        return LX_OK;
    }
    rc = sample_latents(l->latents + i * n, mask, l, image, &augment,
                        (const uint64_t[2]){moment, i},
                        lx_rng_stream(l->seed, LX_RNG_LATENT, moment + 2, i), err);
    scale(l->latents + i * n, n);
    return rc;
}

/* Asks for what comes after batch `moment`, into the next epoch at most. */
static void ask_batches(lx_loader *l, uint64_t moment)
{
    const uint64_t per_epoch = l->dataset->n_batches;

    if (!l->ahead)
        return;
    if (l->ahead_moment <= moment || l->ahead_moment > moment + per_epoch) {
        l->ahead_moment = moment + 1;
        l->ahead_sample = 0;
    }
    while (l->ahead_moment / per_epoch <= moment / per_epoch + 1 &&
           l->ahead_moment < l->ahead_end) {
        const arrangement *a = arrange(l, (int)(l->ahead_moment / per_epoch));
        const slot s = a->slots[l->ahead_moment % per_epoch];
        const int index = a->order[s.first + l->ahead_sample];
        lx_prefetch_request r = {.image = &l->dataset->images[index],
                                 .name = {l->ahead_moment, l->ahead_sample}};
        r.augment = draw_augment(l, lx_dataset_settings(l->dataset, r.image), r.image,
                                 l->ahead_moment, l->ahead_sample);
        if (!l->cache[2 * index + r.augment.is_flipped] && !lx_prefetch_ask(l->ahead, &r))
            return;
        if (++l->ahead_sample == s.n) {
            l->ahead_moment++;
            l->ahead_sample = 0;
        }
    }
}

int lx_loader_batch(const lx_batch **out, lx_loader *l, int epoch, int64_t batch,
                    int64_t step, lx_error *err)
{
    const lx_caption_moment when = {epoch + 1, step, l->max_train_steps};
    const uint64_t moment = (uint64_t)epoch * l->dataset->n_batches + (uint64_t)batch;
    const arrangement *a = arrange(l, epoch);
    const lx_bucket *bucket;
    slot s;
    int rc;

    lx_assert(batch >= 0 && (size_t)batch < a->n_slots);
    s = a->slots[batch];
    bucket = &l->dataset->buckets[l->dataset->images[a->order[s.first]].bucket];
    if (lx_grow(&l->latents, &l->latents_capacity, s.n * latent_size(bucket),
                sizeof(float)) < 0 ||
        (l->dataset->config.has_masks &&
         lx_grow(&l->masks, &l->masks_capacity, s.n * latent_size(bucket) / 4,
                 sizeof(float)) < 0))
        return lx_oom(err);
    for (size_t i = 0; i < s.n; i++)
        if ((rc = fill_sample(l, i, a->order[s.first + i], moment, &when, err)) < 0)
            return rc;
    l->batch = (lx_batch){.size = (int)s.n,
                          .width = bucket->width,
                          .height = bucket->height,
                          .latents = l->latents,
                          .masks = l->masks,
                          .captions = l->caption_texts,
                          .loss_weights = l->loss_weights,
                          .images = l->images,
                          .is_flipped = l->is_flipped};
    ask_batches(l, moment);
    *out = &l->batch;
    return LX_OK;
}
