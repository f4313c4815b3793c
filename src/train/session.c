/* A training opened and closed, and what is asked of it. */
#include "src/train/session_internal.h"

#include <stdio.h>

#include "src/base/alloc.h"

static const char *algo_of(lx_lora_kind kind)
{
    return kind == LX_KIND_LOHA ? "loha" : kind == LX_KIND_LOKR ? "lokr" : "lora";
}

/* A family that was asked for and is not the file's. */
static int check_kind(const lx_train *t, lx_error *err)
{
    const lx_lora_spec *asked = &t->config->network;

    for (size_t i = 0; i < t->lora->count; i++) {
        const lx_lora_kind kind = t->lora->modules[i].kind;
        if (kind == asked->kind)
            continue;
        return lx_fail(
            err, LX_EMISMATCH, "%s is a %s: go on with %s--network_args algo=%s",
            t->lora->modules[i].name, lx_lora_kind_name(kind),
            asked->is_lycoris ? "" : "--network_module lycoris.kohya ", algo_of(kind));
    }
    return LX_OK;
}

/* What the flags ask for of a module; 0: nothing. */
typedef struct wanted {
    int rank;
    double alpha;
    const char *rank_flag, *alpha_flag;
} wanted;

static wanted wanted_of(const lx_lora_module *m, const lx_train_config *c)
{
    const lx_lora_spec *s = &c->network;
    const int block = m->part == LX_UNET && s->has_block_ranks ? lx_lora_block(m->layer) : -1;
    wanted w = {.rank_flag = "conv_dim", .alpha_flag = "conv_alpha"};
    double alpha = 0;
    bool has_alpha = false;

    if (m->is_conv) {
        w.rank = block >= 0 ? s->conv_block_rank[block] : s->conv_rank;
        alpha = block >= 0 ? s->conv_block_alpha[block] : s->conv_alpha;
        has_alpha = s->has_conv_alpha;
    } else if (block >= 0 && s->has_block_dims) {
        w.rank_flag = "block_dims";
        w.rank = s->block_rank[block];
    } else {
        w.rank_flag = "--network_dim";
        w.rank = c->network_dim_given ? s->rank : 0;
    }
    if (!m->is_conv) {
        const bool is_by_block = block >= 0 && s->has_block_alphas;
        w.alpha_flag = is_by_block ? "block_alphas" : "--network_alpha";
        alpha = is_by_block ? s->block_alpha[block] : s->alpha;
        has_alpha = is_by_block || c->network_alpha_given;
    }
    if (has_alpha && !s->is_lycoris)
        w.alpha = alpha != 0 ? alpha : m->rank;
    return w;
}

static int check_module(const lx_lora_module *m, const lx_train_config *c, lx_error *err)
{
    const bool is_whole = m->kind == LX_KIND_LOKR && lx_lokr_is_whole(m);
    const wanted w = wanted_of(m, c);

    if (w.rank && !is_whole && m->rank != w.rank)
        return lx_fail(err, LX_EMISMATCH,
                       "%s has rank %d, %s asks for %d: leave it out, or add "
                       "--dim_from_weights",
                       m->name, m->rank, w.rank_flag, w.rank);
    if (w.alpha != 0 && m->alpha != (float)w.alpha)
        return lx_fail(err, LX_EMISMATCH,
                       "%s has alpha %g, %s asks for %g: leave it out, or "
                       "add --dim_from_weights",
                       m->name, (double)m->alpha, w.alpha_flag, w.alpha);
    return LX_OK;
}

/* A rank or alpha that was asked for and is not the file's; --dim_from_weights asks for the file's. */
static int check_modules(const lx_train *t, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; !t->config->dim_from_weights && i < t->lora->count && rc == LX_OK; i++)
        rc = check_module(&t->lora->modules[i], t->config, err);
    return rc;
}

static void tell_start(const lx_train *t, const lx_lora_start *start)
{
    char text[512];

    if (!t->observer->on_note)
        return;
    if (start->n_left_out) {
        snprintf(
            text, sizeof text,
            "--network_weights: %zu of its modules are of what is not trained, and are "
            "left out",
            start->n_left_out);
        t->observer->on_note(t->observer->context, text);
    }
    if (start->n_new) {
        snprintf(text, sizeof text,
                 "--network_weights: it has no modules for %zu layers that are trained; "
                 "these begin anew (--dim_from_weights leaves them out)",
                 start->n_new);
        t->observer->on_note(t->observer->context, text);
    }
}

static int merge_base(lx_train *t, lx_error *err)
{
    const lx_train_config *c = t->config;
    int rc = LX_OK;

    for (size_t i = 0; i < c->n_base_weights && rc == LX_OK; i++) {
        rc = lx_lora_merge_into(t->checkpoint, &t->sd, c->base_weights[i],
                                c->base_weights_multiplier[i], err);
        if (rc < 0)
            lx_within(err, "--base_weights");
    }
    return rc;
}

static int read_lora(lx_train *t, lx_error *err)
{
    const lx_train_config *c = t->config;
    lx_lora_start start = {.spec = &c->network,
                           .has_rank = c->network_dim_given,
                           .has_no_more = c->dim_from_weights || c->network.is_lycoris,
                           .seed = c->seed};
    int rc;

    if (!c->network_weights) {
        rc = lx_lora_create(&t->lora, t->dev, t->checkpoint, &t->sd, &c->network, c->seed,
                            err);
        if (rc < 0)
            lx_within(err, "%s", c->pretrained_model_name_or_path);
        return rc;
    }
    if ((rc = lx_lora_open_on(&t->lora, &start, t->dev, t->checkpoint, &t->sd,
                              c->network_weights, err)) < 0) {
        lx_within(err, "--network_weights"); /* it names the path */
        return rc;
    }
    if ((rc = check_kind(t, err)) == LX_OK && (rc = check_modules(t, err)) == LX_OK &&
        c->dim_from_weights && start.has_idle_blocks)
        rc = lx_fail(err, LX_EUNSUPPORTED,
                     "blocks of it have a rate of 0: sd-scripts keeps their modules as they are under "
                     "--dim_from_weights, lx cannot; without --dim_from_weights they are left out, here and there");
    if (rc < 0)
        lx_within(err, "--network_weights %s", c->network_weights);
    else
        tell_start(t, &start);
    return rc;
}

static int make_lora(lx_train *t, lx_error *err)
{
    const size_t before = lx_resident_now().anonymous;
    int rc = read_lora(t, err);
    const size_t after = lx_resident_now().anonymous;

    t->lora_resident = after > before ? after - before : 0;
    return rc;
}

/* Factors are rounded once an update rather than wherever they are used. */
static int narrow_lora(lx_train *t, lx_error *err)
{
    const lx_dtype narrow = lx_train_narrow(t->config, t->dev);

    return narrow == LX_F32 ? LX_OK : lx_lora_narrow(t->lora, narrow, err);
}

/* What the shapes say of the base model. */
static int read_architecture(lx_train *t, lx_error *err)
{
    const lx_train_config *c = t->config;
    int rc = lx_checkpoint_config(&t->sd, t->checkpoint, c->text_encoder_heads, err);

    if (rc == LX_OK && t->sd.vocab_size <= LX_TOKEN_EOS)
        rc = lx_fail(err, LX_EUNSUPPORTED,
                     "the text encoder has a vocabulary of %d tokens, CLIP's has %d",
                     t->sd.vocab_size, LX_TOKEN_EOS + 1);
    if (rc < 0)
        lx_within(err, "%s", c->pretrained_model_name_or_path);
    return rc;
}

int lx_train_open(lx_train **out, const lx_train_config *config,
                  const lx_dataset *dataset, const lx_train_identity *identity,
                  const lx_observer *observer, lx_error *err)
{
    lx_train *t = lx_calloc(1, sizeof *t);
    int rc;

    if (!t || !(t->arena = lx_arena_new())) {
        lx_free(t);
        return lx_oom(err);
    }
    t->config = config;
    t->dataset = dataset;
    t->identity = identity;
    t->observer = observer;
    t->before = lx_resident_now();
    if ((rc = lx_device_open(&t->dev, config->device, config->threads, err)) < 0 ||
        (lx_train_is_on_gpu(config) && /* the CPU has f32 in place of fp16, and says so */
         (rc = lx_precision_check(lx_train_precision(config), t->dev, err)) < 0) ||
        (lx_train_encodes_ahead(config, lx_cpu_cores()) &&
         (rc = lx_device_open_cpu(&t->encoder_dev, config->threads, err)) < 0) ||
        (rc = lx_checkpoint_open(&t->checkpoint, config->pretrained_model_name_or_path,
                                 config->vae, err)) < 0 ||
        (rc = read_architecture(t, err)) < 0 || (rc = merge_base(t, err)) < 0 ||
        (rc = make_lora(t, err)) < 0 || (rc = narrow_lora(t, err)) < 0 ||
        (rc = lx_tokenizer_new(&t->tokenizer, err)) < 0) {
        lx_train_close(t);
        return rc;
    }
    *out = t;
    return LX_OK;
}

void lx_train_close(lx_train *t)
{
    if (!t)
        return;
    lx_updater_free(t->updater);
    lx_optimizer_free(t->optimizer);
    lx_validation_free(t->validation);
    lx_step_free(t->step);
    lx_loader_free(t->loader);
    lx_latents_free(t->latents);
    lx_tokenizer_free(t->tokenizer);
    lx_lora_free(t->lora);
    lx_checkpoint_close(t->checkpoint);
    lx_device_close(t->encoder_dev);
    lx_device_close(t->dev);
    lx_metadata_release(&t->metadata);
    lx_draw_release(&t->draw);
    lx_free(t->input_ids);
    lx_free(t->token_weights);
    lx_free(t->at.recent);
    lx_arena_free(t->arena);
    lx_free(t);
}

lx_step_model lx_train_model(const lx_train *t)
{
    return (lx_step_model){.dev = t->dev,
                           .checkpoint = t->checkpoint,
                           .sd = &t->sd,
                           .lora = t->lora,
                           .config = t->config};
}

lx_device *lx_train_encoder(bool *is_beside, const lx_train *t)
{
    *is_beside = t->encoder_dev && lx_train_has_two_teams(t->config, lx_cpu_cores());
    return lx_train__encoder_dev(t);
}

lx_step *lx_train_step(const lx_train *t)
{
    return t->step;
}

lx_plan_memory lx_train_memory(const lx_train *t)
{
    return t->memory;
}

lx_step_count lx_train_steps(const lx_train *t)
{
    return t->count;
}

const lx_lora *lx_train_lora(const lx_train *t)
{
    return t->lora;
}
