#include "src/train/latents.h"

#include "src/base/alloc.h"

typedef struct size_plan {
    int width, height;
    lx_graph *graph;
    lx_plan *plan;
} size_plan;

struct lx_latents {
    lx_builder builder;
    size_plan *plans;
    size_t n_plans, plan_capacity;
    float *moments; /* [8, H/8, W/8] */
    size_t capacity;
};

int lx_latents_new(lx_latents **out, lx_device *dev, lx_checkpoint *checkpoint,
                   const lx_sd_config *sd, lx_error *err)
{
    lx_latents *l = lx_calloc(1, sizeof *l);
    if (!l)
        return lx_oom(err);
    l->builder = (lx_builder){.checkpoint = checkpoint,
                              .dev = dev,
                              .config = sd,
                              .part = LX_VAE,
                              .dtype = LX_F32};
    *out = l;
    return LX_OK;
}

static void drop_plans(lx_latents *l)
{
    for (size_t i = 0; i < l->n_plans; i++) {
        lx_plan_free(l->plans[i].plan);
        lx_graph_free(l->plans[i].graph);
    }
    l->n_plans = 0;
}

void lx_latents_rest(lx_latents *l)
{
    drop_plans(l);
}

void lx_latents_free(lx_latents *l)
{
    if (!l)
        return;
    drop_plans(l);
    lx_checkpoint_unload(l->builder.checkpoint, l->builder.dev, LX_VAE);
    lx_free(l->plans);
    lx_free(l->moments);
    lx_free(l);
}

static size_plan *find(const lx_latents *l, int width, int height)
{
    for (size_t i = 0; i < l->n_plans; i++)
        if (l->plans[i].width == width && l->plans[i].height == height)
            return &l->plans[i];
    return NULL;
}

/* One more, dry. */
static int add_plan(size_plan **out, lx_latents *l, int width, int height, lx_error *err)
{
    static const int to_last[4] = {0, 2, 3, 1}, to_first[4] = {0, 3, 1, 2};
    const int64_t shape[4] = {1, 3, height, width};
    const lx_plan_options options = {.dry_run = true};
    size_plan *p;
    lx_tensor *x;

    if (lx_grow(&l->plans, &l->plan_capacity, l->n_plans + 1, sizeof *p) < 0)
        return lx_oom(err);
    p = &l->plans[l->n_plans];
    *p = (size_plan){.width = width, .height = height, .graph = lx_graph_new()};
    if (!p->graph)
        return lx_oom(err);
    l->n_plans++;
    l->builder.graph = p->graph;
    x = lx_graph_input(p->graph, "x", LX_F32, 4, shape);
    x = lx_vae_encode_build(&l->builder, lx_op_permute(p->graph, x, to_last));
    lx_graph_output(p->graph, "moments", lx_op_permute(p->graph, x, to_first));
    *out = p;
    return lx_plan_new(&p->plan, p->graph, l->builder.dev, &options, err);
}

/* The largest first: the others use its arena. */
static int take_plans(lx_latents *l, lx_error *err)
{
    size_t largest = 0;
    int rc = LX_OK;

    for (size_t i = 1; i < l->n_plans; i++)
        if (lx_plan_memory_of(l->plans[i].plan).arena_bytes >
            lx_plan_memory_of(l->plans[largest].plan).arena_bytes)
            largest = i;
    for (size_t k = 0; k < l->n_plans && rc == LX_OK; k++)
        rc = lx_plan_take(l->plans[(largest + k) % l->n_plans].plan,
                          k ? l->plans[largest].plan : NULL, err);
    return rc;
}

int lx_latents_prepare(lx_latents *l, const lx_bucket *buckets, size_t n, lx_error *err)
{
    size_t most = 0;
    size_plan *p;
    int rc = LX_OK;

    drop_plans(l);
    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        const lx_bucket *b = &buckets[i];
        const size_t cells = (size_t)(b->width / 8) * (size_t)(b->height / 8);
        if (!b->n_samples || find(l, b->width, b->height))
            continue;
        most = cells > most ? cells : most;
        rc = add_plan(&p, l, b->width, b->height, err);
    }
    if (rc == LX_OK && lx_grow(&l->moments, &l->capacity, 8 * most, sizeof(float)) < 0)
        rc = lx_oom(err);
    if (rc == LX_OK)
        rc = take_plans(l, err);
    if (rc < 0)
        drop_plans(l);
    return rc;
}

/* The plan of a size, in place of all others if it is not there. */
static int plan_for(size_plan **out, lx_latents *l, int width, int height, lx_error *err)
{
    int rc;

    if ((*out = find(l, width, height)))
        return LX_OK;
    drop_plans(l);
    if ((rc = add_plan(out, l, width, height, err)) == LX_OK)
        rc = lx_plan_take((*out)->plan, NULL, err);
    if (rc < 0)
        drop_plans(l);
    return rc;
}

int lx_latents_memory(lx_plan_memory *out, lx_latents *l, int width, int height,
                      lx_error *err)
{
    size_plan *p;
    int rc;

    drop_plans(l);
    if ((rc = add_plan(&p, l, width, height, err)) == LX_OK)
        *out = lx_plan_memory_of(p->plan);
    drop_plans(l);
    return rc;
}

int lx_latents_time(lx_plan_timing *out, lx_latents *l, int width, int height,
                    double budget, lx_error *err)
{
    size_plan *p;
    int rc;

    drop_plans(l);
    if ((rc = add_plan(&p, l, width, height, err)) == LX_OK)
        rc = lx_plan_measure(out, p->plan, budget, err);
    drop_plans(l);
    return rc;
}

int lx_latents_encode(void *context, const float *x, int width, int height, float *mean,
                      float *logvar, lx_error *err)
{
    lx_latents *l = context;
    size_t pixels = (size_t)width * (size_t)height;
    size_t half = 4 * (size_t)(width / 8) * (size_t)(height / 8);
    size_plan *p;
    int rc;

    if ((rc = plan_for(&p, l, width, height, err)) < 0)
        return rc;
    if (lx_grow(&l->moments, &l->capacity, 2 * half, sizeof(float)) < 0)
        return lx_oom(err);
    if ((rc = lx_plan_set(p->plan, "x", x, 3 * pixels * sizeof(float), err)) < 0 ||
        (rc = lx_plan_run(p->plan, err)) < 0 ||
        (rc = lx_plan_get(p->plan, "moments", l->moments, 2 * half * sizeof(float),
                          err)) < 0)
        return rc;
    for (size_t i = 0; i < half; i++) {
        mean[i] = l->moments[i];
        logvar[i] = l->moments[half + i];
    }
    return LX_OK;
}
