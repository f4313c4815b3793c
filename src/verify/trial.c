#include "src/verify/trial.h"

#include <string.h>

#include "src/base/alloc.h"
#include "src/verify/draws.h"

enum { STREAM_OTHERS = 1 << 22, STREAM_CONTROLS = STREAM_OTHERS + 1 };

/* ---- cells --------------------------------------------------------------------- */

static size_t latent_size(const lx_verify_image *image)
{
    return 4 * (size_t)(image->h * image->w);
}

static int chunks_of(const lx_trial *t)
{
    return t->prompts->max_length / 75;
}

static int add_cell(lx_trial *t, const lx_cell *like, lx_ids ids, bool keeps_pred,
                    lx_error *err)
{
    const size_t k = (size_t)t->plan->n_draws;
    lx_cell cell = *like;

    cell.ids =
        lx_arena_alloc(t->arena, (size_t)chunks_of(t) * LX_CHUNK * sizeof *cell.ids);
    cell.base = lx_arena_calloc(t->arena, 2 * k, sizeof *cell.base);
    if (!cell.ids || !cell.base)
        return lx_oom(err);
    cell.lora = cell.base + k;
    if (keeps_pred) {
        cell.base_pred =
            lx_arena_alloc(t->arena, k * latent_size(&t->images->items[cell.image]) *
                                         sizeof *cell.base_pred);
        cell.moved = lx_arena_calloc(t->arena, k, sizeof *cell.moved);
        if (!cell.base_pred || !cell.moved)
            return lx_oom(err);
    }
    lx_prompt_chunks(cell.ids, t->prompts, ids);
    if (lx_grow(&t->cells, &t->capacity, t->n_cells + 1, sizeof cell) < 0)
        return lx_oom(err);
    t->cells[t->n_cells++] = cell;
    return LX_OK;
}

/* The tag's ids, or those of the text; then the cell. */
static int add_text(lx_trial *t, const lx_cell *like, const char *text, lx_error *err)
{
    lx_ids ids;
    int rc = lx_prompt_ids(&ids, t->prompts, text, err);

    return rc < 0 ? rc : add_cell(t, like, ids, false, err);
}

/* `variants` control words in the tag's place; none where the caption does not show the
 * tag. */
static int add_swaps(lx_trial *t, size_t image, int tag, int variants, lx_error *err)
{
    const lx_span *span = lx_prompt_span(t->prompts, image, tag);
    int rc;

    for (int v = 0; span && v < variants; v++) {
        const lx_cell like = {
            .arm = LX_ARM_SWAP, .image = image, .tag = tag, .variant = v};
        lx_ids shown = {t->prompts->captions[image].ids.at + span->first, span->n};
        lx_ids control, swapped;
        /* the same control for every image: drawn once per run */
        lx_rng rng = lx_rng_stream(t->seed, LX_RNG_VERIFY, STREAM_CONTROLS + (uint64_t)v,
                                   lx_hash_name(t->prompts->tags[tag].text));
        if ((rc = lx_prompt_control(&control, t->prompts, shown, rng, err)) < 0 ||
            (rc = lx_prompt_swap(&swapped, t->prompts, image, span, control, err)) < 0 ||
            (rc = add_cell(t, &like, swapped, false, err)) < 0)
            return rc;
    }
    return LX_OK;
}

/* The training images in a drawn order; others of one are those that follow it in a
 * circle, so that each of J rounds is a derangement. */
static int draw_circle(size_t **out, size_t **place, const lx_trial *t, size_t n,
                       lx_error *err)
{
    lx_rng rng = lx_rng_stream(t->seed, LX_RNG_VERIFY, STREAM_OTHERS, 0);
    size_t *order = lx_arena_alloc(t->arena, 2 * (n + 1) * sizeof *order);

    if (!order)
        return lx_oom(err);
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)lx_rng_below(&rng, i), kept = order[i - 1];
        order[i - 1] = order[j];
        order[j] = kept;
    }
    *out = order;
    *place = order + n + 1;
    for (size_t i = 0; i < n; i++)
        (*place)[order[i]] = i;
    return LX_OK;
}

/* Round v goes this many places on: 1, then far away. */
static size_t shift_of(int v, size_t n, int rounds)
{
    return 1 + (size_t)v * (n - 1) / (size_t)rounds;
}

static int add_training_image(lx_trial *t, size_t i, const lx_trial_subjects *s,
                              const size_t *order, const size_t *place, size_t n,
                              lx_error *err)
{
    lx_cell like = {.arm = LX_ARM_EMPTY, .image = i, .tag = -1};
    int rc;

    if ((rc = add_text(t, &like, "", err)) < 0)
        return rc;
    like.arm = LX_ARM_CLASS;
    if (s->has_class &&
        (rc = add_text(t, &like, t->images->items[i].class_words, err)) < 0)
        return rc;
    for (int v = 0; v < t->plan->n_others; v++) {
        like = (lx_cell){.arm = LX_ARM_OTHER, .image = i, .tag = -1, .variant = v};
        like.other = order[(place[i] + shift_of(v, n, t->plan->n_others)) % n];
        if ((rc = add_cell(t, &like, t->prompts->captions[like.other].ids, false, err)) <
            0)
            return rc;
    }
    if (s->identifier >= 0 &&
        (rc = add_swaps(t, i, s->identifier, t->plan->n_controls, err)) < 0)
        return rc;
    for (size_t k = 0; k < s->n_alone; k++) {
        like = (lx_cell){.arm = LX_ARM_ALONE, .image = i, .tag = s->alone[k]};
        if ((rc = add_cell(t, &like, t->prompts->tags[s->alone[k]].ids, false, err)) < 0)
            return rc;
    }
    return LX_OK;
}

/* Is this one of the first `n_tag_images` that show the tag? */
static bool is_among_first(const lx_trial *t, size_t image, int tag)
{
    size_t n = 0;

    for (size_t i = 0; i < image; i++)
        n += t->images->items[i].role == LX_IMAGES_TRAINING &&
             lx_prompt_span(t->prompts, i, tag) != NULL;
    return n < t->plan->n_tag_images;
}

static int add_all(lx_trial *t, const lx_trial_subjects *s, lx_error *err)
{
    size_t n = 0, *order = NULL, *place = NULL;
    int rc;

    for (size_t i = 0; i < t->images->count; i++)
        n += t->images->items[i].role == LX_IMAGES_TRAINING;
    if ((rc = draw_circle(&order, &place, t, n, err)) < 0)
        return rc;
    for (size_t i = 0; i < t->images->count; i++) {
        const lx_cell own = {.arm = LX_ARM_CAPTION, .image = i, .tag = -1};
        if ((rc = add_cell(t, &own, t->prompts->captions[i].ids, true, err)) < 0)
            return rc;
        if (t->images->items[i].role != LX_IMAGES_TRAINING)
            continue;
        if ((rc = add_training_image(t, i, s, order, place, n, err)) < 0)
            return rc;
        for (size_t k = 0; k < s->n_tags; k++)
            if (is_among_first(t, i, s->tags[k]) &&
                (rc = add_swaps(t, i, s->tags[k], 1, err)) < 0)
                return rc;
    }
    return LX_OK;
}

/* The factors of every image's draws. */
static int even_out(lx_trial *t, const float *even, lx_error *err)
{
    const size_t k = (size_t)t->plan->n_draws;

    t->timesteps = lx_arena_calloc(t->arena, k, sizeof *t->timesteps);
    t->even = lx_arena_calloc(t->arena, t->images->count * k + 1, sizeof *t->even);
    if (!t->timesteps || !t->even)
        return lx_oom(err);
    for (size_t i = 0; i < t->images->count; i++) {
        lx_verify_timesteps(t->timesteps, (int)k, t->seed, t->images->items[i].stream);
        for (size_t j = 0; j < k; j++)
            t->even[i * k + j] = even[t->timesteps[j]];
    }
    return LX_OK;
}

int lx_trial_new(lx_trial **out, lx_arena *arena, const lx_verify_images *images,
                 const lx_prompts *prompts, const lx_verify_plan *plan,
                 const lx_trial_subjects *subjects, const float *even, uint64_t seed,
                 lx_error *err)
{
    lx_trial *t = lx_calloc(1, sizeof *t);
    int rc = LX_OK;

    *out = NULL;
    if (!t)
        return lx_oom(err);
    *t = (lx_trial){.arena = arena,
                    .images = images,
                    .prompts = prompts,
                    .plan = plan,
                    .seed = seed,
                    .noise_of = SIZE_MAX};
    if ((rc = even_out(t, even, err)) == LX_OK)
        rc = add_all(t, subjects, err);
    if (rc < 0)
        lx_trial_free(t);
    else
        *out = t;
    return rc;
}

void lx_trial_free(lx_trial *t)
{
    if (!t)
        return;
    lx_free(t->cells);
    lx_free(t->noise);
    lx_free(t);
}

/* ---- running ------------------------------------------------------------------- */

static int draw_for(lx_trial *t, size_t index, lx_error *err)
{
    const lx_verify_image *image = &t->images->items[index];
    const size_t n = latent_size(image), k = (size_t)t->plan->n_draws;

    if (t->noise_of == index)
        return LX_OK;
    if (lx_grow(&t->noise, &t->noise_capacity, k * n, sizeof *t->noise) < 0)
        return lx_oom(err);
    lx_verify_draw(t->timesteps, t->noise, t->plan->n_draws, (int64_t)n, t->seed,
                   image->stream);
    t->noise_of = index;
    return LX_OK;
}

/* The cell's draws under its prompt as the present values encode it; context is
 * lx_free'd. */
static int prepare(lx_probe_case *what, float **context, lx_trial *t, lx_probe *probe,
                   const lx_cell *cell, lx_error *err)
{
    const lx_verify_image *image = &t->images->items[cell->image];
    int rc;

    if ((rc = draw_for(t, cell->image, err)) < 0)
        return rc;
    if (!(*context = lx_alloc(lx_probe_context_size(probe) * sizeof **context)))
        return lx_oom(err);
    *what = (lx_probe_case){.n_draws = t->plan->n_draws,
                            .h = image->h,
                            .w = image->w,
                            .latents = image->latents,
                            .noise = t->noise,
                            .timesteps = t->timesteps,
                            .context = *context};
    return lx_probe_context(*context, probe, cell->ids, err);
}

int lx_trial_rerun(double *loss, double *moved, float *pred, lx_trial *t, lx_probe *probe,
                   const lx_cell *cell, bool is_reversed, lx_error *err)
{
    const size_t size =
        (size_t)t->plan->n_draws * latent_size(&t->images->items[cell->image]);
    float *context = NULL, *own = NULL;
    lx_probe_case what;
    int rc;

    if ((rc = prepare(&what, &context, t, probe, cell, err)) < 0)
        goto done;
    what.is_reversed = is_reversed;
    if (moved && !pred && !(pred = own = lx_alloc(size * sizeof *own))) {
        rc = lx_oom(err);
        goto done;
    }
    if ((rc = lx_probe_run(loss, pred, probe, &what, err)) < 0)
        goto done;
    if (moved)
        lx_probe_movement(moved, probe, pred, cell->base_pred, &what);
    t->n_forwards += t->plan->n_draws;
done:
    lx_free(own);
    lx_free(context);
    return rc;
}

static int report(lx_trial *t, const char *phase, size_t done, lx_error *err)
{
    return t->progress ? t->progress(t->progress_context, phase, (int64_t)done,
                                     (int64_t)t->n_cells, err)
                       : LX_OK;
}

int lx_trial_run_base(lx_trial *t, lx_probe *probe, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; i < t->n_cells && rc == LX_OK; i++) {
        lx_cell *c = &t->cells[i];
        if ((rc = lx_trial_rerun(c->base, NULL, c->base_pred, t, probe, c, false, err)) ==
            LX_OK)
            rc = report(t, "base model", i + 1, err);
    }
    return rc;
}

int lx_trial_run_lora(lx_trial *t, lx_probe *probe, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; i < t->n_cells && rc == LX_OK; i++) {
        lx_cell *c = &t->cells[i];
        if ((rc = lx_trial_rerun(c->lora, c->moved, NULL, t, probe, c, false, err)) ==
            LX_OK)
            rc = report(t, "with the LoRA", i + 1, err);
    }
    return rc;
}

const lx_cell *lx_trial_find(const lx_trial *t, lx_arm arm, size_t image, int tag,
                             int variant)
{
    for (size_t i = 0; i < t->n_cells; i++) {
        const lx_cell *c = &t->cells[i];
        if (c->arm == arm && c->image == image && c->tag == tag && c->variant == variant)
            return c;
    }
    return NULL;
}
