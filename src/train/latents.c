#include "src/train/latents.h"

#include "src/base/alloc.h"

struct lx_latents {
    lx_builder builder;
    int width, height; /* of the plan */
    lx_graph *graph;
    lx_plan *plan;
    float *moments; /* [8, H/8, W/8] */
    size_t capacity;
};

int lx_latents_new(lx_latents **out, lx_device *dev, lx_checkpoint *checkpoint,
                   const lx_sd_config *sd, lx_error *err)
{
    lx_latents *l = lx_calloc(1, sizeof *l);
    if (!l)
        return lx_oom(err);
    l->builder = (lx_builder){
        .checkpoint = checkpoint, .dev = dev, .config = sd, .part = LX_VAE, .dtype = LX_F32};
    *out = l;
    return LX_OK;
}

static void drop_plan(lx_latents *l)
{
    lx_plan_free(l->plan);
    lx_graph_free(l->graph);
    l->plan = NULL;
    l->graph = NULL;
}

void lx_latents_free(lx_latents *l)
{
    if (!l)
        return;
    drop_plan(l);
    lx_checkpoint_unload(l->builder.checkpoint, l->builder.dev, LX_VAE);
    lx_free(l->moments);
    lx_free(l);
}

static int plan_for(lx_latents *l, int width, int height, bool is_dry, lx_error *err)
{
    static const int to_last[4] = {0, 2, 3, 1}, to_first[4] = {0, 3, 1, 2};
    const int64_t shape[4] = {1, 3, height, width};
    const lx_plan_options options = {.dry_run = is_dry};
    lx_tensor *x;

    if (l->plan && l->width == width && l->height == height)
        return LX_OK;
    drop_plan(l);
    if (!(l->graph = lx_graph_new()))
        return lx_oom(err);
    l->builder.graph = l->graph;
    x = lx_graph_input(l->graph, "x", LX_F32, 4, shape);
    x = lx_vae_encode_build(&l->builder, lx_op_permute(l->graph, x, to_last));
    lx_graph_output(l->graph, "moments", lx_op_permute(l->graph, x, to_first));
    l->width = width;
    l->height = height;
    return lx_plan_new(&l->plan, l->graph, l->builder.dev, &options, err);
}

int lx_latents_arena(size_t *out, lx_latents *l, int width, int height, lx_error *err)
{
    int rc = plan_for(l, width, height, true, err);

    if (rc == LX_OK)
        *out = lx_plan_memory_of(l->plan).arena_bytes;
    drop_plan(l);
    return rc;
}

int lx_latents_time(lx_plan_timing *out, lx_latents *l, int width, int height,
                    double budget, lx_error *err)
{
    int rc = plan_for(l, width, height, true, err);

    if (rc == LX_OK)
        rc = lx_plan_measure(out, l->plan, budget, err);
    drop_plan(l);
    return rc;
}

int lx_latents_encode(void *context, const float *x, int width, int height, float *mean,
                      float *logvar, lx_error *err)
{
    lx_latents *l = context;
    size_t pixels = (size_t)width * (size_t)height;
    size_t half = 4 * (size_t)(width / 8) * (size_t)(height / 8);
    int rc;

    if ((rc = plan_for(l, width, height, false, err)) < 0)
        return rc;
    if (lx_grow(&l->moments, &l->capacity, 2 * half, sizeof(float)) < 0)
        return lx_oom(err);
    if ((rc = lx_plan_set(l->plan, "x", x, 3 * pixels * sizeof(float), err)) < 0 ||
        (rc = lx_plan_run(l->plan, err)) < 0 ||
        (rc = lx_plan_get(l->plan, "moments", l->moments, 2 * half * sizeof(float), err)) < 0)
        return rc;
    for (size_t i = 0; i < half; i++) {
        mean[i] = l->moments[i];
        logvar[i] = l->moments[half + i];
    }
    return LX_OK;
}
