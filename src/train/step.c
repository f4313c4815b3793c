#include "src/train/step.h"

#include <math.h>
#include <string.h>

#include "kernels/dropout.h"
#include "src/base/alloc.h"
#include "src/model/builder.h"
#include "src/train/updater.h"

/* One shape, built and planned. */
typedef struct shape_plan {
    int batch, n_chunks;
    int64_t h, w;
    lx_graph *graph;
    lx_plan *plan;
    bool is_taken; /* it has memory and can run */
} shape_plan;

struct lx_step {
    lx_step_model model;
    lx_noise_schedule noise;
    float weight[LX_TIMESTEPS], huber_c[LX_TIMESTEPS];
    bool *is_used;    /* per module: the graph reaches it */
    bool *is_touched; /* per module: not left out since the gradients were zeroed */
    bool must_send_gradients; /* the host zeroed them */
    lx_updater *updater;      /* scales the loss; NULL = nobody does */
    lx_lora_dropout dropout;  /* moment: of the graph that is built now */
    lx_trainable *trainables;
    int64_t (*shapes)[LX_MAX_DIMS]; /* of them, as in the file */
    size_t n_trainables;
    shape_plan *plans;
    size_t n_plans, plan_capacity, last;
    float *scalars; /* 4 x B: coefficients and scaled weights */
    size_t scalar_capacity;
};

static bool is_trained(const lx_train_config *c, lx_part part)
{
    return part == LX_UNET ? c->network.has_unet && c->unet_lr != 0
                           : c->network.has_text_encoder && c->text_encoder_lr != 0;
}

static bool is_applied(const lx_train_config *c, lx_part part)
{
    return part == LX_UNET ? c->network.has_unet : c->network.has_text_encoder;
}

/* Without a gradient buffer a factor is a frozen weight to the graph. */
static void freeze_untrained(lx_step *step)
{
    lx_lora *lora = step->model.lora;
    for (size_t i = 0; i < lora->count; i++)
        if (!is_trained(step->model.config, lora->modules[i].part))
            for (int k = 0; k < lora->modules[i].n_factors; k++)
                lora->modules[i].factors[k].gradient = NULL;
}

static size_t param_size(const lx_param *p)
{
    size_t n = 1;
    for (int i = 0; i < p->n_dims; i++)
        n *= (size_t)p->shape[i];
    return n;
}

static void list_trainables(lx_step *step)
{
    const lx_train_config *c = step->model.config;
    lx_lora *lora = step->model.lora;
    for (size_t i = 0; i < lora->count; i++) {
        const lx_lora_module *m = &lora->modules[i];
        for (int k = 0; k < m->n_factors; k++) {
            const lx_param *p = &m->factors[k];
            int64_t *shape = step->shapes[m->first + (size_t)k];
            const int n_dims = lx_lora_file_shape(shape, m, k);
            step->trainables[m->first + (size_t)k] = (lx_trainable){
                .value = lx_lora_host_value(lora, p),
                .gradient = lx_lora_host_gradient(lora, p),
                .n = param_size(p),
                .lr = (m->part == LX_UNET ? c->unet_lr : c->text_encoder_lr) *
                      lx_lora_rate_factor(&c->network, m->part, m->layer,
                                          m->roles[k] == LX_ROLE_UP),
                .n_dims = n_dims,
                .shape = shape,
            };
        }
    }
    step->n_trainables = lora->n_params;
}

int lx_step_new(lx_step **out, const lx_step_model *model, lx_error *err)
{
    lx_step *step = lx_calloc(1, sizeof *step);
    if (!step)
        return lx_oom(err);
    step->model = *model;
    step->is_used = lx_calloc(model->lora->count, sizeof *step->is_used);
    step->is_touched = lx_calloc(model->lora->count, sizeof *step->is_touched);
    step->trainables = lx_calloc(model->lora->n_params + 1, sizeof *step->trainables);
    step->shapes = lx_calloc(model->lora->n_params + 1, sizeof *step->shapes);
    if (!step->is_used || !step->is_touched || !step->trainables || !step->shapes) {
        lx_step_free(step);
        return lx_oom(err);
    }
    lx_noise_schedule_init(&step->noise, model->config->zero_terminal_snr);
    lx_loss_weights(step->weight, &step->noise, model->config);
    lx_huber_c(step->huber_c, &step->noise, model->config);
    step->dropout = (lx_lora_dropout){.neuron = model->config->network.neuron_dropout,
                                      .rank = model->config->network.rank_dropout,
                                      .module = model->config->network.module_dropout,
                                      .by_row = model->config->network.is_lycoris};
    freeze_untrained(step);
    list_trainables(step);
    *out = step;
    return LX_OK;
}

void lx_step_free(lx_step *step)
{
    if (!step)
        return;
    for (size_t i = step->n_plans; i-- > 0;) {
        lx_plan_free(step->plans[i].plan);
        lx_graph_free(step->plans[i].graph);
    }
    lx_free(step->plans);
    lx_free(step->scalars);
    lx_free(step->is_used);
    lx_free(step->is_touched);
    lx_free(step->trainables);
    lx_free(step->shapes);
    lx_free(step);
}

/* The LoRA's hook, which also notes which modules the graph reaches. */
static lx_tensor *inject(void *context, lx_builder *b, const lx_layer *layer,
                         lx_tensor *x, lx_tensor *y)
{
    lx_step *step = context;
    lx_lora *lora = step->model.lora;
    lx_tensor *with;

    if (!is_applied(step->model.config, layer->part))
        return y;
    with = lx_lora_inject_dropout(lora, b, layer, x, y, &step->dropout);
    if (with != y)
        for (size_t i = 0; i < lora->count; i++)
            if (lora->modules[i].part == layer->part &&
                strcmp(lora->modules[i].layer, layer->name) == 0)
                step->is_used[i] = true;
    return with;
}

static lx_tensor *input4(lx_graph *g, const char *name, int64_t a, int64_t b, int64_t c,
                         int64_t d)
{
    const int64_t shape[4] = {a, b, c, d};
    return lx_graph_input(g, name, LX_F32, 4, shape);
}

/* [B, 4, h, w] in the file's order -> [B, h, w, 4] as the graph computes. */
static lx_tensor *channels_last(lx_graph *g, lx_tensor *x)
{
    static const int dims[4] = {0, 2, 3, 1};
    return lx_op_permute(g, x, dims);
}

static void keep(lx_step *step, lx_graph *g, const char *name, lx_tensor *t)
{
    static const int dims[4] = {0, 3, 1, 2};
    if (step->model.keeps_intermediates)
        lx_graph_output(
            g, name,
            lx_op_cast(g, t->n_dims == 4 ? lx_op_permute(g, t, dims) : t, LX_F32));
}

static bool has_dropout(const lx_step *step)
{
    const lx_lora_dropout *d = &step->dropout;
    return d->neuron > 0 || d->rank > 0 || d->module > 0;
}

static lx_tensor *build_context(lx_step *step, lx_builder *b, const shape_plan *s)
{
    const lx_train_config *c = step->model.config;
    const int64_t ids_shape[3] = {s->batch, s->n_chunks, 77};
    const int64_t weight_shape[2] = {s->batch, s->n_chunks * 75 + 2};
    lx_tensor *ids = lx_graph_input(b->graph, "input_ids", LX_I64, 3, ids_shape);
    lx_tensor *weights = NULL;

    if (c->data.weighted_captions)
        weights = lx_graph_input(b->graph, "token_weights", LX_F32, 2, weight_shape);
    b->part = LX_TEXT_ENCODER;
    return lx_clip_text_build(b, ids, c->clip_skip ? c->clip_skip : 1, weights);
}

static int build(lx_step *step, shape_plan *s, lx_error *err)
{
    const lx_step_model *m = &step->model;
    const lx_train_config *c = m->config;
    lx_graph *g = s->graph;
    lx_builder b = {
        .graph = g,
        .checkpoint = m->checkpoint,
        .dev = m->dev,
        .config = m->sd,
        .dtype = LX_F32,
        .arithmetic = lx_train_arithmetic(c),
        .hook = inject,
        .hook_context = step,
    };
    const int64_t per_sample[1] = {s->batch};
    lx_tensor *latents = input4(g, "latents", s->batch, 4, s->h, s->w);
    lx_tensor *noise = input4(g, "noise", s->batch, 4, s->h, s->w);
    lx_tensor *input_noise, *target;
    lx_tensor *t = lx_graph_input(g, "timesteps", LX_I64, 1, per_sample);
    lx_tensor *signal = lx_graph_input(g, "signal", LX_F32, 1, per_sample);
    lx_tensor *sigma = lx_graph_input(g, "sigma", LX_F32, 1, per_sample);
    lx_tensor *weights = lx_graph_input(g, "loss_weights", LX_F32, 1, per_sample);
    lx_tensor *context, *noisy, *pred, *loss, *mask = NULL;

    b.narrow = lx_train_narrow(c, m->dev);
    step->dropout.moment = NULL;
    if (has_dropout(step))
        step->dropout.moment =
            lx_graph_input(g, "dropout_moment", LX_I64, 1, (int64_t[]){2});
    context = build_context(step, &b, s);
    keep(step, g, "encoder_hidden_states", context);
    latents = channels_last(g, latents);
    input_noise = target = noise = channels_last(g, noise);
    if (c->ip_noise_gamma > 0)
        input_noise = channels_last(g, input4(g, "input_noise", s->batch, 4, s->h, s->w));
    noisy = lx_op_mul_add(g, signal, latents, sigma, input_noise);
    keep(step, g, "noisy_latents", noisy);
    b.part = LX_UNET;
    pred = lx_op_cast(g, lx_unet_build(&b, noisy, t, context), LX_F32);
    keep(step, g, "noise_pred", pred);
    if (c->v_parameterization) {
        lx_tensor *minus = lx_op_scale(g, sigma, -1.0f);
        target = lx_op_mul_add(g, signal, noise, minus, latents);
    }
    if (c->data.has_masks)
        mask = lx_graph_input(g, "mask", LX_F32, 3, (int64_t[]){s->batch, s->h, s->w});
    loss = lx_op_masked_loss(g, pred, target, t, weights, mask, c->loss_type,
                             step->huber_c, step->weight);
    lx_graph_output(g, "loss", loss);
    return lx_graph_backward(g, loss, err);
}

/* Which tensors have a gradient: those of modules that the graph reaches and, under module_dropout,
 * that were not left out every time. */
static void mark_gradients(lx_step *step)
{
    for (size_t i = 0; i < step->model.lora->count; i++) {
        const lx_lora_module *m = &step->model.lora->modules[i];
        for (size_t k = m->first; k < m->first + (size_t)m->n_factors; k++)
            step->trainables[k].has_gradient =
                step->is_used[i] && step->trainables[k].gradient != NULL &&
                (step->dropout.module == 0 || step->is_touched[i]);
    }
}

static void touch_modules(lx_step *step, const int64_t moment[2])
{
    const lx_lora *lora = step->model.lora;

    for (size_t i = 0; i < lora->count; i++)
        if (!lx_dropout_skips(moment, lx_lora_dropout_stream(&lora->modules[i]),
                              (float)step->dropout.module))
            step->is_touched[i] = true;
    mark_gradients(step);
}

/* --max_memory is of the whole training: what is beside the arena comes off. */
static int limit_arena(lx_plan_options *options, lx_step *step, lx_error *err)
{
    const size_t most = step->model.config->max_memory;
    size_t beside = 0;
    int rc;

    mark_gradients(step);
    if (!most || !step->model.beside_arena)
        return LX_OK;
    if ((rc = step->model.beside_arena(step->model.beside_context, &beside, err)) < 0)
        return rc;
    if (beside >= most)
        return lx_fail(err, LX_ELIMIT,
                       "weights, LoRA, optimizer and program alone need %zu bytes, more "
                       "than the limit "
                       "of %zu (--max_memory)",
                       beside, most);
    options->max_bytes = most - beside;
    return LX_OK;
}

/*
 * Of a step's operations: what computing results again may cost, to keep less. On SD 1.5 a fifth of the arena
 * is norms, activations and gates, for 1 %. In bf16 on the processor, whose operations take half as long, it is
 * more: an eighth of what is left, for 1.8 % of the time. A GPU does all that so fast that starting it again is
 * what would cost: there only --max_memory asks for it.
 */
static double spare_share(const lx_step *step)
{
    const bool is_bf16 =
        lx_train_arithmetic(step->model.config).compute == LX_COMPUTE_BF16;

    if (!step->model.dev->uses_host_memory)
        return 0;
    return is_bf16 ? 0.035 : 0.01;
}

static int find_plan(size_t *out, lx_step *step, int batch, int64_t h, int64_t w,
                     int n_chunks, lx_error *err)
{
    shape_plan s = {.batch = batch, .h = h, .w = w, .n_chunks = n_chunks};
    lx_plan_options options = {.dry_run = true, /* lx_step_take */
                               .spare = spare_share(step),
                               .max_bytes = step->model.config->max_memory};
    int rc;

    for (size_t i = 0; i < step->n_plans; i++) {
        const shape_plan *p = &step->plans[i];
        if (p->batch == batch && p->h == h && p->w == w && p->n_chunks == n_chunks) {
            *out = i;
            return LX_OK;
        }
    }
    if (!(s.graph = lx_graph_new()) ||
        lx_grow(&step->plans, &step->plan_capacity, step->n_plans + 1, sizeof s) < 0) {
        lx_graph_free(s.graph);
        return lx_oom(err);
    }
    if ((rc = build(step, &s, err)) < 0 || (rc = limit_arena(&options, step, err)) < 0 ||
        (rc = lx_plan_new(&s.plan, s.graph, step->model.dev, &options, err)) < 0) {
        lx_within(err, "a batch of %d at %lldx%lld", batch, (long long)w * 8,
                  (long long)h * 8);
        lx_graph_free(s.graph);
        return rc;
    }
    mark_gradients(step);
    *out = step->n_plans;
    step->plans[step->n_plans++] = s;
    return LX_OK;
}

int lx_step_take(lx_step *step, lx_error *err)
{
    size_t largest = 0;
    int rc;

    for (size_t i = 1; i < step->n_plans; i++)
        if (lx_plan_memory_of(step->plans[i].plan).arena_bytes >
            lx_plan_memory_of(step->plans[largest].plan).arena_bytes)
            largest = i;
    for (size_t k = 0; k < step->n_plans; k++) {
        shape_plan *s = &step->plans[(largest + k) % step->n_plans];
        if (s->is_taken)
            continue;
        if ((rc = lx_plan_take(s->plan, k ? step->plans[largest].plan : NULL, err)) < 0) {
            lx_within(err, "a batch of %d at %lldx%lld", s->batch, (long long)s->w * 8,
                      (long long)s->h * 8);
            return rc;
        }
        s->is_taken = true;
    }
    return LX_OK;
}

int lx_step_prepare(lx_step *step, int batch, int64_t h, int64_t w, int n_chunks,
                    lx_plan_memory *memory, lx_error *err)
{
    size_t i;
    int rc = find_plan(&i, step, batch, h, w, n_chunks, err);
    if (rc < 0)
        return rc;
    step->last = i;
    if (memory)
        *memory = lx_plan_memory_of(step->plans[i].plan);
    return LX_OK;
}

void lx_step_zero_gradients(lx_step *step)
{
    lx_lora *lora = step->model.lora;
    if (lora->host_gradients)
        memset(lora->host_gradients, 0, lora->n_values * sizeof(float));
    step->must_send_gradients = true;
    memset(step->is_touched, 0, lora->count * sizeof *step->is_touched);
}

/* Coefficients of x_t and the weights times the share, per sample. */
static int set_scalars(lx_step *step, lx_plan *plan, const lx_step_inputs *in,
                       double share, lx_error *err)
{
    size_t n = (size_t)in->batch, bytes = n * sizeof(float);
    float *signal, *sigma, *weight;
    int rc;

    if (lx_grow(&step->scalars, &step->scalar_capacity, 3 * n, sizeof(float)) < 0)
        return lx_oom(err);
    signal = step->scalars;
    sigma = signal + n;
    weight = sigma + n;
    for (size_t i = 0; i < n; i++) {
        float abar;
        if (in->timesteps[i] < 0 || in->timesteps[i] >= LX_TIMESTEPS)
            return lx_fail(err, LX_EFORMAT, "timestep %lld is not in 0..999",
                           (long long)in->timesteps[i]);
        abar = step->noise.alphas_cumprod[in->timesteps[i]];
        signal[i] = sqrtf(abar);
        sigma[i] = sqrtf(1.0f - abar);
        weight[i] = (float)(in->loss_weights[i] * share);
    }
    if ((rc = lx_plan_set(plan, "signal", signal, bytes, err)) < 0 ||
        (rc = lx_plan_set(plan, "sigma", sigma, bytes, err)) < 0)
        return rc;
    return lx_plan_set(plan, "loss_weights", weight, bytes, err);
}

/* Ids choose rows of the checkpoint's table: none beyond it. */
static int check_ids(const lx_step *step, const lx_step_inputs *in, lx_error *err)
{
    const size_t n = (size_t)in->batch * (size_t)in->n_chunks * 77;

    for (size_t i = 0; i < n; i++)
        if (in->input_ids[i] < 0 || in->input_ids[i] >= step->model.sd->vocab_size)
            return lx_fail(err, LX_EFORMAT, "token %lld is not in the vocabulary of %d",
                           (long long)in->input_ids[i], step->model.sd->vocab_size);
    return LX_OK;
}

static int set_inputs(lx_step *step, lx_plan *plan, const lx_step_inputs *in,
                      lx_error *err)
{
    const lx_train_config *c = step->model.config;
    size_t n = (size_t)in->batch;
    size_t cells = n * 4 * (size_t)(in->h * in->w) * sizeof(float);
    size_t ids = n * (size_t)in->n_chunks * 77 * sizeof(int64_t);
    size_t weights = n * ((size_t)in->n_chunks * 75 + 2) * sizeof(float);
    const int64_t moment[2] = {(int64_t)c->seed, in->micro_step};
    int rc;

    if ((rc = check_ids(step, in, err)) < 0 ||
        (rc = lx_plan_set(plan, "latents", in->latents, cells, err)) < 0 ||
        (rc = lx_plan_set(plan, "noise", in->noise, cells, err)) < 0 ||
        (rc = lx_plan_set(plan, "timesteps", in->timesteps, n * sizeof(int64_t), err)) <
            0 ||
        (rc = lx_plan_set(plan, "input_ids", in->input_ids, ids, err)) < 0)
        return rc;
    if (c->ip_noise_gamma > 0 &&
        (rc = lx_plan_set(plan, "input_noise",
                          in->input_noise ? in->input_noise : in->noise, cells, err)) < 0)
        return rc;
    if (has_dropout(step) &&
        (rc = lx_plan_set(plan, "dropout_moment", moment, sizeof moment, err)) < 0)
        return rc;
    lx_assert(in->mask || !c->data.has_masks);
    if (c->data.has_masks &&
        (rc = lx_plan_set(plan, "mask", in->mask, cells / 4, err)) < 0)
        return rc;
    if (!c->data.weighted_captions)
        return LX_OK;
    lx_assert(in->token_weights);
    return lx_plan_set(plan, "token_weights", in->token_weights, weights, err);
}

/* Everything of a step but reading what came out. */
static int begin_step(lx_step *step, const lx_step_inputs *in, double share,
                      lx_error *err)
{
    lx_plan *plan;
    int rc;

    if ((rc = find_plan(&step->last, step, in->batch, in->h, in->w, in->n_chunks, err)) <
        0)
        return rc;
    if (!step->plans[step->last].is_taken && (rc = lx_step_take(step, err)) < 0)
        return rc;
    plan = step->plans[step->last].plan;
    if (step->must_send_gradients &&
        (rc = lx_lora_send_gradients(step->model.lora, err)) < 0)
        return rc;
    step->must_send_gradients = false;
    if ((rc = set_scalars(step, plan, in, share, err)) < 0 ||
        (rc = set_inputs(step, plan, in, err)) < 0)
        return rc;
    if (step->updater)
        lx_updater_scale_loss(step->updater, lx_plan_input(plan, "loss_weights"),
                              (size_t)in->batch);
    if ((rc = lx_plan_queue(plan, err)) < 0)
        return rc;
    if (step->dropout.module > 0)
        touch_modules(step,
                      (int64_t[]){(int64_t)step->model.config->seed, in->micro_step});
    return LX_OK;
}

int lx_step_run(double *loss, lx_step *step, const lx_step_inputs *in, double share,
                lx_error *err)
{
    float scaled;
    int rc = begin_step(step, in, share, err);

    if (rc < 0 || (rc = step->model.dev->sync(step->model.dev, err)) < 0 ||
        (rc = lx_plan_get(step->plans[step->last].plan, "loss", &scaled, sizeof scaled,
                          err)) < 0 ||
        (rc = lx_lora_fetch_gradients(step->model.lora, err)) < 0)
        return rc;
    *loss = (double)scaled / share;
    return LX_OK;
}

void lx_step_scale_loss(lx_step *step, lx_updater *updater)
{
    step->updater = updater;
}

int lx_step_queue(lx_step_loss *later, lx_step *step, const lx_step_inputs *in,
                  double share, lx_error *err)
{
    lx_plan *plan;
    int rc;

    *later = (lx_step_loss){.share = share};
    if (!step->model.dev->download_queued)
        return lx_step_run(&later->value, step, in, share, err);
    if ((rc = begin_step(step, in, share, err)) < 0)
        return rc;
    plan = step->plans[step->last].plan;
    return lx_plan_get_queued(plan, "loss", sizeof(float), &later->ticket, err);
}

int lx_step_loss_of(double *loss, lx_step *step, const lx_step_loss *later, lx_error *err)
{
    lx_device *dev = step->model.dev;
    float scaled;
    int rc;

    *loss = later->value;
    if (!dev->download_queued)
        return LX_OK;
    if ((rc = dev->take(dev, later->ticket, &scaled, sizeof scaled, err)) < 0)
        return rc;
    *loss = (double)scaled / later->share;
    return LX_OK;
}

const lx_trainable *lx_step_trainables(const lx_step *step, size_t *count)
{
    *count = step->n_trainables;
    return step->trainables;
}

int lx_step_intermediate(lx_step *step, const char *name, float *data, size_t n,
                         lx_error *err)
{
    return lx_plan_get(step->plans[step->last].plan, name, data, n * sizeof(float), err);
}

lx_plan *lx_step_last_plan(lx_step *step)
{
    return step->n_plans ? step->plans[step->last].plan : NULL;
}
