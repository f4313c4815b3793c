/*
 * train/observer - what a training tells the world
 *
 * src/train does not know the store or the terminal; it calls these. cmd/train.c connects them to a
 * run and to the progress line. Any member may be NULL. A callback that fails ends the training
 * with its error.
 */
#ifndef LX_TRAIN_OBSERVER_H
#define LX_TRAIN_OBSERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"
#include "src/base/sha256.h"

typedef struct lx_step_report {
    int64_t step, total_steps;     /* optimizer updates, from 1 */
    int epoch, total_epochs;       /* from 1 */
    double loss;                   /* mean over the micro-steps of this step */
    double average_loss;           /* the peer's avr_loss: mean of the last epoch-length window */
    double lr_unet, lr_text_encoder; /* as taken: times d of Prodigy and its like */
    double scheduled_unet, scheduled_text_encoder; /* as the schedule has them */
    double grad_norm;              /* before clipping */
    bool has_norms;                /* under scale_weight_norms: */
    int64_t keys_scaled;           /* modules made smaller by it */
    double average_key_norm, max_key_norm;
    double seconds;                /* of this step */
    int64_t images_seen;
} lx_step_report;

typedef struct lx_checkpoint_report {
    const char *path;      /* the file, final name, durable */
    int64_t step;
    int epoch;
    int is_last;
    const char *sha256;    /* of the file */
} lx_checkpoint_report;

typedef struct lx_sample_report {
    const char *path, *prompt; /* the PNG, durable; what it is of */
    int64_t step;              /* 0: before the first */
    int epoch;
    uint64_t seed;
} lx_sample_report;

/* One image that was measured: its mean over all draws. */
typedef struct lx_validation_image {
    const lx_hash *hash; /* of its file */
    bool is_held_out;
    double loss;
} lx_validation_image;

/* The loss on images that are not trained, and on as many that are: train/validation. */
typedef struct lx_validation_report {
    int64_t step;  /* 0: before the first */
    int epoch;     /* from 1 */
    bool is_epoch; /* after an epoch, else after a step (or before the first) */
    size_t n_held_out, n_trained;
    const lx_validation_image *images; /* n_held_out + n_trained; until the next validation */
    double held_out, trained; /* NaN where there are no such images */
    double
        average_loss; /* of the training, as in the last step's report; NaN before it */
} lx_validation_report;

typedef struct lx_observer {
    void *context;
    /* Long parts before the first step: "caching latents", done of total. */
    int (*on_phase)(void *context, const char *phase, int64_t done, int64_t total, lx_error *err);
    int (*on_step)(void *context, const lx_step_report *report, lx_error *err);
    int (*on_checkpoint)(void *context, const lx_checkpoint_report *report, lx_error *err);
    int (*on_sample)(void *context, const lx_sample_report *report, lx_error *err);
    /* After its last step and validation; average_loss as in that step's report. */
    int (*on_epoch)(void *context, int epoch, double average_loss, lx_error *err);
    int (*on_validation)(void *context, const lx_validation_report *report,
                         lx_error *err);
    void (*on_note)(void *context, const char *text); /* worth telling, no error */
    /* Something beside the training was left out, a sample, and it goes on. */
    void (*on_problem)(void *context, const lx_error *problem);
    /* Asked between steps: nonzero ends the training cleanly (save, LX_EINTERRUPTED). */
    int (*should_stop)(void *context);
} lx_observer;

#endif
