/* lx compare: the losses on fixed draws, which tell more than the training's own. */
#include <math.h>
#include <string.h>

#include "cmd/compare.h"
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

static bool differs(const lx_compare_facts *facts, const char *name)
{
    for (size_t i = 0; i < facts->count; i++)
        if (strcmp(facts->items[i].name, name) == 0)
            return true;
    return false;
}

/* Do two runs measure the same images on the same draws? Without validation_seed the training's seed
 * chooses the images. */
static bool is_same_measure(const lx_comparison *c, size_t k)
{
    static const char *const names[] = {"validation_split",
                                        "validation_seed",
                                        "max_validation_steps",
                                        "resolution",
                                        "vae",
                                        "min_timestep",
                                        "max_timestep"};
    const cJSON *seed;
    cJSON *flags;
    bool is_chosen_by_seed;

    if (!c->pairs[k].has_data || !c->pairs[k].is_same_data || differs(&c->base, "sha256"))
        return false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (differs(&c->flags, names[i]))
            return false;
    flags = cJSON_Parse(c->runs[0].texts.flags ? c->runs[0].texts.flags : "{}");
    seed = cJSON_GetObjectItemCaseSensitive(flags, "validation_seed");
    is_chosen_by_seed = !seed || cJSON_IsNull(seed);
    cJSON_Delete(flags);
    return !(is_chosen_by_seed && differs(&c->flags, "seed"));
}

static void show_verdict(const lx_comparison *c, size_t k, const char *letter)
{
    const lx_compared *a = &c->runs[0], *b = &c->runs[k];
    const double x = lx_compare_validation_best(a), y = lx_compare_validation_best(b);

    if (isnan(x) || isnan(y))
        return;
    if (!is_same_measure(c, k))
        lx_print(c->cli,
                 "  a and %s held out other images, or met other draws: compare the "
                 "courses, not "
                 "the levels\n",
                 letter);
    else if (x == y)
        lx_print(c->cli, "  a and %s are equal at their best\n", letter);
    else
        lx_print(c->cli,
                 "  %s is lower at its best, by %.3g (%.2g %%), on the same images and "
                 "draws\n",
                 y < x ? letter : "a", fabs(y - x), 100 * fabs(y - x) / x);
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
    for (size_t k = 1; k < c->n; k++)
        show_verdict(c, k, letters[k]);
    return LX_OK;
}
