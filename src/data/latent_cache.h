/*
 * data/latent_cache - what the VAE made of images, kept on disk between trainings
 *
 * One safetensors file an image and mirror: mean and logvar [4, h, w] in F32, as the encoder gave them, so
 * that a training which reads them draws the very latents that one draws which encodes (whatever its
 * seed). The file is named after all that decides its content: SHA-256 of the image's bytes, the VAE's
 * weights, the sizes it was resized and cropped to, interpolation, background, orientation and mirror. A
 * changed image or VAE therefore never meets an old file, and nothing is ever stale.
 *
 * A file that is cut or has other shapes counts as absent and is written anew.
 */
#ifndef LX_DATA_LATENT_CACHE_H
#define LX_DATA_LATENT_CACHE_H

#include "src/data/dataset.h"

typedef struct lx_latent_cache {
    const char *folder; /* NULL = no cache */
    lx_hash vae;        /* of the encoder's weights */
} lx_latent_cache;

/* *found says whether mean and logvar (each [4, H/8, W/8] of the image's bucket) were filled. LX_ENOMEM
 * only. */
int lx_latent_cache_read(bool *found, float *mean, float *logvar,
                         const lx_latent_cache *cache, const lx_dataset *dataset,
                         const lx_image *image, bool is_mirror, lx_error *err);
/* Is there a file, sound or not? false where that cannot be said. */
bool lx_latent_cache_has(const lx_latent_cache *cache, const lx_dataset *dataset,
                         const lx_image *image, bool is_mirror);
/* Whole or not at all. */
int lx_latent_cache_write(const lx_latent_cache *cache, const lx_dataset *dataset,
                          const lx_image *image, bool is_mirror, const float *mean,
                          const float *logvar, lx_error *err);

#endif
