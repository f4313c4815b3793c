/*
 * train/step - one backward pass of the LoRA's loss
 *
 *     context   = text_encoder(input_ids)
 *     noisy     = sqrt(abar_t) latents + sqrt(1 - abar_t) (noise or input_noise)
 *     pred      = unet(noisy, t, context)
 *     target    = noise, or the velocity
 *     loss      = mean over the batch of  weight_b * weight(t_b) * mean(elementwise loss)
 *
 * With the dropouts of config->network every LoRA module drops parts of its inside; their draws are
 * functions of (seed, micro-step, module). A module that module_dropout left out of all micro-steps of
 * an update has no gradient in it, so that the optimizer leaves it alone, decay included, as the peer's
 * does.
 *
 * A graph is built and planned once per shape (batch, height, width, chunks) and kept; running it
 * allocates nothing. Gradients are added to the LoRA's gradient slab, so micro-steps accumulate.
 *
 * Order of use: lx_step_new, per optimizer step lx_step_zero_gradients, lx_step_run per micro-step
 * (lx_step_trainables then names what has a gradient), lx_step_free.
 * Source: sd-scripts train_network.py (NetworkTrainer.process_batch). Goldens: train/step_*.
 */
#ifndef LX_TRAIN_STEP_H
#define LX_TRAIN_STEP_H

#include "src/train/config.h"
#include "src/train/noise.h"
#include "src/train/optimizer.h"

/* What is trained on what. Borrowed: all of it outlives the step. */
typedef struct lx_step_model {
    lx_device *dev;
    lx_checkpoint *checkpoint;
    const lx_sd_config *sd;
    lx_lora *lora;
    const lx_train_config *config;
    /* Bytes of max_memory that are not the arena's, asked when all weights are known; NULL = none. */
    int (*beside_arena)(void *context, size_t *out, lx_error *err);
    void *beside_context;
    bool keeps_intermediates; /* lx_step_intermediate may be asked (costs memory) */
} lx_step_model;

typedef struct lx_step_inputs {
    int batch, n_chunks;
    int64_t h, w;              /* latent cells: pixels / 8 */
    const float *latents;      /* [B, 4, h, w], times 0.18215 */
    const float *noise;        /* [B, 4, h, w], offsets already in it */
    const float *input_noise;  /* what x_t is made with under ip_noise_gamma; NULL = noise */
    const int64_t *timesteps;  /* [B] */
    const int64_t *input_ids;  /* [B, n_chunks, 77] */
    const float *token_weights; /* [B, n_chunks*75 + 2], weighted captions; NULL = none */
    const float *loss_weights; /* [B] */
    const float *mask;         /* [B, h, w], with config->data.has_masks; NULL = none */
    int64_t micro_step;        /* which draws of the dropouts; 0 without them */
} lx_step_inputs;

typedef struct lx_step lx_step;
struct lx_updater; /* train/updater.h */

/*
 * LoRA modules of a part that is not trained (rate 0) keep their place in the model but get no
 * gradient; under network_train_unet_only (config->network.has_text_encoder false) the text
 * encoder's modules are not applied at all.
 */
int lx_step_new(lx_step **out, const lx_step_model *model, lx_error *err);
void lx_step_free(lx_step *step);

/* Plans the shape: what it needs is known, no memory is taken. LX_ELIMIT when it exceeds max_memory. */
int lx_step_prepare(lx_step *step, int batch, int64_t h, int64_t w, int n_chunks,
                    lx_plan_memory *memory, lx_error *err);

/* Memory for every shape that was prepared, so that no step has to ask for any: they share one arena,
 * as large as the largest. A step that meets a new shape calls it by itself. */
int lx_step_take(lx_step *step, lx_error *err);

void lx_step_zero_gradients(lx_step *step);
/* Adds share * d loss / d LoRA to the gradients; *loss is the unscaled loss. */
int lx_step_run(double *loss, lx_step *step, const lx_step_inputs *in, double share,
                lx_error *err);

/*
 * The same, queued: where the device queues, nothing is waited for, gradients stay there, and the loss
 * can be had later, once. For trainings whose updates are the device's too (train/updater).
 */
typedef struct lx_step_loss {
    uint64_t ticket;
    double value, share; /* value: where the device does not queue */
} lx_step_loss;

int lx_step_queue(lx_step_loss *later, lx_step *step, const lx_step_inputs *in, double share,
                  lx_error *err);
/* From now on losses are scaled by what the updater's scale is then (NULL: by nothing); a loss had later
 * is the scaled one, and so is that of lx_step_run. */
void lx_step_scale_loss(lx_step *step, struct lx_updater *updater);
int lx_step_loss_of(double *loss, lx_step *step, const lx_step_loss *later, lx_error *err);

/* Every tensor of the LoRA in file order (down, up per module) with its rate. Valid after the
 * first run or prepare, which learns what has a gradient; under module_dropout each run does. */
const lx_trainable *lx_step_trainables(const lx_step *step, size_t *count);

/* Of the last run, when kept: "encoder_hidden_states" [B, T, D], "noisy_latents", "noise_pred"
 * [B, 4, h, w]. `n` floats must match. */
int lx_step_intermediate(lx_step *step, const char *name, float *data, size_t n,
                         lx_error *err);

/* The plan that was prepared or run last (src/graph), to be profiled or timed; NULL = none. */
lx_plan *lx_step_last_plan(lx_step *step);

#endif
