#include "src/verify/probe.h"

#include <math.h>
#include <string.h>

#include "src/base/alloc.h"

/* Draws in one batch: as many as keep it within the cells of one picture of 512 x 512. */
enum { CELLS_PER_BATCH = 64 * 64, MOST_IN_BATCH = 16 };

typedef struct shape_plan {
    int batch;
    int64_t h, w;
    lx_graph *graph;
    lx_plan *plan;
} shape_plan;

struct lx_probe {
    lx_probe_model model;
    lx_noise_schedule noise;
    lx_graph *text_graph;
    lx_plan *text_plan;
    shape_plan *plans;
    size_t n_plans, capacity;
    float *noisy, *pred, *contexts; /* of one batch */
    size_t noisy_capacity, pred_capacity, context_capacity;
    double flops;
};

int lx_probe_new(lx_probe **out, const lx_probe_model *model, lx_error *err)
{
    lx_probe *p = lx_calloc(1, sizeof *p);

    *out = NULL;
    if (!p)
        return lx_oom(err);
    p->model = *model;
    lx_noise_schedule_init(&p->noise, model->zero_terminal_snr);
    *out = p;
    return LX_OK;
}

void lx_probe_free(lx_probe *p)
{
    if (!p)
        return;
    for (size_t i = p->n_plans; i-- > 0;) { /* the first owns the arena of the others */
        lx_plan_free(p->plans[i].plan);
        lx_graph_free(p->plans[i].graph);
    }
    lx_plan_free(p->text_plan);
    lx_graph_free(p->text_graph);
    lx_free(p->plans);
    lx_free(p->noisy);
    lx_free(p->pred);
    lx_free(p->contexts);
    lx_free(p);
}

static lx_builder builder_of(const lx_probe *p, lx_graph *graph, lx_part part)
{
    return (lx_builder){.graph = graph,
                        .checkpoint = p->model.checkpoint,
                        .dev = p->model.dev,
                        .config = p->model.sd,
                        .part = part,
                        .dtype = LX_F32,
                        .narrow = lx_precision_narrow(p->model.precision, p->model.dev),
                        .arithmetic = lx_precision_arithmetic(p->model.precision),
                        .hook = p->model.lora ? lx_lora_inject : NULL,
                        .hook_context = p->model.lora};
}

/* ---- text ---------------------------------------------------------------------- */

size_t lx_probe_context_size(const lx_probe *p)
{
    return (size_t)(p->model.n_chunks * 75 + 2) * (size_t)p->model.sd->text_width;
}

static int plan_text(lx_probe *p, lx_error *err)
{
    const int64_t shape[3] = {1, p->model.n_chunks, 77};
    const lx_plan_options options = {0};
    lx_builder b;
    lx_tensor *ids, *context;

    if (!(p->text_graph = lx_graph_new()))
        return lx_oom(err);
    b = builder_of(p, p->text_graph, LX_TEXT_ENCODER);
    ids = lx_graph_input(p->text_graph, "input_ids", LX_I64, 3, shape);
    context =
        lx_clip_text_build(&b, ids, p->model.clip_skip ? p->model.clip_skip : 1, NULL);
    lx_graph_output(p->text_graph, "context", lx_op_cast(p->text_graph, context, LX_F32));
    return lx_plan_new(&p->text_plan, p->text_graph, p->model.dev, &options, err);
}

int lx_probe_context(float *out, lx_probe *p, const int64_t *ids, lx_error *err)
{
    const size_t bytes = (size_t)p->model.n_chunks * 77 * sizeof *ids;
    int rc;

    if (!p->text_plan && (rc = plan_text(p, err)) < 0)
        return rc;
    if ((rc = lx_plan_set(p->text_plan, "input_ids", ids, bytes, err)) < 0 ||
        (rc = lx_plan_run(p->text_plan, err)) < 0)
        return rc;
    return lx_plan_get(p->text_plan, "context", out,
                       lx_probe_context_size(p) * sizeof *out, err);
}

/* ---- UNet ---------------------------------------------------------------------- */

static int build(lx_probe *p, shape_plan *s, lx_error *err)
{
    static const int to_last[4] = {0, 2, 3, 1}, to_first[4] = {0, 3, 1, 2};
    const int64_t image[4] = {s->batch, 4, s->h, s->w}, batch[1] = {s->batch};
    const int64_t text[3] = {s->batch, p->model.n_chunks * 75 + 2,
                             p->model.sd->text_width};
    lx_plan_options options = {.arena_of = p->n_plans ? p->plans[0].plan : NULL};
    lx_builder b = builder_of(p, s->graph, LX_UNET);
    lx_tensor *x = lx_graph_input(s->graph, "x", LX_F32, 4, image);
    lx_tensor *t = lx_graph_input(s->graph, "t", LX_I64, 1, batch);
    lx_tensor *context = lx_graph_input(s->graph, "context", LX_F32, 3, text);

    x = lx_unet_build(&b, lx_op_permute(s->graph, x, to_last), t, context);
    x = lx_op_permute(s->graph, x, to_first);
    lx_graph_output(s->graph, "pred", lx_op_cast(s->graph, x, LX_F32));
    return lx_plan_new(&s->plan, s->graph, p->model.dev, &options, err);
}

static int find_plan(lx_plan **out, lx_probe *p, int batch, int64_t h, int64_t w,
                     lx_error *err)
{
    shape_plan s = {.batch = batch, .h = h, .w = w};
    int rc;

    for (size_t i = 0; i < p->n_plans; i++)
        if (p->plans[i].batch == batch && p->plans[i].h == h && p->plans[i].w == w) {
            *out = p->plans[i].plan;
            return LX_OK;
        }
    if (!(s.graph = lx_graph_new()) ||
        lx_grow(&p->plans, &p->capacity, p->n_plans + 1, sizeof s) < 0) {
        lx_graph_free(s.graph);
        return lx_oom(err);
    }
    if ((rc = build(p, &s, err)) < 0) {
        lx_within(err, "%d predictions at %lldx%lld", batch, (long long)w * 8,
                  (long long)h * 8);
        lx_graph_free(s.graph);
        return rc;
    }
    p->plans[p->n_plans++] = s;
    p->flops = lx_plan_memory_of(s.plan).flops / batch;
    *out = s.plan;
    return LX_OK;
}

double lx_probe_flops(const lx_probe *p)
{
    return p->flops;
}

/* The largest power of two that divides the draws and keeps the batch small. */
static int batch_of(const lx_probe_case *what)
{
    int batch = 1;

    while (batch < MOST_IN_BATCH && what->n_draws % (2 * batch) == 0 &&
           2 * batch * what->h * what->w <= CELLS_PER_BATCH)
        batch *= 2;
    return batch;
}

/* The draw that stands at place `i` of all batches. */
static int draw_at(const lx_probe_case *what, int i)
{
    return what->is_reversed ? what->n_draws - 1 - i : i;
}

static void signal_and_sigma(float *signal, float *sigma, const lx_probe *p, int64_t t)
{
    const float abar = p->noise.alphas_cumprod[t];

    *signal = sqrtf(abar);
    *sigma = sqrtf(1.0f - abar);
}

static int take_memory(lx_probe *p, int batch, size_t n, lx_error *err)
{
    const size_t context = lx_probe_context_size(p);

    return lx_grow(&p->noisy, &p->noisy_capacity, (size_t)batch * n, sizeof(float)) < 0 ||
                   lx_grow(&p->pred, &p->pred_capacity, (size_t)batch * n,
                           sizeof(float)) < 0 ||
                   lx_grow(&p->contexts, &p->context_capacity, (size_t)batch * context,
                           sizeof(float)) < 0
               ? lx_oom(err)
               : LX_OK;
}

static int run_batch(lx_probe *p, lx_plan *plan, const lx_probe_case *what, int first,
                     int batch, lx_error *err)
{
    const size_t n = 4 * (size_t)(what->h * what->w), context = lx_probe_context_size(p);
    int64_t t[MOST_IN_BATCH];
    int rc;

    for (int i = 0; i < batch; i++) {
        const int draw = draw_at(what, first + i);
        const float *noise = what->noise + (size_t)draw * n;
        float *noisy = p->noisy + (size_t)i * n, signal, sigma;

        t[i] = what->timesteps[draw];
        signal_and_sigma(&signal, &sigma, p, t[i]);
        for (size_t k = 0; k < n; k++)
            noisy[k] =
                (what->latents ? signal * what->latents[k] : 0.0f) + sigma * noise[k];
        memcpy(p->contexts + (size_t)i * context, what->context, context * sizeof(float));
    }
    if ((rc = lx_plan_set(plan, "x", p->noisy, (size_t)batch * n * sizeof(float), err)) <
            0 ||
        (rc = lx_plan_set(plan, "t", t, (size_t)batch * sizeof *t, err)) < 0 ||
        (rc = lx_plan_set(plan, "context", p->contexts,
                          (size_t)batch * context * sizeof(float), err)) < 0 ||
        (rc = lx_plan_run(plan, err)) < 0)
        return rc;
    return lx_plan_get(plan, "pred", p->pred, (size_t)batch * n * sizeof(float), err);
}

static double weight_of(const lx_probe *p, int64_t t)
{
    return p->model.weight ? p->model.weight[t] : 1.0;
}

static double loss_of(const lx_probe *p, const float *pred, const lx_probe_case *what,
                      int draw)
{
    const size_t n = 4 * (size_t)(what->h * what->w);
    const float *noise = what->noise + (size_t)draw * n;
    float signal, sigma;
    double sum = 0;

    signal_and_sigma(&signal, &sigma, p, what->timesteps[draw]);
    for (size_t i = 0; i < n; i++) {
        double target = noise[i], error;
        if (p->model.v_parameterization)
            target = (double)signal * noise[i] -
                     (double)sigma * (what->latents ? what->latents[i] : 0.0f);
        error = target - (double)pred[i];
        sum += error * error;
    }
    return weight_of(p, what->timesteps[draw]) * sum / (double)n;
}

int lx_probe_run(double *loss, float *pred, lx_probe *p, const lx_probe_case *what,
                 lx_error *err)
{
    const size_t n = 4 * (size_t)(what->h * what->w);
    const int batch = batch_of(what);
    lx_plan *plan = NULL;
    int rc;

    if ((rc = find_plan(&plan, p, batch, what->h, what->w, err)) < 0 ||
        (rc = take_memory(p, batch, n, err)) < 0)
        return rc;
    for (int first = 0; first < what->n_draws; first += batch) {
        if ((rc = run_batch(p, plan, what, first, batch, err)) < 0)
            return rc;
        for (int i = 0; i < batch; i++) {
            const int draw = draw_at(what, first + i);
            const float *one = p->pred + (size_t)i * n;
            if (loss)
                loss[draw] = loss_of(p, one, what, draw);
            if (pred)
                memcpy(pred + (size_t)draw * n, one, n * sizeof *one);
        }
    }
    return LX_OK;
}

void lx_probe_movement(double *moved, const lx_probe *p, const float *a, const float *b,
                       const lx_probe_case *what)
{
    const size_t n = 4 * (size_t)(what->h * what->w);

    for (int draw = 0; draw < what->n_draws; draw++) {
        const float *x = a + (size_t)draw * n, *y = b + (size_t)draw * n;
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
        moved[draw] = weight_of(p, what->timesteps[draw]) * sum / (double)n;
    }
}
