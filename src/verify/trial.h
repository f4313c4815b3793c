/*
 * verify/trial - every (image, prompt) that is asked of the two models
 *
 * A cell is one image under one prompt: the losses of its draws by the base and by the
 * LoRA, and how far the prediction moved. All cells of an image share its draws
 * (verify/draws). The base's half is computed once and stays; a sweep over epochs pays
 * only for the LoRA's.
 *
 * Order of use: lx_trial_new, lx_trial_run_base, then per LoRA lx_trial_run_lora;
 * lx_trial_free.
 */
#ifndef LX_VERIFY_TRIAL_H
#define LX_VERIFY_TRIAL_H

#include "src/verify/dose.h"
#include "src/verify/images.h"
#include "src/verify/plan.h"
#include "src/verify/probe.h"
#include "src/verify/prompt.h"

typedef enum lx_arm {
    LX_ARM_CAPTION, /* the own caption */
    LX_ARM_EMPTY,   /* "" */
    LX_ARM_CLASS,   /* the folder's words */
    LX_ARM_OTHER,   /* another image's caption; variant: which of J */
    LX_ARM_SWAP,    /* a tag replaced by a control; variant: which of C */
    LX_ARM_ALONE,   /* a tag and nothing else */
    LX_ARM_COUNT
} lx_arm;

typedef struct lx_cell {
    lx_arm arm;
    size_t image; /* of the images; its caption is the prompt's of the same index */
    int tag;      /* SWAP, ALONE; -1 */
    int variant;
    size_t other; /* OTHER: whose caption */
    int64_t *ids;
    float *base_pred; /* [K, 4, h, w]; NULL where the movement is not asked for */
    double *base, *lora, *moved; /* [K]; moved NULL likewise */
} lx_cell;

/* What is asked beside captions. */
typedef struct lx_trial_subjects {
    int identifier;   /* tag, or -1 */
    const int *alone; /* constant tags that are tried alone (the identifier among them) */
    size_t n_alone;
    const int *tags; /* swapped one by one */
    size_t n_tags;
    bool has_class;
} lx_trial_subjects;

/* done cells of total; a nonzero return stops with it. */
typedef int (*lx_trial_progress)(void *context, const char *phase, int64_t done,
                                 int64_t total, lx_error *err);

typedef struct lx_trial {
    lx_arena *arena;
    const lx_verify_images *images;
    const lx_prompts *prompts;
    const lx_verify_plan *plan;
    uint64_t seed;
    lx_cell *cells; /* image by image */
    size_t n_cells, capacity;
    int64_t *timesteps; /* [K], of one image at a time as the noise is */
    float *even;        /* [images][K]: what makes a draw's loss one that counts alike */
    float *noise;
    size_t noise_capacity;
    size_t noise_of;    /* the image whose noise it is; SIZE_MAX = none */
    int64_t n_forwards; /* so far */
    lx_trial_progress progress;
    void *progress_context;
} lx_trial;

/* Borrows everything given; the prompts' captions are those of the images, in their
 * order. even [1000]: factor of a loss by timestep (lx_trial.even). */
int lx_trial_new(lx_trial **out, lx_arena *arena, const lx_verify_images *images,
                 const lx_prompts *prompts, const lx_verify_plan *plan,
                 const lx_trial_subjects *subjects, const float *even, uint64_t seed,
                 lx_error *err);
void lx_trial_free(lx_trial *trial);

/* The dose is set to none, or as loaded times strength, by the caller. */
int lx_trial_run_base(lx_trial *trial, lx_probe *probe, lx_error *err);
int lx_trial_run_lora(lx_trial *trial, lx_probe *probe, lx_error *err);

/* One more run of a cell by the LoRA's present values; each of the three may be NULL.
 * moved needs base_pred. */
int lx_trial_rerun(double *loss, double *moved, float *pred, lx_trial *trial,
                   lx_probe *probe, const lx_cell *cell, bool is_reversed, lx_error *err);

/* The cell, or NULL: not asked. */
const lx_cell *lx_trial_find(const lx_trial *trial, lx_arm arm, size_t image, int tag,
                             int variant);

#endif
