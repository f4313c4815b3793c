/* lx compare: the losses on fixed draws, which tell more than the training's own. */
#include <math.h>
#include <string.h>

#include "cmd/compare.h"
#include "src/base/json.h"
#include "src/base/rng.h"
#include "src/report/table.h"

static int read_one(lx_loss_curve *out, lx_compared *r, lx_comparison *c, const char *key,
                    lx_error *err)
{
    lx_curve curve;
    int rc = lx_query_curve(&curve, c->store, r->row.seq, key, 0, c->arena, err);

    return rc < 0 ? rc
                  : lx_loss_order(out, curve.steps, curve.values, curve.n, c->arena, err);
}

int lx_compare_read_validation(lx_compared *r, lx_comparison *c, lx_error *err)
{
    int rc = read_one(&r->validation, r, c, "loss/validation", err);

    if (rc == LX_OK &&
        !r->validation.n) /* as sd-scripts names it, in a run that was recorded */
        rc = read_one(&r->validation, r, c, "loss/validation/epoch_average", err);
    return rc < 0 ? rc : read_one(&r->watched, r, c, "loss/validation/train", err);
}

bool lx_compare_has_validation(const lx_comparison *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->runs[i].validation.n)
            return true;
    return false;
}

/* The least of a curve; its index. The start is no result. */
static size_t least(const lx_loss_curve *curve)
{
    size_t at = curve->n > 1 && curve->steps[0] == 0;

    for (size_t i = at; i < curve->n; i++)
        if (curve->values[i] < curve->values[at])
            at = i;
    return at;
}

double lx_compare_validation_end(const lx_compared *r)
{
    return r->validation.n ? r->validation.values[r->validation.n - 1] : (double)NAN;
}

double lx_compare_validation_best(const lx_compared *r)
{
    return r->validation.n ? r->validation.values[least(&r->validation)] : (double)NAN;
}

/* Between the first run and run k. */
static bool differs(const lx_compare_facts *facts, const char *name, size_t k)
{
    for (size_t i = 0; i < facts->count; i++)
        if (strcmp(facts->items[i].name, name) == 0)
            return !lx_compare_same(&facts->items[i], 0, k);
    return false;
}

/* Do the first run and run k measure the same images on the same draws under the same words? Without validation_seed
 * the training's seed chooses the images; max_validation_steps are batches. */
static bool is_same_measure(const lx_comparison *c, size_t k)
{
    static const char *const names[] = {
        "validation_split", "validation_seed", "max_validation_steps", "datasets", "resolution", "enable_bucket",
        "min_bucket_reso", "max_bucket_reso", "bucket_reso_steps", "bucket_no_upscale", "vae", "min_timestep",
        "max_timestep", "v_parameterization", "zero_terminal_snr", "clip_skip", "max_token_length", "caption_prefix",
        "caption_suffix", "enable_wildcard", "weighted_captions"};
    const cJSON *item;
    cJSON *flags;
    bool is_chosen_by_seed, is_in_batches;

    if (!c->pairs[k].has_data || !c->pairs[k].is_same_data ||
        differs(&c->base, "sha256", k))
        return false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (differs(&c->flags, names[i], k))
            return false;
    flags = cJSON_Parse(c->runs[0].texts.flags ? c->runs[0].texts.flags : "{}");
    item = cJSON_GetObjectItemCaseSensitive(flags, "validation_seed");
    is_chosen_by_seed = !item || cJSON_IsNull(item);
    item = cJSON_GetObjectItemCaseSensitive(flags, "max_validation_steps");
    is_in_batches = item && !cJSON_IsNull(item);
    cJSON_Delete(flags);
    return !(is_chosen_by_seed && differs(&c->flags, "seed", k)) &&
           !(is_in_batches && differs(&c->flags, "train_batch_size", k));
}

/* ---- image by image ------------------------------------------------------------------- */

/* What a run recorded of the validation at a step; NULL = nothing that can be read. cJSON_Delete. */
static int read_images(cJSON **out, const lx_compared *r, int64_t step, lx_comparison *c,
                       lx_error *err)
{
    lx_str text = LX_STR_INIT;
    lx_hash hash;
    int rc = LX_OK;

    *out = NULL;
    for (size_t i = 0; i < r->n_artifacts && !*out && rc == LX_OK; i++) {
        const lx_artifact_row *a = &r->artifacts[i];
        if (a->step != step || strcmp(a->role, "validation") != 0 || !a->is_kept ||
            !lx_hash_from_hex(&hash, a->object))
            continue;
        lx_str_clear(&text);
        if ((rc = lx_object_get(&text, c->store, &hash, err)) == LX_OK)
            rc = lx_json_parse(out, lx_str_text(&text), text.len, err);
    }
    lx_str_release(&text);
    return rc;
}

static bool is_held_out(const cJSON *image)
{
    return lx_json_bool(image, "is_held_out", false) &&
           cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(image, "loss")) &&
           lx_json_text(image, "sha256");
}

/* Differences b - a of the images that both have, in the order of a; as many as a has fit. */
static size_t pair_images(double *out, const cJSON *a, const cJSON *b)
{
    const cJSON *x, *y;
    size_t n = 0;

    cJSON_ArrayForEach(x, a)
    {
        if (!is_held_out(x))
            continue;
        cJSON_ArrayForEach(y, b)
        {
            if (is_held_out(y) &&
                strcmp(lx_json_text(x, "sha256"), lx_json_text(y, "sha256")) == 0) {
                out[n++] = lx_json_number(y, "loss", 0) - lx_json_number(x, "loss", 0);
                break;
            }
        }
    }
    return n;
}

static int compare_pair(lx_comparison *c, size_t k, lx_error *err)
{
    const lx_compared *a = &c->runs[0], *b = &c->runs[k];
    const cJSON *x, *y;
    cJSON *of_a = NULL, *of_b = NULL;
    double *differences = NULL;
    int rc;

    if (!a->validation.n || !b->validation.n || !is_same_measure(c, k))
        return LX_OK;
    if ((rc = read_images(&of_a, a, (int64_t)a->validation.steps[least(&a->validation)],
                          c, err)) == LX_OK)
        rc = read_images(&of_b, b, (int64_t)b->validation.steps[least(&b->validation)], c,
                         err);
    x = cJSON_GetObjectItemCaseSensitive(of_a, "images");
    y = cJSON_GetObjectItemCaseSensitive(of_b, "images");
    if (rc == LX_OK && x && y) {
        lx_compare_pair *p = &c->pairs[k];
        differences = lx_arena_calloc(c->arena, (size_t)cJSON_GetArraySize(x) + 1,
                                      sizeof *differences);
        if (!differences)
            rc = lx_oom(err);
        else if ((p->n_validated = pair_images(differences, x, y)) > 0)
            rc = lx_estimate_mean(&p->validation, differences, p->n_validated,
                                  lx_rng_stream(0, LX_RNG_BOOTSTRAP, k, 3), err);
    }
    cJSON_Delete(of_a);
    cJSON_Delete(of_b);
    return rc;
}

int lx_compare_validation_pairs(lx_comparison *c, lx_error *err)
{
    int rc = LX_OK;

    for (size_t k = 1; k < c->n && rc == LX_OK; k++)
        rc = compare_pair(c, k, err);
    return rc;
}

/* ---- words ---------------------------------------------------------------------------- */

static const char *certainty(const lx_comparison *c, const lx_compare_pair *p)
{
    const lx_estimate *e = &p->validation;

    if (p->n_validated < 2 || !isfinite(e->low) || !isfinite(e->high))
        return "";
    return lx_arena_printf(c->arena, "; 95 %% between %+.3g and %+.3g over %zu images%s",
                           e->low, e->high, p->n_validated,
                           e->low <= 0 && e->high >= 0 ? ", so it may be chance" : "");
}

int lx_compare_validation_words(const char **out, const lx_comparison *c, size_t k,
                                const char *letter, lx_error *err)
{
    const double x = lx_compare_validation_best(&c->runs[0]),
                 y = lx_compare_validation_best(&c->runs[k]);
    const char *sure;

    *out = NULL;
    if (isnan(x) || isnan(y))
        return LX_OK;
    if (!is_same_measure(c, k))
        *out = lx_arena_printf(
            c->arena,
            "a and %s held out other images, or measured them otherwise: compare the "
            "courses, not the levels",
            letter);
    else if (x == y)
        *out = lx_arena_printf(c->arena, "a and %s are equal at their best", letter);
    else if ((sure = certainty(c, &c->pairs[k])))
        *out = lx_arena_printf(
            c->arena,
            "%s is lower at its best, by %.3g (%.2g %%), on the same images and draws%s",
            y < x ? letter : "a", fabs(y - x), 100 * fabs(y - x) / x, sure);
    return *out ? LX_OK : lx_oom(err);
}

int lx_compare_show_validation(lx_comparison *c, const char *const letters[],
                               lx_error *err)
{
    const lx_table_column columns[] = {
        {"", true, false},     {"start", true, false},
        {"best", true, false}, {"at step", true, false},
        {"end", true, false},  {"trained images, end", true, false}};
    enum { WIDTH = sizeof columns / sizeof *columns };
    lx_arena *arena = c->arena;
    const char **cells = lx_arena_calloc(arena, WIDTH * c->n, sizeof *cells);
    const lx_table table = {columns, WIDTH, c->n, cells};
    int rc;

    if (!cells)
        return lx_oom(err);
    for (size_t i = 0; i < c->n; i++) {
        const lx_compared *r = &c->runs[i];
        const lx_loss_curve *v = &r->validation, *w = &r->watched;
        const char **row = cells + i * WIDTH;

        row[0] = letters[i];
        if (v->n) {
            row[1] =
                v->steps[0] == 0 ? lx_arena_printf(arena, "%.5f", v->values[0]) : NULL;
            row[2] = lx_arena_printf(arena, "%.5f", v->values[least(v)]);
            row[3] = lx_arena_printf(arena, "%.0f", v->steps[least(v)]);
            row[4] = lx_arena_printf(arena, "%.5f", v->values[v->n - 1]);
        }
        row[5] = w->n ? lx_arena_printf(arena, "%.5f", w->values[w->n - 1]) : NULL;
    }
    if ((rc = lx_compare_table(c->cli, &table, err)) < 0)
        return rc;
    for (size_t k = 1; k < c->n && rc == LX_OK; k++) {
        const char *words;
        if ((rc = lx_compare_validation_words(&words, c, k, letters[k], err)) == LX_OK &&
            words)
            lx_print(c->cli, "  %s\n", words);
    }
    return rc;
}
