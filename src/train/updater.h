/*
 * train/updater - the optimizer on the device that computes the gradients
 *
 * Where the device can update by itself (kernels/update.h) and the optimizer is one of AdamW, AdamW8bit,
 * Lion and Lion8bit (or a paged one: the same arithmetic), an update is queued behind its step; the
 * lx_optimizer keeps its counts and is where its states are when the host wants to see them.
 *
 * Order of use: lx_updater_new, lx_updater_send once the first values and states are known (again after
 * the host changed them), per update lx_updater_queue and later lx_updater_result, lx_updater_fetch before
 * the LoRA's host values or the states are read, lx_updater_free before the optimizer, the LoRA and the
 * device.
 */
#ifndef LX_TRAIN_UPDATER_H
#define LX_TRAIN_UPDATER_H

#include "kernels/update.h"
#include "src/lora/lora.h"
#include "src/train/config.h"

typedef struct lx_updater lx_updater;

/* Can it be done? Not with what changes values or chooses tensors on the host at every step:
 * scale_weight_norms, module_dropout. */
bool lx_updater_is_possible(const lx_device *dev, const lx_train_config *config);

/* tensors: of lx_step_trainables, of this LoRA; borrowed, as is all else. */
/* scales_loss: dynamically, for activations in F16 (lx_update_scaling). */
int lx_updater_new(lx_updater **out, lx_lora *lora, lx_optimizer *optimizer,
                   bool scales_loss, const lx_trainable *tensors, size_t count,
                   double max_norm, lx_error *err);
void lx_updater_free(lx_updater *updater);

int lx_updater_send(lx_updater *updater, lx_error *err);
int lx_updater_fetch(lx_updater *updater, lx_error *err);
/* Queues: weights of losses, on the device, times the scale. */
void lx_updater_scale_loss(lx_updater *updater, float *weights, size_t n);
/* factor is the schedule's. */
int lx_updater_queue(lx_updater *updater, double factor, uint64_t *ticket, lx_error *err);
int lx_updater_result(lx_updater *updater, uint64_t ticket, lx_update_result *out,
                      lx_error *err);

#endif
