#include "src/verify/extras.h"

#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/verify/findings.h"

enum { STREAM_EXTRAS = 1 << 19 };

/* Everyday prompts of several kinds; none names a trained character. */
static const char *const neutral[LX_N_NEUTRAL] = {
    "a landscape with mountains and a lake",
    "portrait of an old man with a beard",
    "1girl, solo, school uniform, classroom",
    "a red car on a city street at night",
};

typedef struct work {
    lx_verify_result *r;
    const lx_extras_input *in;
    const lx_cell **own; /* training images' cells under their captions */
    size_t n;
    double *x, *draws; /* [n], [K] */
    double scale;
    lx_error *err;
} work;

static int begin(work *w)
{
    const lx_trial *t = w->in->trial;

    w->own = lx_arena_calloc(w->in->arena, t->images->count + 1, sizeof *w->own);
    w->x = lx_arena_calloc(w->in->arena, t->images->count + 1, sizeof *w->x);
    w->draws =
        lx_arena_calloc(w->in->arena, 2 * (size_t)t->plan->n_draws, sizeof *w->draws);
    if (!w->own || !w->x || !w->draws)
        return lx_oom(w->err);
    for (size_t i = 0; i < t->n_cells; i++)
        if (t->cells[i].arm == LX_ARM_CAPTION &&
            t->images->items[t->cells[i].image].role == LX_IMAGES_TRAINING)
            w->own[w->n++] = &t->cells[i];
    for (size_t i = 0; i < w->n; i++)
        w->scale += lx_mean(w->own[i]->base, (size_t)t->plan->n_draws) / (double)w->n;
    return LX_OK;
}

static lx_rng rng_of(const work *w, uint64_t test)
{
    return lx_rng_stream(w->in->seed, LX_RNG_VERIFY, STREAM_EXTRAS, test);
}

/* The relative gain of the first `n` images by the present values. */
static int gains(double *out, work *w, size_t n)
{
    const size_t k = (size_t)w->in->trial->plan->n_draws;
    int rc = LX_OK;

    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        rc = lx_trial_rerun(w->draws, NULL, NULL, w->in->trial, w->in->probe, w->own[i],
                            false, w->err);
        out[i] = (lx_mean(w->own[i]->base, k) - lx_mean(w->draws, k)) / w->scale;
    }
    return rc;
}

/* ---- strengths ----------------------------------------------------------------- */

static void put_point(lx_verify_result *r, double x, lx_estimate y)
{
    size_t at = r->n_strengths++;

    for (; at > 0 && r->strengths[at - 1].x > x; at--)
        r->strengths[at] = r->strengths[at - 1];
    r->strengths[at] = (lx_verify_point){x, y};
}

static double unit_of(const work *w)
{
    return lx_dose_unit(w->in->strength, w->in->te_strength);
}

/* Both networks as far along as the UNet: the line from the base through what the cells ran with. */
static int try_strength(work *w, double strength, const char *text)
{
    const size_t n = w->in->trial->plan->n_strength_images;
    const double share = strength / unit_of(w);
    lx_estimate y;
    lx_evidence *row;
    int rc;

    if ((rc = lx_dose_set(w->in->dose, share * w->in->strength,
                          share * w->in->te_strength, w->err)) < 0 ||
        (rc = gains(w->x, w, n)) < 0 ||
        (rc = lx_estimate_mean(&y, w->x, n, rng_of(w, w->r->n_strengths), w->err)) < 0)
        return rc;
    put_point(w->r, strength, y);
    if (!text)
        return LX_OK;
    if (!(row = lx_ledger_add(&w->r->ledger, "D3c", "Q8", LX_MEASURED, &rc, w->err, "%s",
                              text)))
        return rc;
    row->unit = "relative";
    row->estimate = y;
    row->n = n;
    row->cost = w->in->trial->plan->n_draws * (int64_t)n;
    return LX_OK;
}

static int find_strengths(work *w)
{
    static const double others[] = {0.5, 1.5, 2};
    const size_t n = w->in->trial->plan->n_strength_images;
    const double best = w->r->best_strength, unit = unit_of(w);
    lx_estimate y;
    int rc = LX_OK;

    put_point(w->r, 0, (lx_estimate){0, 0, 0});
    if ((rc = lx_estimate_mean(&y, w->r->image_gain, n, rng_of(w, 100), w->err)) < 0)
        return rc;
    put_point(w->r, unit, y);
    for (size_t i = 0; i < 3 && rc == LX_OK; i++)
        if (others[i] != unit)
            rc = try_strength(w, others[i], NULL);
    if (rc == LX_OK && best > 0.05 && best < 10 && fabs(best - unit) > 0.02)
        rc = try_strength(w, best,
                          "the gain when run at the best strength, to confirm it");
    return rc;
}

/* ---- controls ------------------------------------------------------------------ */

static int check_zero(work *w)
{
    const size_t k = (size_t)w->in->trial->plan->n_draws;
    double *loss = w->draws, *difference = w->draws + k;
    bool is_equal;
    lx_evidence *row;
    int rc;

    if ((rc = lx_dose_set(w->in->dose, 0, 0, w->err)) < 0 ||
        (rc = lx_trial_rerun(loss, difference, NULL, w->in->trial, w->in->probe,
                             w->own[0], false, w->err)) < 0)
        return rc;
    is_equal = memcmp(loss, w->own[0]->base, k * sizeof *loss) == 0 &&
               lx_mean(difference, k) == 0;
    if (!is_equal)
        return lx_fail(w->err, LX_EINTERNAL,
                       "the LoRA at strength 0 does not give the base model's numbers");
    if (!(row = lx_ledger_add(
              &w->r->ledger, "D0", "Q3", LX_PROVES, &rc, w->err,
              "at strength 0 the numbers are the base model's, to the bit")))
        return rc;
    row->cost = (int64_t)k;
    if ((rc = lx_trial_rerun(NULL, difference, NULL, w->in->trial, w->in->probe,
                             w->own[0], true, w->err)) < 0)
        return rc;
    w->r->facts.noise_floor = lx_mean(difference, k);
    return LX_OK;
}

static int check_scrambled(work *w)
{
    const size_t n = w->in->trial->plan->n_control_images;
    const size_t k = (size_t)w->in->trial->plan->n_draws;
    lx_evidence *row;
    int rc = LX_OK;

    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        if ((rc = lx_dose_scramble(w->in->dose, w->in->seed, i, w->err)) < 0 ||
            (rc = lx_trial_rerun(w->draws, NULL, NULL, w->in->trial, w->in->probe,
                                 w->own[i], false, w->err)) < 0)
            return rc;
        w->x[i] = (lx_mean(w->own[i]->base, k) - lx_mean(w->draws, k)) / w->scale;
    }
    if (!(row = lx_ledger_add(
              &w->r->ledger, "D10", "Q3", LX_MEASURED, &rc, w->err,
              "control: the gain of the LoRA with its directions scrambled; it must "
              "not be above 0")))
        return rc;
    row->unit = "relative";
    row->n = n;
    row->cost = (int64_t)(n * k);
    if ((rc = lx_estimate_mean(&row->estimate, w->x, n, rng_of(w, 200), w->err)) < 0)
        return rc;
    w->r->facts.is_harness_broken =
        row->estimate.low > 0 && row->estimate.value > 0.5 * w->r->facts.gain.value;
    return LX_OK;
}

/* ---- neutral prompts ----------------------------------------------------------- */

/* The mean movement under a prompt, from noise alone, with the values set by lx_dose_set.
 */
static int movement_of(double *out, work *w, lx_ids ids, const lx_probe_case *like)
{
    const lx_prompts *p = w->in->trial->prompts;
    const size_t n = LX_NEUTRAL_DRAWS * 4 * (size_t)(like->h * like->w);
    const size_t n_context = lx_probe_context_size(w->in->probe);
    int64_t *chunks = lx_alloc((size_t)(p->max_length / 75) * LX_CHUNK * sizeof *chunks);
    float *memory = lx_alloc((2 * n + n_context) * sizeof *memory);
    double moved[LX_NEUTRAL_DRAWS];
    lx_probe_case what = *like;
    int rc = chunks && memory ? LX_OK : lx_oom(w->err);

    for (int arm = 0; arm < 2 && rc == LX_OK; arm++) {
        what.context = memory + 2 * n;
        lx_prompt_chunks(chunks, p, ids);
        if ((rc = lx_dose_set(w->in->dose, arm ? w->in->strength : 0,
                              arm ? w->in->te_strength : 0, w->err)) == LX_OK &&
            (rc = lx_probe_context(memory + 2 * n, w->in->probe, chunks, w->err)) ==
                LX_OK)
            rc =
                lx_probe_run(NULL, memory + (size_t)arm * n, w->in->probe, &what, w->err);
        w->in->trial->n_forwards += LX_NEUTRAL_DRAWS;
    }
    if (rc == LX_OK) {
        lx_probe_movement(moved, w->in->probe, memory, memory + n, &what);
        *out = lx_mean(moved, LX_NEUTRAL_DRAWS);
    }
    lx_free(chunks);
    lx_free(memory);
    return rc;
}

static int find_neutral(work *w)
{
    const lx_trial *t = w->in->trial;
    const lx_verify_image *image = &t->images->items[w->own[0]->image];
    const size_t cells = 4 * (size_t)(image->h * image->w);
    const size_t n_own = w->n < LX_N_NEUTRAL ? w->n : LX_N_NEUTRAL;
    int64_t timesteps[LX_NEUTRAL_DRAWS] = {912, 937, 962, 987};
    float *noise = lx_arena_alloc(w->in->arena, LX_NEUTRAL_DRAWS * cells * sizeof *noise);
    lx_rng rng = rng_of(w, 300);
    lx_probe_case what = {.n_draws = LX_NEUTRAL_DRAWS,
                          .h = image->h,
                          .w = image->w,
                          .noise = noise,
                          .timesteps = timesteps};
    double others = 0, own = 0, one;
    lx_evidence *row;
    int rc = noise ? LX_OK : lx_oom(w->err);

    if (rc == LX_OK)
        lx_rng_normal(noise, LX_NEUTRAL_DRAWS * cells, 0, &rng);
    for (size_t i = 0; i < LX_N_NEUTRAL + n_own && rc == LX_OK; i++) {
        lx_ids ids;
        if (i < LX_N_NEUTRAL)
            rc = lx_prompt_ids(&ids, t->prompts, neutral[i], w->err);
        else
            ids = t->prompts->captions[w->own[i - LX_N_NEUTRAL]->image].ids;
        if (rc == LX_OK && (rc = movement_of(&one, w, ids, &what)) == LX_OK)
            *(i < LX_N_NEUTRAL ? &others : &own) +=
                one / (double)(i < LX_N_NEUTRAL ? LX_N_NEUTRAL : n_own);
    }
    if (rc < 0 || own <= 0)
        return rc;
    if (!(row = lx_ledger_add(
              &w->r->ledger, "D8n", "Q7", LX_MEASURED, &rc, w->err,
              "how far the start of other pictures moves (4 everyday prompts, from "
              "noise), in units of what the training captions' moves")))
        return rc;
    row->unit = "ratio";
    row->n = LX_N_NEUTRAL;
    row->estimate.value = others / own;
    row->cost = 2 * LX_NEUTRAL_DRAWS * (int64_t)(LX_N_NEUTRAL + n_own);
    return LX_OK;
}

int lx_extras_of(lx_verify_result *result, const lx_extras_input *in, lx_error *err)
{
    work w = {.r = result, .in = in, .err = err};
    int rc;

    if ((rc = begin(&w)) < 0 || (rc = check_zero(&w)) < 0)
        return rc;
    if (result->facts.movement == 0) /* every other arm would be the base again */
        return LX_OK;
    if ((rc = check_scrambled(&w)) < 0 || (rc = find_strengths(&w)) < 0)
        return rc;
    return find_neutral(&w);
}
