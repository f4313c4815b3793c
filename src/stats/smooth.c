#include "src/stats/smooth.h"

#include <math.h>

void lx_smooth(double *out, const double *x, size_t n, double weight)
{
    double sum = 0, norm = 1;

    for (size_t i = 0; i < n; i++) {
        if (isfinite(x[i])) {
            sum = weight * sum + (1 - weight) * x[i];
            norm *= weight;
        }
        out[i] = norm < 1 ? sum / (1 - norm) : (double)NAN;
    }
}

/* Where stretch `bin` ends. */
static double stop_of(size_t bin, size_t n_bins, double first, double end)
{
    return first + (end - first) * (double)(bin + 1) / (double)n_bins;
}

/* Quotients round: the ends of the stretches decide. */
static size_t bin_of(double x, size_t n_bins, double first, double end)
{
    const double share = end > first ? (x - first) / (end - first) : 0;
    size_t bin = (size_t)(fmin(share, 1) * (double)n_bins);

    bin = bin < n_bins ? bin : n_bins - 1;
    while (bin > 0 && x < stop_of(bin - 1, n_bins, first, end))
        bin--;
    while (bin + 1 < n_bins && x >= stop_of(bin, n_bins, first, end))
        bin++;
    return bin;
}

void lx_bin_means(double *out, size_t *counts, size_t n_bins, const double *axis,
                  const double *values, size_t n, double first, double end)
{
    for (size_t bin = 0; bin < n_bins; bin++) {
        out[bin] = 0;
        counts[bin] = 0;
    }
    for (size_t i = 0; i < n; i++)
        if (isfinite(values[i]) && axis[i] >= first && axis[i] <= end) {
            const size_t bin = bin_of(axis[i], n_bins, first, end);
            out[bin] += values[i];
            counts[bin]++;
        }
    for (size_t bin = 0; bin < n_bins; bin++)
        out[bin] = counts[bin] ? out[bin] / (double)counts[bin] : (double)NAN;
}
