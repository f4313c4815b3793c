#include "src/train/updater.h"

#include <math.h>

#include "src/base/alloc.h"
#include "src/train/optimizer/eight_bit.h"
#include "src/train/optimizer/rule.h"

enum { FIRST_SCALE = 65536 }; /* torch's */

struct lx_updater {
    lx_device *dev;
    lx_lora *lora;
    lx_optimizer *optimizer;
    const lx_trainable *tensors;
    size_t count;
    lx_update *update;
    size_t *
        of; /* of each group the tensor: every tensor with a gradient is a group of its own */
    lx_update_rates *rates;
    int n_groups;
    bool scales_loss;
    lx_update_scaling scaling; /* kept between trainings in the optimizer's numbers */
};

static bool is_lion(lx_optimizer_type type)
{
    return type == LX_OPTIMIZER_LION || type == LX_OPTIMIZER_LION_8BIT ||
           type == LX_OPTIMIZER_PAGED_LION_8BIT;
}

static bool has_codes(lx_optimizer_type type)
{
    return type == LX_OPTIMIZER_ADAMW_8BIT || type == LX_OPTIMIZER_PAGED_ADAMW_8BIT ||
           type == LX_OPTIMIZER_LION_8BIT || type == LX_OPTIMIZER_PAGED_LION_8BIT;
}

static bool is_adamw(lx_optimizer_type type)
{
    return type == LX_OPTIMIZER_ADAMW || type == LX_OPTIMIZER_PAGED_ADAMW ||
           type == LX_OPTIMIZER_PAGED_ADAMW_32BIT || type == LX_OPTIMIZER_ADAMW_8BIT ||
           type == LX_OPTIMIZER_PAGED_ADAMW_8BIT;
}

bool lx_updater_is_possible(const lx_device *dev, const lx_train_config *config)
{
    return dev->updates &&
           (is_adamw(config->optimizer.type) || is_lion(config->optimizer.type)) &&
           config->scale_weight_norms == 0 && config->network.module_dropout == 0;
}

void lx_updater_free(lx_updater *u)
{
    if (!u)
        return;
    if (u->update)
        u->dev->updates->close(u->update);
    lx_free(u->of);
    lx_free(u->rates);
    lx_free(u);
}

/* States by index as the rules of optimizer/ open them: first, second, and of codes their largest. */
enum { FIRST, SECOND, FIRST_MOST, SECOND_MOST };

static lx_update_tensor tensor_of(const lx_updater *u, size_t i, int group)
{
    const lx_param *param = u->lora->params[i];
    void **states = u->optimizer->states[i];

    return (lx_update_tensor){.value = param->value,
                              .gradient = param->gradient,
                              .host_value = u->tensors[i].value,
                              .narrow = param->narrow,
                              .narrow_dtype = param->narrow_dtype,
                              .n = u->tensors[i].n,
                              .m = states[FIRST],
                              .v = states[SECOND],
                              .m_most = states[FIRST_MOST],
                              .v_most = states[SECOND_MOST],
                              .group = group};
}

static int open_update(lx_updater *u, double max_norm, lx_error *err)
{
    const lx_optimizer_config *c = &u->optimizer->config;
    lx_update_tensor *all = lx_calloc(u->count + 1, sizeof *all);
    float maps[2][256];
    lx_update_spec spec = {.rule = is_lion(c->type) ? LX_UPDATE_LION : LX_UPDATE_ADAMW,
                           .tensors = all,
                           .betas = {c->betas[0], c->betas[1]},
                           .eps = c->eps,
                           .max_norm = max_norm};
    int rc;

    if (!all)
        return lx_oom(err);
    for (size_t i = 0; i < u->count; i++)
        if (u->tensors[i].has_gradient) {
            u->of[u->n_groups] = i;
            all[u->n_groups] = tensor_of(u, i, u->n_groups);
            u->n_groups++;
        }
    spec.n_tensors = (size_t)u->n_groups;
    spec.n_groups = u->n_groups;
    if (has_codes(c->type)) {
        lx_eight_bit_map(maps[0], true);
        lx_eight_bit_map(maps[1], false);
        spec.maps = (const float(*)[256])maps;
    }
    if (u->scales_loss)
        spec.scaling = &u->scaling;
    rc = u->dev->updates->open(u->dev, &u->update, &spec, err);
    lx_free(all);
    return rc;
}

int lx_updater_new(lx_updater **out, lx_lora *lora, lx_optimizer *optimizer,
                   bool scales_loss, const lx_trainable *tensors, size_t count,
                   double max_norm, lx_error *err)
{
    lx_updater *u = lx_calloc(1, sizeof *u);
    int rc;

    if (!u)
        return lx_oom(err);
    *u = (lx_updater){.dev = lora->dev,
                      .lora = lora,
                      .optimizer = optimizer,
                      .tensors = tensors,
                      .count = count,
                      .scales_loss = scales_loss,
                      .scaling = {.scale = FIRST_SCALE},
                      .of = lx_calloc(count + 1, sizeof *u->of),
                      .rates = lx_calloc(count + 1, sizeof *u->rates)};
    rc = u->of && u->rates ? open_update(u, max_norm, err) : lx_oom(err);
    if (rc < 0) {
        lx_updater_free(u);
        return rc;
    }
    *out = u;
    return LX_OK;
}

int lx_updater_send(lx_updater *u, lx_error *err)
{
    const double *kept = u->optimizer->number;
    const int rc = lx_lora_send(u->lora, err);

    if (u->scales_loss && kept[0] > 0)
        u->scaling = (lx_update_scaling){kept[0], kept[1], kept[2]};
    return rc < 0 ? rc : u->dev->updates->send(u->update, err);
}

int lx_updater_fetch(lx_updater *u, lx_error *err)
{
    double *kept = u->optimizer->number;
    const int rc = u->dev->updates->fetch(u->update, err);

    if (u->scales_loss) {
        kept[0] = u->scaling.scale;
        kept[1] = u->scaling.n_in_a_row;
        kept[2] = u->scaling.n_left_out;
    }
    return rc;
}

void lx_updater_scale_loss(lx_updater *u, float *weights, size_t n)
{
    u->dev->updates->scale_loss(u->update, weights, n);
}

/* Rounded once, as the host's rules round them. */
static lx_update_rates rates_of(const lx_optimizer *o, double lr, int64_t updates,
                                bool scales_loss)
{
    const lx_optimizer_config *c = &o->config;
    const bool divides = c->type == LX_OPTIMIZER_LION && c->decoupled_weight_decay;
    const double decay = divides ? c->weight_decay / c->initial_lr : c->weight_decay;

    if (is_lion(c->type))
        return (lx_update_rates){.keep = (float)(1 - lr * decay), .step = (float)lr};
    if (scales_loss)
        return (lx_update_rates){
            .keep = (float)(1 - lr * decay), .step = (float)lr, .root = (float)updates};
    return (lx_update_rates){.keep = (float)(1 - lr * decay),
                             .step =
                                 (float)(lr / (1 - pow(c->betas[0], (double)updates))),
                             .root = (float)sqrt(1 - pow(c->betas[1], (double)updates))};
}

int lx_updater_queue(lx_updater *u, double factor, uint64_t *ticket, lx_error *err)
{
    for (int g = 0; g < u->n_groups; g++) {
        const size_t i = u->of[g];
        u->rates[g] = rates_of(u->optimizer, u->tensors[i].lr * factor,
                               ++u->optimizer->updates[i], u->scales_loss);
    }
    return u->dev->updates->queue(u->update, u->rates, ticket, err);
}

int lx_updater_result(lx_updater *u, uint64_t ticket, lx_update_result *out,
                      lx_error *err)
{
    return u->dev->updates->result(u->update, ticket, out, err);
}
