#include "src/train/optimizer.h"

#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/train/optimizer/rule.h"

static const lx_optimizer_rule *const rules[LX_OPTIMIZER_COUNT] = {
    [LX_OPTIMIZER_ADAMW] = &lx_rule_adamw,
    /* Pages and 32 bits are the same arithmetic here: nothing is ever moved off a device.
     */
    [LX_OPTIMIZER_PAGED_ADAMW] = &lx_rule_adamw,
    [LX_OPTIMIZER_PAGED_ADAMW_32BIT] = &lx_rule_adamw,
    [LX_OPTIMIZER_ADAMW_8BIT] = &lx_rule_adamw_8bit,
    [LX_OPTIMIZER_PAGED_ADAMW_8BIT] = &lx_rule_adamw_8bit,
    [LX_OPTIMIZER_LION] = &lx_rule_lion,
    [LX_OPTIMIZER_LION_8BIT] = &lx_rule_lion_8bit,
    [LX_OPTIMIZER_PAGED_LION_8BIT] = &lx_rule_lion_8bit,
    [LX_OPTIMIZER_SGD_NESTEROV] = &lx_rule_sgd_nesterov,
    [LX_OPTIMIZER_SGD_NESTEROV_8BIT] = &lx_rule_sgd_8bit,
    [LX_OPTIMIZER_ADAFACTOR] = &lx_rule_adafactor,
    [LX_OPTIMIZER_PRODIGY] = &lx_rule_prodigy,
    [LX_OPTIMIZER_DADAPT_ADAM_PREPRINT] = &lx_rule_dadapt_adam_preprint,
    [LX_OPTIMIZER_DADAPT_ADAGRAD] = &lx_rule_dadapt_adagrad,
    [LX_OPTIMIZER_DADAPT_ADAM] = &lx_rule_dadapt_adam,
    [LX_OPTIMIZER_DADAPT_ADAN] = &lx_rule_dadapt_adan,
    [LX_OPTIMIZER_DADAPT_ADAN_IP] = &lx_rule_dadapt_adan_ip,
    [LX_OPTIMIZER_DADAPT_LION] = &lx_rule_dadapt_lion,
    [LX_OPTIMIZER_DADAPT_SGD] = &lx_rule_dadapt_sgd,
    [LX_OPTIMIZER_ADAMW_SCHEDULE_FREE] = &lx_rule_schedule_free,
    [LX_OPTIMIZER_RADAM_SCHEDULE_FREE] = &lx_rule_radam_schedule_free,
    [LX_OPTIMIZER_SGD_SCHEDULE_FREE] = &lx_rule_sgd_schedule_free,
};

/* ---- states ----------------------------------------------------------------------- */

static int list(lx_optimizer *o, const char *name, size_t tensor, lx_dtype dtype,
                size_t n, void *data)
{
    if (lx_grow(&o->list, &o->list_capacity, o->n_listed + 1, sizeof *o->list) < 0)
        return LX_ENOMEM;
    o->list[o->n_listed++] = (lx_optimizer_state){name, tensor, dtype, n, data};
    return LX_OK;
}

int lx_optimizer__add(lx_optimizer *o, size_t i, int k, const char *name, lx_dtype dtype,
                      size_t n)
{
    o->states[i][k] =
        lx_arena_calloc(o->arena, n ? n : 1, (size_t)lx_dtype_bits(dtype) / 8);
    return o->states[i][k] ? list(o, name, i, dtype, n, o->states[i][k]) : LX_ENOMEM;
}

static int open_states(lx_optimizer *o, const lx_trainable *tensors)
{
    int rc;

    o->updates = lx_arena_calloc(o->arena, o->count + 1, sizeof *o->updates);
    o->states = lx_arena_calloc(o->arena, o->count + 1, sizeof *o->states);
    if (!o->updates || !o->states)
        return LX_ENOMEM;
    if ((rc = list(o, "updates", SIZE_MAX, LX_I64, o->count, o->updates)) < 0 ||
        (rc = list(o, "numbers", SIZE_MAX, LX_F64, LX_OPTIMIZER_NUMBERS, o->number)) < 0)
        return rc;
    for (size_t i = 0; i < o->count; i++)
        if ((rc = o->rule->open(o, &tensors[i], i)) < 0)
            return rc;
    return LX_OK;
}

int lx_optimizer_new(lx_optimizer **out, const lx_optimizer_config *config,
                     const lx_trainable *tensors, size_t count, lx_error *err)
{
    lx_optimizer *o = lx_calloc(1, sizeof *o);

    if (!o)
        return lx_oom(err);
    o->config = *config;
    o->rule = rules[config->type];
    o->count = count;
    if (!(o->arena = lx_arena_new()) || open_states(o, tensors) < 0) {
        lx_optimizer_free(o);
        return lx_oom(err);
    }
    *out = o;
    return LX_OK;
}

void lx_optimizer_free(lx_optimizer *o)
{
    if (!o)
        return;
    lx_arena_free(o->arena);
    lx_free(o->list);
    lx_free(o);
}

lx_optimizer_type lx_optimizer_type_of(const lx_optimizer *o)
{
    return o->config.type;
}

const lx_optimizer_state *lx_optimizer_states(const lx_optimizer *o, size_t *count)
{
    *count = o->n_listed;
    return o->list;
}

/* ---- gradients -------------------------------------------------------------------- */

double lx_gradient_norm(const lx_trainable *tensors, size_t count)
{
    double total = 0;
    for (size_t i = 0; i < count; i++) {
        double sum = 0;
        if (!tensors[i].has_gradient)
            continue;
        for (size_t j = 0; j < tensors[i].n; j++)
            sum += (double)tensors[i].gradient[j] * tensors[i].gradient[j];
        total += sum;
    }
    return sqrt(total);
}

void lx_gradient_clip(const lx_trainable *tensors, size_t count, double norm,
                      double max_norm)
{
    float by = (float)(max_norm / (norm + 1e-6));
    if (!(by < 1.0f))
        return;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; tensors[i].has_gradient && j < tensors[i].n; j++)
            tensors[i].gradient[j] *= by;
}

double lx_optimizer__rate(const lx_trainable *tensors, size_t count, double factor)
{
    double most = 0;
    for (size_t i = 0; i < count; i++)
        if (tensors[i].has_gradient && tensors[i].lr > most)
            most = tensors[i].lr;
    return most * factor;
}

/* ---- updates ---------------------------------------------------------------------- */

void lx_optimizer_step(lx_optimizer *o, const lx_trainable *tensors, double factor)
{
    for (size_t i = 0; i < o->count; i++)
        o->updates[i] += tensors[i].has_gradient;
    o->rule->step(o, tensors, factor);
}

double lx_optimizer_rate(const lx_optimizer *o, double rate)
{
    int64_t n = 1;

    if (lx_optimizer_is_adaptive(o->config.type))
        return o->number[0] * rate;
    if (!lx_optimizer_has_own_rate(&o->config))
        return rate;
    for (size_t i = 0; i < o->count; i++)
        n = o->updates[i] > n ? o->updates[i] : n;
    return lx_adafactor_relative_step(&o->config, n);
}

bool lx_optimizer_show_averages(lx_optimizer *o, const lx_trainable *tensors, bool on)
{
    if (!o->rule->show_averages || o->shows_averages == on)
        return false;
    o->rule->show_averages(o, tensors, on);
    o->shows_averages = on;
    return true;
}
