/*
 * Schedule-free AdamW: gradients are taken at y, the average x is what to use, z takes
 * the steps.
 *
 *     v  = beta2 v + (1 - beta2) g^2
 *     d  = g / (sqrt(v / (1 - beta2^n)) + eps) + decay y
 *     c  = w_n / sum of w,  w_n = n^r max(lr so far)^weight_lr_power
 *     y  = y + c (z - y) + lr (beta1 (1 - c) - 1) d
 *     z -= lr d
 *     x  = y + (1 - 1/beta1) (z - y)
 *
 * The values hold y while training. Showing x keeps y aside, so that going back is exact.
 * Source: Defazio et al. 2024, arXiv:2405.15682; schedulefree.AdamWScheduleFree (whose
 * return to y is off by the rounding error).
 */
#include <math.h>
#include <string.h>

#include "src/train/optimizer/rule.h"

enum { Z, SECOND, Y };
enum { MOST_RATE = 1, WEIGHTS }; /* number[0] is left to those that adapt */

static int open_schedule_free(lx_optimizer *o, const lx_trainable *t, size_t i)
{
    int rc;

    if ((rc = lx_optimizer__add(o, i, Z, "z", LX_F32, t->n)) < 0 ||
        (rc = lx_optimizer__add(o, i, SECOND, "exp_avg_sq", LX_F32, t->n)) < 0)
        return rc;
    memcpy(o->states[i][Z], t->value, t->n * sizeof(float));
    return lx_optimizer__add(o, i, Y, "y", LX_F32, t->n);
}

typedef struct coefficients {
    float b2, one_less_b2, correction, eps, decay, toward_z, along, rate;
} coefficients;

static void update(const lx_trainable *t, float *z, float *v, const coefficients *k)
{
    for (size_t i = 0; i < t->n; i++) {
        const float g = t->gradient[i], y = t->value[i];
        v[i] = v[i] * k->b2 + k->one_less_b2 * g * g;
        const float d = g / (sqrtf(v[i] / k->correction) + k->eps) + k->decay * y;
        t->value[i] = y + k->toward_z * (z[i] - y) + k->along * d;
        z[i] -= k->rate * d;
    }
}

/* Each group of one rate has its own weights in the peer; the ratio c is the same for all
 * of them as long as their rates keep their ratio, which schedules (there are none) would
 * not change. */
static void step_schedule_free(lx_optimizer *o, const lx_trainable *tensors,
                               double factor)
{
    const lx_optimizer_config *c = &o->config;
    const double n = ++o->number[3];
    const double warm = n - 1 < (double)c->warmup_steps ? n / (double)c->warmup_steps : 1;
    double c_n, weight;

    o->number[MOST_RATE] = fmax(o->number[MOST_RATE], warm);
    weight = pow(n, c->r) * pow(o->number[MOST_RATE], c->weight_lr_power);
    o->number[WEIGHTS] += weight;
    c_n = weight / o->number[WEIGHTS];
    (void)factor;
    for (size_t i = 0; i < o->count; i++) {
        const double lr = tensors[i].lr * warm;
        const coefficients k = {.b2 = (float)c->betas[1],
                                .one_less_b2 = (float)(1 - c->betas[1]),
                                .correction = (float)(1 - pow(c->betas[1], n)),
                                .eps = (float)c->eps,
                                .decay = (float)c->weight_decay,
                                .toward_z = (float)c_n,
                                .along = (float)(lr * (c->betas[0] * (1 - c_n) - 1)),
                                .rate = (float)lr};
        if (tensors[i].has_gradient)
            update(&tensors[i], lx_optimizer__floats(o, i, Z),
                   lx_optimizer__floats(o, i, SECOND), &k);
    }
}

static void show_averages(lx_optimizer *o, const lx_trainable *tensors, bool on)
{
    const float weight = (float)(1 - 1 / o->config.betas[0]);

    for (size_t i = 0; i < o->count; i++) {
        const lx_trainable *t = &tensors[i];
        const float *z = lx_optimizer__floats(o, i, Z);
        float *y = lx_optimizer__floats(o, i, Y);

        if (!on) {
            memcpy(t->value, y, t->n * sizeof *y);
            continue;
        }
        memcpy(y, t->value, t->n * sizeof *y);
        for (size_t j = 0; j < t->n && o->updates[i]; j++)
            t->value[j] = y[j] + weight * (z[j] - y[j]);
    }
}

const lx_optimizer_rule lx_rule_schedule_free = {.open = open_schedule_free,
                                                 .step = step_schedule_free,
                                                 .show_averages = show_averages};
