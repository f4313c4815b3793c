#include "src/train/optimizer.h"

#include <math.h>
#include <string.h>

#include "src/base/alloc.h"

struct lx_optimizer {
    lx_optimizer_config config;
    size_t count;
    float *first, *second; /* moments, all tensors one after the other */
    int64_t *updates;      /* per tensor */
};

int lx_optimizer_new(lx_optimizer **out, const lx_optimizer_config *config,
                     const lx_trainable *tensors, size_t count, lx_error *err)
{
    lx_optimizer *o = lx_calloc(1, sizeof *o);
    size_t n = 0;

    for (size_t i = 0; i < count; i++)
        n += tensors[i].n;
    if (o) {
        o->config = *config;
        o->count = count;
        o->first = lx_calloc(n, sizeof(float));
        o->second = lx_calloc(n, sizeof(float));
        o->updates = lx_calloc(count, sizeof(int64_t));
    }
    if (!o || !o->first || !o->second || !o->updates) {
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
    lx_free(o->first);
    lx_free(o->second);
    lx_free(o->updates);
    lx_free(o);
}

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

void lx_gradient_clip(const lx_trainable *tensors, size_t count, double norm, double max_norm)
{
    float by = (float)(max_norm / (norm + 1e-6));
    if (!(by < 1.0f))
        return;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; tensors[i].has_gradient && j < tensors[i].n; j++)
            tensors[i].gradient[j] *= by;
}

static void adamw(float *w, float *m, float *v, const float *g, size_t n, int64_t updates,
                  double lr, const lx_optimizer_config *c)
{
    const float keep = (float)(1.0 - lr * c->weight_decay);
    const float one_less_b1 = (float)(1.0 - c->beta1), b2 = (float)c->beta2;
    const float one_less_b2 = (float)(1.0 - c->beta2), eps = (float)c->eps;
    const float step = (float)(lr / (1.0 - pow(c->beta1, (double)updates)));
    const float root = (float)sqrt(1.0 - pow(c->beta2, (double)updates));

    for (size_t i = 0; i < n; i++) {
        w[i] *= keep;
        m[i] += one_less_b1 * (g[i] - m[i]);
        v[i] = b2 * v[i] + one_less_b2 * g[i] * g[i];
        w[i] -= step * (m[i] / (sqrtf(v[i]) / root + eps));
    }
}

void lx_optimizer_step(lx_optimizer *o, const lx_trainable *tensors, double factor)
{
    size_t at = 0;
    for (size_t i = 0; i < o->count; at += tensors[i].n, i++) {
        const lx_trainable *t = &tensors[i];
        if (!t->has_gradient)
            continue;
        o->updates[i]++;
        adamw(t->value, o->first + at, o->second + at, t->gradient, t->n, o->updates[i],
              t->lr * factor, &o->config);
    }
}
