#include "kernels/cpu/cpu.h"

#include <math.h>

/* f(d) and its slope. */
static double loss_at(double *slope, lx_loss_type type, double d, double c)
{
    const double root = sqrt(d * d + c * c);
    const double direction = root > 0 ? d / root : d; /* c = 0: |d|, with slope 0 at 0 */

    switch (type) {
    case LX_LOSS_L1:
        *slope = d > 0 ? 1 : d < 0 ? -1 : d;
        return fabs(d);
    case LX_LOSS_HUBER:
        *slope = 2 * c * direction;
        return 2 * c * (root - c);
    case LX_LOSS_SMOOTH_L1:
        *slope = 2 * direction;
        return 2 * (root - c);
    case LX_LOSS_L2:
        break;
    }
    *slope = 2 * d;
    return d * d;
}

/* table[t], 1 without a table, NaN outside it. */
static double at_timestep(const float *table, int64_t t)
{
    return !table ? 1 : t >= 0 && t < 1000 ? table[t] : NAN;
}

void lx_plain_loss(lx_device *dev, const lx_call *call)
{
    const float *pred = lx_in_f32(call, 0), *target = lx_in_f32(call, 1);
    const int64_t *timesteps = call->in[2].data;
    const float *weights = lx_in_f32(call, 3), *mask = lx_in_f32(call, 4);
    const int64_t C = lx_arg_width(&call->in[0]);
    const int64_t B = call->in[0].shape[0], n = B ? lx_arg_count(&call->in[0]) / B : 0;
    float *dpred = lx_out_f32(call, 1);
    double total = 0;

    for (int64_t b = 0; b < B; b++) {
        const double c = at_timestep(call->attrs.loss.huber_c, timesteps[b]);
        const double weight = (weights ? weights[b] : 1) *
                              at_timestep(call->attrs.loss.weight, timesteps[b]) /
                              (double)(B * n);
        double sum = 0, slope;

        for (int64_t i = b * n; i < (b + 1) * n; i++) {
            const double m = mask ? mask[i / C] : 1;
            sum += m *
                   loss_at(&slope, call->attrs.loss.type, (double)pred[i] - target[i], c);
            if (dpred)
                dpred[i] = (float)(weight * m * slope);
        }
        total += weight * sum;
    }
    *lx_out_f32(call, 0) = (float)total;
}
