#include "src/train/schedule.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

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
    [LX_LR_PIECEWISE_CONSTANT] = "piecewise_constant",
};

/* A factor, and `end` behind it. */
static bool read_factor(double *out, const char **at, char end)
{
    char *rest;

    *out = strtod(*at, &rest);
    if (rest == *at || !isfinite(*out) || *out < 0)
        return false;
    rest += strspn(rest, " ");
    if (*rest != end)
        return false;
    *at = rest + (end != '\0');
    return true;
}

static bool read_rule(lx_schedule_rule *rule, const char **at)
{
    char *rest;

    if (!read_factor(&rule->factor, at, ':'))
        return false;
    errno = 0;
    rule->until = strtoll(*at, &rest, 10);
    if (rest == *at || errno || rule->until < 0)
        return false;
    rest += strspn(rest, " ");
    if (*rest != ',')
        return false;
    *at = rest + 1;
    return true;
}

/* In its place among the `n` that are there; what stood for the same step is replaced. */
static size_t put_rule(lx_schedule_rule *rules, size_t n, lx_schedule_rule rule)
{
    size_t i = n;

    while (i > 0 && rules[i - 1].until > rule.until)
        i--;
    if (i > 0 && rules[i - 1].until == rule.until) {
        rules[i - 1] = rule;
        return n;
    }
    memmove(rules + i + 1, rules + i, (n - i) * sizeof *rules);
    rules[i] = rule;
    return n + 1;
}

int lx_schedule_rules_parse(lx_schedule_rules *out, lx_arena *arena, const char *text, lx_error *err)
{
    enum { MOST = 1000 };
    lx_schedule_rule *rules, rule;
    const char *at = text;
    size_t n = 0, count = 0;

    for (const char *c = text; *c; c++)
        count += *c == ',';
    if (count > MOST)
        return lx_fail(err, LX_ELIMIT, "%zu rules; at most %d are taken", count, MOST);
    if (!(rules = lx_arena_calloc(arena, count + 1, sizeof *rules)))
        return lx_oom(err);
    for (size_t i = 0; i < count; i++) {
        if (!read_rule(&rule, &at))
            goto bad;
        n = put_rule(rules, n, rule);
    }
    *out = (lx_schedule_rules){.are_given = true, .items = rules, .n = n};
    if (read_factor(&out->last, &at, '\0'))
        return LX_OK;
bad:
    return lx_fail(err, LX_EUSAGE,
                   "'%s' is no FACTOR:STEP,FACTOR:STEP,FACTOR (1:100,0.1:200,0.01 is the learning rate for 100 "
                   "steps, a tenth of it up to step 200, then a hundredth)",
                   text);
}

int lx_schedule_check(const lx_schedule *s, lx_error *err)
{
    if (s->kind == LX_LR_CONSTANT && s->warmup > 0)
        return lx_fail(err, LX_EUSAGE,
                       "--lr_scheduler constant has no warm-up, but --lr_warmup_steps asks for "
                       "%lld steps: use --lr_scheduler constant_with_warmup",
                       (long long)s->warmup);
    if (s->kind == LX_LR_PIECEWISE_CONSTANT && s->warmup > 0)
        return lx_fail(err, LX_EUSAGE,
                       "--lr_scheduler piecewise_constant has no warm-up, and sd-scripts would leave out the %lld steps "
                       "of --lr_warmup_steps: begin the rules with it, as step_rules=0.1:%lld,1",
                       (long long)s->warmup, (long long)s->warmup);
    if (s->kind == LX_LR_PIECEWISE_CONSTANT && !s->rules.are_given)
        return lx_fail(err, LX_EUSAGE,
                       "--lr_scheduler piecewise_constant needs --lr_scheduler_args step_rules=1:100,0.1 (the "
                       "learning rate for 100 steps, then a tenth of it)");
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

static double piecewise(const lx_schedule_rules *rules, int64_t k)
{
    for (size_t i = 0; i < rules->n; i++)
        if (k < rules->items[i].until)
            return rules->items[i].factor;
    return rules->last;
}

double lx_schedule_factor(const lx_schedule *s, int64_t k)
{
    double p, f;

    if (s->kind == LX_LR_CONSTANT)
        return 1.0;
    if (s->kind == LX_LR_WARMUP_STABLE_DECAY)
        return warmup_stable_decay(s, k);
    if (s->kind == LX_LR_PIECEWISE_CONSTANT)
        return piecewise(&s->rules, k);
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
