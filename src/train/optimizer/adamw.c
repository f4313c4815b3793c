/* AdamW: the formula stands in src/train/optimizer.h. */
#include <math.h>

#include "src/train/optimizer/rule.h"

enum { FIRST, SECOND };

static int open_adamw(lx_optimizer *o, const lx_trainable *t, size_t i)
{
    int rc = lx_optimizer__add(o, i, FIRST, "exp_avg", LX_F32, t->n);
    return rc < 0 ? rc : lx_optimizer__add(o, i, SECOND, "exp_avg_sq", LX_F32, t->n);
}

static void update(const lx_trainable *t, float *m, float *v, int64_t updates, double lr,
                   const lx_optimizer_config *c)
{
    const float keep = (float)(1.0 - lr * c->weight_decay);
    const float one_less_b1 = (float)(1.0 - c->betas[0]), b2 = (float)c->betas[1];
    const float one_less_b2 = (float)(1.0 - c->betas[1]), eps = (float)c->eps;
    const float step = (float)(lr / (1.0 - pow(c->betas[0], (double)updates)));
    const float root = (float)sqrt(1.0 - pow(c->betas[1], (double)updates));
    float *w = t->value;
    const float *g = t->gradient;

    for (size_t i = 0; i < t->n; i++) {
        w[i] *= keep;
        m[i] += one_less_b1 * (g[i] - m[i]);
        v[i] = b2 * v[i] + one_less_b2 * g[i] * g[i];
        w[i] -= step * (m[i] / (sqrtf(v[i]) / root + eps));
    }
}

static void step_adamw(lx_optimizer *o, const lx_trainable *tensors, double factor)
{
    for (size_t i = 0; i < o->count; i++)
        if (tensors[i].has_gradient)
            update(&tensors[i], lx_optimizer__floats(o, i, FIRST),
                   lx_optimizer__floats(o, i, SECOND), o->updates[i],
                   tensors[i].lr * factor, &o->config);
}

const lx_optimizer_rule lx_rule_adamw = {.open = open_adamw, .step = step_adamw};
