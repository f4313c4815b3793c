#include "src/selftest/training.h"

#include <math.h>
#include <string.h>

#include "kernels/peak.h"
#include "src/base/alloc.h"
#include "src/base/rng.h"
#include "src/train/step.h"
#include "src/train/updater.h"

enum { RANK = 4, BATCH = 2, SIDE = 8, TOKENS = 77, LATENTS = BATCH * 4 * SIDE * SIDE };
enum { BOS = 49406, EOS = 49407, WORDS = 49406 };

const double *lx_selftest_losses(const lx_synth_profile *model)
{
    static const double tiny[LX_SELFTEST_STEPS] = {1.06268954, 1.09847856, 1.09927392,
                                                   1.1032002,  1.13541293, 1.18088889};
    static const double nano[LX_SELFTEST_STEPS] = {1.00960183, 1.04630458, 1.0625639,
                                                   1.05378067, 1.09828281, 1.17470467};

    return strcmp(model->name, "tiny") == 0 ? tiny : nano;
}

/* All of one training. */
typedef struct training {
    lx_device *dev;
    lx_checkpoint *checkpoint;
    lx_sd_config sd;
    lx_train_config config;
    lx_lora *lora;
    lx_step *step;
    lx_optimizer *optimizer;
    lx_updater *updater; /* NULL: the host updates */
} training;

/* What a step is given. */
typedef struct batch {
    float latents[LATENTS], noise[LATENTS], weights[BATCH];
    int64_t timesteps[BATCH], ids[BATCH * TOKENS];
} batch;

static void draw(batch *b, int step)
{
    const lx_rng latents = lx_rng_stream(1, LX_RNG_TEST, 0, 0);
    const lx_rng noise = lx_rng_stream(2, LX_RNG_TEST, (uint64_t)step, 0);

    lx_rng_normal(b->latents, LATENTS, 0, &latents);
    lx_rng_normal(b->noise, LATENTS, 0, &noise);
    for (int i = 0; i < BATCH; i++) {
        b->weights[i] = 1;
        b->timesteps[i] = (389 * (BATCH * step + i) + 101) % 1000;
        for (int k = 0; k < TOKENS; k++)
            b->ids[i * TOKENS + k] = k == 0  ? BOS
                                     : k < 9 ? (1009 * k + 13 * i) % WORDS
                                             : EOS;
    }
}

static lx_step_inputs inputs_of(const batch *b)
{
    return (lx_step_inputs){.batch = BATCH,
                            .n_chunks = 1,
                            .h = SIDE,
                            .w = SIDE,
                            .latents = b->latents,
                            .noise = b->noise,
                            .timesteps = b->timesteps,
                            .input_ids = b->ids,
                            .loss_weights = b->weights};
}

static void configure(lx_train_config *config, const char *precision)
{
    lx_train_config_defaults(config);
    config->network = (lx_lora_spec){
        .rank = RANK, .alpha = RANK, .has_unet = true, .has_text_encoder = true};
    config->learning_rate = config->unet_lr = config->text_encoder_lr = 1e-3;
    config->mixed_precision = precision;
}

static int open_model(training *t, const lx_synth_profile *profile, const char *path,
                      lx_error *err)
{
    const lx_dtype narrow = lx_train_narrow(&t->config, t->dev);
    lx_step_model model;
    int rc;

    if ((rc = lx_checkpoint_open(&t->checkpoint, path, NULL, err)) < 0 ||
        (rc = lx_checkpoint_config(&t->sd, t->checkpoint, profile->text_heads, err)) <
            0 ||
        (rc = lx_lora_create(&t->lora, t->dev, t->checkpoint, &t->sd, &t->config.network,
                             1, err)) < 0 ||
        (narrow != LX_F32 && (rc = lx_lora_narrow(t->lora, narrow, err)) < 0))
        return rc;
    model = (lx_step_model){.dev = t->dev,
                            .checkpoint = t->checkpoint,
                            .sd = &t->sd,
                            .lora = t->lora,
                            .config = &t->config};
    return lx_step_new(&t->step, &model, err);
}

static int open_optimizer(training *t, lx_error *err)
{
    const lx_trainable *tensors;
    lx_plan_memory memory;
    size_t n;
    int rc;

    if ((rc = lx_step_prepare(t->step, BATCH, SIDE, SIDE, 1, &memory, err)) < 0)
        return rc;
    tensors = lx_step_trainables(t->step, &n);
    if ((rc = lx_optimizer_new(&t->optimizer, &t->config.optimizer, tensors, n, err)) < 0)
        return rc;
    if (lx_updater_is_possible(t->dev, &t->config) &&
        ((rc = lx_updater_new(&t->updater, t->lora, t->optimizer,
                              lx_train_narrow(&t->config, t->dev) == LX_F16, tensors, n,
                              t->config.max_grad_norm, err)) < 0 ||
         (rc = lx_updater_send(t->updater, err)) < 0))
        return rc;
    lx_step_scale_loss(t->step, t->updater);
    lx_step_zero_gradients(t->step);
    return t->updater ? LX_OK : lx_lora_send(t->lora, err);
}

static void close_training(training *t)
{
    lx_updater_free(t->updater);
    lx_optimizer_free(t->optimizer);
    lx_step_free(t->step);
    lx_lora_free(t->lora);
    lx_checkpoint_close(t->checkpoint);
}

static int update_on_device(double *scale, training *t, lx_error *err)
{
    lx_update_result found = {0};
    uint64_t ticket;
    int rc;

    if ((rc = lx_updater_queue(t->updater, 1, &ticket, err)) < 0 ||
        (rc = lx_updater_result(t->updater, ticket, &found, err)) < 0)
        return rc;
    *scale = found.scale;
    return LX_OK;
}

static int update_on_host(training *t, lx_error *err)
{
    size_t n;
    const lx_trainable *tensors = lx_step_trainables(t->step, &n);

    if (t->config.max_grad_norm > 0)
        lx_gradient_clip(tensors, n, lx_gradient_norm(tensors, n),
                         t->config.max_grad_norm);
    lx_optimizer_step(t->optimizer, tensors, 1);
    lx_step_zero_gradients(t->step);
    return lx_lora_send(t->lora, err);
}

static int run_step(double *loss, training *t, batch *b, int step, lx_error *err)
{
    double scale = 1;
    lx_step_inputs in;
    int rc;

    draw(b, step);
    in = inputs_of(b);
    if ((rc = lx_step_run(loss, t->step, &in, 1, err)) < 0)
        return rc;
    rc = t->updater ? update_on_device(&scale, t, err) : update_on_host(t, err);
    *loss /= scale;
    return rc;
}

static int keep(float **out, const training *t, lx_error *err)
{
    const size_t bytes = t->lora->n_values * sizeof **out;

    if (!(*out = lx_alloc(bytes)))
        return lx_oom(err);
    memcpy(*out, t->lora->host_values, bytes);
    return LX_OK;
}

static int run_steps(lx_selftest_trained *out, training *t, lx_error *err)
{
    enum { UNCOUNTED = 2 }; /* the first is a plain run, the second is recorded */
    batch *b = lx_alloc(sizeof *b);
    double start = 0;
    int rc = b ? LX_OK : lx_oom(err);

    for (int i = 0; i < LX_SELFTEST_STEPS && rc == LX_OK; i++) {
        if (i == UNCOUNTED)
            start = lx_peak_clock(t->dev);
        rc = run_step(&out->losses[i], t, b, i, err);
    }
    out->seconds = (lx_peak_clock(t->dev) - start) / (LX_SELFTEST_STEPS - UNCOUNTED);
    if (rc == LX_OK && t->updater)
        rc = lx_updater_fetch(t->updater, err);
    lx_free(b);
    return rc;
}

int lx_selftest_train(lx_selftest_trained *out, lx_device *dev,
                      const lx_synth_profile *model, const char *checkpoint,
                      const char *precision, lx_error *err)
{
    training t = {.dev = dev};
    int rc;

    *out = (lx_selftest_trained){.n = 0};
    configure(&t.config, precision);
    if ((rc = open_model(&t, model, checkpoint, err)) < 0 ||
        (rc = open_optimizer(&t, err)) < 0 || (rc = keep(&out->start, &t, err)) < 0 ||
        (rc = run_steps(out, &t, err)) < 0)
        goto done;
    rc = keep(&out->values, &t, err);
    out->n = t.lora->n_values;
done:
    close_training(&t);
    return rc;
}

void lx_selftest_trained_free(lx_selftest_trained *trained)
{
    lx_free(trained->values);
    lx_free(trained->start);
    *trained = (lx_selftest_trained){.n = 0};
}

double lx_selftest_distance(const lx_selftest_trained *a, const lx_selftest_trained *b)
{
    double apart = 0, moved = 0;

    if (a->n != b->n)
        return INFINITY;
    for (size_t i = 0; i < a->n; i++) {
        apart +=
            ((double)a->values[i] - b->values[i]) * ((double)a->values[i] - b->values[i]);
        moved +=
            ((double)b->values[i] - b->start[i]) * ((double)b->values[i] - b->start[i]);
    }
    return apart == 0 ? 0 : sqrt(apart / moved);
}
