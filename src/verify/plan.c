#include "src/verify/plan.h"

enum { FEWEST_IMAGES = 7, FEWEST_DRAWS = 4, MOST_DRAWS = 32, STANDARD_IMAGES = 20 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static int64_t cost_of_core(const lx_verify_plan *p, const lx_verify_request *r)
{
    const int64_t k = p->n_draws,
                  n_prompts = 2 + p->n_others + p->n_controls + 1 + r->has_class;
    const int64_t n_neutral = LX_N_NEUTRAL + (int64_t)least(p->n_images, LX_N_NEUTRAL);

    return 2 * k * n_prompts * (int64_t)p->n_images + 2 * k * (int64_t)r->n_others +
           k * LX_N_STRENGTHS * (int64_t)p->n_strength_images +
           k * (int64_t)p->n_control_images + 2 * k + 2 * LX_NEUTRAL_DRAWS * n_neutral;
}

static int64_t cost_of_tag(const lx_verify_plan *p)
{
    return 2 * p->n_draws * (int64_t)least(p->n_images, 10);
}

/* Of those that were asked for. */
static int64_t cost_of_tags(const lx_verify_plan *p, const lx_verify_request *r)
{
    return r->tags == SIZE_MAX ? 0 : cost_of_tag(p) * (int64_t)r->tags;
}

static void settle(lx_verify_plan *p)
{
    p->n_strength_images = least(p->n_images, 8);
    p->n_control_images = least(p->n_images, 6);
    if ((size_t)p->n_others + 1 > p->n_images)
        p->n_others = p->n_images > 1 ? (int)p->n_images - 1 : 0;
}

static void ask(lx_verify_plan *p, const lx_verify_request *r)
{
    if (r->images)
        p->n_images = least(r->images, r->n_found);
    if (r->draws)
        p->n_draws = r->draws;
    settle(p);
}

/* The next richer plan that differs: what was asked for stays. False when there is none. */
static bool enrich(lx_verify_plan *p, const lx_verify_request *r)
{
    const int most_others = p->n_images > 1 ? (int)least(4, p->n_images - 1) : 0;

    if (!r->draws && p->n_draws < 8)
        p->n_draws = 8;
    else if (p->n_others < most_others)
        p->n_others = most_others;
    else if (p->n_controls < 2)
        p->n_controls = 2;
    else if (!r->draws && p->n_draws < MOST_DRAWS)
        p->n_draws *= 2;
    else
        return false;
    return true;
}

/* A fifth of the budget is kept for tags; all that they take where they were asked for. */
static bool is_within(const lx_verify_plan *p, const lx_verify_request *r)
{
    const int64_t tags = cost_of_tags(p, r), fifth = r->budget / 5;

    return cost_of_core(p, r) <= r->budget - (tags > fifth ? tags : fifth);
}

static int spend(lx_verify_plan *p, const lx_verify_request *r, lx_error *err)
{
    lx_verify_plan richer;

    *p = (lx_verify_plan){.n_images = least(r->n_found, FEWEST_IMAGES),
                          .n_draws = FEWEST_DRAWS,
                          .n_others = 1,
                          .n_controls = 1};
    ask(p, r);
    if (cost_of_core(p, r) + cost_of_tags(p, r) > r->budget)
        return lx_fail(err, LX_EUSAGE,
                       "--budget %lld: the smallest plan takes %lld UNet forwards",
                       (long long)r->budget,
                       (long long)(cost_of_core(p, r) + cost_of_tags(p, r)));
    for (richer = *p; !r->images && richer.n_images < r->n_found;) {
        richer.n_images++;
        richer.n_others = 1;
        settle(&richer);
        if (!is_within(&richer, r))
            break;
        *p = richer;
    }
    for (richer = *p; p->n_images == r->n_found || r->images;) {
        if (!enrich(&richer, r))
            break;
        ask(&richer, r);
        if (!is_within(&richer, r))
            break;
        *p = richer;
    }
    return LX_OK;
}

/* Tags alone get half of what is left over, unless the others were asked for by number. */
void lx_verify_plan_tags(lx_verify_plan *p, const lx_verify_request *r)
{
    const int64_t alone = 2 * p->n_draws * (int64_t)p->n_images;
    int64_t spare;

    p->n_tag_images = least(p->n_images, 10);
    p->cost = cost_of_core(p, r);
    spare = r->budget - p->cost - cost_of_tags(p, r);
    if (r->tags == SIZE_MAX)
        spare /= 2;
    for (p->n_alone = 1; p->n_alone < r->n_alone; p->n_alone++) {
        if (r->budget && spare < alone)
            break;
        spare -= alone;
        p->cost += alone;
    }
    p->n_tags = r->tags != SIZE_MAX ? r->tags : 10;
    if (r->tags == SIZE_MAX && r->budget)
        p->n_tags = r->budget > p->cost ? least(10, (size_t)((r->budget - p->cost) / cost_of_tag(p))) : 0;
    p->cost += cost_of_tag(p) * (int64_t)p->n_tags;
}

void lx_verify_plan_limit(lx_verify_plan *p, const lx_verify_request *r, size_t n_images)
{
    if (n_images >= p->n_images)
        return;
    p->n_images = n_images;
    settle(p);
    lx_verify_plan_tags(p, r);
}

int lx_verify_plan_make(lx_verify_plan *p, const lx_verify_request *r, lx_error *err)
{
    int rc = LX_OK;

    if (r->budget) {
        rc = spend(p, r, err);
    } else {
        *p = (lx_verify_plan){.n_images = least(r->n_found, STANDARD_IMAGES),
                              .n_draws = 8,
                              .n_others = 4,
                              .n_controls = 1};
        ask(p, r);
    }
    if (rc == LX_OK)
        lx_verify_plan_tags(p, r);
    return rc;
}
