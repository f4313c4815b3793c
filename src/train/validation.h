/*
 * train/validation - the loss on images that are not trained, and on some that are, always on the same
 * draws
 *
 * A training's own loss jumps with every batch's noise and timesteps, and of two runs it compares
 * different numbers. Here each image meets the same noise at the same timesteps every time, its caption
 * as it was written (no shuffle, no dropout) and the mean of its VAE posterior:
 *
 *     t_j  = min + (max - min) (j + u) / 4    j = 0 .. 3, one u in [0, 1) per image
 *     loss = mean over images and j of mean (pred - target)^2, without weights of timesteps
 *
 * Draws are functions of (validation_seed or 0, image), not of the training's seed, so curves of
 * different runs differ by what was trained. Measured are the held-out images and as many of the
 * trained ones, chosen by their contents; MOST of each, or max_validation_steps batches.
 *
 * Its graphs are those of verify/probe: forward only, no dropout of the LoRA. Nothing of the training
 * is touched.
 */
#ifndef LX_TRAIN_VALIDATION_H
#define LX_TRAIN_VALIDATION_H

#include "src/data/loader.h"
#include "src/text/tokenizer.h"
#include "src/train/config.h"
#include "src/train/observer.h"

enum { LX_VALIDATION_MOST = 16, LX_VALIDATION_DRAWS = 4 };

typedef struct lx_validation lx_validation;

/* Borrowed: all of it outlives the validation. */
typedef struct lx_validation_of {
    const lx_train_config *config;
    const lx_dataset *dataset;
    lx_device *dev;
    lx_checkpoint *checkpoint;
    const lx_sd_config *sd;
    lx_lora *lora;
    const lx_tokenizer *tokenizer;
    lx_encode_image encode; /* only while it is made */
    void *encode_context;
} lx_validation_of;

/* *out is NULL where none is asked for: no image held out and no period given. */
int lx_validation_new(lx_validation **out, const lx_validation_of *of, lx_error *err);
void lx_validation_free(lx_validation *validation);

/* With the LoRA's present values. */
int lx_validation_run(lx_validation_report *out, lx_validation *validation,
                      lx_error *err);

/* Is one due after this step, and after this epoch (from 1)? Without a period in epochs after each if images are held out. */
bool lx_validation_after_step(const lx_train_config *config, int64_t step);
bool lx_validation_after_epoch(const lx_train_config *config, const lx_dataset *dataset, int epoch);

#endif
