#include "src/sample/sigma.h"

#include <math.h>

#include "src/train/noise.h"

void lx_sigma_table_init(lx_sigma_table *table, bool zero_terminal_snr)
{
    lx_noise_schedule noise;

    lx_noise_schedule_init(&noise, zero_terminal_snr);
    for (int t = 0; t < LX_SIGMAS; t++) {
        /* Zero terminal SNR makes the last level infinite; web UIs stop a little before,
         * too. */
        float abar =
            noise.alphas_cumprod[t] > 4.8e-8f ? noise.alphas_cumprod[t] : 4.8e-8f;
        table->sigmas[t] = sqrtf((1.0f - abar) / abar);
        table->logs[t] = (float)log((double)table->sigmas[t]);
    }
}

double lx_sigma_to_t(const lx_sigma_table *table, double sigma)
{
    double log_sigma = log(sigma > 1e-10 ? sigma : 1e-10), w, t;
    int low = 0, high = LX_SIGMAS - 1;

    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (log_sigma >= (double)table->logs[middle])
            low = middle;
        else
            high = middle;
    }
    w = ((double)table->logs[low] - log_sigma) /
        ((double)table->logs[low] - (double)table->logs[high]);
    w = w < 0 ? 0 : w > 1 ? 1 : w;
    t = low + w;
    return fabs(t - round(t)) < 1e-4 ? round(t) : t;
}

float lx_sigma_at(const lx_sigma_table *table, double t)
{
    int low = (int)floor(t), high = (int)ceil(t);
    float w = (float)(t - low);

    if (low == high)
        return table->sigmas[low];
    return (float)exp((double)((1.0f - w) * table->logs[low] + w * table->logs[high]));
}

const char *lx_sigma_kind_name(lx_sigma_kind kind)
{
    return kind == LX_SIGMA_KARRAS        ? "Karras"
           : kind == LX_SIGMA_EXPONENTIAL ? "Exponential"
                                          : "";
}

static float linear_sigma(const lx_sigma_table *table, double t)
{
    int low = (int)floor(t), high = (int)ceil(t);
    double w = t - low;

    return (float)((1 - w) * (double)table->sigmas[low] +
                   w * (double)table->sigmas[high]);
}

/* Position i of n points from 1 down to 0; one point is the first. */
static double ramp(int i, int n)
{
    return n < 2 ? 1.0 : 1.0 - (double)i / (double)(n - 1);
}

/* As many levels as there are, which may be more than n. */
static int ddim_levels(float *out, const lx_sigma_table *table, int n)
{
    const int width = LX_SIGMAS / n, n_levels = (LX_SIGMAS + width - 1) / width;

    for (int i = 0; i < n_levels; i++) {
        const int t = 1 + (n_levels - 1 - i) * width;
        out[i] = table->sigmas[t < LX_SIGMAS ? t : LX_SIGMAS - 1];
    }
    if (n_levels > n)
        return n_levels;
    out[n_levels] = table->sigmas[0];
    return n_levels + 1;
}

int lx_sigma_schedule(float *out, int *n_sigmas, const lx_sigma_table *table,
                      lx_sigma_kind kind, int n, lx_error *err)
{
    const double least = (double)table->sigmas[0],
                 most = (double)table->sigmas[LX_SIGMAS - 1];
    const double rho = 7;

    if (n < 1 || n > LX_MAX_STEPS)
        return lx_fail(err, LX_EUSAGE, "%d steps: 1 to %d are possible", n, LX_MAX_STEPS);
    if (kind == LX_SIGMA_DDIM) {
        *n_sigmas = ddim_levels(out, table, n);
        return LX_OK;
    }
    for (int i = 0; i < n; i++) {
        double down = ramp(i, n);

        switch (kind) {
        case LX_SIGMA_KARRAS:
            out[i] = (float)pow(pow(most, 1 / rho) + (1 - down) * (pow(least, 1 / rho) -
                                                                   pow(most, 1 / rho)),
                                rho);
            break;
        case LX_SIGMA_EXPONENTIAL:
            out[i] = (float)exp(log(least) + down * (log(most) - log(least)));
            break;
        case LX_SIGMA_LEADING:
            out[i] = table->sigmas[(n - 1 - i) * (LX_SIGMAS / n)];
            break;
        case LX_SIGMA_LINSPACE:
            out[i] = linear_sigma(table, (LX_SIGMAS - 1) * down);
            break;
        case LX_SIGMA_MIDPOINTS:
            out[i] = table->sigmas[(int)nearbyint((LX_SIGMAS - 1) * ramp(i, n + 1))];
            break;
        case LX_SIGMA_NORMAL:
        case LX_SIGMA_DDIM: /* above */
        case LX_SIGMA_KIND_COUNT:
            out[i] = lx_sigma_at(table, (LX_SIGMAS - 1) * down);
            break;
        }
    }
    out[n] = 0;
    *n_sigmas = n + 1;
    return LX_OK;
}
