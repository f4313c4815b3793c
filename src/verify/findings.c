#include "src/verify/findings.h"

#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/verify/draws.h"

/* Streams of the tests' draws, one a test. */
enum { STREAM_TESTS = 1 << 21 };

/* The work of one call. */
typedef struct work {
    lx_verify_result *r;
    const lx_findings_input *in;
    const lx_trial *t;
    size_t *training; /* indices of training images */
    size_t n;
    double *gain; /* G_i of the own caption */
    double *even; /* the same in the velocity's error, as all that compares prompts */
    double *x;    /* [n], scratch */
    double scale, even_scale; /* mean of l_base(c) over training images */
    double total, even_total; /* sum of G_i */
    lx_error *err;
} work;

static lx_rng rng_of(const work *w, uint64_t test)
{
    return lx_rng_stream(w->in->seed, LX_RNG_VERIFY, STREAM_TESTS, test);
}

double lx_cell_gain(const lx_trial *t, const lx_cell *c)
{
    const size_t k = (size_t)t->plan->n_draws;

    return lx_mean(c->base, k) - lx_mean(c->lora, k);
}

double lx_cell_even_gain(const lx_trial *t, const lx_cell *c)
{
    const size_t k = (size_t)t->plan->n_draws;
    const float *even = t->even + c->image * k;
    double sum = 0;

    for (size_t j = 0; j < k; j++)
        sum += even[j] * (c->base[j] - c->lora[j]);
    return sum / (double)k;
}

static double even_base(const lx_trial *t, const lx_cell *c)
{
    const size_t k = (size_t)t->plan->n_draws;
    double sum = 0;

    for (size_t j = 0; j < k; j++)
        sum += t->even[c->image * k + j] * c->base[j];
    return sum / (double)k;
}

static double moved(const lx_trial *t, const lx_cell *c)
{
    return lx_mean(c->moved, (size_t)t->plan->n_draws);
}

/* Index i of the training images -> their cell; NULL where it was not asked. */
static const lx_cell *cell_of(const work *w, lx_arm arm, size_t i, int tag, int variant)
{
    return lx_trial_find(w->t, arm, w->training[i], tag, variant);
}

/* The mean gain over the variants of an arm; false when there is none. */
static bool gain_of_variants(double *out, const work *w, lx_arm arm, size_t i, int tag)
{
    double sum = 0;
    int n = 0;

    for (const lx_cell *c; (c = cell_of(w, arm, i, tag, n)) != NULL; n++)
        sum += lx_cell_even_gain(w->t, c);
    *out = n ? sum / n : 0;
    return n > 0;
}

/*
 * The share of the variance over images that comes from the draws, in the velocity's error:
 * there neighbouring strata differ little in what is expected of them, so their differences
 * tell the noise of one stratum (two signs each).
 */
static double noise_share(const work *w)
{
    const int n_strata = w->t->plan->n_draws / 2;
    const double between = lx_stdev(w->even, w->n);
    double within = 0;

    if (n_strata < 2 || between == 0)
        return NAN;
    for (size_t i = 0; i < w->n; i++) {
        const lx_cell *c = cell_of(w, LX_ARM_CAPTION, i, -1, 0);
        const float *even = w->t->even + c->image * 2 * (size_t)n_strata;
        double before = 0, square = 0;
        for (int j = 0; j < n_strata; j++) {
            double g = 0.5 * even[2 * j] *
                       (c->base[2 * j] - c->lora[2 * j] + c->base[2 * j + 1] -
                        c->lora[2 * j + 1]);
            square += j ? (g - before) * (g - before) : 0;
            before = g;
        }
        within += square / (2.0 * (n_strata - 1)) / n_strata;
    }
    within /= (double)w->n;
    return fmin(1, within / (between * between));
}

/* A tested row: x over images, relative. */
static int put_test(lx_evidence **out, work *w, const char *id, const char *question,
                    const char *subject, const double *x, size_t n, lx_tail tail,
                    uint64_t stream, const char *text)
{
    lx_evidence *row;
    int rc;

    if (!(row = lx_ledger_add(&w->r->ledger, id, question, LX_MEASURED, &rc, w->err, "%s",
                              text)))
        return rc;
    row->subject = subject;
    row->unit = "relative";
    row->n = n;
    row->p = lx_sign_flip_p(x, n, tail, rng_of(w, 2 * stream));
    if (out)
        *out = row;
    return lx_estimate_mean(&row->estimate, x, n, rng_of(w, 2 * stream + 1), w->err);
}

static int put_number(work *w, const char *id, const char *question, const char *subject,
                      const char *unit, double value, size_t n, const char *text)
{
    lx_evidence *row;
    int rc;

    if (!(row = lx_ledger_add(&w->r->ledger, id, question, LX_MEASURED, &rc, w->err, "%s",
                              text)))
        return rc;
    row->subject = subject;
    row->unit = unit;
    row->n = n;
    row->estimate.value = value;
    return LX_OK;
}

/* ---- Q3, Q8: gain, movement, best strength ------------------------------------- */

static int find_gain(work *w)
{
    lx_label_facts *f = &w->r->facts;
    double sum_moved = 0;
    lx_evidence *row;
    double *relative = lx_arena_calloc(w->in->arena, w->n + 1, sizeof *relative);
    int rc;

    if (!relative)
        return lx_oom(w->err);
    for (size_t i = 0; i < w->n; i++) {
        relative[i] = w->gain[i] / w->scale;
        sum_moved += moved(w->t, cell_of(w, LX_ARM_CAPTION, i, -1, 0));
    }
    w->r->image_gain = relative;
    w->r->n_images = w->n;
    if ((rc = put_test(
             &row, w, "D1", "Q3", NULL, relative, w->n, LX_TAIL_GREATER, 1,
             "how much better the training images are denoised with the LoRA")) < 0)
        return rc;
    row->noise_share = noise_share(w);
    row->cost = 2 * w->t->plan->n_draws * (int64_t)w->n;
    f->gain = row->estimate;
    f->gain_p = row->p;
    f->gain_sd = lx_stdev(relative, w->n);
    f->n_images = w->n;
    f->movement = sum_moved / (double)w->n;
    if ((rc = put_number(w, "D2", "Q3", NULL, "loss", f->movement, w->n,
                         "mean square by which the predictions move")) < 0)
        return rc;
    return LX_OK;
}

/* s* and, linearised at it, its spread over images; both in units of the dose that moved the predictions at first. */
static int find_best_strength(work *w)
{
    const double unit = w->in->strength;
    double sum_moved = 0, best;
    lx_evidence *row;
    int rc;

    for (size_t i = 0; i < w->n; i++)
        sum_moved += moved(w->t, cell_of(w, LX_ARM_CAPTION, i, -1, 0));
    if (sum_moved <= 0)
        return LX_OK;
    best = (w->total + sum_moved) / (2 * sum_moved);
    for (size_t i = 0; i < w->n; i++) {
        double m = moved(w->t, cell_of(w, LX_ARM_CAPTION, i, -1, 0));
        w->x[i] = unit * (best + (w->gain[i] + m - 2 * best * m) /
                                     (2 * sum_moved / (double)w->n));
    }
    w->r->best_strength = unit * best;
    if (!(row = lx_ledger_add(
              &w->r->ledger, "D3", "Q8", LX_MEASURED, &rc, w->err,
              "the strength at which the training images are denoised best")))
        return rc;
    row->unit = "strength";
    row->n = w->n;
    return lx_estimate_mean(&row->estimate, w->x, w->n, rng_of(w, 5), w->err);
}

static int find_bins(work *w)
{
    const int n_draws = w->t->plan->n_draws, width = LX_TIMESTEPS / LX_VERIFY_BINS;
    int64_t *timesteps =
        lx_arena_calloc(w->in->arena, (size_t)n_draws, sizeof *timesteps);

    if (!timesteps)
        return lx_oom(w->err);
    for (int b = 0; b < LX_VERIFY_BINS; b++) {
        size_t n = 0;
        int rc;
        for (size_t i = 0; i < w->n; i++) {
            const lx_cell *c = cell_of(w, LX_ARM_CAPTION, i, -1, 0);
            const lx_verify_image *image = &w->t->images->items[w->training[i]];
            double sum = 0;
            int count = 0;

            lx_verify_timesteps(timesteps, n_draws, w->t->seed, image->stream);
            for (int j = 0; j < n_draws; j++) {
                if (timesteps[j] / width == b) {
                    sum += c->base[j] - c->lora[j];
                    count++;
                }
            }
            if (count)
                w->x[n++] = sum / count / w->scale;
        }
        if (!n)
            continue;
        lx_verify_point *point = &w->r->bins[w->r->n_bins++];
        point->x = (b + 0.5) * width;
        if ((rc = lx_estimate_mean(&point->y, w->x, n, rng_of(w, 1000 + (uint64_t)b),
                                   w->err)) < 0)
            return rc;
    }
    return LX_OK;
}

/* ---- Q4: does the caption matter? ---------------------------------------------- */

static bool all_captions_equal(const work *w)
{
    for (size_t i = 1; i < w->n; i++)
        if (strcmp(w->t->prompts->captions[w->training[i]].text,
                   w->t->prompts->captions[w->training[0]].text) != 0)
            return false;
    return true;
}

/* Then the folder's words tell nothing that the captions do not. */
static bool captions_are_words(const work *w)
{
    for (size_t i = 0; i < w->n; i++) {
        const lx_verify_image *image = &w->t->images->items[w->training[i]];
        if (strcmp(image->caption, image->class_words) != 0)
            return false;
    }
    return true;
}

static int find_caption(work *w)
{
    lx_label_facts *f = &w->r->facts;
    double *use = lx_arena_calloc(w->in->arena, w->n + 1, sizeof *use), empty = 0,
           words = 0;
    const bool has_class = w->in->subjects->has_class;
    lx_evidence *row;
    int rc;

    if (!use)
        return lx_oom(w->err);
    for (size_t i = 0; i < w->n; i++) {
        double without = lx_cell_even_gain(w->t, cell_of(w, LX_ARM_EMPTY, i, -1, 0));
        empty += without;
        use[i] = (w->even[i] - without) / w->even_scale;
        if (has_class)
            words += lx_cell_even_gain(w->t, cell_of(w, LX_ARM_CLASS, i, -1, 0));
    }
    w->r->image_use = use;
    for (size_t i = 0; i < w->n; i++)
        w->x[i] = w->even[i] / w->even_scale;
    if ((rc = put_test(&row, w, "D1e", "Q4", NULL, w->x, w->n, LX_TAIL_GREATER, 2,
                       "the gain with every level of noise counted alike: what prompts "
                       "are compared in")) < 0)
        return rc;
    f->even_gain = row->estimate.value;
    if ((rc = put_test(&row, w, "D4", "Q4", NULL, use, w->n, LX_TAIL_GREATER, 3,
                       "how much of the gain the caption adds to the empty prompt's")) <
        0)
        return rc;
    row->cost = 2 * w->t->plan->n_draws * (int64_t)w->n;
    f->caption_gain = row->estimate;
    f->caption_p = row->p;
    f->caption_sd = lx_stdev(use, w->n);
    f->share_without = empty / w->even_total;
    if ((rc = put_number(w, "D4s", "Q4", NULL, "ratio", f->share_without, w->n,
                         "share of the gain that stays with the empty prompt")) < 0)
        return rc;
    if (!has_class)
        return LX_OK;
    for (size_t i = 0; i < w->n; i++)
        w->x[i] =
            (w->even[i] - lx_cell_even_gain(w->t, cell_of(w, LX_ARM_CLASS, i, -1, 0))) /
            w->even_scale;
    if ((rc = put_test(
             &row, w, "D4c", "Q4", NULL, w->x, w->n, LX_TAIL_GREATER, 4,
             "how much of the gain the caption adds to that of the folder's words")) < 0)
        return rc;
    if (!captions_are_words(w)) {
        f->class_gain = row->estimate;
        f->class_p = row->p;
    }
    return put_number(w, "D4d", "Q4", NULL, "ratio", words / w->even_total, w->n,
                      "share of the gain that stays with the folder's words alone");
}

static int find_binding(work *w)
{
    const size_t m = (size_t)w->t->plan->n_others + 1;
    double *table;
    lx_evidence *row;
    int rc;

    if (m < 2)
        return LX_OK;
    if (all_captions_equal(w)) {
        return lx_ledger_add(
                   &w->r->ledger, "D4b", "Q4", LX_SILENT, &rc, w->err,
                   "all captions are equal: whether each belongs to its image cannot be "
                   "asked")
                   ? LX_OK
                   : rc;
    }
    if (!(table = lx_arena_calloc(w->in->arena, w->n * m + 1, sizeof *table)))
        return lx_oom(w->err);
    for (size_t i = 0; i < w->n; i++) {
        double sum = 0;
        table[i * m] = -w->even[i];
        for (size_t j = 1; j < m; j++) {
            table[i * m + j] =
                -lx_cell_even_gain(w->t, cell_of(w, LX_ARM_OTHER, i, -1, (int)j - 1));
            sum += table[i * m + j];
        }
        w->x[i] = (sum / (double)(m - 1) - table[i * m]) / w->even_scale;
    }
    if ((rc = put_test(
             &row, w, "D4b", "Q4", NULL, w->x, w->n, LX_TAIL_GREATER, 6,
             "how much more an image gains from its own caption than from another's "
             "(p: captions exchanged)")) < 0)
        return rc;
    row->cost = 2 * w->t->plan->n_draws * (int64_t)(w->n * (m - 1));
    row->p = lx_own_column_p(table, w->n, m, rng_of(w, 14));
    w->r->facts.binding = row->estimate;
    w->r->facts.binding_p = row->p;
    return LX_OK;
}

/* ---- Q5: identifier and tags --------------------------------------------------- */

static size_t count_holding(const work *w, int tag)
{
    size_t n = 0;

    for (size_t i = 0; i < w->n; i++)
        n += lx_prompt_span(w->t->prompts, w->training[i], tag) != NULL;
    return n;
}

/* a_it of the images where it was asked, relative; *without: the gain that stays. */
static size_t effects_of(work *w, double *without, double *with, int tag)
{
    size_t n = 0;

    *without = *with = 0;
    for (size_t i = 0; i < w->n; i++) {
        double swapped;
        if (!gain_of_variants(&swapped, w, LX_ARM_SWAP, i, tag))
            continue;
        *without += swapped;
        *with += w->even[i];
        w->x[n++] = (w->even[i] - swapped) / w->even_scale;
    }
    return n;
}

static int find_identifier(work *w)
{
    const int id = w->in->subjects->identifier;
    double without, with, alone = 0;
    const char *name;
    size_t n;
    int rc;

    if (id < 0)
        return LX_OK;
    name = w->r->identifier = w->t->prompts->tags[id].text;
    if ((n = effects_of(w, &without, &with, id)) == 0)
        return LX_OK;
    if ((rc = put_test(
             NULL, w, "D5", "Q5", name, w->x, n, LX_TAIL_GREATER, 8,
             "how much of the gain goes when the identifier is replaced by a control "
             "word")) < 0 ||
        (rc = put_number(w, "D5r", "Q5", name, "ratio", without / with, n,
                         "share of the gain that stays without the identifier")) < 0)
        return rc;
    for (size_t i = 0; i < w->n; i++) {
        const lx_cell *c = cell_of(w, LX_ARM_ALONE, i, id, 0);
        if (!c)
            return LX_OK;
        alone += lx_cell_even_gain(w->t, c);
    }
    return put_number(w, "D5s", "Q5", name, "ratio", alone / w->even_total, w->n,
                      "share of the gain that the identifier has alone");
}

static int fill_tag(lx_verify_tag *out, work *w, int tag)
{
    const lx_prompt_tag *t = &w->t->prompts->tags[tag];
    double without, with, alone = 0;
    size_t n_alone = 0, n;
    int rc = LX_OK;

    *out = (lx_verify_tag){.text = t->text,
                           .pieces = lx_prompt_pieces(w->t->prompts, t->ids),
                           .n_captions = count_holding(w, tag),
                           .n_all = w->n,
                           .effect = {NAN, NAN, NAN},
                           .p = NAN,
                           .q = NAN,
                           .alone = NAN,
                           .reach = NAN};
    out->is_constant = out->n_captions == w->n;
    for (size_t i = 0; i < w->n; i++) {
        const lx_cell *c = cell_of(w, LX_ARM_ALONE, i, tag, 0);
        alone += c ? lx_cell_even_gain(w->t, c) : 0;
        n_alone += c != NULL;
    }
    if (n_alone == w->n && w->even_total != 0)
        out->alone = alone / w->even_total;
    if ((n = effects_of(w, &without, &with, tag)) > 0) {
        out->p =
            lx_sign_flip_p(w->x, n, LX_TAIL_GREATER, rng_of(w, 100 + 2 * (uint64_t)tag));
        rc = lx_estimate_mean(&out->effect, w->x, n, rng_of(w, 101 + 2 * (uint64_t)tag),
                              w->err);
    }
    return rc;
}

/* Only a tag that some images have and others lack has an effect of its own to be tested.
 */
static bool is_testable(const lx_verify_tag *t)
{
    return !isnan(t->p) && t->n_captions >= 5 && t->n_all - t->n_captions >= 5;
}

static int find_tags(work *w)
{
    const size_t n = w->in->n_candidates;
    lx_verify_tag *tags = lx_arena_calloc(w->in->arena, n + 1, sizeof *tags);
    double *p = lx_arena_calloc(w->in->arena, n + 1, sizeof *p);
    size_t n_tested = 0;
    int rc;

    if (!tags || !p)
        return lx_oom(w->err);
    for (size_t i = 0; i < n; i++) {
        if ((rc = fill_tag(&tags[i], w, w->in->candidates[i])) < 0)
            return rc;
        if (is_testable(&tags[i]))
            p[n_tested++] = tags[i].p;
    }
    w->r->tags = tags;
    w->r->n_tags = n;
    if ((rc = lx_benjamini_hochberg(p, p, n_tested, w->err)) < 0)
        return rc;
    n_tested = 0;
    for (size_t i = 0; i < n; i++) {
        lx_evidence *row;
        if (is_testable(&tags[i]))
            tags[i].q = p[n_tested++];
        if (isnan(tags[i].p))
            continue;
        if (!(row = lx_ledger_add(
                  &w->r->ledger, "D6", "Q5", LX_MEASURED, &rc, w->err, "%s",
                  is_testable(&tags[i])
                      ? "how much of the gain goes when the tag is replaced"
                      : "how much of the gain goes when the tag is replaced (too "
                        "few images with, or without it, for a test)")))
            return rc;
        row->subject = tags[i].text;
        row->unit = "relative";
        row->estimate = tags[i].effect;
        row->p = is_testable(&tags[i]) ? tags[i].p : NAN;
        row->adjusted = tags[i].q;
        row->n = tags[i].n_captions;
        row->cost = 2 * w->t->plan->n_draws * (int64_t)tags[i].n_captions;
    }
    return LX_OK;
}

/* ---- Q6, Q7: other images ------------------------------------------------------ */

/* Gains of the images of a role, relative to their own base loss, in x; *movement their
 * mean M. */
static size_t gains_of(double *x, double *movement, const work *w, lx_image_role role)
{
    double scale = 0;
    size_t n = 0;

    *movement = 0;
    for (size_t i = 0; i < w->t->images->count; i++) {
        const lx_cell *c;
        if (w->t->images->items[i].role != role)
            continue;
        c = lx_trial_find(w->t, LX_ARM_CAPTION, i, -1, 0);
        x[n++] = lx_cell_gain(w->t, c);
        scale += lx_mean(c->base, (size_t)w->t->plan->n_draws);
        *movement += moved(w->t, c);
    }
    for (size_t i = 0; i < n; i++)
        x[i] *= (double)n / scale;
    *movement /= n ? (double)n : 1;
    return n;
}

static int find_held_out(work *w, double *x)
{
    lx_evidence *row;
    double movement, held;
    size_t n = gains_of(x, &movement, w, LX_IMAGES_HELD_OUT);
    int rc;

    if (!n)
        return LX_OK;
    w->r->held_gains = x;
    w->r->n_held = n;
    if ((rc = put_test(&row, w, "D7", "Q6", lx_image_role_name(LX_IMAGES_HELD_OUT), x, n,
                       LX_TAIL_GREATER, 20,
                       "how much better images that were not trained on are denoised")) <
        0)
        return rc;
    row->cost = 2 * w->t->plan->n_draws * (int64_t)n;
    held = row->estimate.value;
    if (!(row = lx_ledger_add(
              &w->r->ledger, "D7m", "Q6", LX_MEASURED, &rc, w->err,
              "memorisation: the share of the gain that held-out images lack (p: "
              "training and held-out exchanged)")))
        return rc;
    row->unit = "ratio";
    row->n = n;
    row->estimate.value = 1 - held / w->r->facts.gain.value;
    return lx_two_sample_p(&row->p, w->r->image_gain, w->n, x, n, rng_of(w, 42), w->err);
}

static int find_drift(work *w, double *x, lx_image_role role, const char *id,
                      const char *id_local)
{
    lx_evidence *row;
    double movement;
    size_t n = gains_of(x, &movement, w, role);
    int rc;

    if (!n)
        return LX_OK;
    if ((rc = put_test(
             &row, w, id, "Q7", lx_image_role_name(role), x, n, LX_TAIL_BOTH,
             30 + (uint64_t)role,
             "how much better (or, below 0, worse) other images are denoised")) < 0)
        return rc;
    row->cost = 2 * w->t->plan->n_draws * (int64_t)n;
    return put_number(
        w, id_local, "Q7", lx_image_role_name(role), "ratio",
        movement / w->r->facts.movement, n,
        "how far these predictions move, in units of the training images' movement");
}

/* ---- the whole ----------------------------------------------------------------- */

/* D1, D4, D4b and D5 are one family. */
static int adjust(work *w)
{
    static const char *const family[] = {"D1", "D4", "D4b", "D5"};
    lx_evidence *rows[4];
    double p[4];
    size_t n = 0;
    int rc;

    for (size_t i = 0; i < 4; i++) {
        lx_evidence *row = (lx_evidence *)lx_ledger_find(&w->r->ledger, family[i]);
        if (row && !isnan(row->p)) {
            p[n] = row->p;
            rows[n++] = row;
        }
    }
    if ((rc = lx_holm(p, p, n, w->err)) < 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        rows[i]->adjusted = p[i];
        if (strcmp(rows[i]->id, "D1") == 0)
            w->r->facts.gain_p = p[i];
        else if (strcmp(rows[i]->id, "D4") == 0)
            w->r->facts.caption_p = p[i];
        else if (strcmp(rows[i]->id, "D4b") == 0)
            w->r->facts.binding_p = p[i];
    }
    return LX_OK;
}

static int begin(work *w)
{
    const size_t n_all = w->t->images->count;

    w->training = lx_arena_calloc(w->in->arena, n_all + 1, sizeof *w->training);
    w->gain = lx_arena_calloc(w->in->arena, n_all + 1, sizeof *w->gain);
    w->even = lx_arena_calloc(w->in->arena, n_all + 1, sizeof *w->even);
    w->x = lx_arena_calloc(w->in->arena, n_all + 1, sizeof *w->x);
    if (!w->training || !w->gain || !w->even || !w->x)
        return lx_oom(w->err);
    for (size_t i = 0; i < n_all; i++)
        if (w->t->images->items[i].role == LX_IMAGES_TRAINING)
            w->training[w->n++] = i;
    for (size_t i = 0; i < w->n; i++) {
        const lx_cell *c = cell_of(w, LX_ARM_CAPTION, i, -1, 0);
        w->gain[i] = lx_cell_gain(w->t, c);
        w->even[i] = lx_cell_even_gain(w->t, c);
        w->total += w->gain[i];
        w->even_total += w->even[i];
        w->even_scale += even_base(w->t, c) / (double)w->n;
        w->scale += lx_mean(c->base, (size_t)w->t->plan->n_draws) / (double)w->n;
    }
    if (!isfinite(w->total))
        return lx_fail(w->err, LX_EFORMAT,
                       "%s: with this LoRA, at this strength, the losses are not numbers: its "
                       "values are too large (lx inspect --weights shows them)",
                       w->r->path);
    return w->scale > 0 && w->even_scale > 0
               ? LX_OK
               : lx_fail(w->err, LX_EFORMAT,
                         "the base model's loss is 0: nothing can be measured on it");
}

int lx_findings_of(lx_verify_result *result, const lx_findings_input *in, lx_error *err)
{
    work w = {.r = result, .in = in, .t = in->trial, .err = err};
    double *held, *x;
    int rc;

    if ((rc = begin(&w)) < 0)
        return rc;
    held = lx_arena_calloc(in->arena, 2 * in->trial->images->count + 1, sizeof *held);
    if (!held)
        return lx_oom(err);
    x = held + in->trial->images->count;
    result->facts.is_measured = true;
    if ((rc = find_gain(&w)) < 0 || (rc = find_best_strength(&w)) < 0 ||
        (rc = find_bins(&w)) < 0 || (rc = find_caption(&w)) < 0 ||
        (rc = find_binding(&w)) < 0 || (rc = find_identifier(&w)) < 0 ||
        (rc = find_tags(&w)) < 0 || (rc = find_held_out(&w, held)) < 0 ||
        (rc = find_drift(&w, x, LX_IMAGES_CLASS, "D8", "D8l")) < 0 ||
        (rc = find_drift(&w, x, LX_IMAGES_FOREIGN, "D8f", "D8fl")) < 0)
        return rc;
    return adjust(&w);
}
