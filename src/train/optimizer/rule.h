/*
 * train/optimizer/rule - what the files of this folder share
 *
 * A rule is one way to update. Its states are arrays in the optimizer's arena, listed in
 * one table so that they can be saved; a rule finds its own by the index it asked for
 * them in.
 */
#ifndef LX_TRAIN_OPTIMIZER_RULE_H
#define LX_TRAIN_OPTIMIZER_RULE_H

#include "src/base/arena.h"
#include "src/train/optimizer.h"

enum { LX_OPTIMIZER_TENSOR_STATES = 5, LX_OPTIMIZER_NUMBERS = 8 };

typedef struct lx_optimizer_rule {
    /* States of tensor i, by lx_optimizer__add; NULL out of memory is told by the caller.
     */
    int (*open)(lx_optimizer *o, const lx_trainable *t, size_t i);
    void (*step)(lx_optimizer *o, const lx_trainable *tensors, double factor);
    void (*show_averages)(lx_optimizer *o, const lx_trainable *tensors,
                          bool on); /* or NULL */
} lx_optimizer_rule;

struct lx_optimizer {
    lx_optimizer_config config;
    const lx_optimizer_rule *rule;
    size_t count;
    lx_arena *arena;
    int64_t *updates;                            /* per tensor */
    void *(*states)[LX_OPTIMIZER_TENSOR_STATES]; /* per tensor */
    double number[LX_OPTIMIZER_NUMBERS]; /* of the whole; meanings are the rule's */
    bool shows_averages;

    lx_optimizer_state *list;
    size_t n_listed, list_capacity;
};

/* Zeroed elements as state k of tensor i. LX_ENOMEM. */
int lx_optimizer__add(lx_optimizer *o, size_t i, int k, const char *name, lx_dtype dtype,
                      size_t n);

static inline float *lx_optimizer__floats(const lx_optimizer *o, size_t i, int k)
{
    return o->states[i][k];
}

/* The largest rate of a tensor with a gradient, after the schedule. */
double lx_optimizer__rate(const lx_trainable *tensors, size_t count, double factor);

/* Adafactor's rate at update n under relative_step. */
double lx_adafactor_relative_step(const lx_optimizer_config *config, int64_t n);

extern const lx_optimizer_rule lx_rule_adamw, lx_rule_adamw_8bit, lx_rule_lion,
    lx_rule_lion_8bit, lx_rule_sgd_nesterov, lx_rule_sgd_8bit, lx_rule_adafactor,
    lx_rule_prodigy, lx_rule_dadapt_adam_preprint, lx_rule_dadapt_adagrad,
    lx_rule_dadapt_adam, lx_rule_dadapt_adan, lx_rule_dadapt_adan_ip, lx_rule_dadapt_lion,
    lx_rule_dadapt_sgd, lx_rule_schedule_free, lx_rule_radam_schedule_free,
    lx_rule_sgd_schedule_free;

#endif
