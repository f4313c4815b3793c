#include "src/train/schedule.h"

#include <math.h>

static const double pi = 3.14159265358979323846;
static const double polynomial_end = 1e-7;

const char *const lx_lr_scheduler_names[LX_LR_SCHEDULER_COUNT] = {
    [LX_LR_CONSTANT] = "constant",
    [LX_LR_CONSTANT_WITH_WARMUP] = "constant_with_warmup",
    [LX_LR_LINEAR] = "linear",
    [LX_LR_COSINE] = "cosine",
    [LX_LR_COSINE_WITH_RESTARTS] = "cosine_with_restarts",
    [LX_LR_POLYNOMIAL] = "polynomial",
    [LX_LR_INVERSE_SQRT] = "inverse_sqrt",
    [LX_LR_COSINE_WITH_MIN_LR] = "cosine_with_min_lr",
    [LX_LR_WARMUP_STABLE_DECAY] = "warmup_stable_decay",
};

int lx_schedule_check(const lx_schedule *s, lx_error *err)
{
    if (s->kind == LX_LR_CONSTANT && s->warmup > 0)
        return lx_fail(err, LX_EUSAGE,
                       "--lr_scheduler constant has no warm-up, but --lr_warmup_steps asks for "
                       "%lld steps: use --lr_scheduler constant_with_warmup",
                       (long long)s->warmup);
    if (s->kind == LX_LR_COSINE_WITH_MIN_LR && s->min_lr_ratio < 0)
        return lx_fail(err, LX_EUSAGE,
                       "--lr_scheduler cosine_with_min_lr needs --lr_scheduler_min_lr_ratio "
                       "(0.1 ends at a tenth of the learning rate)");
    if (s->kind == LX_LR_POLYNOMIAL && !(s->learning_rate > polynomial_end))
        return lx_fail(err, LX_EUSAGE,
                       "--lr_scheduler polynomial ends at %g, so --learning_rate must be above "
                       "it, not %g",
                       polynomial_end, s->learning_rate);
    return LX_OK;
}

static double at_least_one(int64_t n)
{
    return n < 1 ? 1.0 : (double)n;
}

static double half_cosine(double turns)
{
    return 0.5 * (1.0 + cos(pi * turns));
}

/* Share of the way from the end of the warm-up to the end of the run. */
static double progress(const lx_schedule *s, int64_t k)
{
    return (double)(k - s->warmup) / at_least_one(s->total - s->warmup);
}

static double polynomial(const lx_schedule *s, int64_t k)
{
    double left, range = s->learning_rate - polynomial_end;
    if (k > s->total)
        return polynomial_end / s->learning_rate;
    left = 1.0 - (double)(k - s->warmup) / (double)(s->total - s->warmup);
    return (range * pow(left, s->power) + polynomial_end) / s->learning_rate;
}

static double inverse_sqrt(const lx_schedule *s, int64_t k)
{
    double t = s->timescale > 0 ? (double)s->timescale
               : s->warmup > 0  ? (double)s->warmup
                                : 10000.0;
    return 1.0 / sqrt(((double)k + t - (double)s->warmup) / t);
}

/* The peer hands half of lr_scheduler_num_cycles to the two kinds below. */
static double half_cycles(const lx_schedule *s)
{
    return (double)s->cycles / 2.0;
}

static double warmup_stable_decay(const lx_schedule *s, int64_t k)
{
    double least = s->min_lr_ratio < 0 ? 0.0 : s->min_lr_ratio, f;
    int64_t stable_end = s->total - s->decay;

    if (k < s->warmup)
        f = (double)k / at_least_one(s->warmup);
    else if (k < stable_end)
        return 1.0;
    else if (k < stable_end + s->decay)
        f = 0.5 * (1.0 + cos(pi * half_cycles(s) * 2.0 * (double)(k - stable_end) /
                             at_least_one(s->decay)));
    else
        return least;
    f = f * (1.0 - least) + least;
    return f < 0 ? 0 : f;
}

double lx_schedule_factor(const lx_schedule *s, int64_t k)
{
    double p, f;

    if (s->kind == LX_LR_CONSTANT)
        return 1.0;
    if (s->kind == LX_LR_WARMUP_STABLE_DECAY)
        return warmup_stable_decay(s, k);
    if (k < s->warmup)
        return (double)k / at_least_one(s->warmup);
    p = progress(s, k);
    switch (s->kind) {
    case LX_LR_LINEAR:
        f = (double)(s->total - k) / at_least_one(s->total - s->warmup);
        return f < 0 ? 0 : f;
    case LX_LR_COSINE:
        f = half_cosine(p);
        return f < 0 ? 0 : f;
    case LX_LR_COSINE_WITH_RESTARTS:
        return p >= 1.0 ? 0.0 : half_cosine(fmod((double)s->cycles * p, 1.0));
    case LX_LR_POLYNOMIAL:
        return polynomial(s, k);
    case LX_LR_INVERSE_SQRT:
        return inverse_sqrt(s, k);
    case LX_LR_COSINE_WITH_MIN_LR:
        f = 0.5 * (1.0 + cos(pi * half_cycles(s) * 2.0 * p));
        f = f * (1.0 - s->min_lr_ratio) + s->min_lr_ratio;
        return f < 0 ? 0 : f;
    default:
        return 1.0;
    }
}

int64_t lx_schedule_steps(double steps_or_share, int64_t total)
{
    if (steps_or_share < 0)
        return total;
    if (steps_or_share < 1.0)
        return (int64_t)(steps_or_share * (double)total);
    return (int64_t)steps_or_share;
}
