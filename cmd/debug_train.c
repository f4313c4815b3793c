/*
 * lx debug eval step|train - a training step on given inputs (docs/testing.md)
 *
 * step:  in.latents (as the VAE gives them: not times 0.18215), in.noise, in.timesteps, in.input_ids,
 *        in.loss_weights, in.offset_noise (under --noise_offset), in.token_weights (under
 *        --weighted_captions) -> mid.encoder_hidden_states, mid.noisy_latents, mid.noise_pred,
 *        out.loss, grad.<LoRA key>
 * train: the same names without "in." and with a leading axis of micro-steps -> the LoRA's tensors
 *        after the last step under their file keys, losses [micro-steps]
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cmd/debug.h"
#include "cmd/train_flags.h"
#include "src/base/alloc.h"
#include "src/format/safetensors.h"
#include "src/train/step.h"

typedef struct request {
    const char *base, *lora, *inputs, *outputs;
    int argc; /* the training flags that are left */
    char **argv;
} request;

typedef struct eval {
    lx_cli *cli;
    lx_train_config config;
    lx_device *dev;
    lx_checkpoint *checkpoint;
    lx_sd_config sd;
    lx_lora *lora;
    lx_step *step;
    lx_tensor_file *inputs;
    const char *prefix; /* of input names: "in." or "" */
    lx_tensor_view *out;
    size_t n_out, out_capacity;
} eval;

/* ---- the command line -------------------------------------------------------------------- */

static int take_request(request *r, lx_cli *cli, int argc, char **argv, lx_error *err)
{
    const struct {
        const char *name;
        const char **value;
    } own[] = {{"--base", &r->base},
               {"--lora", &r->lora},
               {"--inputs", &r->inputs},
               {"--outputs", &r->outputs}};

    if (!(r->argv = lx_arena_calloc(cli->arena, (size_t)argc + 1, sizeof *r->argv)))
        return lx_oom(err);
    for (int i = 0; i < argc; i++) {
        bool is_own = false;
        for (size_t k = 0; k < sizeof own / sizeof *own; k++) {
            if (strcmp(argv[i], own[k].name) != 0)
                continue;
            if (i + 1 == argc)
                return lx_fail(err, LX_EUSAGE, "%s needs a file", argv[i]);
            *own[k].value = argv[++i];
            is_own = true;
            break;
        }
        if (!is_own)
            r->argv[r->argc++] = argv[i];
    }
    if (!r->base || !r->lora || !r->inputs || !r->outputs)
        return lx_fail(err, LX_EUSAGE, "needs --base, --lora, --inputs and --outputs");
    return LX_OK;
}

/* ---- inputs ------------------------------------------------------------------------------ */

static const lx_tensor_view *find_input(const eval *e, const char *name)
{
    char full[64];
    snprintf(full, sizeof full, "%s%s", e->prefix, name);
    return lx_tensor_file_find(e->inputs, full);
}

static int need_input(const lx_tensor_view **out, const eval *e, const char *name,
                      int n_dims, lx_error *err)
{
    *out = find_input(e, name);
    if (!*out)
        return lx_fail(err, LX_EFORMAT, "the inputs have no tensor \"%s%s\"", e->prefix,
                       name);
    if ((*out)->n_dims != n_dims)
        return lx_fail(err, LX_EFORMAT, "%s must have %d dimensions, has %d",
                       (*out)->name, n_dims, (*out)->n_dims);
    return LX_OK;
}

static int read_floats(float **out, const eval *e, const lx_tensor_view *t, lx_error *err)
{
    *out = lx_arena_alloc(e->cli->arena, t->n_elements * sizeof(float));
    if (!*out)
        return lx_oom(err);
    return lx_to_f32(*out, t->data, t->dtype, t->n_elements) < 0
               ? lx_fail(err, LX_EUNSUPPORTED, "%s: dtype %s", t->name,
                         lx_dtype_name(t->dtype))
               : LX_OK;
}

static int read_ints(int64_t **out, const eval *e, const lx_tensor_view *t, lx_error *err)
{
    if (t->dtype != LX_I64)
        return lx_fail(err, LX_EFORMAT, "%s must be I64, is %s", t->name,
                       lx_dtype_name(t->dtype));
    *out = lx_arena_alloc(e->cli->arena, t->bytes + 1);
    if (!*out)
        return lx_oom(err);
    memcpy(*out, t->data, t->bytes);
    return LX_OK;
}

/* All micro-steps; a single one when `axis` is 0. */
typedef struct batch_data {
    int64_t n_micro, batch, h, w, n_chunks;
    float *latents, *noise, *loss_weights, *token_weights;
    int64_t *timesteps, *input_ids;
} batch_data;

static int read_batches(batch_data *b, const eval *e, int axis, lx_error *err)
{
    const lx_tensor_view *latents, *noise, *timesteps, *ids, *weights, *offset, *tokens;
    const float scale = 0.18215f;
    int rc;

    if ((rc = need_input(&latents, e, "latents", 4 + axis, err)) < 0 ||
        (rc = need_input(&noise, e, "noise", 4 + axis, err)) < 0 ||
        (rc = need_input(&timesteps, e, "timesteps", 1 + axis, err)) < 0 ||
        (rc = need_input(&ids, e, "input_ids", 3 + axis, err)) < 0 ||
        (rc = need_input(&weights, e, "loss_weights", 1 + axis, err)) < 0)
        return rc;
    if (latents->n_elements != noise->n_elements || latents->shape[axis + 1] != 4 ||
        timesteps->n_elements != weights->n_elements || ids->shape[axis + 2] != 77 ||
        ids->shape[axis] != latents->shape[axis] ||
        timesteps->shape[axis] != latents->shape[axis])
        return lx_fail(err, LX_EFORMAT, "the inputs' shapes do not fit together");
    b->n_micro = axis ? latents->shape[0] : 1;
    b->batch = latents->shape[axis];
    b->h = latents->shape[axis + 2];
    b->w = latents->shape[axis + 3];
    b->n_chunks = ids->shape[axis + 1];
    if ((rc = read_floats(&b->latents, e, latents, err)) < 0 ||
        (rc = read_floats(&b->noise, e, noise, err)) < 0 ||
        (rc = read_floats(&b->loss_weights, e, weights, err)) < 0 ||
        (rc = read_ints(&b->timesteps, e, timesteps, err)) < 0 ||
        (rc = read_ints(&b->input_ids, e, ids, err)) < 0)
        return rc;
    for (size_t i = 0; i < latents->n_elements; i++)
        b->latents[i] *= scale;
    if ((offset = find_input(e, "offset_noise")) && e->config.noise_offset != 0) {
        float *randn;
        if (offset->n_elements != (size_t)(b->n_micro * b->batch * 4))
            return lx_fail(err, LX_EFORMAT, "%s must have 4 values per sample",
                           offset->name);
        if ((rc = read_floats(&randn, e, offset, err)) < 0)
            return rc;
        lx_noise_offset(b->noise, b->latents, randn, (int)(b->n_micro * b->batch),
                        b->h * b->w, e->config.noise_offset,
                        e->config.adaptive_noise_scale);
    }
    if (!e->config.data.weighted_captions)
        return LX_OK;
    if ((rc = need_input(&tokens, e, "token_weights", 2 + axis, err)) < 0)
        return rc;
    return read_floats(&b->token_weights, e, tokens, err);
}

static lx_step_inputs micro_step_of(const batch_data *b, int64_t i)
{
    const int64_t cells = b->batch * 4 * b->h * b->w;
    return (lx_step_inputs){
        .batch = (int)b->batch,
        .n_chunks = (int)b->n_chunks,
        .h = b->h,
        .w = b->w,
        .latents = b->latents + i * cells,
        .noise = b->noise + i * cells,
        .timesteps = b->timesteps + i * b->batch,
        .input_ids = b->input_ids + i * b->batch * b->n_chunks * 77,
        .token_weights = b->token_weights
                             ? b->token_weights + i * b->batch * (b->n_chunks * 75 + 2)
                             : NULL,
        .loss_weights = b->loss_weights + i * b->batch,
        .micro_step = i,
    };
}

/* ---- outputs ----------------------------------------------------------------------------- */

static int add_output(eval *e, const char *prefix, const char *name, int n_dims,
                      const int64_t *shape, const float *data, lx_error *err)
{
    lx_tensor_view *t;
    if (lx_grow(&e->out, &e->out_capacity, e->n_out + 1, sizeof *e->out) < 0)
        return lx_oom(err);
    t = &e->out[e->n_out++];
    *t = (lx_tensor_view){
        .dtype = LX_F32, .n_dims = n_dims, .n_elements = 1, .data = data};
    for (int i = 0; i < n_dims; i++) {
        t->shape[i] = shape[i];
        t->n_elements *= (size_t)shape[i];
    }
    t->bytes = t->n_elements * sizeof(float);
    t->name = lx_arena_printf(e->cli->arena, "%s%s", prefix, name);
    return t->name ? LX_OK : lx_oom(err);
}

static int add_intermediate(eval *e, const char *name, int n_dims, const int64_t *shape,
                            lx_error *err)
{
    size_t n = 1;
    float *data;
    int rc;
    for (int i = 0; i < n_dims; i++)
        n *= (size_t)shape[i];
    if (!(data = lx_arena_alloc(e->cli->arena, n * sizeof(float))))
        return lx_oom(err);
    if ((rc = lx_step_intermediate(e->step, name, data, n, err)) < 0)
        return rc;
    return add_output(e, "mid.", name, n_dims, shape, data, err);
}

static int add_params(eval *e, const char *prefix, bool gradients, lx_error *err)
{
    size_t n;
    const lx_trainable *trainables = lx_step_trainables(e->step, &n);
    for (size_t i = 0; i < n; i++) {
        const lx_param *p = e->lora->params[i];
        int rc;
        if (gradients && !trainables[i].has_gradient)
            continue;
        rc = add_output(e, prefix, p->name, p->n_dims, p->shape,
                        gradients ? trainables[i].gradient : trainables[i].value, err);
        if (rc < 0)
            return rc;
    }
    return LX_OK;
}

/* ---- the two evaluations ----------------------------------------------------------------- */

static int eval_step(eval *e, lx_error *err)
{
    batch_data b = {0};
    lx_step_inputs in;
    double loss;
    float *value;
    int rc;

    if ((rc = read_batches(&b, e, 0, err)) < 0)
        return rc;
    in = micro_step_of(&b, 0);
    lx_step_zero_gradients(e->step);
    if ((rc = lx_step_run(&loss, e->step, &in, 1.0, err)) < 0)
        return rc;
    {
        const int64_t context[3] = {b.batch, b.n_chunks * 75 + 2, e->sd.text_width};
        const int64_t latent[4] = {b.batch, 4, b.h, b.w};
        if ((rc = add_intermediate(e, "encoder_hidden_states", 3, context, err)) < 0 ||
            (rc = add_intermediate(e, "noisy_latents", 4, latent, err)) < 0 ||
            (rc = add_intermediate(e, "noise_pred", 4, latent, err)) < 0)
            return rc;
    }
    if (!(value = lx_arena_alloc(e->cli->arena, sizeof *value)))
        return lx_oom(err);
    *value = (float)loss;
    if ((rc = add_output(e, "out.", "loss", 0, NULL, value, err)) < 0)
        return rc;
    return add_params(e, "grad.", true, err);
}

static int run_micro_steps(float *losses, eval *e, const batch_data *b,
                           lx_optimizer *optimizer, const lx_schedule *schedule,
                           lx_error *err)
{
    const lx_train_config *c = &e->config;
    const int every = c->gradient_accumulation_steps;
    size_t n;
    const lx_trainable *tensors = lx_step_trainables(e->step, &n);
    int64_t step = 0;

    lx_step_zero_gradients(e->step);
    for (int64_t i = 0; i < b->n_micro; i++) {
        lx_step_inputs in = micro_step_of(b, i);
        double loss;
        int rc = lx_step_run(&loss, e->step, &in, 1.0 / every, err);
        if (rc < 0)
            return rc;
        losses[i] = (float)loss;
        if ((i + 1) % every && i + 1 < b->n_micro)
            continue;
        if (c->max_grad_norm > 0)
            lx_gradient_clip(tensors, n, lx_gradient_norm(tensors, n), c->max_grad_norm);
        lx_optimizer_step(optimizer, tensors, lx_schedule_factor(schedule, step++));
        if (c->scale_weight_norms > 0)
            lx_lora_limit_norms(e->lora, c->scale_weight_norms);
        lx_step_zero_gradients(e->step);
    }
    return LX_OK;
}

static int eval_train(eval *e, lx_error *err)
{
    const lx_train_config *c = &e->config;
    lx_optimizer *optimizer = NULL;
    const lx_trainable *tensors;
    lx_schedule schedule;
    batch_data b = {0};
    float *losses;
    size_t n;
    int rc;

    if ((rc = read_batches(&b, e, 1, err)) < 0)
        return rc;
    if (!(losses = lx_arena_calloc(e->cli->arena, (size_t)b.n_micro, sizeof *losses)))
        return lx_oom(err);
    schedule = lx_train_schedule(c, c->max_train_steps);
    tensors = lx_step_trainables(e->step, &n);
    if ((rc = lx_schedule_check(&schedule, err)) < 0 ||
        (rc = lx_optimizer_new(&optimizer, &c->optimizer, tensors, n, err)) < 0)
        return rc;
    rc = run_micro_steps(losses, e, &b, optimizer, &schedule, err);
    lx_optimizer_show_averages(optimizer, tensors, true);
    lx_optimizer_free(optimizer);
    if (rc < 0 || (rc = add_output(e, "", "losses", 1, &b.n_micro, losses, err)) < 0)
        return rc;
    return add_params(e, "", false, err);
}

/* ---- the whole --------------------------------------------------------------------------- */

static int open_all(eval *e, const request *r, bool keeps, lx_error *err)
{
    lx_train_flags facts = {0};
    lx_step_model model;
    int rc;

    if ((rc = lx_train_flags_parse(&e->config, &facts, e->cli, r->argc, r->argv, err)) <
            0 ||
        (rc = lx_train_config_check(&e->config, err)) < 0)
        return rc;
    if ((rc = lx_device_open_cpu(&e->dev, e->config.threads, err)) < 0 ||
        (rc = lx_checkpoint_open(&e->checkpoint, r->base, NULL, err)) < 0 ||
        (rc = lx_checkpoint_config(&e->sd, e->checkpoint, e->config.text_encoder_heads,
                                   err)) < 0 ||
        (rc = lx_lora_open(&e->lora, e->dev, e->checkpoint, &e->sd, r->lora, true, err)) <
            0 ||
        (rc = lx_tensor_file_open(&e->inputs, r->inputs, err)) < 0)
        return rc;
    model = (lx_step_model){.dev = e->dev,
                            .checkpoint = e->checkpoint,
                            .sd = &e->sd,
                            .lora = e->lora,
                            .config = &e->config,
                            .keeps_intermediates = keeps};
    return lx_step_new(&e->step, &model, err);
}

static void close_all(eval *e)
{
    lx_step_free(e->step);
    lx_tensor_file_close(e->inputs);
    lx_lora_free(e->lora);
    lx_checkpoint_close(e->checkpoint);
    lx_device_close(e->dev);
    lx_free(e->out);
}

int lx_debug_eval_train(lx_cli *cli, bool is_whole, int argc, char **argv, lx_error *err)
{
    eval e = {.cli = cli, .prefix = is_whole ? "" : "in."};
    request r = {0};
    int rc;

    if ((rc = take_request(&r, cli, argc, argv, err)) < 0)
        return rc;
    if ((rc = open_all(&e, &r, !is_whole, err)) == LX_OK &&
        (rc = is_whole ? eval_train(&e, err) : eval_step(&e, err)) == LX_OK)
        rc = lx_safetensors_write(r.outputs, e.out, e.n_out, NULL, 0, err);
    close_all(&e);
    return rc;
}
