#include "src/train/session.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/resident.h"
#include "src/data/latent_cache.h"
#include "src/text/prompt.h"
#include "src/text/tokenizer.h"
#include "src/train/draw.h"
#include "src/train/latents.h"
#include "src/train/output.h"
#include "src/train/samples.h"
#include "src/train/updater.h"
#include "src/train/validation.h"

/* A micro-step whose loss may not be known yet. */
typedef struct pending_loss {
    lx_step_loss later;
    int64_t batch;           /* in its epoch */
    const char *first_image; /* of it, to be named in errors */
} pending_loss;

/* A step that is done, or queued on a device that updates by itself. */
typedef struct pending_step {
    bool is_queued;
    lx_step_report report;
    pending_loss *losses; /* [gradient_accumulation_steps] */
    int n_micro;
    uint64_t update; /* what lx_updater_result is asked with */
} pending_step;

struct lx_train {
    const lx_train_config *config;
    const lx_dataset *dataset;
    const lx_train_identity *identity;
    const lx_observer *observer;
    lx_arena *arena;

    lx_device *dev;
    lx_checkpoint *checkpoint;
    lx_sd_config sd;
    lx_lora *lora;
    lx_tokenizer *tokenizer;
    lx_loader *loader;
    lx_latents *latents;
    lx_step *step;
    lx_optimizer *optimizer;
    lx_updater *updater;   /* the device's updates; NULL = the host's */
    pending_step steps[2]; /* the one that is queued, and the one before it */
    lx_metadata metadata;
    lx_output output;
    lx_samples samples;
    lx_validation *validation; /* NULL = none */
    double average_loss;       /* of the last step; NaN before it */
    lx_schedule schedule;
    lx_step_count count;
    lx_plan_memory memory; /* of the largest shape */
    /* for the footprint: in memory before the model was opened, and the LoRA as it was made */
    lx_resident before;
    size_t lora_resident, beside_arena;

    lx_draw draw;
    int64_t *input_ids; /* [B, chunks, 77] */
    float *token_weights;
    size_t ids_capacity, weights_capacity;

    lx_train_progress at;
    double autosaved; /* when, by the monotonic clock */
};

/* ---- opening ---------------------------------------------------------------------- */

static const char *algo_of(lx_lora_kind kind)
{
    return kind == LX_KIND_LOHA ? "loha" : kind == LX_KIND_LOKR ? "lokr" : "lora";
}

/* A family that was asked for and is not the file's. */
static int check_kind(const lx_train *t, lx_error *err)
{
    const lx_lora_spec *asked = &t->config->network;

    for (size_t i = 0; i < t->lora->count; i++) {
        const lx_lora_kind kind = t->lora->modules[i].kind;
        if (kind == asked->kind)
            continue;
        return lx_fail(
            err, LX_EMISMATCH, "%s is a %s: go on with %s--network_args algo=%s",
            t->lora->modules[i].name, lx_lora_kind_name(kind),
            asked->is_lycoris ? "" : "--network_module lycoris.kohya ", algo_of(kind));
    }
    return LX_OK;
}

/* A rank that was asked for and is not the file's; --dim_from_weights asks for the file's. */
static int check_rank(const lx_train *t, lx_error *err)
{
    const lx_train_config *c = t->config;

    for (size_t i = 0; i < t->lora->count && c->network_dim_given && !c->dim_from_weights;
         i++) {
        const lx_lora_module *m = &t->lora->modules[i];
        const bool is_whole = m->kind == LX_KIND_LOKR && lx_lokr_is_whole(m);
        if (!is_whole && !m->is_conv && !c->network.has_block_ranks &&
            m->rank != c->network.rank)
            return lx_fail(
                err, LX_EMISMATCH,
                "%s has rank %d, --network_dim asks for %d: leave it out, or add "
                "--dim_from_weights",
                m->name, m->rank, c->network.rank);
    }
    return LX_OK;
}

static int merge_base(lx_train *t, lx_error *err)
{
    const lx_train_config *c = t->config;
    int rc = LX_OK;

    for (size_t i = 0; i < c->n_base_weights && rc == LX_OK; i++) {
        rc = lx_lora_merge_into(t->checkpoint, &t->sd, c->base_weights[i],
                                c->base_weights_multiplier[i], err);
        if (rc < 0)
            lx_within(err, "--base_weights");
    }
    return rc;
}

static int read_lora(lx_train *t, lx_error *err)
{
    const lx_train_config *c = t->config;
    int rc;

    if (!c->network_weights) {
        rc = lx_lora_create(&t->lora, t->dev, t->checkpoint, &t->sd, &c->network, c->seed,
                            err);
        if (rc < 0)
            lx_within(err, "%s", c->pretrained_model_name_or_path);
        return rc;
    }
    rc = lx_lora_open(&t->lora, t->dev, t->checkpoint, &t->sd, c->network_weights, true,
                      err);
    if (rc == LX_OK && (rc = check_kind(t, err)) == LX_OK)
        rc = check_rank(t, err);
    if (rc < 0)
        lx_within(err, "--network_weights %s", c->network_weights);
    return rc;
}

static int make_lora(lx_train *t, lx_error *err)
{
    const size_t before = lx_resident_now().anonymous;
    int rc = read_lora(t, err);
    const size_t after = lx_resident_now().anonymous;

    t->lora_resident = after > before ? after - before : 0;
    return rc;
}

/* Not every device has the op that a LoHa is made by. */
static int check_device(const lx_train *t, lx_error *err)
{
    for (size_t i = 0; i < t->lora->count; i++)
        if (t->lora->modules[i].kind == LX_KIND_LOHA &&
            !t->dev->kernels[LX_OP_hadamard].run)
            return lx_fail(err, LX_EUNSUPPORTED,
                           "algo=loha is trained on the CPU only: use --device cpu, or "
                           "algo=lokr or networks.lora on the GPU");
    return LX_OK;
}

/* Factors are rounded once an update rather than wherever they are used. */
static int narrow_lora(lx_train *t, lx_error *err)
{
    const lx_dtype narrow = lx_train_narrow(t->config, t->dev);

    return narrow == LX_F32 ? LX_OK : lx_lora_narrow(t->lora, narrow, err);
}

/* What the shapes say of the base model. */
static int read_architecture(lx_train *t, lx_error *err)
{
    const lx_train_config *c = t->config;
    int rc = lx_checkpoint_config(&t->sd, t->checkpoint, c->text_encoder_heads, err);

    if (rc == LX_OK && t->sd.vocab_size <= LX_TOKEN_EOS)
        rc = lx_fail(err, LX_EUNSUPPORTED,
                     "the text encoder has a vocabulary of %d tokens, CLIP's has %d",
                     t->sd.vocab_size, LX_TOKEN_EOS + 1);
    if (rc < 0)
        lx_within(err, "%s", c->pretrained_model_name_or_path);
    return rc;
}

int lx_train_open(lx_train **out, const lx_train_config *config,
                  const lx_dataset *dataset, const lx_train_identity *identity,
                  const lx_observer *observer, lx_error *err)
{
    lx_train *t = lx_calloc(1, sizeof *t);
    int rc;

    if (!t || !(t->arena = lx_arena_new())) {
        lx_free(t);
        return lx_oom(err);
    }
    t->config = config;
    t->dataset = dataset;
    t->identity = identity;
    t->observer = observer;
    t->before = lx_resident_now();
    if ((rc = lx_device_open(&t->dev, config->device, config->threads, err)) < 0 ||
        (rc = lx_checkpoint_open(&t->checkpoint, config->pretrained_model_name_or_path,
                                 config->vae, err)) < 0 ||
        (rc = read_architecture(t, err)) < 0 || (rc = merge_base(t, err)) < 0 ||
        (rc = make_lora(t, err)) < 0 || (rc = check_device(t, err)) < 0 ||
        (rc = narrow_lora(t, err)) < 0 ||
        (rc = lx_tokenizer_new(&t->tokenizer, err)) < 0) {
        lx_train_close(t);
        return rc;
    }
    *out = t;
    return LX_OK;
}

void lx_train_close(lx_train *t)
{
    if (!t)
        return;
    lx_updater_free(t->updater);
    lx_optimizer_free(t->optimizer);
    lx_validation_free(t->validation);
    lx_step_free(t->step);
    lx_loader_free(t->loader);
    lx_latents_free(t->latents);
    lx_tokenizer_free(t->tokenizer);
    lx_lora_free(t->lora);
    lx_checkpoint_close(t->checkpoint);
    lx_device_close(t->dev);
    lx_metadata_release(&t->metadata);
    lx_draw_release(&t->draw);
    lx_free(t->input_ids);
    lx_free(t->token_weights);
    lx_free(t->at.recent);
    lx_arena_free(t->arena);
    lx_free(t);
}

/* ---- preparing: latents, plans, names --------------------------------------------- */

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

static int prepare_loader(lx_train *t, lx_error *err)
{
    const lx_train_config *c = t->config;
    int rc;

    if ((rc = lx_latents_new(&t->latents, t->dev, t->checkpoint, &t->sd, err)) < 0 ||
        (rc = lx_loader_new(&t->loader, t->dataset, c->seed, c->prior_loss_weight,
                            t->count.total_steps, lx_latents_encode, t->latents, err)) <
            0 ||
        (c->max_data_loader_n_workers && (rc = lx_loader_read_ahead(t->loader, err)) < 0) ||
        (rc = prepare_validation(t, err)) < 0)
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

static int chunks_of(const lx_train_config *c)
{
    return c->max_token_length / 75;
}

/* ---- what it will hold ------------------------------------------------------------- */

/* The VAE's arena for the largest image; its weights stay listed, to be counted. */
static int encoder_arena(size_t *out, const lx_train *t, lx_error *err)
{
    int64_t most = 0;
    int rc = LX_OK;

    *out = 0;
    for (size_t i = 0; i < t->dataset->n_buckets && rc == LX_OK; i++) {
        const lx_bucket *b = &t->dataset->buckets[i];
        if ((int64_t)b->width * b->height <= most)
            continue;
        most = (int64_t)b->width * b->height;
        rc = lx_latents_arena(out, t->latents, b->width, b->height, err);
    }
    return rc;
}

/* What of the process is neither LoRA nor weight nor latents, which are counted on their own. */
static size_t program_bytes(const lx_train *t, size_t counted)
{
    const size_t now = lx_resident_now().anonymous;

    return t->before.file + (now > counted ? now - counted : 0);
}

/* Weights and LoRA are on the device when a graph has been built; the optimizer's states will be. The
 * VAE's weights, which may be there too, are gone before the first step where latents are cached. */
static void count_device(lx_footprint *f, const lx_train *t, size_t encoder_arena)
{
    const size_t held = t->dev->bytes_now, vae = f->encoder - encoder_arena,
                 beside = f->lora + t->lora->narrow_bytes + (f->is_cached ? vae : 0);

    f->device_weights = held > beside ? held - beside : 0;
    f->lora += t->lora->narrow_bytes;
    f->packed = t->memory.packed_bytes;
    f->context = LX_FOOTPRINT_CONTEXT;
    f->device = f->device_weights + f->packed + f->arena + f->lora + f->optimizer +
                f->context + (f->is_cached ? 0 : encoder_arena);
}

static int count_footprint(lx_footprint *out, lx_train *t, size_t encoder, lx_error *err)
{
    lx_footprint_of of = {.config = t->config,
                          .dataset = t->dataset,
                          .checkpoint = t->checkpoint,
                          .lora = t->lora,
                          .arena = t->memory.arena_bytes,
                          .encoder_arena = encoder,
                          .is_copied_to_save = !t->dev->uses_host_memory};
    size_t counted;
    int rc;

    of.tensors = lx_step_trainables(t->step, &of.n_tensors);
    if ((rc = lx_footprint_count(out, &of, err)) < 0)
        return rc;
    counted = t->lora_resident + out->copied;
    if (t->loader && t->config->data.cache_latents)
        counted += out->latents;
    of.program = program_bytes(t, counted);
    if ((rc = lx_footprint_count(out, &of, err)) == LX_OK && !t->dev->uses_host_memory)
        count_device(out, t, encoder);
    return rc;
}

/* Bytes for the tables of plans that are made after the limit was asked for. */
enum { PLANS_TO_COME = 8 << 20 };

/* Asked by the first shape, when no arena is there yet, and the same for all. */
static int beside_arena(void *context, size_t *out, lx_error *err)
{
    lx_train *t = context;
    lx_footprint f;
    size_t encoder = 0;
    int rc;

    if (!t->beside_arena) {
        if (t->latents && (rc = encoder_arena(&encoder, t, err)) < 0)
            return rc;
        if ((rc = count_footprint(&f, t, encoder, err)) < 0)
            return rc;
        t->beside_arena =
            f.device ? f.device - f.arena : lx_footprint_beside_arena(&f) + PLANS_TO_COME;
    }
    *out = t->beside_arena;
    return LX_OK;
}

/* Every batch size and bucket that an epoch meets, the largest first. */
static int prepare_plans(lx_train *t, lx_error *err)
{
    const int chunks = chunks_of(t->config);
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
                                  sizeof(pending_loss))))
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
                                 .beside_arena = beside_arena,
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
        (rc = prepare_plans(t, err)) < 0 || (rc = lx_step_take(t->step, err)) < 0)
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
                                 .beside_arena = beside_arena,
                                 .beside_context = t};
    size_t encoder = 0;
    int rc;

    if ((rc = lx_latents_new(&t->latents, t->dev, t->checkpoint, &t->sd, err)) < 0 ||
        (rc = lx_step_new(&t->step, &model, err)) < 0 ||
        (rc = prepare_plans(t, err)) < 0 || (rc = encoder_arena(&encoder, t, err)) < 0)
        return rc;
    return count_footprint(out, t, encoder, err);
}

lx_step_model lx_train_model(const lx_train *t)
{
    return (lx_step_model){.dev = t->dev,
                           .checkpoint = t->checkpoint,
                           .sd = &t->sd,
                           .lora = t->lora,
                           .config = t->config};
}

lx_step *lx_train_step(const lx_train *t)
{
    return t->step;
}

lx_plan_memory lx_train_memory(const lx_train *t)
{
    return t->memory;
}

lx_step_count lx_train_steps(const lx_train *t)
{
    return t->count;
}

const lx_lora *lx_train_lora(const lx_train *t)
{
    return t->lora;
}

/* ---- running ---------------------------------------------------------------------- */

/* Weights of the joined context: the first BOS, 75 of each chunk, the last EOS. */
static int encode_weighted(lx_train *t, int64_t *ids, float *joined, const char *text,
                           lx_error *err)
{
    float weights[3 * LX_CHUNK];
    const int chunks = chunks_of(t->config);
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
    const size_t chunks = (size_t)chunks_of(c), n = (size_t)batch->size;
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
static int micro_step(lx_train *t, pending_step *of, int n, lx_error *err)
{
    pending_loss *loss = &of->losses[n];
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
    in.n_chunks = chunks_of(c);
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

static double seconds_now(void)
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

static int update(lx_train *t, pending_step *of, lx_error *err)
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
static int take_results(lx_train *t, pending_step *of, lx_error *err)
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
static int settle(lx_train *t, pending_step *of, lx_error *err)
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
static int catch_up(lx_train *t, lx_error *err)
{
    int rc = LX_OK;

    if (!t->updater)
        return LX_OK;
    for (int64_t i = 0; i < 2 && rc == LX_OK; i++) { /* the older one first */
        pending_step *of = &t->steps[(t->at.step + i) % 2];
        if (of->is_queued)
            rc = settle(t, of, err);
    }
    return rc < 0 ? rc : lx_updater_fetch(t->updater, err);
}

/* What is saved is what is to be used, where that is not what is trained. */
static int show_averages(lx_train *t, bool on, lx_error *err)
{
    size_t n;
    const lx_trainable *tensors = lx_step_trainables(t->step, &n);

    return lx_optimizer_show_averages(t->optimizer, tensors, on)
               ? lx_lora_send(t->lora, err)
               : LX_OK;
}

static bool wants_stop(const lx_train *t)
{
    return t->observer->should_stop && t->observer->should_stop(t->observer->context);
}

static bool is_time_to_autosave(const lx_train *t)
{
    const double minutes = t->config->autosave_minutes;

    return minutes != 0 && seconds_now() - t->autosaved >= minutes * 60;
}

/* Does anybody look at the values after this step? */
static bool is_anything_due(const lx_train *t)
{
    const lx_train_config *c = t->config;
    const int64_t step = t->at.step;

    return (c->save_every_n_steps > 0 && step % c->save_every_n_steps == 0) ||
           (t->validation && lx_validation_after_step(c, step)) ||
           lx_samples_is_due(c, false, 0, step) || is_time_to_autosave(t);
}

/* Of the LoRA that would be saved now. */
static int validate(lx_train *t, bool is_epoch, lx_error *err)
{
    lx_validation_report report = {.step = t->at.step,
                                   .epoch = (int)t->at.epoch + !is_epoch,
                                   .is_epoch = is_epoch,
                                   .average_loss = t->average_loss};
    int rc;

    if ((rc = show_averages(t, true, err)) == LX_OK &&
        (rc = lx_validation_run(&report, t->validation, err)) == LX_OK)
        rc = show_averages(t, false, err);
    if (rc == LX_OK && t->observer->on_validation)
        rc = t->observer->on_validation(t->observer->context, &report, err);
    return rc;
}

/* The files and states that are due after a step. */
static int save_step(lx_train *t, lx_error *err)
{
    int rc = show_averages(t, true, err);

    if (rc == LX_OK &&
        (rc = lx_samples_draw(&t->samples, false, 0, t->at.step, err)) == LX_OK)
        rc = lx_output_step(&t->output, (int)t->at.epoch, t->at.step, err);
    if (rc == LX_OK && (rc = show_averages(t, false, err)) == LX_OK)
        rc = lx_output_step_state(&t->output, t->at.step, err);
    if (rc == LX_OK && is_time_to_autosave(t)) {
        t->autosaved = seconds_now();
        rc = lx_output_autosave(&t->output, err);
    }
    return rc;
}

/* The micro-steps of one update, and the update. Where the device does both, this only queues them, and
 * the numbers told are those of the step before. */
static int one_step(lx_train *t, lx_error *err)
{
    lx_train_progress *at = &t->at;
    const double started = seconds_now();
    pending_step *now = &t->steps[at->step % 2], *before = &t->steps[(at->step + 1) % 2];
    int rc;

    now->n_micro = 0;
    now->report = (lx_step_report){.step = at->step + 1,
                                   .total_steps = t->count.total_steps,
                                   .epoch = (int)at->epoch + 1,
                                   .total_epochs = (int)t->count.epochs};
    while (now->n_micro < t->config->gradient_accumulation_steps &&
           at->batch < at->batches)
        if ((rc = micro_step(t, now, now->n_micro, err)) < 0)
            return rc;
    if ((rc = update(t, now, err)) < 0)
        return rc;
    at->step++;
    now->is_queued = t->updater != NULL;
    now->report.images_seen = at->images_seen;
    if (before->is_queued && (rc = settle(t, before, err)) < 0)
        return rc;
    now->report.seconds = seconds_now() - started;
    if (now->is_queued && !is_anything_due(t))
        return LX_OK;
    if ((rc = now->is_queued ? catch_up(t, err) : settle(t, now, err)) < 0)
        return rc;
    if (t->validation && lx_validation_after_step(t->config, at->step) &&
        (rc = validate(t, false, err)) < 0)
        return rc;
    return save_step(t, err);
}

static int end_epoch(lx_train *t, lx_error *err)
{
    int rc = catch_up(t, err);

    if (rc < 0)
        return rc;
    t->at.epoch++;
    t->at.batch = 0;
    if (t->validation && lx_validation_after_epoch(t->config, (int)t->at.epoch) &&
        (rc = validate(t, true, err)) < 0)
        return rc;
    if (t->observer->on_epoch &&
        (rc = t->observer->on_epoch(t->observer->context, (int)t->at.epoch,
                                    t->average_loss, err)) < 0)
        return rc;
    if ((rc = show_averages(t, true, err)) == LX_OK &&
        (rc = lx_output_epoch(&t->output, (int)t->at.epoch, t->at.step, err)) == LX_OK &&
        (rc = lx_samples_draw(&t->samples, false, (int)t->at.epoch, t->at.step, err)) ==
            LX_OK)
        rc = show_averages(t, false, err);
    return rc < 0 ? rc : lx_output_epoch_state(&t->output, (int)t->at.epoch, err);
}

/* To the end of the epoch or of all steps; a wish to stop is looked at between steps. */
static int one_epoch(lx_train *t, bool *is_stopped, lx_error *err)
{
    int rc;

    while (t->at.batch < t->at.batches && t->at.step < t->count.total_steps) {
        *is_stopped = wants_stop(t);
        if (*is_stopped)
            return LX_OK;
        if ((rc = one_step(t, err)) < 0)
            return rc;
    }
    return end_epoch(t, err);
}

static int start(lx_train *t, lx_error *err)
{
    int rc;

    lx_step_zero_gradients(t->step);
    t->autosaved = seconds_now();
    if (!t->config->resume) {
        if (t->validation && (rc = validate(t, false, err)) < 0)
            return rc;
        return lx_samples_draw(&t->samples, true, 0, 0, err);
    }
    if ((rc = lx_state_load(&t->output.state, t->config->resume, err)) < 0) {
        lx_within(err, "--resume");
        return rc;
    }
    rc = t->updater ? lx_updater_send(t->updater, err) : lx_lora_send(t->lora, err);
    if (rc < 0)
        return rc;
    if (t->at.step >= t->count.total_steps)
        return lx_fail(
            err, LX_EUSAGE,
            "--resume: the state is at step %lld of %lld: nothing is left to train",
            (long long)t->at.step, (long long)t->count.total_steps);
    return LX_OK;
}

/* What an interrupted training leaves: the LoRA as it is, and the state to go on from. */
static int stop(lx_train *t, lx_error *err)
{
    lx_str state = LX_STR_INIT;
    int rc = catch_up(t, err);

    if (rc < 0)
        return rc;
    if (t->at.step > 0) {
        if ((rc = lx_output_autosave(&t->output, err)) < 0)
            return rc;
        if ((rc = show_averages(t, true, err)) == LX_OK)
            rc = lx_output_last(&t->output, (int)t->at.epoch, t->at.step, err);
    }
    if (rc < 0)
        return rc;
    lx_output_autosave_path(&state, t->config, NULL);
    lx_fail(err, LX_EINTERRUPTED, "stopped after step %lld of %lld%s%s",
            (long long)t->at.step, (long long)t->count.total_steps,
            t->at.step ? "; what was trained is saved, and lx resume goes on from " : "",
            t->at.step ? lx_str_text(&state) : "");
    lx_str_release(&state);
    return LX_EINTERRUPTED;
}

int lx_train_run(lx_train *t, lx_error *err)
{
    bool is_stopped = false;
    int rc = start(t, err);

    while (rc == LX_OK && !is_stopped && t->at.epoch < t->count.epochs)
        rc = one_epoch(t, &is_stopped, err);
    if (rc < 0)
        return rc;
    if (is_stopped)
        return stop(t, err);
    if ((rc = lx_output_last_state(&t->output, err)) < 0 ||
        (rc = show_averages(t, true, err)) < 0) /* nothing is trained after this */
        return rc;
    if (t->at.step > 0 &&
        (rc = lx_output_last(&t->output, (int)t->at.epoch, t->at.step, err)) < 0)
        return rc;
    lx_output_end_autosave(&t->output);
    return LX_OK;
}
