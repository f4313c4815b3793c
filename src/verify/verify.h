/*
 * verify/verify - did this LoRA learn its captions?
 *
 * Level a (metadata) and b (weights) need the file alone; c (text path) needs the base
 * model; d (paired denoising) also the training images. Design and definitions:
 * docs/verify.md.
 *
 * A session opens the base model and the images once and judges any number of LoRAs on
 * them: the base's predictions are shared, so the epochs of a run cost half. Nothing here
 * depends on the clock but a plan made from a time (`seconds`), which becomes a budget
 * that the result names.
 *
 * Order of use: lx_verify_open (with one of the LoRAs, whose metadata tell how to read
 * the images), lx_verify_judge per LoRA, lx_verify_close.
 */
#ifndef LX_VERIFY_VERIFY_H
#define LX_VERIFY_VERIFY_H

#include "src/lora/summary.h"
#include "src/lora/weights.h"
#include "src/model/precision.h"
#include "src/verify/evidence.h"
#include "src/verify/label.h"
#include "src/verify/trial.h"
#include "src/verify/training.h"

typedef struct lx_verify_options {
    const char *base, *vae;                   /* base NULL: levels a and b only */
    int text_encoder_heads;                   /* 0 = from the checkpoint */
    const char *folders[LX_IMAGE_ROLE_COUNT]; /* --data, --held-out, --class-images,
                                                 --foreign; NULL */
    const char *caption_extension;            /* NULL = found out */
    int width, height;                        /* 0 = as trained */
    const char *identifier;                   /* NULL = found out */
    const char *class_words;                  /* NULL = the folder's */
    bool tries_class; /* ask about the class words although captions were read */
    double delta;     /* smallest relative gain that counts */
    double strength, te_strength;
    uint64_t seed;
    int64_t budget;        /* UNet forwards; 0 = standard */
    double seconds;        /* > 0: the budget that this machine spends in so long */
    size_t images, tags;   /* 0, SIZE_MAX = by the plan */
    int draws;             /* 0 = by the plan */
    bool ignores_metadata; /* judge by the measurement alone */
    int threads;
    const char *device;         /* as lx_device_open takes it; NULL = the CPU */
    lx_precision precision;     /* of text encoder and UNet; the VAE is in f32 */
    lx_trial_progress progress; /* may be NULL */
    void *progress_context;
} lx_verify_options;

typedef enum lx_question {
    LX_Q_CAPTIONS,
    LX_Q_MOVED,
    LX_Q_LEARNED,
    LX_Q_USES_CAPTION,
    LX_Q_IDENTIFIER,
    LX_Q_MEMORISED,
    LX_Q_DAMAGE,
    LX_Q_STRENGTH,
    LX_N_QUESTIONS
} lx_question;

typedef struct lx_answer {
    const char *word; /* "YES", "NO", "not tested" ... */
    const char *text;
} lx_answer;

typedef struct lx_verify_tag {
    const char *text, *pieces;
    size_t n_captions, n_all; /* images that hold it, of all that were used */
    lx_estimate effect;       /* D6, relative to the base's loss; NAN = too few images */
    double p, q;
    double alone; /* share of the gain that the tag has alone; NAN = not asked */
    double reach; /* C3: z of the weights' response to it; NAN = not measured */
    bool is_constant;
} lx_verify_tag;

typedef struct lx_verify_point {
    double x;
    lx_estimate y;
} lx_verify_point;

enum { LX_VERIFY_BINS = 10 };

typedef struct lx_verify_result {
    const char *path;
    char sha256[LX_HASH_HEX + 1];
    lx_label_facts facts;
    lx_label_verdict verdict;
    lx_label_verdict by_measurement; /* without what the metadata prove of captions */
    lx_answer answers[LX_N_QUESTIONS];
    lx_ledger ledger;
    const char *const *flags; /* "MEMORISED", ... */
    size_t n_flags;
    const char *identifier; /* NULL = none found */
    lx_verify_tag *tags;
    size_t n_tags;
    lx_verify_point bins[LX_VERIFY_BINS]; /* gain by timestep */
    size_t n_bins;
    lx_verify_point strengths[LX_N_STRENGTHS + 2]; /* gain by strength, ascending */
    size_t n_strengths;
    double best_strength; /* NAN = not measured */
    double cosine,
        step; /* B9 of a series: with the last file, from the one before; NAN */
    const double *image_gain, *image_use; /* per training image: D1 and D9, relative */
    size_t n_images;
    const double *held_gains; /* per held-out image, relative to their base loss */
    size_t n_held;
    int64_t cost; /* UNet forwards for this LoRA, the base's share included once */
} lx_verify_result;

typedef struct lx_verify lx_verify;

/* The options are borrowed. Everything a result points to lives as long as the session.
 */
int lx_verify_open(lx_verify **out, const lx_verify_options *options, const char *lora,
                   lx_error *err);
void lx_verify_close(lx_verify *v);

/* LX_EINTERRUPTED when the progress callback says so. */
int lx_verify_judge(const lx_verify_result **out, lx_verify *v, const char *lora,
                    lx_error *err);

/* Of the session; images is NULL without a measurement. */
const lx_verify_images *lx_verify_images_of(const lx_verify *v);
const lx_verify_plan *lx_verify_plan_of(const lx_verify *v);
int64_t lx_verify_base_cost(const lx_verify *v); /* forwards of the base, shared */
/* How the images were read: size, caption ending. */
const lx_training_facts *lx_verify_facts(const lx_verify *v);

#endif
