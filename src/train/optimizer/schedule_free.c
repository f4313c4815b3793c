/*
 * Schedule-free AdamW, RAdam and SGD: gradients are taken at y, the average x is what to use, z takes
 * the steps.
 *
 *     v  = beta2 v + (1 - beta2) g^2
 *     d  = g / (sqrt(v / (1 - beta2^n)) + eps) + decay y        SGD: g + decay y
 *     c  = w_n / sum of w,  w_n = n^r max(lr so far)^weight_lr_power
 *     y  = y + c (z - y) + lr (beta1 (1 - c) - 1) d             SGD: momentum for beta1
 *     z -= lr d
 *     x  = y + (1 - 1/beta1) (z - y)
 *
 * lr grows over warmup_steps; RAdam's is multiplied by the rectification of its variance instead:
 *
 *     rho_inf = 2 / (1 - beta2) - 1,  rho = rho_inf - 2 n beta2^n / (1 - beta2^n)
 *     rho > 4:  sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))
 *     else      0 with silent_sgd_phase; without it 1, and d is SGD's
 *
 * The values hold y while training. Showing x keeps y aside, so that going back is exact.
 * Sources: Defazio et al. 2024, arXiv:2405.15682; Liu et al. 2020, arXiv:1908.03265 (RAdam); the package
 * schedulefree 1.4.1 (whose return to y is off by the rounding error).
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
    bool is_adaptive; /* by v */
} coefficients;

static void update(const lx_trainable *t, float *z, float *v, const coefficients *k)
{
    for (size_t i = 0; i < t->n; i++) {
        const float g = t->gradient[i], y = t->value[i];
        float d = g;

        v[i] = v[i] * k->b2 + k->one_less_b2 * g * g;
        if (k->is_adaptive)
            d = g / (sqrtf(v[i] / k->correction) + k->eps);
        d += k->decay * y;
        t->value[i] = y + k->toward_z * (z[i] - y) + k->along * d;
        z[i] -= k->rate * d;
    }
}

static double beta_of(const lx_optimizer_config *c)
{
    return c->type == LX_OPTIMIZER_SGD_SCHEDULE_FREE ? c->momentum : c->betas[0];
}

/*
 * One update at `share` of the rates. Each group of one rate has its own weights in the peer; the ratio c
 * is the same for all of them as long as their rates keep their ratio, which schedules (there are none)
 * would not change.
 */
static void step(lx_optimizer *o, const lx_trainable *tensors, double n, double share,
                 bool is_adaptive)
{
    const lx_optimizer_config *c = &o->config;
    double c_n, weight;

    o->number[MOST_RATE] = fmax(o->number[MOST_RATE], share);
    weight = pow(n, c->r) * pow(o->number[MOST_RATE], c->weight_lr_power);
    o->number[WEIGHTS] += weight;
    c_n = o->number[WEIGHTS] > 0 ? weight / o->number[WEIGHTS] : 0;
    for (size_t i = 0; i < o->count; i++) {
        const double lr = tensors[i].lr * share;
        const coefficients k = {.b2 = (float)c->betas[1],
                                .one_less_b2 = (float)(1 - c->betas[1]),
                                .correction = (float)(1 - pow(c->betas[1], n)),
                                .eps = (float)c->eps,
                                .decay = (float)c->weight_decay,
                                .toward_z = (float)c_n,
                                .along = (float)(lr * (beta_of(c) * (1 - c_n) - 1)),
                                .rate = (float)lr,
                                .is_adaptive = is_adaptive};
        if (tensors[i].has_gradient)
            update(&tensors[i], lx_optimizer__floats(o, i, Z),
                   lx_optimizer__floats(o, i, SECOND), &k);
    }
}

static void step_warmed(lx_optimizer *o, const lx_trainable *tensors, double factor)
{
    const double n = ++o->number[3], warm = (double)o->config.warmup_steps;

    (void)factor;
    step(o, tensors, n, n - 1 < warm ? n / warm : 1,
         o->config.type == LX_OPTIMIZER_ADAMW_SCHEDULE_FREE);
}

static void step_rectified(lx_optimizer *o, const lx_trainable *tensors, double factor)
{
    const lx_optimizer_config *c = &o->config;
    const double n = ++o->number[3], b2_n = pow(c->betas[1], n);
    const double most = 2 / (1 - c->betas[1]) - 1, rho = most - 2 * n * b2_n / (1 - b2_n);
    double share = c->silent_sgd_phase ? 0 : 1;

    (void)factor;
    if (rho > 4)
        share = sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho));
    step(o, tensors, n, share, rho > 4);
}

static void show_averages(lx_optimizer *o, const lx_trainable *tensors, bool on)
{
    const float weight = (float)(1 - 1 / beta_of(&o->config));

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

const lx_optimizer_rule lx_rule_schedule_free = {
    .open = open_schedule_free, .step = step_warmed, .show_averages = show_averages};
const lx_optimizer_rule lx_rule_radam_schedule_free = {
    .open = open_schedule_free, .step = step_rectified, .show_averages = show_averages};
const lx_optimizer_rule lx_rule_sgd_schedule_free = {
    .open = open_schedule_free, .step = step_warmed, .show_averages = show_averages};
