/*
 * verify/session - what verify.c opens and judge.c uses
 */
#ifndef LX_VERIFY_SESSION_H
#define LX_VERIFY_SESSION_H

#include "src/verify/captions_read.h"
#include "src/verify/file_level.h"
#include "src/verify/verify.h"

enum { LX_VERIFY_ALONE = 4, LX_VERIFY_LISTED = 24 };

struct lx_verify {
    const lx_verify_options *options;
    lx_arena *arena;
    lx_tokenizer *tokenizer;
    lx_training_facts training; /* of the first LoRA */
    lx_captions_read captions;
    lx_device *dev;
    lx_checkpoint *checkpoint;
    lx_sd_config sd;
    lx_base_facts base;
    lx_noise_schedule noise;
    float weight[LX_TIMESTEPS]; /* of the training's loss */
    float even[LX_TIMESTEPS];   /* makes of that the error of the velocity */
    lx_verify_request request;
    lx_verify_plan plan;
    lx_verify_images images;
    lx_prompts *prompts;
    lx_trial_subjects subjects;
    int alone[LX_VERIFY_ALONE], tags[LX_VERIFY_LISTED], candidates[LX_VERIFY_LISTED];
    size_t n_candidates;
    lx_trial *trial;
    bool has_base_half;
    int64_t base_cost;
};

/* A LoRA on the base model, ready to be dosed. */
typedef struct lx_patient {
    lx_lora *lora;
    lx_dose *dose;
    lx_probe *probe;
} lx_patient;

static inline const char *lx_verify__data(const lx_verify *v)
{
    return v->options->folders[LX_IMAGES_TRAINING];
}

/* Onto the session's base model; closed whatever open returned. */
int lx_verify__open(lx_patient *p, lx_verify *v, const char *path, lx_error *err);
void lx_verify__close(lx_patient *p);

#endif
