/*
 * train/optimizer - from gradients to new LoRA weights
 *
 * AdamW with decoupled weight decay, as torch.optim.AdamW (defaults 0.9, 0.999, 1e-8, 0.01):
 *
 *     w -= lr decay w
 *     m  = m + (1 - beta1) (g - m)
 *     v  = beta2 v + (1 - beta2) g^2
 *     w -= lr / (1 - beta1^n) * m / (sqrt(v) / sqrt(1 - beta2^n) + eps)
 *
 * n counts the updates of each tensor. A tensor that no gradient reaches (the text encoder's last
 * layers under clip skip) is left alone, decay included, as the peer leaves it.
 *
 * The gradient norm is summed in f64 in a fixed order: the same for any number of threads.
 * Source: Loshchilov & Hutter 2019, arXiv:1711.05101. Goldens: train/traj_adamw*.
 */
#ifndef LX_TRAIN_OPTIMIZER_H
#define LX_TRAIN_OPTIMIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"

typedef struct lx_optimizer lx_optimizer;

typedef struct lx_optimizer_config {
    double beta1, beta2, eps, weight_decay;
} lx_optimizer_config;

/* One tensor of the model being trained; borrowed memory. */
typedef struct lx_trainable {
    float *value, *gradient;
    size_t n;
    bool has_gradient; /* something upstream of the loss uses it */
    double lr;         /* base rate of its group, before the schedule */
} lx_trainable;

int lx_optimizer_new(lx_optimizer **out, const lx_optimizer_config *config,
                     const lx_trainable *tensors, size_t count, lx_error *err);
void lx_optimizer_free(lx_optimizer *optimizer);

/* Global L2 norm of the gradients of the tensors that have one. */
double lx_gradient_norm(const lx_trainable *tensors, size_t count);
/* Scales them by min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_. */
void lx_gradient_clip(const lx_trainable *tensors, size_t count, double norm, double max_norm);

/* One update; factor is the schedule's. Gradients are left as they are. */
void lx_optimizer_step(lx_optimizer *optimizer, const lx_trainable *tensors, double factor);

#endif
