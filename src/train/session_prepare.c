/* Before the first step: latents, plans, names; all memory is taken here. */
#include "src/train/session_internal.h"

#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/data/latent_cache.h"

static int on_cached(void *context, int64_t done, int64_t total, lx_error *err)
{
    lx_train *t = context;
    if (t->observer->should_stop && t->observer->should_stop(t->observer->context))
        return lx_fail(err, LX_EINTERRUPTED, "stopped while caching latents");
    if (t->observer->on_phase)
        return t->observer->on_phase(t->observer->context, "caching latents", done, total,
                                     err);
    return LX_OK;
}

/* The weights that decide what an image becomes name the files on disk. */
static void keep_latents(lx_train *t)
{
    lx_latent_cache cache = {.folder = t->config->data.latent_cache_dir};
    const size_t n = lx_checkpoint_count(t->checkpoint, LX_VAE);
    lx_sha256 hash;

    if (!cache.folder)
        return;
    lx_sha256_init(&hash);
    for (size_t i = 0; i < n; i++) {
        const char *name;
        const lx_tensor_view *view = lx_checkpoint_at(t->checkpoint, LX_VAE, i, &name);
        lx_sha256_update(&hash, name, strlen(name) + 1);
        lx_sha256_update(&hash, lx_dtype_name(view->dtype),
                         strlen(lx_dtype_name(view->dtype)) + 1);
        lx_sha256_update(&hash, view->data, view->bytes);
    }
    cache.vae = lx_sha256_final(&hash);
    lx_loader_keep_latents(t->loader, &cache);
}

static int prepare_validation(lx_train *t, lx_error *err)
{
    const lx_validation_of of = {.config = t->config,
                                 .dataset = t->dataset,
                                 .dev = t->dev,
                                 .checkpoint = t->checkpoint,
                                 .sd = &t->sd,
                                 .lora = t->lora,
                                 .tokenizer = t->tokenizer,
                                 .encode = lx_latents_encode,
                                 .encode_context = t->latents};

    t->average_loss = (double)NAN;
    return lx_validation_new(&t->validation, &of, err);
}

/* Batches of the whole training: the last step may be in the middle of an epoch. */
static uint64_t total_batches(const lx_train *t)
{
    const lx_step_count *n = &t->count;
    const int64_t per_epoch = n->steps_per_epoch ? n->steps_per_epoch : 1,
                  epochs = n->total_steps / per_epoch,
                  rest =
                      n->total_steps % per_epoch * t->config->gradient_accumulation_steps;

    return (uint64_t)(epochs * n->batches_per_epoch + rest);
}

/* The thread that makes the next images ready. */
static int start_reading(lx_train *t, lx_error *err)
{
    if (!t->config->max_data_loader_n_workers)
        return LX_OK;
    return t->encoder_dev ? lx_loader_encode_ahead(t->loader, total_batches(t), err)
                          : lx_loader_read_ahead(t->loader, err);
}

static int prepare_loader(lx_train *t, lx_error *err)
{
    const lx_train_config *c = t->config;
    int rc;

    if ((rc = lx_latents_new(&t->latents, lx_train__encoder_dev(t), t->checkpoint, &t->sd,
                             err)) < 0 ||
        (rc = lx_loader_new(&t->loader, t->dataset, c->seed, c->prior_loss_weight,
                            t->count.total_steps, lx_latents_encode, t->latents, err)) <
            0 ||
        (rc = start_reading(t, err)) < 0 || (rc = prepare_validation(t, err)) < 0)
        return rc;
    if (!c->data.cache_latents)
        return LX_OK;
    keep_latents(t);
    if ((rc = lx_loader_cache_latents(t->loader, on_cached, t, err)) < 0)
        return rc;
    lx_latents_free(t->latents); /* and the VAE's weights with it */
    t->latents = NULL;
    return LX_OK;
}

/* Every batch size and bucket that an epoch meets, the largest first. */
static int prepare_plans(lx_train *t, lx_error *err)
{
    const int chunks = lx_train__chunks(t->config);
    bool *is_done = lx_calloc(t->dataset->n_buckets * 2 + 1, sizeof *is_done);
    int rc = LX_OK;

    if (!is_done)
        return lx_oom(err);
    for (;;) {
        size_t best = SIZE_MAX;
        int64_t best_size = 0;
        lx_plan_memory memory;
        for (size_t i = 0; i < 2 * t->dataset->n_buckets; i++) {
            const lx_bucket *b = &t->dataset->buckets[i / 2];
            const int64_t most = (int64_t)lx_dataset_batch_size(t->dataset, b);
            int64_t full = (int64_t)b->n_samples / most,
                    rest = (int64_t)b->n_samples % most;
            int64_t batch = i % 2 ? rest : full ? most : 0;
            int64_t size = batch * b->width * b->height;
            if (!is_done[i] && size > best_size) {
                best = i;
                best_size = size;
            }
        }
        if (best == SIZE_MAX)
            break;
        const lx_bucket *b = &t->dataset->buckets[best / 2];
        const size_t most = lx_dataset_batch_size(t->dataset, b);
        int batch = (int)(best % 2 ? b->n_samples % most : most);
        is_done[best] = true;
        if ((rc = lx_step_prepare(t->step, batch, b->height / 8, b->width / 8, chunks,
                                  &memory, err)) < 0)
            break;
        if (memory.arena_bytes > t->memory.arena_bytes)
            t->memory = memory;
    }
    lx_free(is_done);
    return rc;
}

static int prepare_optimizer(lx_train *t, lx_error *err)
{
    size_t n;
    const lx_trainable *tensors = lx_step_trainables(t->step, &n);

    const lx_train_config *c = t->config;
    const bool is_f16 = lx_train_narrow(c, t->dev) == LX_F16;
    int rc = lx_optimizer_new(&t->optimizer, &c->optimizer, tensors, n, err);

    for (int i = 0; i < 2 && rc == LX_OK; i++)
        if (!(t->steps[i].losses =
                  lx_arena_calloc(t->arena, (size_t)c->gradient_accumulation_steps,
                                  sizeof(lx_train__pending_loss))))
            rc = lx_oom(err);
    if (rc == LX_OK && lx_updater_is_possible(t->dev, c))
        rc = lx_updater_new(&t->updater, t->lora, t->optimizer, is_f16, tensors, n,
                            c->max_grad_norm, err);
    else if (rc == LX_OK && is_f16)
        rc = lx_fail(
            err, LX_EUNSUPPORTED,
            "--mixed_precision fp16 on %s scales the loss, which AdamW, AdamW8bit, Lion "
            "and Lion8bit do there, without --scale_weight_norms and module_dropout: "
            "take one of these, or bf16",
            t->dev->name);
    lx_step_scale_loss(t->step, t->updater);
    t->output.state = (lx_train_state){.lora = t->lora,
                                       .optimizer = t->optimizer,
                                       .progress = &t->at,
                                       .run_id = t->identity->run_id,
                                       .spec_hash = t->identity->spec_hash};
    return rc;
}

static int prepare_output(lx_train *t, lx_error *err)
{
    const lx_train_config *c = t->config;
    int rc;

    lx_metadata_init(&t->metadata, t->arena);
    if ((rc = lx_metadata_of_training(&t->metadata, c, t->dataset, &t->count, t->identity,
                                      err)) < 0)
        return rc;
    lx_metadata_of_weights(&t->metadata, c, t->lora);
    t->output = (lx_output){.config = c,
                            .lora = t->lora,
                            .metadata = &t->metadata,
                            .observer = t->observer,
                            .total_epochs = (int)t->count.epochs};
    return c->output_dir ? lx_make_dirs(c->output_dir, err) : LX_OK;
}

int lx_train_prepare(lx_train *t, lx_error *err)
{
    const lx_train_config *c = t->config;
    const lx_step_model model = {.dev = t->dev,
                                 .checkpoint = t->checkpoint,
                                 .sd = &t->sd,
                                 .lora = t->lora,
                                 .config = c,
                                 .beside_arena = lx_train__beside_arena,
                                 .beside_context = t};
    int rc;

    t->count = lx_dataset_steps(t->dataset, c->max_train_steps, c->max_train_epochs,
                                c->gradient_accumulation_steps);
    t->schedule = lx_train_schedule(c, t->count.total_steps);
    if ((rc = lx_schedule_check(&t->schedule, err)) < 0)
        return rc;
    t->at.batches = t->count.batches_per_epoch;
    t->at.recent = lx_calloc((size_t)t->at.batches, sizeof *t->at.recent);
    if (!t->at.recent)
        return lx_oom(err);
    t->samples = (lx_samples){.config = c,
                              .observer = t->observer,
                              .dev = t->dev,
                              .checkpoint = t->checkpoint,
                              .sd = &t->sd,
                              .lora = t->lora,
                              .tokenizer = t->tokenizer};
    if ((rc = lx_samples_check(&t->samples, err)) < 0 ||
        (rc = prepare_output(t, err)) < 0 || (rc = prepare_loader(t, err)) < 0 ||
        (rc = lx_step_new(&t->step, &model, err)) < 0 ||
        (rc = prepare_plans(t, err)) < 0 || (rc = lx_step_take(t->step, err)) < 0 ||
        (t->encoder_dev && (rc = lx_latents_prepare(t->latents, t->dataset->buckets,
                                                    t->dataset->n_buckets, err)) < 0))
        return rc;
    return prepare_optimizer(t, err);
}

int lx_train_estimate(lx_footprint *out, lx_train *t, lx_error *err)
{
    const lx_step_model model = {.dev = t->dev,
                                 .checkpoint = t->checkpoint,
                                 .sd = &t->sd,
                                 .lora = t->lora,
                                 .config = t->config,
                                 .beside_arena = lx_train__beside_arena,
                                 .beside_context = t};
    lx_plan_memory encoder = {0};
    int rc;

    if ((rc = lx_latents_new(&t->latents, lx_train__encoder_dev(t), t->checkpoint, &t->sd,
                             err)) < 0 ||
        (rc = lx_step_new(&t->step, &model, err)) < 0 ||
        (rc = prepare_plans(t, err)) < 0 ||
        (rc = lx_train__encoder_memory(&encoder, t, err)) < 0)
        return rc;
    return lx_train__count_footprint(out, t, &encoder, err);
}
