/*
 * |up x down|^2 = sum over r, s of (up^T up)[r, s] (down down^T)[r, s]: rank^2 dot
 * products instead of a matrix of the layer's size. In f64.
 */
#include <math.h>

#include "src/lora/module.h"

double lx_lora_module_norm(const lx_lora *lora, const lx_lora_module *m)
{
    const size_t rank = (size_t)m->rank;
    const size_t in = lx_lora__size(&m->down) / rank, out = lx_lora__size(&m->up) / rank;
    const float *up = lx_lora_host_value(lora, &m->up);
    const float *down = lx_lora_host_value(lora, &m->down);
    double total = 0;

    for (size_t r = 0; r < rank; r++)
        for (size_t s = r; s < rank; s++) {
            double ups = 0, downs = 0;
            for (size_t o = 0; o < out; o++)
                ups += (double)up[o * rank + r] * up[o * rank + s];
            for (size_t i = 0; i < in; i++)
                downs += (double)down[r * in + i] * down[s * in + i];
            total += (s == r ? 1 : 2) * ups * downs;
        }
    return sqrt(fmax(total, 0)) * fabs((double)m->alpha) / m->rank;
}

static void scale(lx_lora *lora, const lx_param *param, float by)
{
    const size_t n = lx_lora__size(param);
    float *value = lx_lora_host_value(lora, param);

    for (size_t i = 0; i < n; i++)
        value[i] *= by;
}

lx_lora_norms lx_lora_limit_norms(lx_lora *lora, double most)
{
    lx_lora_norms found = {0};

    for (size_t i = 0; i < lora->count; i++) {
        lx_lora_module *m = &lora->modules[i];
        double norm = lx_lora_module_norm(lora, m);

        if (norm > most) {
            const float by = (float)sqrt(most / norm);
            scale(lora, &m->down, by);
            scale(lora, &m->up, by);
            found.n_scaled++;
            norm = most;
        }
        found.mean += norm / (double)lora->count;
        found.largest = fmax(found.largest, norm);
    }
    return found;
}
