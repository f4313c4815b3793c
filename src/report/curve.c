#include "src/report/curve.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

double lx_curve_weight(size_t n)
{
    double back = (double)n / 25;
    if (back < 2)
        return 0;
    /* In steps of 0.005, as a slider has them. */
    return fmin(round((1 - 1 / back) * 200) / 200, 0.995);
}

/* The least and the greatest of [from, to); `from` itself where nothing is finite. */
static void extremes(size_t *least, size_t *most, const double *y, size_t from, size_t to)
{
    *least = *most = from;
    for (size_t k = from; k < to; k++) {
        if (!isfinite(y[k]))
            continue;
        if (!isfinite(y[*least]) || y[k] < y[*least])
            *least = k;
        if (!isfinite(y[*most]) || y[k] > y[*most])
            *most = k;
    }
}

void lx_curve_thin(double *out_x, double *out_y, size_t *n_out, const double *x,
                   const double *y, size_t n, size_t most)
{
    size_t stretches = most / 4, last = 0, at = 0;

    for (size_t s = 0; n > most && s < stretches; s++) {
        size_t from = n / stretches * s + n % stretches * s / stretches;
        size_t to = n / stretches * (s + 1) + n % stretches * (s + 1) / stretches, low,
               high;
        size_t kept[4];
        extremes(&low, &high, y, from, to);
        kept[0] = from;
        kept[1] = low < high ? low : high;
        kept[2] = low < high ? high : low;
        kept[3] = to - 1;
        for (int i = 0; i < 4; i++) {
            if (at && kept[i] == last)
                continue;
            last = kept[i];
            out_x[at] = x[last];
            out_y[at++] = y[last];
        }
    }
    if (n <= most) {
        memmove(out_x, x, n * sizeof *x);
        memmove(out_y, y, n * sizeof *y);
        at = n;
    }
    *n_out = at;
}
