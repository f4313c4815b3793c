/*
 * Prodigy: Adam that estimates d, the distance to the solution, and with it the rate.
 *
 *     R   = d lr, times sqrt(1 - beta2^n) / (1 - beta1^n) under use_bias_correction
 *     num = beta3 num + sum of (d/d0) R <g, w0 - w>
 *     m   = beta1 m + d (1 - beta1) g,   v = beta2 v + d^2 (1 - beta2) g^2
 *     s   = beta3 s + (d/d0) (R, or d under safeguard_warmup) g
 *     d'  = d_coef num / sum of |s|
 *     d   = max(d, d') while it is d0, then min(d_max, d growth_rate)
 *     w  -= R decay w (decoupled), then R m / (sqrt(v) + d eps): the new d, the old R
 *
 * Source: Mishchenko & Defazio 2023, arXiv:2306.06101; prodigyopt 1.1.2.
 */
#include <math.h>
#include <string.h>

#include "src/train/optimizer/rule.h"

enum { FIRST, SECOND, S, START };
enum { D, D_MAX, NUMERATOR, K };

static int open_prodigy(lx_optimizer *o, const lx_trainable *t, size_t i)
{
    int rc;

    o->number[D] = o->number[D_MAX] = o->config.d0;
    if ((rc = lx_optimizer__add(o, i, FIRST, "exp_avg", LX_F32, t->n)) < 0 ||
        (rc = lx_optimizer__add(o, i, SECOND, "exp_avg_sq", LX_F32, t->n)) < 0 ||
        (rc = lx_optimizer__add(o, i, S, "s", LX_F32, t->n)) < 0 ||
        (rc = lx_optimizer__add(o, i, START, "p0", LX_F32, t->n)) < 0)
        return rc;
    memcpy(o->states[i][START], t->value, t->n * sizeof(float));
    return LX_OK;
}

typedef struct rates {
    double d, rate, s_factor, beta3;
} rates;

/* <g, w0 - w> of one tensor, and its moments; *s_sum grows by |s|. */
static double gather(lx_optimizer *o, const lx_trainable *t, size_t i, const rates *k,
                     double *s_sum)
{
    const lx_optimizer_config *c = &o->config;
    const float b1 = (float)c->betas[0], b2 = (float)c->betas[1], b3 = (float)k->beta3;
    const float m_by = (float)(k->d * (1 - c->betas[0]));
    const float v_by = (float)(k->d * k->d * (1 - c->betas[1]));
    const float coupled = c->decouple ? 0 : (float)c->weight_decay,
                s_by = (float)k->s_factor;
    float *m = lx_optimizer__floats(o, i, FIRST), *v = lx_optimizer__floats(o, i, SECOND);
    float *s = lx_optimizer__floats(o, i, S), *start = lx_optimizer__floats(o, i, START);
    double dot = 0, sum = 0;

    for (size_t j = 0; j < t->n; j++) {
        const float g = t->gradient[j] + coupled * t->value[j];
        dot += (double)g * (start[j] - t->value[j]);
        m[j] = m[j] * b1 + m_by * g;
        v[j] = v[j] * b2 + v_by * g * g;
        s[j] = s[j] * b3 + s_by * g;
        sum += fabsf(s[j]);
    }
    *s_sum += sum;
    return dot;
}

static void estimate(lx_optimizer *o, double s_sum)
{
    const double guess = o->config.d_coef * o->number[NUMERATOR] / s_sum;

    if (o->number[D] == o->config.d0)
        o->number[D] = fmax(o->number[D], guess);
    o->number[D_MAX] = fmax(o->number[D_MAX], guess);
    o->number[D] = fmin(o->number[D_MAX], o->number[D] * o->config.growth_rate);
}

static void move(lx_optimizer *o, const lx_trainable *t, size_t i, double rate)
{
    const lx_optimizer_config *c = &o->config;
    const float eps = (float)(o->number[D] * c->eps), by = (float)rate;
    const float decay = c->decouple ? (float)(c->weight_decay * rate) : 0;
    const float *m = lx_optimizer__floats(o, i, FIRST),
                *v = lx_optimizer__floats(o, i, SECOND);

    for (size_t j = 0; j < t->n; j++) {
        float w = t->value[j] - decay * t->value[j];
        t->value[j] = w - by * (m[j] / (sqrtf(v[j]) + eps));
    }
}

static void step_prodigy(lx_optimizer *o, const lx_trainable *tensors, double factor)
{
    const lx_optimizer_config *c = &o->config;
    const double lr = lx_optimizer__rate(tensors, o->count, factor), d = o->number[D];
    const double n = o->number[K] + 1;
    const double bias = c->use_bias_correction
                            ? sqrt(1 - pow(c->betas[1], n)) / (1 - pow(c->betas[0], n))
                            : 1;
    rates k = {.d = d, .rate = d * lr * bias, .beta3 = c->beta3};
    double dots = 0, s_sum = 0;

    if (c->beta3 < 0)
        k.beta3 = sqrt(c->betas[1]);
    k.s_factor = d / c->d0 * (c->safeguard_warmup ? d : k.rate);
    for (size_t i = 0; i < o->count; i++)
        if (tensors[i].has_gradient && lr > 0)
            dots += d / c->d0 * k.rate * gather(o, &tensors[i], i, &k, &s_sum);
    if (s_sum == 0)
        return; /* no gradient has come yet */
    o->number[NUMERATOR] = o->number[NUMERATOR] * k.beta3 + dots;
    estimate(o, s_sum);
    for (size_t i = 0; i < o->count; i++)
        if (tensors[i].has_gradient)
            move(o, &tensors[i], i, k.rate);
    o->number[K] = n;
}

const lx_optimizer_rule lx_rule_prodigy = {.open = open_prodigy, .step = step_prodigy};
