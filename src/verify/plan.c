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

    return 2 * k * n_prompts * (int64_t)p->n_images + 2 * k * (int64_t)r->n_others +
           k * LX_N_STRENGTHS * (int64_t)p->n_strength_images +
           k * (int64_t)p->n_control_images + 2 * k;
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

static int spend(lx_verify_plan *p, const lx_verify_request *r, lx_error *err)
{
    const int64_t core = r->budget - r->budget / 5; /* a fifth is kept for tags */
    lx_verify_plan richer;

    *p = (lx_verify_plan){.n_images = least(r->n_found, FEWEST_IMAGES),
                          .n_draws = FEWEST_DRAWS,
                          .n_others = 1,
                          .n_controls = 1};
    ask(p, r);
    if (cost_of_core(p, r) > r->budget)
        return lx_fail(err, LX_EUSAGE,
                       "--budget %lld: the smallest plan takes %lld UNet forwards",
                       (long long)r->budget, (long long)cost_of_core(p, r));
    for (richer = *p; !r->images && richer.n_images < r->n_found;) {
        richer.n_images++;
        richer.n_others = 1;
        settle(&richer);
        if (cost_of_core(&richer, r) > core)
            break;
        *p = richer;
    }
    for (richer = *p; p->n_images == r->n_found || r->images;) {
        if (!enrich(&richer, r))
            break;
        ask(&richer, r);
        if (cost_of_core(&richer, r) > core)
            break;
        *p = richer;
    }
    return LX_OK;
}

static void buy_tags(lx_verify_plan *p, const lx_verify_request *r)
{
    const int64_t one = 2 * p->n_draws * (int64_t)least(p->n_images, 10);

    p->n_tag_images = least(p->n_images, 10);
    p->cost = cost_of_core(p, r);
    p->n_tags = 10;
    if (r->tags != SIZE_MAX)
        p->n_tags = r->tags;
    else if (r->budget)
        p->n_tags = least(
            10, r->budget > p->cost && one ? (size_t)((r->budget - p->cost) / one) : 0);
    p->cost += one * (int64_t)p->n_tags;
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
        buy_tags(p, r);
    return rc;
}
