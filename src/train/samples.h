/*
 * train/samples - pictures of a training under way
 *
 * Prompts come from a file in sd-scripts' formats (sample/prompt_file), read again each
 * time, so it may be edited while the training runs. Pictures go to OUTPUT_DIR/sample
 * under the peer's names:
 *
 *     [NAME_]eEEEEEE_II_YYYYmmddHHMMSS[_SEED].png   after an epoch, 000000 before the first
 *                                                   step
 *     [NAME_]SSSSSS_II_YYYYmmddHHMMSS[_SEED].png    at a step
 *
 * II is the prompt's place, from 0.
 *
 * A prompt without a seed gets one that is a function of the training's seed and its
 * place, so that pictures of different steps begin with the same noise (the peer draws a
 * new one each time). They are drawn as web UIs draw, without the clipping that the
 * peer's DDIM and Heun do; sample_compat draws as the peer. Nothing of the training
 * depends on them: its random numbers are functions of the step.
 *
 * Source: sd-scripts library/train_util.py (sample_images_common,
 * sample_image_inference).
 */
#ifndef LX_TRAIN_SAMPLES_H
#define LX_TRAIN_SAMPLES_H

#include "src/sample/pipeline.h"
#include "src/train/config.h"
#include "src/train/observer.h"

typedef struct lx_samples {
    const lx_train_config *config;
    const lx_observer *observer;
    lx_device *dev;
    lx_checkpoint *checkpoint;
    const lx_sd_config *sd;
    lx_lora *lora;
    const lx_tokenizer *tokenizer;
} lx_samples;

/* Before anything is computed: the file is there and its prompts make sense. */
int lx_samples_check(const lx_samples *samples, lx_error *err);

/*
 * Draws when it is time: before the first step (is_first), after epoch `epoch` (from 1; 0
 * = at a step), after step `step`. A prompt file that vanished is a note, not the end of
 * the training.
 */
int lx_samples_draw(const lx_samples *samples, bool is_first, int epoch, int64_t step,
                    lx_error *err);
/* Whether lx_samples_draw would draw. */
bool lx_samples_is_due(const lx_train_config *config, bool is_first, int epoch,
                       int64_t step);

#endif
