/*
 * SGD with Nesterov's momentum, as torch.optim.SGD:
 *
 *     g += decay w
 *     m  = g at the first update, then momentum m + g
 *     w -= lr (g + momentum m)
 */
#include "src/train/optimizer/rule.h"

static int open_sgd(lx_optimizer *o, const lx_trainable *t, size_t i)
{
    return lx_optimizer__add(o, i, 0, "momentum_buffer", LX_F32, t->n);
}

static void update(const lx_trainable *t, float *m, bool is_first, double lr,
                   const lx_optimizer_config *c)
{
    const float decay = (float)c->weight_decay, momentum = (float)c->momentum,
                rate = (float)lr;

    for (size_t i = 0; i < t->n; i++) {
        float g = t->gradient[i] + decay * t->value[i];
        m[i] = is_first ? g : m[i] * momentum + g;
        t->value[i] -= rate * (g + momentum * m[i]);
    }
}

static void step_sgd(lx_optimizer *o, const lx_trainable *tensors, double factor)
{
    for (size_t i = 0; i < o->count; i++)
        if (tensors[i].has_gradient)
            update(&tensors[i], lx_optimizer__floats(o, i, 0), o->updates[i] == 1,
                   tensors[i].lr * factor, &o->config);
}

const lx_optimizer_rule lx_rule_sgd_nesterov = {.open = open_sgd, .step = step_sgd};
