/*
 * D-Adaptation: optimizers that find their rate from d, a lower bound of the distance to the
 * solution, which only grows. R = d lr, k counts updates from 0, all sums run over all
 * elements:
 *
 *   Adam          num = q num + (1-q) sum R g s/(sqrt(v)+eps), q = sqrt(beta2), v of before;
 *                 m = beta1 m + R (1-beta1) g, v = beta2 v + (1-beta2) g^2,
 *                 s = q s + R (1-q) g;
 *                 d' = num / ((1-q) sum |s|);  w -= m / (sqrt(v)+eps)
 *   AdamPreprint  m, v as there, s with beta2 for q; a = sqrt(v)+eps of after;
 *                 gsq = beta2 gsq + R^2 (1-beta2) sum g^2/a;
 *                 d' = (sum s^2/a / (1-beta2) - gsq) / sum |s|;  w -= m / a
 *   AdaGrad       a += g^2 (from 1e-6), s += R g, gsq += R^2 sum g^2/(sqrt(a)+eps);
 *                 d' = (sum s^2/(sqrt(a)+eps) - gsq) / sum |s|;
 *                 w = momentum w + (1-momentum) (w0 - s/(sqrt(a)+eps))
 *   Adan          u = g + beta2 (g - g_before); m, n of R g and R (g - g_before), v of u^2;
 *                 gsq, d' as AdamPreprint with beta3;
 *                 w -= (m + beta2 n) / (sqrt(v)+eps), then w /= 1 + R decay
 *                 (under no_prox: before it, w *= 1 - R decay)
 *   AdanIP        num = beta3 num + (1-beta3) sum R g s/(sqrt(v)+eps), v of before;
 *                 d' = 2 beta3/(1-beta3) num / sum |s|
 *   Lion          u = sign(beta1 m + (1-beta1) g); w -= R u; m = beta2 m + R (1-beta2) g;
 *                 num as Adam with R u s; s = q s + R (1-q) u; d' = num / ((1-q) sum |s|)
 *   SGD           R = d lr / |g of the first step|; num += R g s, s += R g;
 *                 d' = 2 num / |s|;  w = momentum w + (1-momentum) (w0 - s)
 *
 * d = max(d, min(d', d growth_rate)). The bound moves before the weights do, R after both.
 * Source: Defazio & Mishchenko 2023, arXiv:2301.07733; dadaptation 3.2.
 */
#include <math.h>
#include <string.h>

#include "src/train/optimizer/rule.h"

enum { S, FIRST, SECOND, DIFFERENCE, BEFORE };
enum { START = FIRST }; /* of AdaGrad and SGD, which keep w0 and no moment */
enum { D, NUMERATOR, G0_NORM, K };

/* ---- opening ---------------------------------------------------------------------- */

static int add_floats(lx_optimizer *o, const lx_trainable *t, size_t i, int k)
{
    static const char *const names[] = {"s", "exp_avg", "exp_avg_sq", "exp_avg_diff",
                                        "pre_grad"};

    o->number[D] = o->config.d0;
    return lx_optimizer__add(o, i, k, names[k], LX_F32, t->n);
}

static int open_adam(lx_optimizer *o, const lx_trainable *t, size_t i)
{
    int rc;

    if ((rc = add_floats(o, t, i, S)) < 0 || (rc = add_floats(o, t, i, FIRST)) < 0)
        return rc;
    return add_floats(o, t, i, SECOND);
}

static int open_adan(lx_optimizer *o, const lx_trainable *t, size_t i)
{
    int rc;

    if ((rc = open_adam(o, t, i)) < 0 || (rc = add_floats(o, t, i, DIFFERENCE)) < 0)
        return rc;
    return add_floats(o, t, i, BEFORE);
}

static int open_lion(lx_optimizer *o, const lx_trainable *t, size_t i)
{
    int rc = add_floats(o, t, i, S);
    return rc < 0 ? rc : add_floats(o, t, i, FIRST);
}

static int open_from_start(lx_optimizer *o, const lx_trainable *t, size_t i)
{
    int rc;

    if ((rc = add_floats(o, t, i, S)) < 0 ||
        (rc = lx_optimizer__add(o, i, START, "x0", LX_F32, t->n)) < 0)
        return rc;
    memcpy(o->states[i][START], t->value, t->n * sizeof(float));
    return LX_OK;
}

static int open_adagrad(lx_optimizer *o, const lx_trainable *t, size_t i)
{
    int rc = open_from_start(o, t, i);

    if (rc < 0 || (rc = lx_optimizer__add(o, i, SECOND, "alphak", LX_F32, t->n)) < 0)
        return rc;
    for (size_t j = 0; j < t->n; j++)
        lx_optimizer__floats(o, i, SECOND)[j] = 1e-6f;
    return LX_OK;
}

/* ---- what they share -------------------------------------------------------------- */

/* Sums of one step over all tensors. */
typedef struct sums {
    double numerator, s_l1, s_weighted, g_weighted, s_squared;
} sums;

/* One tensor of a step. */
typedef struct part {
    const lx_trainable *t;
    const lx_optimizer_config *c;
    float *s, *m, *v, *difference, *before;
    double rate; /* R */
    bool is_first;
} part;

static part part_of(const lx_optimizer *o, const lx_trainable *tensors, size_t i,
                    double rate)
{
    return (part){.t = &tensors[i],
                  .c = &o->config,
                  .s = lx_optimizer__floats(o, i, S),
                  .m = lx_optimizer__floats(o, i, FIRST),
                  .v = lx_optimizer__floats(o, i, SECOND),
                  .difference = lx_optimizer__floats(o, i, DIFFERENCE),
                  .before = lx_optimizer__floats(o, i, BEFORE),
                  .rate = rate,
                  .is_first = o->updates[i] == 1};
}

typedef void (*gather_fn)(const part *p, sums *total);
typedef void (*move_fn)(const part *p);

static void gather_all(sums *total, lx_optimizer *o, const lx_trainable *tensors,
                       double rate, gather_fn gather)
{
    *total = (sums){0};
    for (size_t i = 0; i < o->count; i++)
        if (tensors[i].has_gradient) {
            const part p = part_of(o, tensors, i, rate);
            gather(&p, total);
        }
}

static void move_all(lx_optimizer *o, const lx_trainable *tensors, double rate,
                     move_fn move)
{
    for (size_t i = 0; i < o->count; i++)
        if (tensors[i].has_gradient) {
            const part p = part_of(o, tensors, i, rate);
            move(&p);
        }
    o->number[K]++;
}

static void grow(lx_optimizer *o, double guess, double lr)
{
    if (lr > 0)
        o->number[D] =
            fmax(o->number[D], fmin(guess, o->number[D] * o->config.growth_rate));
}

/* The gradient, with coupled decay in it. */
static float gradient_at(const part *p, size_t j)
{
    return p->t->gradient[j] +
           (p->c->decouple ? 0 : (float)p->c->weight_decay * p->t->value[j]);
}

static void decay_decoupled(const part *p)
{
    const float by = (float)(p->c->weight_decay * p->rate);

    for (size_t j = 0; p->c->decouple && by != 0 && j < p->t->n; j++)
        p->t->value[j] -= by * p->t->value[j];
}

static void move_adam(const part *p)
{
    const float eps = (float)p->c->eps;

    decay_decoupled(p);
    for (size_t j = 0; j < p->t->n; j++)
        p->t->value[j] -= p->m[j] / (sqrtf(p->v[j]) + eps);
}

/* ---- Adam ------------------------------------------------------------------------- */

static void gather_adam(const part *p, sums *total)
{
    const double *b = p->c->betas, q = sqrt(b[1]);
    const float b1 = (float)b[0], m_by = (float)(p->rate * (1 - b[0]));
    const float b2 = (float)b[1], v_by = (float)(1 - b[1]);
    const float keep = (float)q, s_by = (float)(p->rate * (1 - q)),
                eps = (float)p->c->eps;
    double dot = 0, l1 = 0;

    for (size_t j = 0; j < p->t->n; j++) {
        const float g = gradient_at(p, j);
        dot += (double)g * (p->s[j] / (sqrtf(p->v[j]) + eps));
        p->m[j] = p->m[j] * b1 + m_by * g;
        p->v[j] = p->v[j] * b2 + v_by * g * g;
        p->s[j] = p->s[j] * keep + s_by * g;
        l1 += fabsf(p->s[j]);
    }
    total->numerator += p->rate * dot;
    total->s_l1 += l1;
}

static void step_adam(lx_optimizer *o, const lx_trainable *tensors, double factor)
{
    const lx_optimizer_config *c = &o->config;
    const double lr = lx_optimizer__rate(tensors, o->count, factor), n = o->number[K] + 1;
    const double q = sqrt(c->betas[1]);
    const double bias = c->use_bias_correction
                            ? sqrt(1 - pow(c->betas[1], n)) / (1 - pow(c->betas[0], n))
                            : 1;
    const double rate = o->number[D] * lr * bias;
    sums total;

    if (!(lr > 0)) /* as at a warm-up's beginning: not even its moments go on */
        return;
    gather_all(&total, o, tensors, rate, gather_adam);
    if (total.s_l1 == 0)
        return;
    o->number[NUMERATOR] = q * o->number[NUMERATOR] + (1 - q) * total.numerator;
    grow(o, o->number[NUMERATOR] / ((1 - q) * total.s_l1), lr);
    move_all(o, tensors, rate, move_adam);
}

/* ---- Adam of the preprint --------------------------------------------------------- */

/* Element j with its new s, both weighted by a, the denominator of after. */
static void weigh(sums *one, float g, float s, float a)
{
    one->g_weighted += g * g / a;
    one->s_weighted += s * s / a;
    one->s_l1 += fabsf(s);
}

static void add_weighted(sums *total, const sums *one)
{
    total->g_weighted += one->g_weighted;
    total->s_weighted += one->s_weighted;
    total->s_l1 += one->s_l1;
}

static void gather_preprint(const part *p, sums *total)
{
    const double *b = p->c->betas;
    const float b1 = (float)b[0], m_by = (float)(p->rate * (1 - b[0]));
    const float b2 = (float)b[1], v_by = (float)(1 - b[1]),
                s_by = (float)(p->rate * (1 - b[1]));
    const float eps = (float)p->c->eps;
    sums one = {0};

    for (size_t j = 0; j < p->t->n; j++) {
        const float g = gradient_at(p, j);
        p->m[j] = p->m[j] * b1 + m_by * g;
        p->v[j] = p->v[j] * b2 + v_by * g * g;
        p->s[j] = p->s[j] * b2 + s_by * g;
        weigh(&one, g, p->s[j], sqrtf(p->v[j]) + eps);
    }
    add_weighted(total, &one);
}

/* The bound from sums weighted by the denominator, as the preprint and Adan have it. */
static void grow_weighted(lx_optimizer *o, const sums *total, double beta, double rate,
                          double lr)
{
    o->number[NUMERATOR] =
        beta * o->number[NUMERATOR] + total->g_weighted * rate * rate * (1 - beta);
    grow(o, (total->s_weighted / (1 - beta) - o->number[NUMERATOR]) / total->s_l1, lr);
}

static void step_preprint(lx_optimizer *o, const lx_trainable *tensors, double factor)
{
    const double lr = lx_optimizer__rate(tensors, o->count, factor),
                 rate = o->number[D] * lr;
    sums total;

    if (!(lr > 0)) /* as Adam */
        return;
    gather_all(&total, o, tensors, rate, gather_preprint);
    if (total.s_l1 == 0)
        return;
    grow_weighted(o, &total, o->config.betas[1], rate, lr);
    move_all(o, tensors, rate, move_adam);
}

/* ---- AdaGrad ---------------------------------------------------------------------- */

static void gather_adagrad(const part *p, sums *total)
{
    const float eps = (float)p->c->eps, s_by = (float)p->rate;
    const float decay = (float)p->c->weight_decay;
    sums one = {0};

    for (size_t j = 0; j < p->t->n; j++) {
        const float g = p->t->gradient[j] + decay * p->t->value[j];
        p->v[j] += g * g;
        p->s[j] += s_by * g;
        weigh(&one, g, p->s[j], sqrtf(p->v[j]) + eps);
    }
    add_weighted(total, &one);
}

/* Towards w0 - step, step being s or s over the denominator. */
static void move_adagrad(const part *p)
{
    const float eps = (float)p->c->eps, keep = (float)p->c->momentum, *start = p->m;

    for (size_t j = 0; j < p->t->n; j++) {
        const float z = start[j] - p->s[j] / (sqrtf(p->v[j]) + eps);
        p->t->value[j] = p->t->value[j] * keep + (1 - keep) * z;
    }
}

static void step_adagrad(lx_optimizer *o, const lx_trainable *tensors, double factor)
{
    const double lr = lx_optimizer__rate(tensors, o->count, factor),
                 rate = o->number[D] * lr;
    sums total;

    gather_all(&total, o, tensors, rate, gather_adagrad);
    if (total.s_l1 == 0)
        return;
    o->number[NUMERATOR] += rate * rate * total.g_weighted;
    grow(o, (total.s_weighted - o->number[NUMERATOR]) / total.s_l1, lr);
    move_all(o, tensors, rate, move_adagrad);
}

/* ---- Adan ------------------------------------------------------------------------- */

/* Moments of the gradient and of its change; *difference is 0 at the first update. */
static void adan_moments(const part *p, size_t j, float g)
{
    const double *b = p->c->betas;
    const float change = p->is_first ? 0 : g - p->before[j];
    const float u = g + (float)b[1] * change;

    p->m[j] = p->m[j] * (float)b[0] + (float)(p->rate * (1 - b[0])) * g;
    p->difference[j] =
        p->difference[j] * (float)b[1] + (float)(p->rate * (1 - b[1])) * change;
    p->v[j] = p->v[j] * (float)b[2] + (float)(1 - b[2]) * u * u;
    p->s[j] = p->s[j] * (float)b[2] + (float)(p->rate * (1 - b[2])) * g;
}

static void gather_adan(const part *p, sums *total)
{
    const float eps = (float)p->c->eps;
    sums one = {0};

    for (size_t j = 0; j < p->t->n; j++) {
        const float g = p->t->gradient[j];
        adan_moments(p, j, g);
        weigh(&one, g, p->s[j], sqrtf(p->v[j]) + eps);
    }
    add_weighted(total, &one);
}

static void gather_adan_ip(const part *p, sums *total)
{
    const float eps = (float)p->c->eps;
    double dot = 0, l1 = 0;

    for (size_t j = 0; j < p->t->n; j++) {
        const float g = p->t->gradient[j];
        dot += (double)g * (p->s[j] / (sqrtf(p->v[j]) + eps));
        adan_moments(p, j, g);
        l1 += fabsf(p->s[j]);
    }
    total->numerator += p->rate * dot;
    total->s_l1 += l1;
}

static void move_adan(const part *p)
{
    const float eps = (float)p->c->eps, b2 = (float)p->c->betas[1];
    const double decay = p->rate * p->c->weight_decay;
    const float before = p->c->no_prox ? (float)(1 - decay) : 1;
    const float after = p->c->no_prox ? 1 : (float)(1 + decay);

    for (size_t j = 0; j < p->t->n; j++) {
        const float u = (p->m[j] + b2 * p->difference[j]) / (sqrtf(p->v[j]) + eps);
        p->t->value[j] = (p->t->value[j] * before - u) / after;
        p->before[j] = p->t->gradient[j];
    }
}

/* Nothing has moved, and `before` has no gradient yet: the next update is the first still. */
static void take_back(lx_optimizer *o, const lx_trainable *tensors)
{
    for (size_t i = 0; i < o->count; i++)
        o->updates[i] -= tensors[i].has_gradient;
}

static void step_adan(lx_optimizer *o, const lx_trainable *tensors, double factor)
{
    const double lr = lx_optimizer__rate(tensors, o->count, factor),
                 rate = o->number[D] * lr;
    sums total;

    gather_all(&total, o, tensors, rate, gather_adan);
    if (total.s_l1 == 0) {
        take_back(o, tensors);
        return;
    }
    grow_weighted(o, &total, o->config.betas[2], rate, lr);
    move_all(o, tensors, rate, move_adan);
}

static void step_adan_ip(lx_optimizer *o, const lx_trainable *tensors, double factor)
{
    const double lr = lx_optimizer__rate(tensors, o->count, factor),
                 rate = o->number[D] * lr;
    const double b3 = o->config.betas[2];
    sums total;

    gather_all(&total, o, tensors, rate, gather_adan_ip);
    if (total.s_l1 == 0) {
        take_back(o, tensors);
        return;
    }
    o->number[NUMERATOR] = b3 * o->number[NUMERATOR] + (1 - b3) * total.numerator;
    grow(o, 2 * (b3 / (1 - b3)) * o->number[NUMERATOR] / total.s_l1, lr);
    move_all(o, tensors, rate, move_adan);
}

/* ---- Lion ------------------------------------------------------------------------- */

static void gather_lion(const part *p, sums *total)
{
    const double *b = p->c->betas, q = sqrt(b[1]);
    const float keep = (float)(1 - p->rate * p->c->weight_decay), by = (float)p->rate;
    const float b1 = (float)b[0], one_less_b1 = (float)(1 - b[0]), b2 = (float)b[1];
    const float m_by = (float)((1 - b[1]) * p->rate), s_by = (float)((1 - q) * p->rate);
    double dot = 0, l1 = 0;

    for (size_t j = 0; j < p->t->n; j++) {
        const float g = p->t->gradient[j], u = p->m[j] * b1 + one_less_b1 * g;
        const float sign = (float)(u > 0) - (float)(u < 0);
        p->t->value[j] = p->t->value[j] * keep - by * sign;
        p->m[j] = p->m[j] * b2 + m_by * g;
        dot += (double)sign * p->s[j];
        p->s[j] = p->s[j] * (float)q + s_by * sign;
        l1 += fabsf(p->s[j]);
    }
    total->numerator += p->rate * dot;
    total->s_l1 += l1;
}

static void step_lion(lx_optimizer *o, const lx_trainable *tensors, double factor)
{
    const double lr = lx_optimizer__rate(tensors, o->count, factor),
                 rate = o->number[D] * lr;
    const double q = sqrt(o->config.betas[1]);
    sums total;

    gather_all(&total, o, tensors, rate, gather_lion);
    o->number[NUMERATOR] = q * o->number[NUMERATOR] + (1 - q) * total.numerator;
    if (total.s_l1 > 0)
        grow(o, o->number[NUMERATOR] / ((1 - q) * total.s_l1), lr);
    o->number[K]++;
}

/* ---- SGD -------------------------------------------------------------------------- */

static void gather_sgd(const part *p, sums *total)
{
    const float decay = (float)p->c->weight_decay, by = (float)p->rate;
    double dot = 0, squared = 0;

    for (size_t j = 0; j < p->t->n; j++) {
        const float g = p->t->gradient[j] + decay * p->t->value[j];
        dot += (double)g * p->s[j];
        p->s[j] += by * g;
        squared += (double)p->s[j] * p->s[j];
    }
    total->numerator += p->rate * dot;
    total->s_squared += squared;
}

static void move_sgd(const part *p)
{
    const float keep = (float)p->c->momentum, *start = p->m;

    for (size_t j = 0; j < p->t->n; j++)
        p->t->value[j] = p->t->value[j] * keep + (1 - keep) * (start[j] - p->s[j]);
}

static void step_sgd(lx_optimizer *o, const lx_trainable *tensors, double factor)
{
    const double lr = lx_optimizer__rate(tensors, o->count, factor);
    double rate;
    sums total;

    if (o->number[K] == 0)
        o->number[G0_NORM] = lx_gradient_norm(tensors, o->count);
    if (o->number[G0_NORM] == 0)
        return; /* no gradient has come yet: the distance cannot be told */
    rate = o->number[D] * lr / o->number[G0_NORM];
    gather_all(&total, o, tensors, rate, gather_sgd);
    if (total.s_squared == 0)
        return;
    o->number[NUMERATOR] += total.numerator;
    grow(o, 2 * o->number[NUMERATOR] / sqrt(total.s_squared), lr);
    move_all(o, tensors, rate, move_sgd);
}

const lx_optimizer_rule lx_rule_dadapt_adam_preprint = {.open = open_adam,
                                                        .step = step_preprint};
const lx_optimizer_rule lx_rule_dadapt_adagrad = {.open = open_adagrad,
                                                  .step = step_adagrad};
const lx_optimizer_rule lx_rule_dadapt_adam = {.open = open_adam, .step = step_adam};
const lx_optimizer_rule lx_rule_dadapt_adan = {.open = open_adan, .step = step_adan};
const lx_optimizer_rule lx_rule_dadapt_adan_ip = {.open = open_adan,
                                                  .step = step_adan_ip};
const lx_optimizer_rule lx_rule_dadapt_lion = {.open = open_lion, .step = step_lion};
const lx_optimizer_rule lx_rule_dadapt_sgd = {.open = open_from_start, .step = step_sgd};
