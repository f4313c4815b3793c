/* One update: its micro-steps, and what came of them. */
#include "src/train/session_internal.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "src/base/alloc.h"
#include "src/text/prompt.h"

/* Weights of the joined context: the first BOS, 75 of each chunk, the last EOS. */
static int encode_weighted(lx_train *t, int64_t *ids, float *joined, const char *text,
                           lx_error *err)
{
    float weights[3 * LX_CHUNK];
    const int chunks = lx_train__chunks(t->config);
    int rc = lx_tokenize_weighted(ids, weights, NULL, t->tokenizer, text, strlen(text),
                                  t->config->max_token_length, err);
    if (rc < 0)
        return rc;
    joined[0] = weights[0];
    for (int c = 0; c < chunks; c++)
        memcpy(joined + 1 + c * 75, weights + c * LX_CHUNK + 1, 75 * sizeof(float));
    joined[chunks * 75 + 1] = weights[chunks * LX_CHUNK - 1];
    return LX_OK;
}

static int encode_captions(lx_train *t, const lx_batch *batch, lx_error *err)
{
    const lx_train_config *c = t->config;
    const size_t chunks = (size_t)lx_train__chunks(c), n = (size_t)batch->size;
    int rc;

    if (lx_grow(&t->input_ids, &t->ids_capacity, n * chunks * LX_CHUNK, sizeof(int64_t)) <
        0)
        return lx_oom(err);
    if (c->data.weighted_captions && lx_grow(&t->token_weights, &t->weights_capacity,
                                             n * (chunks * 75 + 2), sizeof(float)) < 0)
        return lx_oom(err);
    for (size_t i = 0; i < n; i++) {
        const char *text = batch->captions[i];
        int64_t *ids = t->input_ids + i * chunks * LX_CHUNK;
        if (c->data.weighted_captions)
            rc = encode_weighted(t, ids, t->token_weights + i * (chunks * 75 + 2), text,
                                 err);
        else
            rc = lx_tokenize_chunks(ids, NULL, t->tokenizer, text, strlen(text),
                                    c->max_token_length, err);
        if (rc < 0)
            return rc;
    }
    return LX_OK;
}

/* Names the images of a batch whose loss is not a number, so that the user can look at
 * them. */
static int fail_not_finite(const char *first_image, int64_t step, double loss,
                           lx_error *err)
{
    /* At the first step the rate has done nothing yet. */
    return lx_fail(
        err, LX_ECHECK,
        "the loss at step %lld is %g: training stopped before it could spoil the "
        "LoRA; the "
        "batch began with \"%s\". %s, or look at that image",
        (long long)step, loss, first_image,
        step > 1 ? "Lower --learning_rate"
                 : "Try another base model: this one may be damaged");
}

/* Runs or queues the next batch, as micro-step n of the step. */
int lx_train__micro_step(lx_train *t, lx_train__pending_step *of, int n, lx_error *err)
{
    lx_train__pending_loss *loss = &of->losses[n];
    const lx_train_config *c = t->config;
    const lx_batch *batch;
    lx_step_inputs in = {0};
    const double share = 1.0 / c->gradient_accumulation_steps;
    int rc;

    if ((rc = lx_loader_batch(&batch, t->loader, (int)t->at.epoch, t->at.batch,
                              t->at.step, err)) < 0 ||
        (rc = encode_captions(t, batch, err)) < 0)
        return rc;
    in.batch = batch->size;
    in.n_chunks = lx_train__chunks(c);
    in.h = batch->height / 8;
    in.w = batch->width / 8;
    if ((rc = lx_draw_step(&t->draw, c, t->at.micro_steps, batch->latents, in.batch, in.h,
                           in.w, err)) < 0)
        return rc;
    in.latents = batch->latents;
    in.noise = t->draw.noise;
    in.input_noise = t->draw.input_noise;
    in.timesteps = t->draw.timesteps;
    in.input_ids = t->input_ids;
    in.token_weights = t->token_weights;
    in.loss_weights = batch->loss_weights;
    in.mask = batch->masks;
    in.micro_step = t->at.micro_steps;
    rc = t->updater ? lx_step_queue(&loss->later, t->step, &in, share, err)
                    : lx_step_run(&loss->later.value, t->step, &in, share, err);
    if (rc < 0)
        return rc;
    loss->batch = t->at.batch++;
    loss->first_image = t->dataset->images[batch->images[0]].path;
    t->at.micro_steps++;
    t->at.images_seen += batch->size;
    of->n_micro++;
    return t->updater || isfinite(loss->later.value)
               ? LX_OK
               : fail_not_finite(loss->first_image, t->at.step + 1, loss->later.value,
                                 err);
}

/* The peer's loss recorder: a window one epoch long. */
static double record_loss(lx_train_progress *at, int64_t index, double loss)
{
    if (at->epoch == 0)
        at->n_recent++;
    else
        at->recent_sum -= at->recent[index];
    at->recent[index] = loss;
    at->recent_sum += loss;
    return at->recent_sum / (double)at->n_recent;
}

double lx_train__seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void limit_norms(lx_train *t, lx_step_report *report)
{
    const lx_lora_norms norms =
        lx_lora_limit_norms(t->lora, t->config->scale_weight_norms);

    report->has_norms = true;
    report->keys_scaled = (int64_t)norms.n_scaled;
    report->average_key_norm = norms.mean;
    report->max_key_norm = norms.largest;
}

static int fail_gradient(int64_t step, lx_error *err)
{
    return lx_fail(
        err, LX_ECHECK,
        "the gradient at step %lld is not a number: training stopped before it "
        "could spoil the LoRA. Lower --learning_rate",
        (long long)step);
}

static int update_on_host(lx_train *t, lx_step_report *report, double factor,
                          lx_error *err)
{
    const lx_train_config *c = t->config;
    size_t n;
    const lx_trainable *tensors = lx_step_trainables(t->step, &n);

    report->grad_norm = lx_gradient_norm(tensors, n);
    if (!isfinite(report->grad_norm))
        return fail_gradient(report->step, err);
    if (c->max_grad_norm > 0)
        lx_gradient_clip(tensors, n, report->grad_norm, c->max_grad_norm);
    lx_optimizer_step(t->optimizer, tensors, factor);
    if (c->scale_weight_norms > 0)
        limit_norms(t, report);
    lx_step_zero_gradients(t->step);
    return lx_lora_send(t->lora, err);
}

int lx_train__update(lx_train *t, lx_train__pending_step *of, lx_error *err)
{
    const lx_train_config *c = t->config;
    lx_step_report *report = &of->report;
    const double factor = lx_schedule_factor(&t->schedule, report->step - 1);
    int rc = t->updater ? lx_updater_queue(t->updater, factor, &of->update, err)
                        : update_on_host(t, report, factor, err);

    if (rc < 0)
        return rc;
    report->scheduled_unet = c->unet_lr * factor;
    report->scheduled_text_encoder = c->text_encoder_lr * factor;
    if (c->network.has_unet)
        report->lr_unet = lx_optimizer_rate(t->optimizer, c->unet_lr * factor);
    if (c->network.has_text_encoder)
        report->lr_text_encoder =
            lx_optimizer_rate(t->optimizer, c->text_encoder_lr * factor);
    return LX_OK;
}

/* What the device made of a step that it did: nothing was updated if a gradient was not finite, which
 * happens where the loss is scaled and is no error then, unless nothing is left of the scale. */
static int take_results(lx_train *t, lx_train__pending_step *of, lx_error *err)
{
    const bool scales = lx_train_narrow(t->config, t->dev) == LX_F16;
    lx_update_result found;
    int rc = lx_updater_result(t->updater, of->update, &found, err);

    of->is_queued = false;
    for (int i = 0; i < of->n_micro && rc == LX_OK; i++) {
        lx_step_loss *later = &of->losses[i].later;
        if ((rc = lx_step_loss_of(&later->value, t->step, later, err)) < 0)
            break;
        later->value /= found.scale;
        if (!isfinite(later->value))
            rc = fail_not_finite(of->losses[i].first_image, of->report.step, later->value,
                                 err);
    }
    if (rc < 0)
        return rc;
    of->report.grad_norm = found.norm;
    return found.is_finite || (scales && found.scale > 1)
               ? LX_OK
               : fail_gradient(of->report.step, err);
}

/* The step's numbers are known: they are recorded and told. */
int lx_train__settle(lx_train *t, lx_train__pending_step *of, lx_error *err)
{
    lx_step_report *report = &of->report;
    int rc = of->is_queued ? take_results(t, of, err) : LX_OK;

    if (rc < 0)
        return rc;
    for (int i = 0; i < of->n_micro; i++) {
        const double loss = of->losses[i].later.value;
        report->average_loss = record_loss(&t->at, of->losses[i].batch, loss);
        report->loss += loss;
    }
    report->loss /= of->n_micro;
    t->average_loss = report->average_loss;
    return t->observer->on_step ? t->observer->on_step(t->observer->context, report, err)
                                : LX_OK;
}

/* Waits for what is queued, tells its steps, and brings values and states to the host. */
int lx_train__catch_up(lx_train *t, lx_error *err)
{
    int rc = LX_OK;

    if (!t->updater)
        return LX_OK;
    for (int64_t i = 0; i < 2 && rc == LX_OK; i++) { /* the older one first */
        lx_train__pending_step *of = &t->steps[(t->at.step + i) % 2];
        if (of->is_queued)
            rc = lx_train__settle(t, of, err);
    }
    return rc < 0 ? rc : lx_updater_fetch(t->updater, err);
}
