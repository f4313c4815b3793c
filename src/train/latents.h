/*
 * train/latents - the VAE encoder as the loader's callback
 *
 * One graph per image size, kept while images of that size come, or, for sizes that are told beforehand, one each
 * in one arena: encoding then touches nothing but that and the pixels, and a thread may do it while others use
 * the checkpoint. The VAE's weights are dropped when the cache is full (lx_latents_free unloads them).
 */
#ifndef LX_TRAIN_LATENTS_H
#define LX_TRAIN_LATENTS_H

#include "src/data/dataset.h"
#include "src/model/builder.h"

typedef struct lx_latents lx_latents;

/* Borrows all three. */
int lx_latents_new(lx_latents **out, lx_device *dev, lx_checkpoint *checkpoint,
                   const lx_sd_config *sd, lx_error *err);
/* Takes what encoding images of these buckets needs. */
int lx_latents_prepare(lx_latents *latents, const lx_bucket *buckets, size_t n,
                       lx_error *err);
/* What the encoder holds at a size, for which no plan is kept, nor any other; its weights are parameters of the checkpoint
 * afterwards. */
int lx_latents_memory(lx_plan_memory *out, lx_latents *latents, int width, int height,
                      lx_error *err);
/* The time that encoding one image takes; budget as lx_plan_measure's. */
int lx_latents_time(lx_plan_timing *out, lx_latents *latents, int width, int height,
                    double budget, lx_error *err);
/* Gives back what the plans hold, which includes parameters of the VAE: before others unload it. They are made anew when
 * an image comes. */
void lx_latents_rest(lx_latents *latents);
void lx_latents_free(lx_latents *latents);

/* An lx_encode_image (data/loader.h); context is the lx_latents.
 * x [3, H, W] in -1..1 -> mean, logvar [4, H/8, W/8]. */
int lx_latents_encode(void *context, const float *x, int width, int height, float *mean,
                      float *logvar, lx_error *err);

#endif
