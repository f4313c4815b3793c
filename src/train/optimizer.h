/*
 * train/optimizer - from gradients to new LoRA weights
 *
 * Every optimizer of sd-scripts' --optimizer_type that the LoRA field uses, by the peer's
 * names (any case), with the defaults of the package that the peer calls. AdamW, the
 * default, is torch.optim.AdamW with decoupled weight decay (0.9, 0.999, 1e-8, 0.01):
 *
 *     w -= lr decay w
 *     m  = m + (1 - beta1) (g - m)
 *     v  = beta2 v + (1 - beta2) g^2
 *     w -= lr / (1 - beta1^n) * m / (sqrt(v) / sqrt(1 - beta2^n) + eps)
 *
 * The formulas of the others stand in optimizer/<family>.c. n counts the updates of each
 * tensor. A tensor that no gradient reaches (the text encoder's last layers under clip
 * skip) is left alone, decay included, as the peer leaves it.
 *
 * Sums over tensors are in f64 in a fixed order: the same for any number of threads.
 *
 * Order of use: lx_optimizer_defaults and lx_optimizer_set fill a config;
 * lx_optimizer_new when the tensors have their first values; lx_optimizer_step per
 * update; lx_optimizer_show_averages around saving and sampling; lx_optimizer_free.
 * Source: Loshchilov & Hutter 2019, arXiv:1711.05101. Goldens: train/traj_*,
 * train/bnb8bit.
 */
#ifndef LX_TRAIN_OPTIMIZER_H
#define LX_TRAIN_OPTIMIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/dtype.h"
#include "src/base/error.h"
#include "src/base/str.h"

typedef enum lx_optimizer_type {
    LX_OPTIMIZER_ADAMW,
    LX_OPTIMIZER_PAGED_ADAMW,
    LX_OPTIMIZER_PAGED_ADAMW_32BIT,
    LX_OPTIMIZER_ADAMW_8BIT,
    LX_OPTIMIZER_PAGED_ADAMW_8BIT,
    LX_OPTIMIZER_LION,
    LX_OPTIMIZER_LION_8BIT,
    LX_OPTIMIZER_PAGED_LION_8BIT,
    LX_OPTIMIZER_SGD_NESTEROV,
    LX_OPTIMIZER_SGD_NESTEROV_8BIT,
    LX_OPTIMIZER_ADAFACTOR,
    LX_OPTIMIZER_PRODIGY,
    LX_OPTIMIZER_DADAPT_ADAM_PREPRINT,
    LX_OPTIMIZER_DADAPT_ADAGRAD,
    LX_OPTIMIZER_DADAPT_ADAM,
    LX_OPTIMIZER_DADAPT_ADAN,
    LX_OPTIMIZER_DADAPT_ADAN_IP,
    LX_OPTIMIZER_DADAPT_LION,
    LX_OPTIMIZER_DADAPT_SGD,
    LX_OPTIMIZER_ADAMW_SCHEDULE_FREE, /* these are the last: lx_optimizer_has_own_schedule */
    LX_OPTIMIZER_RADAM_SCHEDULE_FREE,
    LX_OPTIMIZER_SGD_SCHEDULE_FREE,
    LX_OPTIMIZER_COUNT
} lx_optimizer_type;

/* Which fields an optimizer reads, and their defaults: lx_optimizer_defaults. */
typedef struct lx_optimizer_config {
    lx_optimizer_type type;
    double betas[3];  /* Adan has three */
    double eps, eps2; /* eps2: Adafactor's floor of a tensor's scale */
    double weight_decay, momentum;
    /* Adafactor; beta1 < 0 = no first moment */
    double clip_threshold, decay_rate, beta1;
    bool scale_parameter, relative_step, warmup_init;
    /* D-Adaptation and Prodigy: d0 is the first guess of the distance; beta3 < 0 =
     * sqrt(beta2) */
    double d0, d_coef, growth_rate, beta3;
    bool decouple, use_bias_correction, safeguard_warmup, no_prox;
    /* Schedule-free */
    double r, weight_lr_power;
    int64_t warmup_steps;
    bool silent_sgd_phase; /* RAdam: nothing moves until its variance is known */
    bool decoupled_weight_decay; /* lion_pytorch: the decay is divided by initial_lr */
    double initial_lr;           /* --learning_rate, whatever rates the tensors have */
} lx_optimizer_config;

/* The peer's spelling, and the Python class it stands for, as ss_optimizer names it. */
const char *lx_optimizer_name(lx_optimizer_type type);
const char *lx_optimizer_class(lx_optimizer_type type);
/* By name in any case, "DAdaptation" and "torch.optim.AdamW" too. LX_EUNSUPPORTED lists
 * the names. */
int lx_optimizer_type_from_name(lx_optimizer_type *type, const char *name, lx_error *err);

void lx_optimizer_defaults(lx_optimizer_config *config, lx_optimizer_type type);
/* key=value of --optimizer_args; values are Python literals (True, 0.9,0.99). LX_EUSAGE
 * for an option that this optimizer lacks or a value out of range. */
int lx_optimizer_set(lx_optimizer_config *config, const char *key, const char *value,
                     lx_error *err);
/* Appends the value as Python prints it: (0.9, 0.99) for 0.9,0.99. For the metadata. */
void lx_optimizer_put_literal(lx_str *out, const char *value);

/* Finds the learning rate by itself, so that its rate should be about 1 and the same for
 * all. */
bool lx_optimizer_is_adaptive(lx_optimizer_type type);
/* Takes no rate of ours: Adafactor with relative_step. */
bool lx_optimizer_has_own_rate(const lx_optimizer_config *config);
/* Follows no schedule: schedule-free. */
bool lx_optimizer_has_own_schedule(const lx_optimizer_config *config);

/* One tensor of the model being trained; borrowed memory. */
typedef struct lx_trainable {
    float *value, *gradient;
    size_t n;
    bool has_gradient; /* something upstream of the loss uses it */
    double lr;         /* base rate of its group, before the schedule */
    int n_dims;
    const int64_t *shape;
} lx_trainable;

typedef struct lx_optimizer lx_optimizer;

int lx_optimizer_new(lx_optimizer **out, const lx_optimizer_config *config,
                     const lx_trainable *tensors, size_t count, lx_error *err);
void lx_optimizer_free(lx_optimizer *optimizer);
lx_optimizer_type lx_optimizer_type_of(const lx_optimizer *optimizer);

/* Global L2 norm of the gradients of the tensors that have one. */
double lx_gradient_norm(const lx_trainable *tensors, size_t count);
/* Scales them by min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_. */
void lx_gradient_clip(const lx_trainable *tensors, size_t count, double norm,
                      double max_norm);

/* One update; factor is the schedule's. Gradients may be overwritten. */
void lx_optimizer_step(lx_optimizer *optimizer, const lx_trainable *tensors,
                       double factor);

/*
 * The rate the last step took where `rate` was asked for: times D-Adaptation's and
 * Prodigy's d; Adafactor's own step under relative_step (before a tensor's scale).
 */
double lx_optimizer_rate(const lx_optimizer *optimizer, double rate);

/*
 * Schedule-free training moves a point that is not the one to use: `on` puts the average
 * into the tensors' values, to be saved or sampled, and off takes it back before the next
 * step, exactly. Nothing happens with the other optimizers. Have values changed?
 */
bool lx_optimizer_show_averages(lx_optimizer *optimizer, const lx_trainable *tensors,
                                bool on);

/* All that a step changes beside the values, to be saved and loaded in place. */
typedef struct lx_optimizer_state {
    const char *name; /* "exp_avg" */
    size_t tensor;    /* SIZE_MAX: of the whole */
    lx_dtype dtype;   /* F32, U8, F64, I64 */
    size_t n;
    void *data; /* borrowed */
} lx_optimizer_state;
const lx_optimizer_state *lx_optimizer_states(const lx_optimizer *optimizer,
                                              size_t *count);

#endif
