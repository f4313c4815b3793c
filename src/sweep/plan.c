#include "src/sweep/plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/rng.h"

/* ---- what a flag may be ------------------------------------------------------------------ */

static bool is_whole_word(const char *text, size_t n)
{
    size_t i = n && (*text == '-' || *text == '+');

    if (i == n)
        return false;
    for (; i < n; i++)
        if (text[i] < '0' || text[i] > '9')
            return false;
    return true;
}

static bool read_end(double *out, const char *text, size_t n)
{
    char copy[64], *end;

    if (!n || n >= sizeof copy)
        return false;
    memcpy(copy, text, n);
    copy[n] = '\0';
    *out = strtod(copy, &end);
    return !*end && isfinite(*out);
}

/* "a..b" or "a..b:log", both ends numbers. "..": a path as ../img is none. */
static bool read_range(lx_sweep_axis *axis, const char *text)
{
    const char *dots = strstr(text, ".."), *high, *colon;
    size_t n_low, n_high;

    if (!dots)
        return false;
    high = dots + 2;
    colon = strchr(high, ':');
    n_low = (size_t)(dots - text);
    n_high = colon ? (size_t)(colon - high) : strlen(high);
    if (!read_end(&axis->low, text, n_low) || !read_end(&axis->high, high, n_high) ||
        (colon && strcmp(colon, ":log") != 0))
        return false;
    axis->is_log = colon != NULL;
    axis->is_whole = is_whole_word(text, n_low) && is_whole_word(high, n_high);
    return true;
}

static int check_range(const lx_sweep_axis *axis, const char *text, lx_error *err)
{
    if (!(axis->low < axis->high))
        return lx_fail(err, LX_EUSAGE,
                       "--%s %s: a range goes from the smaller to the larger", axis->flag,
                       text);
    if (axis->is_log && axis->low <= 0)
        return lx_fail(err, LX_EUSAGE, "--%s %s: a range in the logarithm lies above 0",
                       axis->flag, text);
    if (axis->is_whole && (fabs(axis->low) > 1e15 || fabs(axis->high) > 1e15))
        return lx_fail(err, LX_EUSAGE, "--%s %s: too large", axis->flag, text);
    return LX_OK;
}

static int read_list(lx_sweep_axis *axis, const char *text, lx_arena *arena,
                     lx_error *err)
{
    const char separator[2] = {strchr(text, ';') ? ';' : ',', '\0'};
    size_t capacity = 1;
    const char **values;

    for (const char *p = text; *p; p++)
        capacity += *p == *separator;
    if (!(values = lx_arena_calloc(arena, capacity, sizeof *values)))
        return lx_oom(err);
    axis->values = values;
    while (*text) {
        size_t n = strcspn(text, separator);
        if (n && !(values[axis->n_values++] = lx_arena_strndup(arena, text, n)))
            return lx_oom(err);
        text += n + (text[n] != '\0');
    }
    if (!axis->n_values)
        return lx_fail(err, LX_EUSAGE, "--%s: at least one value is wanted", axis->flag);
    for (size_t i = 0; i < axis->n_values; i++)
        for (size_t k = i + 1; k < axis->n_values; k++)
            if (strcmp(values[i], values[k]) == 0)
                return lx_fail(err, LX_EUSAGE, "--%s: '%s' stands there twice",
                               axis->flag, values[i]);
    return LX_OK;
}

int lx_sweep_axis_parse(lx_sweep_axis *out, const char *flag, const char *text,
                        lx_arena *arena, lx_error *err)
{
    *out = (lx_sweep_axis){.flag = flag};
    if (read_range(out, text))
        return check_range(out, text, err);
    *out = (lx_sweep_axis){.flag = flag};
    return read_list(out, text, arena, err);
}

/* ---- grid -------------------------------------------------------------------------------- */

static int fail_many(lx_error *err)
{
    return lx_fail(err, LX_ELIMIT,
                   "more than %d configurations; fewer values, or --random N",
                   LX_SWEEP_CONFIGS);
}

int lx_sweep_grid(lx_sweep_configs *out, const lx_sweep_axis *axes, size_t n_axes,
                  lx_arena *arena, lx_error *err)
{
    *out = (lx_sweep_configs){.n_axes = n_axes, .count = 1};
    for (size_t a = 0; a < n_axes; a++) {
        if (!axes[a].n_values)
            return lx_fail(err, LX_EUSAGE,
                           "--%s: a range has no end of values; list them, or draw "
                           "with --random N",
                           axes[a].flag);
        out->count *= axes[a].n_values; /* both are small: no overflow */
        if (axes[a].n_values > LX_SWEEP_CONFIGS || out->count > LX_SWEEP_CONFIGS)
            return fail_many(err);
    }
    if (!(out->values =
              lx_arena_calloc(arena, out->count * n_axes + 1, sizeof *out->values)))
        return lx_oom(err);
    for (size_t i = 0; i < out->count; i++) {
        size_t rest = i;
        for (size_t a = n_axes; a-- > 0;) { /* the last axis is the fastest */
            out->values[i * n_axes + a] = axes[a].values[rest % axes[a].n_values];
            rest /= axes[a].n_values;
        }
    }
    return LX_OK;
}

/* ---- random ------------------------------------------------------------------------------ */

static const char *draw_number(const lx_sweep_axis *axis, lx_rng *rng, lx_arena *arena)
{
    const double low = axis->low, high = axis->high;
    char text[32];
    double x;

    if (axis->is_whole && !axis->is_log)
        return lx_arena_printf(
            arena, "%.0f", low + (double)lx_rng_below(rng, (uint64_t)(high - low) + 1));
    x = lx_rng_uniform(rng);
    x = axis->is_log ? exp(log(low) + x * (log(high) - log(low)))
                     : low + x * (high - low);
    if (axis->is_whole)
        return lx_arena_printf(arena, "%.0f", fmin(fmax(nearbyint(x), low), high));
    snprintf(text, sizeof text, "%.4g", x);
    x = strtod(text, NULL); /* rounding must not leave the range */
    return x < low || x > high ? lx_arena_printf(arena, "%.17g", x < low ? low : high)
                               : lx_arena_strdup(arena, text);
}

static int draw(const char **values, const lx_sweep_axis *axes, size_t n_axes,
                uint64_t seed, uint64_t number, lx_arena *arena, lx_error *err)
{
    for (size_t a = 0; a < n_axes; a++) {
        lx_rng rng =
            lx_rng_stream(seed, LX_RNG_SWEEP, number, lx_hash_name(axes[a].flag));
        values[a] = axes[a].n_values
                        ? axes[a].values[lx_rng_below(&rng, axes[a].n_values)]
                        : draw_number(&axes[a], &rng, arena);
        if (!values[a])
            return lx_oom(err);
    }
    return LX_OK;
}

static bool is_drawn(const lx_sweep_configs *c, const char *const *values)
{
    for (size_t i = 0; i < c->count; i++) {
        size_t same = 0;
        while (same < c->n_axes &&
               strcmp(c->values[i * c->n_axes + same], values[same]) == 0)
            same++;
        if (same == c->n_axes)
            return true;
    }
    return false;
}

int lx_sweep_random(lx_sweep_configs *out, const lx_sweep_axis *axes, size_t n_axes,
                    size_t wanted, uint64_t seed, lx_arena *arena, lx_error *err)
{
    enum {
        TRIES = 1000
    }; /* in a row without a new one: there are no more, or as good as */
    size_t n_tries = 0;
    uint64_t number = 0;
    int rc;

    *out = (lx_sweep_configs){.n_axes = n_axes};
    if (wanted > LX_SWEEP_CONFIGS)
        return fail_many(err);
    if (!(out->values =
              lx_arena_calloc(arena, (wanted + 1) * (n_axes + 1), sizeof *out->values)))
        return lx_oom(err);
    while (out->count < wanted && n_tries < TRIES) {
        const char **values = out->values + out->count * n_axes;
        if ((rc = draw(values, axes, n_axes, seed, number++, arena, err)) < 0)
            return rc;
        n_tries++;
        if (!is_drawn(out, values)) {
            out->count++;
            n_tries = 0;
        }
    }
    return LX_OK;
}
