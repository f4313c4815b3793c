#include "src/train/forecast.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/train/latents.h"
#include "src/train/output.h"

/* Batches of one size in an epoch. */
typedef struct shape {
    int batch;
    int64_t h, w; /* cells */
    int64_t n;
    lx_plan_memory memory;
} shape;

typedef struct estimating {
    lx_forecast *out;
    lx_step_model model;
    lx_device *encoder;
    bool is_encoder_beside;
    const lx_dataset *dataset;
    lx_step_count count;
    lx_step *step;
    shape *shapes;
    size_t n_shapes;
    double budget;
} estimating;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static lx_span times(lx_span s, double n)
{
    return (lx_span){s.seconds * n, s.low * n, s.high * n};
}

static lx_span sum(lx_span a, lx_span b)
{
    return (lx_span){a.seconds + b.seconds, a.low + b.low, a.high + b.high};
}

/* Of what is done at the same time. */
static lx_span longer(lx_span a, lx_span b)
{
    return (lx_span){fmax(a.seconds, b.seconds), fmax(a.low, b.low),
                     fmax(a.high, b.high)};
}

static lx_span span_of(const lx_plan_timing *t)
{
    return (lx_span){t->seconds, t->low, t->high};
}

static int chunks_of(const lx_train_config *c)
{
    return c->max_token_length / 75;
}

/* ---- shapes ------------------------------------------------------------------------------ */

static int list_shapes(estimating *e, lx_error *err)
{
    if (!(e->shapes = lx_calloc(2 * e->dataset->n_buckets + 1, sizeof *e->shapes)))
        return lx_oom(err);
    for (size_t i = 0; i < e->dataset->n_buckets; i++) {
        const lx_bucket *b = &e->dataset->buckets[i];
        const size_t most = lx_dataset_batch_size(e->dataset, b);
        const shape whole = {.batch = (int)most,
                             .h = b->height / 8,
                             .w = b->width / 8,
                             .n = (int64_t)(b->n_samples / most)};
        if (whole.n)
            e->shapes[e->n_shapes++] = whole;
        if (b->n_samples % most) {
            e->shapes[e->n_shapes] = whole;
            e->shapes[e->n_shapes].batch = (int)(b->n_samples % most);
            e->shapes[e->n_shapes++].n = 1;
        }
    }
    return LX_OK;
}

static int plan_shapes(estimating *e, lx_error *err)
{
    for (size_t i = 0; i < e->n_shapes; i++) {
        shape *s = &e->shapes[i];
        int rc = lx_step_prepare(e->step, s->batch, s->h, s->w,
                                 chunks_of(e->model.config), &s->memory, err);
        if (rc < 0)
            return rc;
    }
    return LX_OK;
}

/* ---- the VAE ------------------------------------------------------------------------------- */

/* Pixels that pass through the encoder, of images whose latents are not at hand or (not cached) of an epoch's
 * samples; the largest image. */
static double pixels_to_encode(const estimating *e, int *width, int *height)
{
    const lx_dataset *d = e->dataset;
    const bool is_cached = e->model.config->data.cache_latents;
    double pixels = 0;

    for (size_t i = 0; i < d->n_images; i++) {
        const lx_image *image = &d->images[i];
        const lx_bucket *b = &d->buckets[image->bucket];
        const double one = (double)b->width * b->height;
        if (!image->repeats || image->npz)
            continue;
        pixels += one * (!is_cached                                ? image->repeats
                         : lx_dataset_settings(d, image)->flip_aug ? 2
                                                                   : 1);
        if (one > (double)*width * *height) {
            *width = b->width;
            *height = b->height;
        }
    }
    return pixels;
}

static int time_encoding(estimating *e, lx_span *epoch, lx_error *err)
{
    const lx_step_model *m = &e->model;
    lx_latents *latents = NULL;
    lx_plan_timing timing;
    int width = 0, height = 0, rc;
    const double pixels = pixels_to_encode(e, &width, &height);

    *epoch = (lx_span){0};
    if (!width)
        return LX_OK;
    if ((rc = lx_latents_new(&latents, e->encoder, m->checkpoint, m->sd, err)) == LX_OK)
        rc = lx_latents_time(&timing, latents, width, height, e->budget / 3, err);
    lx_latents_free(latents);
    if (rc < 0)
        return rc;
    *epoch = times(span_of(&timing), pixels / ((double)width * height));
    if (m->config->data.cache_latents) {
        e->out->caching = *epoch;
        *epoch = (lx_span){0};
    }
    return LX_OK;
}

/* ---- time ---------------------------------------------------------------------------------- */

/* The batches of an epoch, by the shape that takes most of it. */
static int time_epoch(estimating *e, lx_span *epoch, lx_error *err)
{
    lx_plan_timing timing;
    const shape *most = NULL;
    double work = 0;
    int rc;

    for (size_t i = 0; i < e->n_shapes; i++) {
        const shape *s = &e->shapes[i];
        work += (double)s->n * s->memory.flops;
        if (!most ||
            (double)s->n * s->memory.flops > (double)most->n * most->memory.flops)
            most = s;
    }
    *epoch = (lx_span){0};
    if (!most)
        return LX_OK;
    if ((rc = lx_step_prepare(e->step, most->batch, most->h, most->w,
                              chunks_of(e->model.config), NULL, err)) < 0 ||
        (rc = lx_plan_measure(&timing, lx_step_last_plan(e->step), e->budget * 2 / 3,
                              err)) < 0)
        return rc;
    *epoch = times(span_of(&timing), work / most->memory.flops);
    e->out->timed_share = timing.share;
    e->out->is_busy = timing.is_busy;
    return LX_OK;
}

/* The optimizer, on the LoRA itself: what it does to it no longer matters. */
static int time_update(estimating *e, lx_span *update, lx_error *err)
{
    const lx_train_config *c = e->model.config;
    size_t n;
    const lx_trainable *tensors = lx_step_trainables(e->step, &n);
    lx_optimizer *optimizer = NULL;
    int rc = lx_optimizer_new(&optimizer, &c->optimizer, tensors, n, err);

    if (rc < 0)
        return rc;
    for (int i = 0; i < 2; i++) { /* the first one touches the memory */
        const double start = now();
        const double norm = lx_gradient_norm(tensors, n);
        lx_gradient_clip(tensors, n, norm, 1);
        lx_optimizer_step(optimizer, tensors, 1);
        update->seconds = now() - start;
    }
    update->low = update->seconds * 0.8;
    update->high = update->seconds * 1.5;
    lx_optimizer_free(optimizer);
    return LX_OK;
}

static int time_training(estimating *e, lx_error *err)
{
    lx_forecast *out = e->out;
    const double batches = (double)e->count.batches_per_epoch;
    lx_span epoch, encoding, update = {0};
    int rc;

    if (!(batches > 0) || (rc = time_update(e, &update, err)) < 0 ||
        (rc = time_encoding(e, &encoding, err)) < 0 ||
        (rc = time_epoch(e, &epoch, err)) < 0)
        return batches > 0 ? rc : LX_OK;
    epoch = times(e->is_encoder_beside ? longer(epoch, encoding) : sum(epoch, encoding),
                  1 / batches);
    out->step = sum(times(epoch, batches / (double)e->count.steps_per_epoch), update);
    out->all = sum(out->caching, times(out->step, (double)e->count.total_steps));
    out->is_timed = true;
    return LX_OK;
}

/* ---- files --------------------------------------------------------------------------------- */

static int count_bytes(void *context, const void *data, size_t n, lx_error *err)
{
    *(size_t *)context += n;
    return LX_OK;
}

/* With a letter for each that the real ones have. */
static int describe(lx_metadata *m, const estimating *e, lx_error *err)
{
    static const char digits[] =
        "0000000000000000000000000000000000000000000000000000000000000000";
    static const char id[] = "0000000000000000"; /* of a run */
    const lx_train_identity identity = {.run_id = id,
                                        .spec_hash = digits,
                                        .started_at = "1700000000.123456",
                                        .session_id = 1234567890};
    const lx_train_config *c = e->model.config;
    int rc = lx_metadata_of_settings(m, c, e->dataset, &e->count, &identity, err);

    if (rc < 0)
        return rc;
    lx_metadata_set(m, "ss_sd_model_name",
                    lx_path_base(c->pretrained_model_name_or_path));
    lx_metadata_set(m, "ss_sd_model_hash", "00000000");
    lx_metadata_set(m, "ss_new_sd_model_hash", digits);
    if (c->vae) {
        lx_metadata_set(m, "ss_vae_name", lx_path_base(c->vae));
        lx_metadata_set(m, "ss_vae_hash", "00000000");
        lx_metadata_set(m, "ss_new_vae_hash", digits);
    }
    lx_metadata_of_weights(m, c, e->model.lora);
    lx_metadata_of_save(m, c, (int)e->count.epochs, e->count.total_steps,
                        1700000000.123456);
    if (c->no_metadata)
        lx_metadata_reduce(m);
    lx_metadata_set(m, "sshs_model_hash", digits);
    lx_metadata_set(m, "sshs_legacy_hash", "00000000");
    return m->failed ? lx_oom(err) : LX_OK;
}

static int measure_file(estimating *e, lx_error *err)
{
    const lx_train_config *c = e->model.config;
    lx_arena *arena = lx_arena_new();
    lx_lora_tensors *tensors = NULL;
    lx_metadata m;
    int rc;

    if (!arena)
        return lx_oom(err);
    lx_metadata_init(&m, arena);
    if ((rc = describe(&m, e, err)) == LX_OK &&
        (rc = lx_lora_tensors_new(&tensors, e->model.lora, c->save_dtype,
                                  lx_train_has_integer_alpha(c), err)) == LX_OK)
        rc = lx_safetensors_stream(count_bytes, &e->out->file_bytes, NULL, tensors->views,
                                   tensors->count, m.entries, m.count, err);
    lx_lora_tensors_free(tensors);
    lx_metadata_release(&m);
    lx_arena_free(arena);
    return rc;
}

static int64_t window(int64_t n, int64_t most)
{
    return most > 0 && n > most ? most : n;
}

/* The final file, and those on the way that are not removed again (train/output). */
static void count_files(estimating *e)
{
    const lx_train_config *c = e->model.config;
    const lx_output output = {.config = c, .total_epochs = (int)e->count.epochs};
    const int64_t period = lx_output_epoch_period(&output);

    e->out->n_files = 1;
    if (period)
        e->out->n_files += window((e->count.epochs - 1) / period, c->save_last_n_epochs);
    if (c->save_every_n_steps > 0)
        e->out->n_files += window(e->count.total_steps / c->save_every_n_steps,
                                  c->save_last_n_steps / c->save_every_n_steps + 1);
}

int lx_forecast_of(lx_forecast *out, const lx_train *train, const lx_dataset *dataset,
                   double budget, lx_error *err)
{
    estimating e = {.out = out,
                    .model = lx_train_model(train),
                    .step = lx_train_step(train),
                    .dataset = dataset,
                    .budget = budget};
    const lx_train_config *c = e.model.config;
    int rc = LX_OK;

    *out = (lx_forecast){0};
    e.encoder = lx_train_encoder(&e.is_encoder_beside, train);
    e.count = lx_dataset_steps(dataset, c->max_train_steps, c->max_train_epochs,
                               c->gradient_accumulation_steps);
    if (strcmp(c->save_model_as, "safetensors") == 0)
        rc = measure_file(&e, err);
    count_files(&e);
    if (rc == LX_OK && budget > 0 && e.model.dev->uses_host_memory &&
        (rc = list_shapes(&e, err)) == LX_OK && (rc = plan_shapes(&e, err)) == LX_OK)
        rc = time_training(&e, err);
    lx_free(e.shapes);
    return rc;
}
