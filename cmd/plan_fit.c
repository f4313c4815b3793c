/*
 * What to change so that a training fits: flags put behind the user's own, and all of it planned again.
 *
 * Changes that leave the result as it is come first (latents cached, activations computed twice), then those that
 * keep the images of an update (smaller batches, more of them), then those that the LoRA feels: the
 * optimizer's averages in 8 bits, fewer pixels, a smaller rank, fewer steps. Each is tried from its smallest
 * step on and kept with the first that fits. Two at once only when none fits alone.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cmd/plan.h"
#include "src/base/str.h"

typedef struct fitting {
    lx_plan_fit *out;
    const lx_planned *base;
    lx_cli *cli;
    double budget;
    const char *behind; /* flags that every try has too, or "" */
    lx_planned last;    /* what was planned last */
} fitting;

static bool is_small_enough(const fitting *f, const lx_planned *p)
{
    return (f->out->is_memory ? lx_plan_peak(&p->memory) : p->forecast.all.seconds) <=
           f->out->limit;
}

static bool is_full(const fitting *f)
{
    return f->out->n_changes == LX_PLAN_CHANGES;
}

/* The user's words and, behind them, those of the change: of a flag said twice the later counts. */
static int join_words(char ***out, int *n, const fitting *f, const char *flags,
                      lx_error *err)
{
    const int most = f->cli->argc + 32;
    char **words = lx_arena_calloc(f->cli->arena, (size_t)most, sizeof *words);
    char *text = lx_arena_printf(f->cli->arena, "%s %s", flags, f->behind);

    if (!words || !text)
        return lx_oom(err);
    memcpy(words, f->cli->argv, (size_t)f->cli->argc * sizeof *words);
    *n = f->cli->argc;
    for (char *word = strtok(text, " "); word && *n < most; word = strtok(NULL, " "))
        words[(*n)++] = word;
    *out = words;
    return LX_OK;
}

/* Plans with the flags; *fits when it can be trained so and is small enough. */
static int try(bool *fits, fitting *f, const char *flags, lx_error *err)
{
    char **words = NULL;
    int n = 0, rc;
    lx_error refused = {0};

    *fits = false;
    lx_planned_release(&f->last);
    if ((rc = join_words(&words, &n, f, flags, err)) < 0)
        return rc;
    rc = lx_planned_read(&f->last, f->cli, n, words, false, f->budget, &refused);
    if (rc == LX_ENOMEM)
        return lx_oom(err);
    *fits = rc == LX_OK && f->last.is_estimated && f->last.refusal.code == LX_OK &&
            is_small_enough(f, &f->last);
    return LX_OK;
}

static int keep(fitting *f, const char *flags, const char *note, lx_error *err)
{
    lx_plan_change *c = &f->out->changes[f->out->n_changes];
    const char *all = *f->behind
                          ? lx_arena_printf(f->cli->arena, "%s %s", flags, f->behind)
                          : lx_arena_strdup(f->cli->arena, flags);

    if (!all)
        return lx_oom(err);
    *c = (lx_plan_change){.flags = all,
                          .note = note,
                          .memory = f->last.memory,
                          .forecast = f->last.forecast,
                          .steps = f->last.steps};
    f->out->n_changes++;
    return LX_OK;
}

/* Kept when it fits. */
static int propose(bool *fits, fitting *f, const char *note, lx_error *err,
                   const char *fmt, ...) LX_PRINTF(5, 6);
static int propose(bool *fits, fitting *f, const char *note, lx_error *err,
                   const char *fmt, ...)
{
    char flags[256];
    va_list args;
    int rc;

    *fits = false;
    if (is_full(f))
        return LX_OK;
    va_start(args, fmt);
    vsnprintf(flags, sizeof flags, fmt, args);
    va_end(args);
    rc = try(fits, f, flags, err);
    return rc == LX_OK && *fits ? keep(f, flags, note, err) : rc;
}

/* ---- changes ------------------------------------------------------------------------------- */

/* Are latents not cached, and may they be? */
static bool can_cache(const lx_dataset_config *d)
{
    return !d->cache_latents && !d->random_crop && !d->color_aug &&
           !d->face_crop_aug_range[1];
}

static int cache_latents(fitting *f, lx_error *err)
{
    const lx_dataset_config *d = &f->base->config.data;
    bool fits;

    if (!can_cache(d))
        return LX_OK;
    return propose(&fits, f, "the VAE is needed before the first step only", err,
                   "--cache_latents");
}

/* The limit itself is one that the planner keeps to, or refuses. */
static int compute_twice(fitting *f, lx_error *err)
{
    bool fits;

    return propose(&fits, f, "the same LoRA to the bit; more is computed twice", err,
                   "--max_memory %.0fM", floor(f->out->limit / 1048576));
}

static int smaller_batches(fitting *f, lx_error *err)
{
    const lx_train_config *c = &f->base->config;
    bool fits = false;
    int rc = LX_OK;

    if (c->data.has_dataset_config)
        return LX_OK;
    for (int part = 2; part <= c->data.batch_size && !fits && rc == LX_OK; part++)
        if (c->data.batch_size % part == 0)
            rc =
                propose(&fits, f, "an update sees as many images as before", err,
                        "--train_batch_size %d --gradient_accumulation_steps %d",
                        c->data.batch_size / part, c->gradient_accumulation_steps * part);
    return rc;
}

static int smaller_averages(fitting *f, lx_error *err)
{
    bool fits;

    if (f->base->config.optimizer.type != LX_OPTIMIZER_ADAMW)
        return LX_OK;
    return propose(&fits, f, "the optimizer's averages in 8 bits", err,
                   "--optimizer_type AdamW8bit");
}

/* By bisection: fewer pixels never need more. */
static int fewer_pixels(fitting *f, lx_error *err)
{
    const lx_dataset_config *d = &f->base->config.data;
    const int longer = d->width > d->height ? d->width : d->height;
    const int shorter = d->width > d->height ? d->height : d->width;
    int low = 1, high = longer / 64 - 1, best = 0; /* sides of 64 pixels */
    bool fits = false;
    int rc = LX_OK;

    if (d->has_dataset_config || is_full(f))
        return LX_OK;
    while (low <= high && rc == LX_OK) {
        const int middle = (low + high + 1) / 2, side = 64 * middle;
        const int other = side * shorter / longer / 64 * 64;
        char flags[64];
        if (other < 64)
            break;
        snprintf(flags, sizeof flags, "--resolution %d,%d",
                 d->width > d->height ? side : other,
                 d->width > d->height ? other : side);
        rc = try(&fits, f, flags, err);
        if (fits)
            best = middle;
        if (fits)
            low = middle + 1;
        else
            high = middle - 1;
    }
    if (rc < 0 || best < 4) /* below 256 nothing is learned that SD 1.x can use */
        return rc;
    const int side = 64 * best, other = side * shorter / longer / 64 * 64;
    return propose(&fits, f, "less detail", err, "--resolution %d,%d",
                   d->width > d->height ? side : other,
                   d->width > d->height ? other : side);
}

static int smaller_rank(fitting *f, lx_error *err)
{
    const lx_train_config *c = &f->base->config;
    bool fits = false;
    int rc = LX_OK;

    if (c->network_weights || c->network.has_block_ranks)
        return LX_OK;
    for (int rank = c->network.rank / 2; rank >= 4 && !fits && rc == LX_OK; rank /= 2)
        rc =
            propose(&fits, f, "room for less in the LoRA", err, "--network_dim %d", rank);
    return rc;
}

static int only_unet(fitting *f, lx_error *err)
{
    bool fits;

    if (!f->base->config.network.has_text_encoder || !f->base->config.network.has_unet)
        return LX_OK;
    return propose(&fits, f, "the text encoder stays as it is", err,
                   "--network_train_unet_only");
}

static int compute_once(fitting *f, lx_error *err)
{
    bool fits;

    if (!f->base->config.max_memory)
        return LX_OK;
    return propose(&fits, f, "the same LoRA to the bit; less is computed twice", err,
                   "--max_memory 0");
}

/* As many as there is time for. */
static int fewer_steps(fitting *f, lx_error *err)
{
    const lx_forecast *e = &f->base->forecast;
    const lx_step_count *s = &f->base->steps;
    const double left = f->out->limit - e->caching.seconds;
    const int64_t steps = left > 0 ? (int64_t)(0.97 * left / e->step.seconds) : 0;
    bool fits;

    if (steps < 1)
        return LX_OK;
    if (f->base->config.max_train_epochs > 0 && steps / s->steps_per_epoch >= 1)
        return propose(&fits, f, "it sees each image less often", err,
                       "--max_train_epochs %lld",
                       (long long)(steps / s->steps_per_epoch));
    if (f->base->config.max_train_epochs > 0)
        return LX_OK;
    return propose(&fits, f, "it sees each image less often", err,
                   "--max_train_steps %lld", (long long)steps);
}

/* ---- together ------------------------------------------------------------------------------ */

typedef int (*change)(fitting *f, lx_error *err);

static int try_all(fitting *f, const change *changes, size_t n, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; i < n && rc == LX_OK; i++)
        rc = changes[i](f, err);
    return rc;
}

/* Where nothing was enough alone: each beside latents in a cache, if they may be there. */
static int try_with_cache(fitting *f, const change *changes, size_t n, lx_error *err)
{
    const lx_dataset_config *d = &f->base->config.data;

    if (f->out->n_changes || !can_cache(d))
        return LX_OK;
    f->behind = "--cache_latents";
    return try_all(f, changes, n, err);
}

static bool is_asked(fitting *f, const lx_planned *base, lx_plan_fit *out, bool is_memory,
                     double limit, double budget)
{
    *out = (lx_plan_fit){.is_memory = is_memory,
                         .limit = limit,
                         .need = is_memory ? lx_plan_peak(&base->memory)
                                           : base->forecast.all.seconds};
    out->fits = out->need <= limit;
    *f = (fitting){
        .out = out, .base = base, .cli = base->cli, .budget = budget, .behind = ""};
    return !out->fits;
}

int lx_plan_fit_memory(lx_plan_fit *out, const lx_planned *base, double most_bytes,
                       double budget, lx_error *err)
{
    static const change alone[] = {cache_latents,    compute_twice, smaller_batches,
                                   smaller_averages, fewer_pixels,  smaller_rank};
    static const change beside[] = {compute_twice, smaller_batches, fewer_pixels};
    const lx_train_config *c = &base->config;
    fitting f;
    int rc;

    if (!is_asked(&f, base, out, true, most_bytes, budget))
        return LX_OK;
    rc = try_all(&f, alone, sizeof alone / sizeof *alone, err);
    if (rc == LX_OK)
        rc = try_with_cache(&f, beside, sizeof beside / sizeof *beside, err);
    if (rc == LX_OK && !out->n_changes && c->network.rank > 8 && !c->network_weights) {
        f.behind = "--network_dim 8 --optimizer_type AdamW8bit";
        rc = try_all(&f, beside, sizeof beside / sizeof *beside, err);
    }
    lx_planned_release(&f.last);
    return rc;
}

int lx_plan_fit_time(lx_plan_fit *out, const lx_planned *base, double most_seconds,
                     double budget, lx_error *err)
{
    static const change alone[] = {cache_latents, compute_once, only_unet, fewer_pixels,
                                   fewer_steps};
    static const change beside[] = {fewer_pixels};
    fitting f;
    int rc;

    if (!is_asked(&f, base, out, false, most_seconds, budget))
        return LX_OK;
    rc = try_all(&f, alone, sizeof alone / sizeof *alone, err);
    if (rc == LX_OK)
        rc = try_with_cache(&f, beside, sizeof beside / sizeof *beside, err);
    lx_planned_release(&f.last);
    return rc;
}
