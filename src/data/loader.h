/*
 * data/loader - batches, in a recorded order
 *
 * Every image appears exactly `repeats` times per epoch. The order of an epoch is a function of
 * (seed, epoch) alone; captions of (seed, step, sample). Latents are cached in memory (or encoded
 * on the fly) through a callback, so that this file knows no model. Images are decoded by
 * image/decode.h in a child process.
 */
#ifndef LX_DATA_LOADER_H
#define LX_DATA_LOADER_H

#include "src/data/prefetch.h"

/* One batch: images of one bucket. Arrays are owned by the loader, valid until the next call. */
typedef struct lx_batch {
    int size;             /* B; the last batch of a bucket may be short */
    int width, height;    /* pixels of the bucket */
    const float *latents; /* [B, 4, h, w], times 0.18215 */
    const char **captions; /* [B], processed (shuffled, dropped ...) */
    const float *masks;    /* [B, h, w], with has_masks; else NULL */
    const float *loss_weights; /* [B]: 1, or prior_loss_weight for reg */
    const int *images;    /* [B], index in dataset->images */
    const uint8_t *is_flipped; /* [B] */
} lx_batch;

typedef int (*lx_progress)(void *context, int64_t done, int64_t total, lx_error *err);

typedef struct lx_loader lx_loader;

int lx_loader_new(lx_loader **out, const lx_dataset *dataset, uint64_t seed,
                  double prior_loss_weight, int64_t max_train_steps, lx_encode_image encode,
                  void *encode_context, lx_error *err);
void lx_loader_free(lx_loader *loader);

/* Latents are looked for there first, and left there; before they are cached. The cache's texts are
 * borrowed. Not for images with masks, which need their pixels anyway. */
struct lx_latent_cache;
void lx_loader_keep_latents(lx_loader *loader, const struct lx_latent_cache *cache);

/* From now on a thread makes the pixels of the next images, decoded and resized, while the VAE or a training
 * step is at work on the present ones (data/prefetch). All that is given out stays the same to the bit. Ends
 * by itself once latents are cached. */
int lx_loader_read_ahead(lx_loader *loader, lx_error *err);
/* In its place, for latents that are not cached: the thread encodes the images too. From the first batch on
 * `encode` is called by it alone. It makes nothing for the batches behind the first n_batches of all epochs, where
 * the training ends. */
int lx_loader_encode_ahead(lx_loader *loader, uint64_t n_batches, lx_error *err);

/* Encodes every image (and its mirror when flip_aug) once; the VAE posterior is sampled once per
 * image from (seed, LX_RNG_LATENT, 0, image hash). */
int lx_loader_cache_latents(lx_loader *loader, lx_progress progress, void *progress_context,
                            lx_error *err);

/* epoch from 0, batch in [0, dataset->n_batches), step: optimizer step for caption warm-up and
 * random draws. */
int lx_loader_batch(const lx_batch **out, lx_loader *loader, int epoch, int64_t batch,
                    int64_t step, lx_error *err);

#endif
