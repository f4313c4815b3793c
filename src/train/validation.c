#include "src/train/validation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/rng.h"
#include "src/data/caption.h"
#include "src/data/pixels.h"
#include "src/text/prompt.h"
#include "src/verify/probe.h"

static const float latent_scale = 0.18215f;

/* One image with all that it meets. */
typedef struct subject {
    size_t image; /* in the dataset */
    int64_t h, w;
    float *latents, *noise; /* [4, h, w], [DRAWS, 4, h, w] */
    int64_t timesteps[LX_VALIDATION_DRAWS];
    int64_t *ids; /* [chunks, 77] */
} subject;

struct lx_validation {
    lx_validation_of of;
    lx_probe *probe;
    lx_arena *arena;
    subject *subjects; /* held-out ones first */
    size_t n_held_out, n;
    lx_validation_image *images; /* of the last validation */
    float *context;
};

/* ---- which images ------------------------------------------------------------------------ */

static uint64_t first_word(const lx_image *image)
{
    uint64_t x;
    memcpy(&x, image->hash.bytes, sizeof x);
    return x;
}

typedef struct lot {
    uint64_t word;
    size_t image;
} lot;

static int by_word(const void *a, const void *b)
{
    const lot *x = a, *y = b;
    if (x->word != y->word)
        return x->word < y->word ? -1 : 1;
    return (x->image > y->image) - (x->image < y->image);
}

/* The first `most` images of a kind in the order of their contents. */
static int choose(lx_validation *v, bool is_held_out, size_t most, lx_error *err)
{
    const lx_dataset *d = v->of.dataset;
    lot *lots = lx_calloc(d->n_images + 1, sizeof *lots);
    size_t n = 0;

    if (!lots)
        return lx_oom(err);
    for (size_t i = 0; i < d->n_images; i++) {
        const lx_image *image = &d->images[i];
        if (!image->is_reg && image->is_held_out == is_held_out &&
            (is_held_out || image->repeats > 0))
            lots[n++] = (lot){first_word(image), i};
    }
    qsort(lots, n, sizeof *lots, by_word);
    for (size_t i = 0; i < n && i < most; i++)
        v->subjects[v->n++].image = lots[i].image;
    lx_free(lots);
    return LX_OK;
}

static int choose_all(lx_validation *v, lx_error *err)
{
    const lx_dataset *d = v->of.dataset;
    const int steps = v->of.config->max_validation_steps;
    const size_t most = steps > 0 ? (size_t)steps * (size_t)d->parts[0].config->batch_size
                                  : LX_VALIDATION_MOST;
    int rc;

    v->subjects = lx_arena_calloc(v->arena, 2 * d->n_images + 1, sizeof *v->subjects);
    v->images = lx_arena_calloc(v->arena, 2 * d->n_images + 1, sizeof *v->images);
    if (!v->subjects || !v->images)
        return lx_oom(err);
    if ((rc = choose(v, true, most, err)) < 0)
        return rc;
    v->n_held_out = v->n;
    return choose(v, false, v->n_held_out ? v->n_held_out : most, err);
}

/* ---- what they meet ---------------------------------------------------------------------- */

static void draw(subject *s, const lx_train_config *c, const lx_image *image)
{
    const lx_dataset_config *data = &c->data;
    const uint64_t seed =
        data->validation_seed_given ? (uint64_t)data->validation_seed : 0;
    const uint64_t word = first_word(image);
    const double low = c->min_timestep, reach = c->max_timestep - c->min_timestep;
    lx_rng rng = lx_rng_stream(seed, LX_RNG_VALIDATION, 0, word);
    const double shift = lx_rng_uniform(&rng);

    for (int j = 0; j < LX_VALIDATION_DRAWS; j++)
        s->timesteps[j] = (int64_t)(low + reach * (j + shift) / LX_VALIDATION_DRAWS);
    rng = lx_rng_stream(seed, LX_RNG_VALIDATION, 1, word);
    lx_rng_normal(s->noise, (uint64_t)(LX_VALIDATION_DRAWS * 4 * s->h * s->w), 0, &rng);
}

/* The caption as it was written, with prefix and suffix; of wildcards the same ones each time. */
static int read_ids(subject *s, const lx_validation *v, const lx_image *image,
                    lx_error *err)
{
    const lx_train_config *c = v->of.config;
    lx_dataset_config plain = *lx_dataset_settings(v->of.dataset, image);
    const lx_caption_moment when = {1, 0, 1};
    lx_rng rng = lx_rng_stream(0, LX_RNG_VALIDATION, 2, first_word(image));
    lx_str text = LX_STR_INIT;
    int rc;

    plain.shuffle_caption = false;
    plain.caption_dropout_rate = plain.caption_tag_dropout_rate =
        plain.token_warmup_step = 0;
    plain.caption_dropout_every_n_epochs = 0;
    if ((rc = lx_caption_process(&text, image->caption, &plain, &when, &rng, err)) ==
        LX_OK) {
        float weights[3 * LX_CHUNK]; /* of a weighted caption the words count */
        rc = c->data.weighted_captions
                 ? lx_tokenize_weighted(s->ids, weights, NULL, v->of.tokenizer,
                                        lx_str_text(&text), text.len, c->max_token_length,
                                        err)
                 : lx_tokenize_chunks(s->ids, NULL, v->of.tokenizer, lx_str_text(&text),
                                      text.len, c->max_token_length, err);
    }
    lx_str_release(&text);
    return rc;
}

static int encode(subject *s, const lx_validation *v, lx_decoder *decoder,
                  const lx_image *image, lx_error *err)
{
    const lx_bucket *b = &v->of.dataset->buckets[image->bucket];
    const lx_augment none = LX_AUGMENT_NONE;
    const size_t cells = 4 * (size_t)(s->h * s->w);
    float *pixels = lx_alloc(3 * (size_t)b->width * (size_t)b->height * sizeof *pixels);
    float *logvar = lx_alloc(cells * sizeof *logvar);
    int rc = pixels && logvar ? LX_OK : lx_oom(err);

    if (rc == LX_OK &&
        (rc = lx_image_tensor(pixels, NULL, decoder, v->of.dataset, image, &none, err)) ==
            LX_OK &&
        (rc = v->of.encode(v->of.encode_context, pixels, b->width, b->height, s->latents,
                           logvar, err)) == LX_OK)
        for (size_t i = 0; i < cells; i++)
            s->latents[i] *= latent_scale;
    for (size_t i = 0; i < cells && rc == LX_OK; i++)
        if (!isfinite(s->latents[i]))
            rc = lx_fail(
                err, LX_ECHECK,
                "%s: the VAE gives latents that are not numbers; try another --vae",
                image->path);
    lx_free(pixels);
    lx_free(logvar);
    return rc;
}

static int prepare(subject *s, lx_validation *v, lx_decoder *decoder, lx_error *err)
{
    const lx_image *image = &v->of.dataset->images[s->image];
    const lx_bucket *b = &v->of.dataset->buckets[image->bucket];
    const size_t chunks = (size_t)v->of.config->max_token_length / 75;
    size_t cells;
    int rc;

    s->h = b->height / 8;
    s->w = b->width / 8;
    cells = 4 * (size_t)(s->h * s->w);
    s->latents = lx_arena_alloc(v->arena, cells * sizeof *s->latents);
    s->noise = lx_arena_alloc(v->arena, LX_VALIDATION_DRAWS * cells * sizeof *s->noise);
    s->ids = lx_arena_alloc(v->arena, chunks * LX_CHUNK * sizeof *s->ids);
    if (!s->latents || !s->noise || !s->ids)
        return lx_oom(err);
    draw(s, v->of.config, image);
    if ((rc = read_ids(s, v, image, err)) < 0)
        return rc;
    return encode(s, v, decoder, image, err);
}

static int prepare_all(lx_validation *v, lx_error *err)
{
    lx_decoder *decoder = NULL;
    int rc = lx_decoder_new(&decoder, err);

    for (size_t i = 0; i < v->n && rc == LX_OK; i++)
        rc = prepare(&v->subjects[i], v, decoder, err);
    lx_decoder_free(decoder);
    return rc;
}

static int open_probe(lx_validation *v, lx_error *err)
{
    const lx_train_config *c = v->of.config;
    const lx_probe_model model = {.dev = v->of.dev,
                                  .checkpoint = v->of.checkpoint,
                                  .sd = v->of.sd,
                                  .lora = v->of.lora,
                                  .clip_skip = c->clip_skip,
                                  .n_chunks = c->max_token_length / 75,
                                  .v_parameterization = c->v_parameterization,
                                  .zero_terminal_snr = c->zero_terminal_snr};
    int rc = lx_probe_new(&v->probe, &model, err);

    if (rc < 0)
        return rc;
    v->context =
        lx_arena_alloc(v->arena, lx_probe_context_size(v->probe) * sizeof *v->context);
    return v->context ? LX_OK : lx_oom(err);
}

int lx_validation_new(lx_validation **out, const lx_validation_of *of, lx_error *err)
{
    const lx_train_config *c = of->config;
    lx_validation *v;
    int rc;

    *out = NULL;
    if (!of->dataset->n_held_out && !c->validate_every_n_steps &&
        !c->validate_every_n_epochs)
        return LX_OK;
    if (!(v = lx_calloc(1, sizeof *v)) || !(v->arena = lx_arena_new())) {
        lx_free(v);
        return lx_oom(err);
    }
    v->of = *of;
    if ((rc = choose_all(v, err)) < 0 || (rc = prepare_all(v, err)) < 0 ||
        (rc = open_probe(v, err)) < 0) {
        lx_validation_free(v);
        return rc;
    }
    *out = v;
    return LX_OK;
}

void lx_validation_free(lx_validation *v)
{
    if (!v)
        return;
    lx_probe_free(v->probe);
    lx_arena_free(v->arena);
    lx_free(v);
}

/* ---- measuring --------------------------------------------------------------------------- */

static int measure(double *sum, lx_validation *v, const subject *s, lx_error *err)
{
    double loss[LX_VALIDATION_DRAWS];
    const lx_probe_case what = {.n_draws = LX_VALIDATION_DRAWS,
                                .h = s->h,
                                .w = s->w,
                                .latents = s->latents,
                                .noise = s->noise,
                                .timesteps = s->timesteps,
                                .context = v->context};
    int rc;

    if ((rc = lx_probe_context(v->context, v->probe, s->ids, err)) < 0 ||
        (rc = lx_probe_run(loss, NULL, v->probe, &what, err)) < 0)
        return rc;
    for (int j = 0; j < LX_VALIDATION_DRAWS; j++)
        *sum += loss[j];
    return LX_OK;
}

int lx_validation_run(lx_validation_report *out, lx_validation *v, lx_error *err)
{
    double sums[2] = {0, 0};
    size_t counts[2] = {v->n_held_out, v->n - v->n_held_out};

    for (size_t i = 0; i < v->n; i++) {
        const bool is_held_out = i < v->n_held_out;
        double sum = 0;
        int rc = measure(&sum, v, &v->subjects[i], err);
        if (rc < 0)
            return rc;
        sums[!is_held_out] += sum;
        v->images[i] =
            (lx_validation_image){&v->of.dataset->images[v->subjects[i].image].hash,
                                  is_held_out, sum / LX_VALIDATION_DRAWS};
    }
    out->images = v->images;
    out->n_held_out = counts[0];
    out->n_trained = counts[1];
    out->held_out =
        counts[0] ? sums[0] / (double)(counts[0] * LX_VALIDATION_DRAWS) : (double)NAN;
    out->trained =
        counts[1] ? sums[1] / (double)(counts[1] * LX_VALIDATION_DRAWS) : (double)NAN;
    return LX_OK;
}

/* ---- when -------------------------------------------------------------------------------- */

bool lx_validation_after_step(const lx_train_config *c, int64_t step)
{
    return c->validate_every_n_steps > 0 && step % c->validate_every_n_steps == 0;
}

bool lx_validation_after_epoch(const lx_train_config *c, const lx_dataset *d, int epoch)
{
    if (c->validate_every_n_epochs > 0)
        return epoch % c->validate_every_n_epochs == 0;
    return d->n_held_out || c->validate_every_n_steps == 0;
}
