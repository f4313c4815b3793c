/*
 * Lion:
 *
 *     w -= lr decay w
 *     w -= lr sign(beta1 m + (1 - beta1) g)
 *     m  = beta2 m + (1 - beta2) g
 *
 * Source: Chen et al. 2023, arXiv:2302.06675; defaults of lion_pytorch (0.9, 0.99, no
 * decay).
 */
#include "src/train/optimizer/rule.h"

static int open_lion(lx_optimizer *o, const lx_trainable *t, size_t i)
{
    return lx_optimizer__add(o, i, 0, "exp_avg", LX_F32, t->n);
}

static float sign(float x)
{
    return (float)(x > 0) - (float)(x < 0);
}

static void update(const lx_trainable *t, float *m, double lr, double decay,
                   const lx_optimizer_config *c)
{
    const float keep = (float)(1.0 - lr * decay), rate = (float)lr;
    const float b1 = (float)c->betas[0], one_less_b1 = (float)(1.0 - c->betas[0]);
    const float b2 = (float)c->betas[1], one_less_b2 = (float)(1.0 - c->betas[1]);
    float *w = t->value;
    const float *g = t->gradient;

    for (size_t i = 0; i < t->n; i++) {
        w[i] = w[i] * keep - rate * sign(m[i] * b1 + one_less_b1 * g[i]);
        m[i] = m[i] * b2 + one_less_b2 * g[i];
    }
}

static void step_lion(lx_optimizer *o, const lx_trainable *tensors, double factor)
{
    const lx_optimizer_config *c = &o->config;
    const double decay =
        c->decoupled_weight_decay ? c->weight_decay / c->initial_lr : c->weight_decay;

    for (size_t i = 0; i < o->count; i++)
        if (tensors[i].has_gradient)
            update(&tensors[i], lx_optimizer__floats(o, i, 0), tensors[i].lr * factor,
                   decay, c);
}

const lx_optimizer_rule lx_rule_lion = {.open = open_lion, .step = step_lion};
