#include "src/train/samples.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/rng.h"
#include "src/format/png.h"
#include "src/base/scrub.h"
#include "src/sample/describe.h"
#include "src/sample/prompt_file.h"

/* One time of drawing. */
typedef struct session {
    const lx_samples *s;
    lx_arena *arena;
    lx_pipeline *pipeline;
    lx_prompt_list prompts;
    bool is_first, is_stopped;
    int epoch;
    int64_t step;
    char stamp[32];
    size_t at; /* the prompt's place */
} session;

bool lx_samples_is_due(const lx_train_config *c, bool is_first, int epoch, int64_t step)
{
    if (!c->sample_prompts)
        return false;
    if (is_first)
        return c->sample_at_first;
    if (c->sample_every_n_epochs > 0) /* wins over steps */
        return epoch > 0 && epoch % c->sample_every_n_epochs == 0;
    return epoch == 0 && c->sample_every_n_steps > 0 &&
           step % c->sample_every_n_steps == 0;
}

/* ---- settings ---------------------------------------------------------------------- */

/* The same for a prompt's place in every drawing; 32 bits, as other programs take. */
static uint64_t seed_of(const lx_train_config *c, size_t place)
{
    lx_rng rng = lx_rng_stream(c->seed, LX_RNG_SAMPLE, 0, place);

    return lx_rng_u32(&rng);
}

static int settings_of(lx_sample_settings *out, const lx_train_config *c,
                       const lx_prompt_line *line, lx_error *err)
{
    enum { SIDE = 512, STEPS = 30 };
    const char *sampler = line->sampler ? line->sampler : c->sample_sampler;
    int rc;

    *out = (lx_sample_settings){
        .prompt = line->prompt,
        .negative = line->negative ? line->negative : "",
        .width = line->width ? line->width : SIDE,
        .height = line->height ? line->height : SIDE,
        .steps = line->steps ? line->steps : STEPS,
        .clip_skip = c->clip_skip > 0 ? c->clip_skip : 1,
        .cfg = line->has_cfg ? line->cfg : 7.5,
        .noise = LX_NOISE_TORCH,
        .emphasis = c->sample_compat ? LX_EMPHASIS_PEER : LX_EMPHASIS_WEB_UI,
        .is_peer = c->sample_compat,
        .v_parameterization = c->v_parameterization,
        /* The peer's own samples are drawn on levels that are not changed (train_util.py, get_my_scheduler). */
        .zero_terminal_snr = c->zero_terminal_snr && !c->sample_compat,
    };
    out->steps = out->steps < LX_MAX_STEPS ? out->steps : LX_MAX_STEPS - 1;
    if ((rc = lx_sampler_find(&out->sampler, sampler, c->sample_compat, err)) < 0 ||
        (!c->sample_compat && (rc = lx_prompt_check(line->prompt, err)) < 0))
        return rc;
    return lx_sample_check(out, err);
}

int lx_samples_check(const lx_samples *s, lx_error *err)
{
    lx_arena *arena;
    lx_prompt_list list = {0};
    int rc;

    if (!s->config->sample_prompts)
        return LX_OK;
    if (s->config->sample_every_n_steps <= 0 && s->config->sample_every_n_epochs <= 0 &&
        !s->config->sample_at_first && s->observer->on_note)
        s->observer->on_note(
            s->observer->context,
            "--sample_prompts draws nothing without --sample_every_n_epochs, "
            "--sample_every_n_steps or --sample_at_first");
    if (!(arena = lx_arena_new()))
        return lx_oom(err);
    rc = lx_prompt_file_read(&list, arena, s->config->sample_prompts, err);
    for (size_t i = 0; rc == LX_OK && i < list.n; i++) {
        lx_sample_settings ignored;
        if ((rc = settings_of(&ignored, s->config, &list.lines[i], err)) < 0)
            lx_within(err, "%s: prompt %zu", s->config->sample_prompts, i + 1);
        if (rc == LX_OK && list.lines[i].ignored && s->observer->on_note)
            s->observer->on_note(
                s->observer->context,
                lx_arena_printf(arena, "%s: %s of prompt %zu has no effect here",
                                s->config->sample_prompts, list.lines[i].ignored, i + 1));
    }
    lx_prompt_list_release(&list);
    lx_arena_free(arena);
    return rc;
}

/* ---- one picture ------------------------------------------------------------------- */

static int on_step(void *context, int step, int n_steps, const float *denoised,
                   lx_error *err)
{
    session *d = context;
    const lx_observer *o = d->s->observer;
    const int64_t per_picture = n_steps, done = (int64_t)d->at * per_picture + step + 1;

    (void)denoised;
    if (o->should_stop && o->should_stop(o->context)) {
        d->is_stopped = true;
        return lx_fail(err, LX_EINTERRUPTED, "stopped while drawing samples");
    }
    if (!o->on_phase)
        return LX_OK;
    return o->on_phase(o->context, "drawing samples", done,
                       (int64_t)d->prompts.n * per_picture, err);
}

static const char *path_of(const session *d, const lx_prompt_line *line)
{
    const lx_train_config *c = d->s->config;
    char when[24], seed[32] = "";

    if (d->is_first || d->epoch > 0)
        snprintf(when, sizeof when, "e%06d", d->epoch);
    else
        snprintf(when, sizeof when, "%06lld", (long long)d->step);
    if (line->has_seed)
        snprintf(seed, sizeof seed, "_%llu", (unsigned long long)line->seed);
    return lx_arena_printf(d->arena, "%s%ssample/%s%s%s_%02zu_%s%s.png",
                           c->output_dir ? c->output_dir : "", c->output_dir ? "/" : "",
                           c->output_name ? c->output_name : "",
                           c->output_name ? "_" : "", when, d->at, d->stamp, seed);
}

static int write_picture(const session *d, const lx_prompt_line *line,
                         const lx_sample_settings *settings, uint64_t seed,
                         const unsigned char *rgb, lx_error *err)
{
    const lx_observer *o = d->s->observer;
    const lx_sample_origin origin = {
        .prompt = line->prompt,
        .seed = seed,
        .model = lx_path_stem(d->arena, d->s->config->pretrained_model_name_or_path)};
    lx_sample_report report = {.path = path_of(d, line),
                               .prompt = line->prompt,
                               .step = d->step,
                               .epoch = d->epoch,
                               .seed = seed};
    lx_str text = LX_STR_INIT, clean = LX_STR_INIT, png = LX_STR_INIT;
    int rc;

    if (!report.path || !origin.model)
        return lx_oom(err);
    if ((rc = lx_sample_describe(&text, settings, &origin, err)) < 0)
        goto done;
    lx_scrub_text(&clean, lx_str_text(&text),
                  text.len); /* pictures are what is shared first */
    if ((rc = lx_str_check(&clean, err)) == LX_OK &&
        (rc = lx_png_encode(&png, rgb, settings->width, settings->height, "parameters",
                            lx_str_text(&clean), err)) == LX_OK &&
        (rc = lx_file_write(report.path, png.data, png.len, err)) == LX_OK &&
        o->on_sample)
        rc = o->on_sample(o->context, &report, err);
done:
    lx_str_release(&text);
    lx_str_release(&clean);
    lx_str_release(&png);
    return rc;
}

/* A picture of numbers that are none is told and left out: the training has its own
 * watch. */
static int draw_one(session *d, const lx_prompt_line *line, lx_error *err)
{
    const lx_sample_watch watch = {d, on_step};
    const uint64_t seed = line->has_seed ? line->seed : seed_of(d->s->config, d->at);
    lx_sample_settings settings;
    float *latents = NULL, *x = NULL;
    unsigned char *rgb = NULL;
    int rc = settings_of(&settings, d->s->config, line, err);

    if (rc < 0)
        return rc;
    const int64_t h = settings.height / 8, w = settings.width / 8;
    latents = lx_alloc((size_t)(4 * h * w) * sizeof *latents);
    x = lx_alloc((size_t)(192 * h * w) * sizeof *x);
    rgb = lx_alloc((size_t)(192 * h * w));
    if (!latents || !x || !rgb)
        rc = lx_oom(err);
    else if ((rc = lx_sample_run(latents, &settings, &seed, 1, d->pipeline,
                                 d->s->tokenizer, &watch, NULL, err)) == LX_OK &&
             (rc = lx_pipeline_decode(x, d->pipeline, latents, h, w, err)) == LX_OK &&
             (rc = lx_pixels_from_decoded(rgb, x, 8 * h, 8 * w, err)) == LX_OK)
        rc = write_picture(d, line, &settings, seed, rgb, err);
    lx_free(latents);
    lx_free(x);
    lx_free(rgb);
    return rc;
}

/* ---- one time of drawing ----------------------------------------------------------- */

static void leave_out(const session *d, const lx_error *problem)
{
    if (d->s->observer->on_problem)
        d->s->observer->on_problem(d->s->observer->context, problem);
}

static int draw_all(session *d, lx_error *err)
{
    const lx_samples *s = d->s;
    const char *folder = s->config->output_dir ? lx_arena_printf(d->arena, "%s/sample",
                                                                 s->config->output_dir)
                                               : "sample";
    lx_error problem = {0};
    int rc;

    if (!folder)
        return lx_oom(err);
    if (lx_prompt_file_read(&d->prompts, d->arena, s->config->sample_prompts, &problem) <
        0) {
        leave_out(d, &problem);
        return LX_OK;
    }
    if ((rc = lx_make_dirs(folder, err)) < 0 ||
        (rc = lx_pipeline_new(&d->pipeline, s->dev, s->checkpoint, s->sd, err)) < 0)
        return rc;
    lx_pipeline_set_hook(d->pipeline, lx_lora_inject, s->lora);
    for (; d->at < d->prompts.n && rc == LX_OK; d->at++) {
        problem = (lx_error){0};
        rc = draw_one(d, &d->prompts.lines[d->at], &problem);
        if (rc == LX_ECHECK || rc == LX_EUSAGE || rc == LX_EUNSUPPORTED ||
            rc == LX_ELIMIT || rc == LX_EFORMAT) {
            leave_out(d, &problem);
            rc = LX_OK;
        } else {
            lx_fail_as(err, rc, &problem);
        }
    }
    return d->is_stopped ? LX_OK : rc; /* the training stops by itself, and saves */
}

int lx_samples_draw(const lx_samples *s, bool is_first, int epoch, int64_t step,
                    lx_error *err)
{
    session d = {.s = s, .is_first = is_first, .epoch = epoch, .step = step};
    time_t now = time(NULL);
    struct tm local;
    int rc;

    if (!lx_samples_is_due(s->config, is_first, epoch, step))
        return LX_OK;
    if (!(d.arena = lx_arena_new()))
        return lx_oom(err);
    if (!localtime_r(&now, &local) ||
        strftime(d.stamp, sizeof d.stamp, "%Y%m%d%H%M%S", &local) == 0)
        snprintf(d.stamp, sizeof d.stamp, "%lld", (long long)now);
    rc = draw_all(&d, err);
    lx_pipeline_free(d.pipeline);
    lx_checkpoint_unload(s->checkpoint, s->dev, LX_VAE);
    lx_prompt_list_release(&d.prompts);
    lx_arena_free(d.arena);
    return rc;
}
