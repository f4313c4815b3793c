/*
 * train/session_internal - what the files of a session share
 *
 * session.c opens and closes it, session_prepare.c caches latents and plans every shape, session_memory.c
 * counts what it will hold, session_step.c does one update, session_run.c the epochs around them. Nobody else
 * includes this.
 */
#ifndef LX_TRAIN_SESSION_INTERNAL_H
#define LX_TRAIN_SESSION_INTERNAL_H

#include "src/base/resident.h"
#include "src/text/tokenizer.h"
#include "src/train/draw.h"
#include "src/train/latents.h"
#include "src/train/output.h"
#include "src/train/samples.h"
#include "src/train/session.h"
#include "src/train/updater.h"
#include "src/train/validation.h"

/* A micro-step whose loss may not be known yet. */
typedef struct lx_train__pending_loss {
    lx_step_loss later;
    int64_t batch;           /* in its epoch */
    const char *first_image; /* of it, to be named in errors */
} lx_train__pending_loss;

/* A step that is done, or queued on a device that updates by itself. */
typedef struct lx_train__pending_step {
    bool is_queued;
    lx_step_report report;
    lx_train__pending_loss *losses; /* [gradient_accumulation_steps] */
    int n_micro;
    uint64_t update; /* what lx_updater_result is asked with */
} lx_train__pending_step;

struct lx_train {
    const lx_train_config *config;
    const lx_dataset *dataset;
    const lx_train_identity *identity;
    const lx_observer *observer;
    lx_arena *arena;

    lx_device *dev, *encoder_dev; /* encoder_dev NULL: the VAE encodes on dev, between the steps */
    lx_checkpoint *checkpoint;
    lx_sd_config sd;
    lx_lora *lora;
    lx_tokenizer *tokenizer;
    lx_loader *loader;
    lx_latents *latents;
    lx_step *step;
    lx_optimizer *optimizer;
    lx_updater *updater;             /* the device's updates; NULL = the host's */
    lx_train__pending_step steps[2]; /* the one that is queued, and the one before it */
    lx_metadata metadata;
    lx_output output;
    lx_samples samples;
    lx_validation *validation; /* NULL = none */
    double average_loss;       /* of the last step; NaN before it */
    lx_schedule schedule;
    lx_step_count count;
    lx_plan_memory memory; /* of the largest shape */
    /* for the footprint: in memory before the model was opened, and the LoRA as it was made */
    lx_resident before;
    size_t lora_resident, beside_arena;

    lx_draw draw;
    int64_t *input_ids; /* [B, chunks, 77] */
    float *token_weights;
    size_t ids_capacity, weights_capacity;

    lx_train_progress at;
    bool is_cut_short; /* the last epoch was, by the number of steps */
    double autosaved; /* when, by the monotonic clock */
    int64_t kept_step; /* of the newest of this training's own NAME-autosave; 0 = there is none */
};

/* Chunks of 75 tokens a caption. */
static inline int lx_train__chunks(const lx_train_config *c)
{
    return c->max_token_length / 75;
}

/* Where the VAE encodes. */
static inline lx_device *lx_train__encoder_dev(const lx_train *t)
{
    return t->encoder_dev ? t->encoder_dev : t->dev;
}

/* ---- session_memory.c: what it will hold ------------------------------------------------ */

/* What the VAE holds for the largest image; its weights stay listed, to be counted. */
int lx_train__encoder_memory(lx_plan_memory *out, const lx_train *t, lx_error *err);
int lx_train__count_footprint(lx_footprint *out, lx_train *t, const lx_plan_memory *encoder,
                              lx_error *err);
/* An lx_step_model.beside_arena; context is the lx_train. */
int lx_train__beside_arena(void *context, size_t *out, lx_error *err);

/* ---- session_step.c: one update ----------------------------------------------------------- */

double lx_train__seconds(void); /* by the monotonic clock */
/* Runs or queues the next batch, as micro-step n of the step. */
int lx_train__micro_step(lx_train *t, lx_train__pending_step *of, int n, lx_error *err);
int lx_train__update(lx_train *t, lx_train__pending_step *of, lx_error *err);
/* The step's numbers are known: they are recorded and told. */
int lx_train__settle(lx_train *t, lx_train__pending_step *of, lx_error *err);
/* Waits for what is queued, tells its steps, and brings values and states to the host. */
int lx_train__catch_up(lx_train *t, lx_error *err);

#endif
