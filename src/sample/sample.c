#include "src/sample/sample.h"

#include <math.h>
#include <string.h>

#include "src/base/alloc.h"

/* What the UNet is told of one prompt. */
typedef struct context {
    float *values;
    int n_tokens;
    const char *text; /* of which it is */
} context;

enum { COND, UNCOND, N_SIDES };

typedef struct job {
    const lx_sample_settings *settings;
    lx_pipeline *pipeline;
    const lx_tokenizer *tokenizer;
    const lx_sample_watch *watch;
    lx_arena *arena;
    lx_sigma_table table;
    float sigmas[LX_MAX_STEPS + 2];
    int n_sigmas;
    int n; /* pictures */
    int64_t h, w;
    size_t cells; /* of one picture: 4 h w */
    bool is_guided;

    /* By step; of a sampler that asks twice a step, by question. [n_texts + 1] */
    const char **texts[N_SIDES];
    int n_texts, n_asked;
    bool asks_twice;
    context sides[N_SIDES];
    float *x_in, *eps; /* [2n, 4, h, w] */
    size_t n_cut;

    lx_noise **noises;
    const lx_sample_given *given;
    int n_given; /* noise tensors used */
} job;

int lx_sample_check(const lx_sample_settings *s, lx_error *err)
{
    enum { LEAST = 64, MOST = 4096 };

    if (s->width % 8 || s->height % 8 || s->width < LEAST || s->height < LEAST ||
        s->width > MOST || s->height > MOST)
        return lx_fail(err, LX_EUSAGE,
                       "a picture of %dx%d: both sides must be multiples of 8 "
                       "from %d to %d",
                       s->width, s->height, LEAST, MOST);
    if (!isfinite(s->cfg) || s->cfg < 0 || s->cfg > 1000)
        return lx_fail(err, LX_EUSAGE, "a CFG scale of %g; 0 to 1000 are possible",
                       s->cfg);
    if (s->steps < 1 || s->steps > LX_MAX_STEPS - 1)
        return lx_fail(err, LX_EUSAGE, "%d steps; 1 to %d are possible", s->steps,
                       LX_MAX_STEPS - 1);
    if (s->clip_skip < 1 || s->clip_skip > 64)
        return lx_fail(err, LX_EUSAGE, "clip skip %d; 1 is the last layer", s->clip_skip);
    return LX_OK;
}

/* ---- prompts ----------------------------------------------------------------------- */

/* The text of every step; the same pointer while it does not change. */
static int schedule_text(job *j, int side, const char *text, lx_error *err)
{
    const int n = j->n_texts;
    const char **texts = lx_arena_calloc(j->arena, (size_t)n + 1, sizeof *texts);
    int rc;

    if (!texts)
        return lx_oom(err);
    for (int i = 0; i < n + 1; i++) {
        if (j->settings->is_peer)
            texts[i] = text;
        else if ((rc = lx_prompt_at_step(&texts[i], j->arena, text, i, n, err)) < 0)
            return rc;
        if (i > 0 && strcmp(texts[i], texts[i - 1]) == 0)
            texts[i] = texts[i - 1];
    }
    j->texts[side] = texts;
    return LX_OK;
}

static int encode_side(job *j, int side, const char *text, int n_chunks, lx_error *err)
{
    const lx_sample_settings *s = j->settings;
    context *c = &j->sides[side];
    lx_arena *arena = lx_arena_new();
    lx_prompt_chunks chunks;
    float *one = NULL;
    int rc;

    if (!arena)
        return lx_oom(err);
    lx_free(c->values);
    *c = (context){.text = text};
    if ((rc = lx_prompt_chunk(&chunks, arena, j->tokenizer,
                              s->is_peer ? NULL : s->embeddings, text, s->is_peer,
                              err)) == LX_OK)
        rc = lx_pipeline_encode(&one, &c->n_tokens, j->pipeline, &chunks, n_chunks,
                                s->clip_skip, s->emphasis, err);
    if (rc == LX_OK) {
        j->n_cut = chunks.n_cut > j->n_cut ? chunks.n_cut : j->n_cut;
        c->values = one;
    }
    lx_arena_free(arena);
    return rc;
}

/* The contexts that hold at a step. DDIM may take more steps than were asked for. */
static int prepare_contexts(job *j, int step, lx_error *err)
{
    const int n_sides = j->is_guided ? N_SIDES : 1;
    int rc;

    if (j->given)
        return LX_OK;
    if (j->asks_twice)
        step = j->n_asked++;
    if (step > j->n_texts)
        step = j->n_texts;
    for (int side = 0; side < n_sides; side++)
        if (j->sides[side].text != j->texts[side][step] &&
            (rc = encode_side(j, side, j->texts[side][step], 0, err)) < 0)
            return rc;
    /* The peer fills the shorter one up. */
    for (int side = 0; side < n_sides && j->settings->is_peer && j->is_guided; side++)
        if (j->sides[side].n_tokens < j->sides[1 - side].n_tokens &&
            (rc = encode_side(j, side, j->texts[side][step],
                              j->sides[1 - side].n_tokens / LX_CHUNK, err)) < 0)
            return rc;
    return LX_OK;
}

/* ---- one prediction ---------------------------------------------------------------- */

/* context once for every picture */
static int repeat_context(float **out, const context *c, int n, size_t width,
                          lx_error *err)
{
    const size_t size = (size_t)c->n_tokens * width;

    if (!(*out = lx_alloc((size_t)n * size * sizeof(float))))
        return lx_oom(err);
    for (int i = 0; i < n; i++)
        memcpy(*out + (size_t)i * size, c->values, size * sizeof(float));
    return LX_OK;
}

/* eps of both sides, [side][picture]. */
static int ask_unet(job *j, double t, size_t width, lx_error *err)
{
    const size_t total = (size_t)j->n * j->cells;
    const context *cond = &j->sides[COND], *uncond = &j->sides[UNCOND];
    float *contexts[N_SIDES] = {NULL, NULL};
    int rc = repeat_context(&contexts[COND], cond, j->n, width, err);

    if (rc == LX_OK && j->is_guided)
        rc = repeat_context(&contexts[UNCOND], uncond, j->n, width, err);
    if (rc == LX_OK && j->is_guided && cond->n_tokens == uncond->n_tokens) {
        const size_t size = (size_t)j->n * (size_t)cond->n_tokens * width;
        float *both = lx_realloc(contexts[COND], 2 * size * sizeof(float));
        if (both) {
            contexts[COND] = both;
            memcpy(both + size, contexts[UNCOND], size * sizeof(float));
            rc = lx_pipeline_unet(j->eps, j->pipeline, j->x_in, t, both, 2 * j->n, j->h,
                                  j->w, cond->n_tokens, err);
        } else {
            rc = lx_oom(err);
        }
    } else if (rc == LX_OK) {
        rc = lx_pipeline_unet(j->eps, j->pipeline, j->x_in, t, contexts[COND], j->n, j->h,
                              j->w, cond->n_tokens, err);
        if (rc == LX_OK && j->is_guided)
            rc = lx_pipeline_unet(j->eps + total, j->pipeline, j->x_in, t,
                                  contexts[UNCOND], j->n, j->h, j->w, uncond->n_tokens,
                                  err);
    }
    lx_free(contexts[COND]);
    lx_free(contexts[UNCOND]);
    return rc;
}

static int denoise(void *context_, float *out, const float *x, double sigma, int step,
                   lx_error *err)
{
    job *j = context_;
    const lx_sample_settings *s = j->settings;
    const size_t total = (size_t)j->n * j->cells;
    const float scale = (float)(1 / sqrt(1 + sigma * sigma)), level = (float)sigma;
    const float cfg = (float)s->cfg;
    int rc;

    if ((rc = prepare_contexts(j, step, err)) < 0)
        return rc;
    for (size_t i = 0; i < total; i++)
        j->x_in[i] = j->x_in[total + i] = x[i] * scale;
    if ((rc = ask_unet(j, lx_sigma_to_t(&j->table, sigma),
                       (size_t)lx_pipeline_context_size(j->pipeline), err)) < 0)
        return rc;
    for (size_t i = 0; i < total; i++) {
        float eps = j->eps[i];
        if (j->is_guided)
            eps = j->eps[total + i] + cfg * (eps - j->eps[total + i]);
        if (s->v_parameterization)
            eps = (eps + level * scale * x[i]) * scale;
        out[i] = x[i] - level * eps;
    }
    return LX_OK;
}

static int draw_noise(void *context_, float *out, double from, double to, lx_error *err)
{
    job *j = context_;
    int rc;

    if (j->given) {
        if (j->n_given == j->given->n_noise)
            return lx_fail(err, LX_EFORMAT,
                           "the sampler wants more noise than the %d given",
                           j->given->n_noise);
        memcpy(out, j->given->noise + (size_t)j->n_given++ * j->cells,
               j->cells * sizeof(float));
        return LX_OK;
    }
    for (int i = 0; i < j->n; i++) {
        float *one = out + (size_t)i * j->cells;
        if (j->settings->sampler.noise != LX_DRAWS_BROWNIAN)
            lx_noise_fresh(one, j->noises[i]);
        else if ((rc = lx_noise_between(one, j->noises[i], from, to,
                                        (double)j->sigmas[j->n_sigmas - 2],
                                        (double)j->sigmas[0], err)) < 0)
            return rc;
    }
    return LX_OK;
}

static int tell_step(void *context_, int step, int n_steps, const float *x,
                     const float *denoised, lx_error *err)
{
    job *j = context_;

    (void)x;
    return j->watch->on_step(j->watch->context, step, n_steps, denoised, err);
}

/* ---- the whole --------------------------------------------------------------------- */

static int open_job(job *j, lx_error *err)
{
    const lx_sample_settings *s = j->settings;
    const size_t total = (size_t)j->n * j->cells;

    lx_sigma_table_init(&j->table, s->zero_terminal_snr);
    if (!(j->arena = lx_arena_new()) ||
        !(j->x_in = lx_calloc(2 * total, sizeof(float))) ||
        !(j->eps = lx_calloc(2 * total, sizeof(float))) ||
        !(j->noises = lx_calloc((size_t)j->n, sizeof *j->noises)))
        return lx_oom(err);
    return lx_sampler_sigmas(j->sigmas, &j->n_sigmas, &s->sampler, &j->table, s->steps,
                             err);
}

static void close_job(job *j)
{
    if (!j->given)
        for (int side = 0; side < N_SIDES; side++)
            lx_free(j->sides[side].values);
    for (int i = 0; j->noises && i < j->n; i++)
        lx_noise_free(j->noises[i]);
    lx_free(j->noises);
    lx_free(j->x_in);
    lx_free(j->eps);
    lx_arena_free(j->arena);
}

/* x of variance 1 brought to the first level, down the levels, and to the scale of the
 * VAE. */
static int walk(float *x, job *j, lx_error *err)
{
    const lx_denoiser denoiser = {.context = j,
                                  .denoise = denoise,
                                  .noise = draw_noise,
                                  .on_step = j->watch ? tell_step : NULL};
    const size_t total = (size_t)j->n * j->cells;
    const double first = (double)j->sigmas[0];
    double last;
    float scale;
    int rc;

    scale =
        (float)(j->settings->sampler.starts_at_unit ? sqrt(1 + first * first) : first);
    for (size_t i = 0; i < total; i++)
        x[i] *= scale;
    if ((rc = lx_sampler_run(&j->settings->sampler, &j->table, j->sigmas, j->n_sigmas, x,
                             total, &denoiser, err)) < 0)
        return rc;
    last = (double)j->sigmas[j->n_sigmas - 1];
    scale = (float)(1 / sqrt(1 + last * last));
    for (size_t i = 0; i < total && last > 0; i++)
        x[i] *= scale;
    return LX_OK;
}

int lx_sample_run(float *latents, const lx_sample_settings *s, const uint64_t *seeds,
                  int n, lx_pipeline *pipeline, const lx_tokenizer *tokenizer,
                  const lx_sample_watch *watch, size_t *n_cut, lx_error *err)
{
    job j = {.settings = s,
             .pipeline = pipeline,
             .tokenizer = tokenizer,
             .watch = watch,
             .n = n,
             .h = s->height / 8,
             .w = s->width / 8,
             .is_guided = s->is_peer ? s->cfg > 1 : s->cfg != 1};
    int rc;

    j.cells = 4 * (size_t)(j.h * j.w);
    if ((rc = lx_sample_check(s, err)) < 0)
        return rc;
    j.asks_twice = lx_sampler_asks_twice(&s->sampler);
    j.n_texts = s->steps * (j.asks_twice ? 2 : 1);
    if ((rc = open_job(&j, err)) < 0 ||
        (!s->is_peer && (rc = lx_prompt_check(s->prompt, err)) < 0) ||
        (rc = schedule_text(&j, COND, s->prompt, err)) < 0 ||
        (rc = schedule_text(&j, UNCOND, s->negative ? s->negative : "", err)) < 0)
        goto done;
    for (int i = 0; i < n; i++) {
        if ((rc = lx_noise_new(&j.noises[i], s->noise, seeds[i], s->ensd, j.cells, err)) <
            0)
            goto done;
        lx_noise_start(latents + (size_t)i * j.cells, j.noises[i]);
    }
    rc = walk(latents, &j, err);
    if (n_cut)
        *n_cut = j.n_cut;
done:
    close_job(&j);
    return rc;
}

int lx_sample_run_given(float *latents, const lx_sample_given *given,
                        const lx_sample_settings *s, lx_pipeline *pipeline, lx_error *err)
{
    job j = {.settings = s,
             .pipeline = pipeline,
             .n = 1,
             .h = given->h,
             .w = given->w,
             .is_guided = given->uncond != NULL && s->cfg != 1,
             .given = given};
    int rc;

    j.cells = 4 * (size_t)(j.h * j.w);
    /* Not written to: values of a given side are never freed or encoded anew. */
    j.sides[COND].values = (float *)(uintptr_t)given->cond;
    j.sides[COND].n_tokens = given->n_tokens;
    j.sides[UNCOND].values = (float *)(uintptr_t)given->uncond;
    j.sides[UNCOND].n_tokens = given->n_uncond_tokens;
    if ((rc = open_job(&j, err)) == LX_OK) {
        if (given->sigmas) {
            memcpy(j.sigmas, given->sigmas, (size_t)given->n_sigmas * sizeof(float));
            j.n_sigmas = given->n_sigmas;
        }
        memcpy(latents, given->start, j.cells * sizeof(float));
        rc = walk(latents, &j, err);
    }
    close_job(&j);
    return rc;
}
