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

void lx_bin_means(double *out, size_t n_bins, const double *axis, const double *values,
                  size_t n, double first, double end)
{
    size_t i = 0;

    while (i < n && axis[i] < first)
        i++;
    for (size_t bin = 0; bin < n_bins; bin++) {
        double stop = first + (end - first) * (double)(bin + 1) / (double)n_bins, sum = 0;
        size_t count = 0;
        for (; i < n && (axis[i] < stop || (bin + 1 == n_bins && axis[i] <= end)); i++)
            if (isfinite(values[i])) {
                sum += values[i];
                count++;
            }
        out[bin] = count ? sum / (double)count : (double)NAN;
    }
}
