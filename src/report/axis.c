#include "src/report/axis.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The smallest of 1, 2, 5 times a power of ten that is at least x. */
static double round_step(double x)
{
    double unit = pow(10, floor(log10(x))), share = x / unit;
    return unit * (share <= 1 + 1e-9   ? 1
                   : share <= 2 + 1e-9 ? 2
                   : share <= 5 + 1e-9 ? 5
                                       : 10);
}

static void fit_linear(lx_axis *a, int wanted, bool is_tight)
{
    double span = a->high - a->low, first;

    a->step = round_step(span / wanted);
    if (!is_tight) {
        a->low = floor(a->low / a->step + 1e-9) * a->step;
        a->high = ceil(a->high / a->step - 1e-9) * a->step;
    }
    first = ceil(a->low / a->step - 1e-9);
    for (int i = 0; i < LX_AXIS_TICKS; i++) {
        double tick = (first + i) * a->step;
        if (tick > a->high + a->step * 1e-6)
            break;
        a->ticks[a->n_ticks++] = fabs(tick) < a->step * 1e-6 ? 0 : tick;
    }
}

static void fit_log(lx_axis *a)
{
    static const double between[] = {1, 2, 5};
    int first = (int)floor(log10(a->low) + 1e-9), last = (int)ceil(log10(a->high) - 1e-9);
    int decades = last > first ? last - first : 1;
    int stride = 1 + decades / (LX_AXIS_TICKS - 2), n_between = decades <= 2 ? 3 : 1;
    double slack = 1e-9;

    if (decades >
        2) { /* few ticks in a narrow range would leave it empty: then it stays tight */
        a->low = pow(10, first);
        a->high = pow(10, last);
    }
    for (int d = first; d <= last; d += stride)
        for (int k = 0; k < n_between && a->n_ticks < LX_AXIS_TICKS; k++) {
            double tick = between[k] * pow(10, d);
            if (tick >= a->low * (1 - slack) && tick <= a->high * (1 + slack))
                a->ticks[a->n_ticks++] = tick;
        }
}

void lx_axis_fit(lx_axis *out, double low, double high, int wanted, lx_axis_kind kind)
{
    memset(out, 0, sizeof *out);
    wanted = wanted < 3 ? 3 : wanted > LX_AXIS_TICKS - 2 ? LX_AXIS_TICKS - 2 : wanted;
    if (!isfinite(low))
        low = isfinite(high) ? high : 0;
    /* Beyond 1e300 the span itself would overflow. */
    low = fmin(fmax(low, -1e300), 1e300);
    high = isfinite(high) ? fmin(fmax(high, -1e300), 1e300) : low;
    if (!(high - low > fabs(low) * 1e-12) || high - low < 1e-300) {
        double around = low != 0 ? fabs(low) * 0.1 : 1;
        high = low + around;
        low -= around;
    }
    out->low = low;
    out->high = high;
    out->is_log = kind == LX_AXIS_LOG && low > 0;
    if (out->is_log)
        fit_log(out);
    if (out->n_ticks <
        2) { /* also a range of values that are close: 0.081 to 0.084 has no 1, 2, 5 */
        out->n_ticks = 0;
        fit_linear(out, wanted, out->is_log || kind == LX_AXIS_TIGHT);
    }
}

double lx_axis_share(const lx_axis *a, double value)
{
    if (a->is_log) /* no quotients: 1e300 / 1e-300 is not a number that is there */
        return value > 0 ? (log(value) - log(a->low)) / (log(a->high) - log(a->low)) : -1;
    return (value - a->low) / (a->high - a->low);
}

/* Thousands apart, as in "12,000"; digits only. */
static void group(char out[32], const char *digits)
{
    size_t n = strlen(digits), at = 0;
    for (size_t i = 0; i < n && at < 30; i++) {
        out[at++] = digits[i];
        if (digits[i] != '-' && (n - i - 1) % 3 == 0 && i + 1 < n)
            out[at++] = ',';
    }
    out[at] = '\0';
}

void lx_axis_label(char out[32], const lx_axis *a, double tick)
{
    double size = fmax(fabs(a->low), fabs(a->high));
    char digits[32];

    if (a->is_log || size >= 1e7 || size < 1e-3) {
        snprintf(out, 32, "%.6g", tick);
    } else if (a->step >= 1) {
        snprintf(digits, sizeof digits, "%.0f", tick);
        group(out, digits);
    } else {
        int places = (int)ceil(-log10(a->step) - 1e-9);
        snprintf(out, 32, "%.*f", places > 9 ? 9 : places, tick);
    }
}
