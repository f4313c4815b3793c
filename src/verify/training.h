/*
 * verify/training - how a LoRA was trained, as far as its file tells
 *
 * What the paired evaluation must repeat: sizes and buckets, clip skip, token limit, the
 * target and the weights of the loss. Keys are sd-scripts' (`ss_`), by themselves or in
 * the first entry of `ss_datasets`, and lx's own. A key that is absent leaves the
 * trainer's default.
 */
#ifndef LX_VERIFY_TRAINING_H
#define LX_VERIFY_TRAINING_H

#include "src/format/tensor_file.h"
#include "src/train/config.h"

typedef struct lx_training_facts {
    bool is_known; /* there is training metadata at all */
    lx_dataset_config
        data; /* width 0: not told. Captions are neither shuffled nor dropped. */
    const char *caption_extension; /* lx.caption_extension, or NULL */
    int clip_skip, max_token_length;
    bool v_parameterization, zero_terminal_snr;
    double min_snr_gamma;
    bool debiased_estimation_loss;
    bool shuffles_captions, flips,
        masks;                         /* what the evaluation leaves out, to be noted */
    const char *base_name, *base_hash; /* ss_sd_model_name, ss_sd_model_hash (8 digits) */
    const char *base_sha256;           /* ss_new_sd_model_hash */
    double steps, epoch, n_epochs, learning_rate; /* 0 = not told */
    double text_encoder_lr;                       /* NAN = not told */
} lx_training_facts;

/* Texts live in the arena. Damaged values are as if absent. LX_ENOMEM only. */
int lx_training_facts_of(lx_training_facts *out, const lx_tensor_file *file,
                         lx_arena *arena, lx_error *err);

#endif
