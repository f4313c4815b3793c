/*
 * train/config - everything that determines a training, resolved
 *
 * Field names and meanings are sd-scripts' flags (docs/flags.md). cmd/train_flags.c fills it from
 * argv, TOML or a pasted command line; src/train reads it. Strings are borrowed from the command's
 * arena. Zero-initialise, then lx_train_config_defaults.
 */
#ifndef LX_TRAIN_CONFIG_H
#define LX_TRAIN_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/kernel.h"
#include "src/base/dtype.h"
#include "src/base/error.h"
#include "src/data/dataset.h"
#include "src/lora/lora.h"
#include "src/model/precision.h"

#include "src/train/optimizer.h"
#include "src/train/schedule.h"

typedef enum lx_huber_schedule {
    LX_HUBER_SNR,
    LX_HUBER_CONSTANT,
    LX_HUBER_EXPONENTIAL
} lx_huber_schedule;

/*
 * Does the VAE encode the next images while a step runs? Latents that are not cached are made anew for every
 * batch: between the steps, or beside them by a team of threads as large. The work is the same, and so are the
 * bits; time is won where cores would rest otherwise, which is what AUTO goes by (docs/guide/memory.md).
 */
typedef enum lx_encode_ahead {
    LX_AHEAD_AUTO,
    LX_AHEAD_FALSE,
    LX_AHEAD_TRUE
} lx_encode_ahead;

/* Flags that were given although they ask for nothing (0, or the whole range): the peer's metadata has the number then,
 * and "None" where they were left out. */
typedef struct lx_zeros_given {
    bool network_dropout, scale_weight_norms, noise_offset, adaptive_noise_scale, multires_noise_iterations,
        ip_noise_gamma, min_snr_gamma, min_timestep, max_timestep;
} lx_zeros_given;

typedef struct lx_train_config {
    const char *pretrained_model_name_or_path, *vae;
    int text_encoder_heads; /* 0 = from the checkpoint */
    lx_dataset_config
        data; /* train_data_dir, reg_data_dir, resolution, captions, buckets ... */

    const char *output_dir, *output_name;
    lx_dtype save_dtype; /* save_precision; LX_F32 when not given */
    bool save_dtype_given;
    const char *save_model_as; /* the ending: "safetensors", or torch's "ckpt" and "pt" */
    int save_every_n_epochs, save_every_n_steps, save_n_epoch_ratio;
    int save_last_n_epochs, save_last_n_steps;
    bool save_state, save_state_on_train_end;
    int save_last_n_epochs_state, save_last_n_steps_state; /* 0 = as the files */
    const char *resume;      /* a state's folder or file; NULL = from the start */
    double autosave_minutes; /* 0 = never but when interrupted */

    lx_lora_spec network;
    bool network_alpha_given, network_dim_given;
    const char *network_weights;
    bool dim_from_weights;           /* its ranks, whatever --network_dim says */
    const char *const *base_weights; /* merged into the base model first */
    const double *base_weights_multiplier;
    size_t n_base_weights;
    double scale_weight_norms; /* 0 = off */

    double learning_rate, unet_lr, text_encoder_lr; /* resolved: unet_lr falls back */
    bool unet_lr_given, text_encoder_lr_given;
    lx_optimizer_config optimizer;
    double max_grad_norm;
    lx_lr_scheduler lr_scheduler;
    double lr_warmup_steps, lr_decay_steps; /* < 1: fraction of all steps; LX_ALL_STEPS */
    int lr_scheduler_num_cycles;
    double lr_scheduler_power;
    int lr_scheduler_timescale;       /* inverse_sqrt; 0 = not given */
    double lr_scheduler_min_lr_ratio; /* < 0 = not given */
    lx_schedule_rules lr_rules;       /* piecewise_constant */

    int max_train_steps, max_train_epochs; /* epochs > 0 wins */
    int gradient_accumulation_steps;
    uint64_t seed;
    bool seed_given;

    int clip_skip;        /* 0 = not given (last layer) */
    int max_token_length; /* 75, 150, 225 */
    double prior_loss_weight;
    int min_timestep, max_timestep; /* [min, max) */
    /* noise */
    double noise_offset; /* 0 = off */
    bool noise_offset_random_strength;
    double adaptive_noise_scale;   /* 0 = off */
    int multires_noise_iterations; /* 0 = off */
    double multires_noise_discount;
    double ip_noise_gamma; /* 0 = off */
    bool ip_noise_gamma_random_strength;
    bool zero_terminal_snr;
    /* target and loss */
    bool v_parameterization;
    double min_snr_gamma; /* 0 = off */
    bool debiased_estimation_loss, scale_v_pred_loss_like_noise_pred;
    double v_pred_like_loss; /* 0 = off */
    lx_loss_type loss_type;
    lx_huber_schedule huber_schedule;
    double huber_c, huber_scale;

    const char *mixed_precision; /* "no", "fp16" (f32 on the CPU), "bf16" */
    bool no_winograd;

    /* said in the metadata only */
    const char *training_comment;
    bool no_metadata;
    const char *optimizer_args; /* "k=v,k=v" as Python prints them; NULL = none */
    const char *network_args;   /* JSON object of the pairs as given; NULL = none */
    bool gradient_checkpointing, lowram;
    lx_zeros_given zeros;
    const char *metadata_title, *metadata_author, *metadata_description,
        *metadata_license, *metadata_tags, *metadata_usage_hint, *metadata_thumbnail,
        *metadata_merged_from, *metadata_trigger_phrase, *metadata_preprocessor,
        *metadata_is_negative_embedding;
    /* the loss on held-out images (data.validation_split; train/validation) */
    int validate_every_n_steps, validate_every_n_epochs; /* 0 = not given: every epoch */
    int max_validation_steps;                            /* batches; 0 = not given */
    /* pictures on the way (train/samples.h) */
    const char *sample_prompts, *sample_sampler; /* prompts NULL: none */
    int sample_every_n_steps, sample_every_n_epochs;
    bool sample_at_first, sample_compat;
    /* event files (cmd/train_log) */
    const char *logging_dir, *log_prefix, *log_tracker_name; /* logging_dir NULL: none */
    bool log_config;
    int threads;                   /* 0 = all */
    int max_data_loader_n_workers; /* 0: images are read in between the steps, else beside them */
    lx_encode_ahead encode_ahead;
    const char *device; /* as lx_device_open takes it; NULL = the CPU */
    size_t max_memory;  /* bytes; 0 = no limit */
} lx_train_config;

void lx_train_config_defaults(lx_train_config *config);
/* By its name: no device has been opened yet. */
bool lx_train_is_on_gpu(const lx_train_config *config);
/*
 * cores: lx_cpu_cores. False in any case under cache_latents, where the encoder is gone before the first step; with
 * max_data_loader_n_workers 0, which leaves out the thread that would do it; and on a GPU, whose queue does one
 * thing after the other.
 */
bool lx_train_encodes_ahead(const lx_train_config *config, int cores);
/* Do step and encoder have cores of their own then? */
bool lx_train_has_two_teams(const lx_train_config *config, int cores);
lx_precision lx_train_precision(const lx_train_config *config); /* --mixed_precision */
/* LX_F16 or LX_BF16, of activations in memory, where --mixed_precision asks for it and the device has them;
 * else LX_F32. The LoRA's factors are F32 and rounded as they are used. */
lx_dtype lx_train_narrow(const lx_train_config *config, const lx_device *dev);
/* How the frozen model's products are computed; those of the LoRA are f32 always. */
lx_arithmetic lx_train_arithmetic(const lx_train_config *config);

/* Alphas in the file as the peer's Python int: left at their default of networks.lora, and never cast. */
bool lx_train_has_integer_alpha(const lx_train_config *config);
/* The schedule over `total` optimizer steps: constant where the optimizer has its own. */
lx_schedule lx_train_schedule(const lx_train_config *config, int64_t total);

/* Combinations that make no sense, with the flags named (LX_EUSAGE). */
int lx_train_config_check(const lx_train_config *config, lx_error *err);

#endif
