#include "src/verify/sweep.h"

#include <math.h>

enum { STREAM_SWEEP = 1 << 18, FEWEST_IMAGES = 5 };

static const double *gains_of(const lx_verify_result *r, bool is_held_out, size_t *n)
{
    *n = is_held_out ? r->n_held : r->n_images;
    return is_held_out ? r->held_gains : r->image_gain;
}

static double mean_of(const lx_verify_result *r, bool is_held_out)
{
    size_t n;
    const double *x = gains_of(r, is_held_out, &n);

    return lx_mean(x, n);
}

int lx_sweep_of(lx_sweep *out, const lx_verify_result *const *results, size_t n,
                uint64_t seed, lx_arena *arena, lx_error *err)
{
    size_t n_images, same;
    double *gap;

    *out = (lx_sweep){.is_held_out = true};
    for (size_t i = 0; i < n; i++) {
        if (!results[i]->facts.is_measured)
            return lx_fail(
                err, LX_EUSAGE,
                "several files are compared by what they gain: give --base and --data");
        out->is_held_out = out->is_held_out && results[i]->n_held > 0;
    }
    for (size_t i = 1; i < n; i++)
        if (mean_of(results[i], out->is_held_out) >
            mean_of(results[out->highest], out->is_held_out))
            out->highest = i;
    const double *top = gains_of(results[out->highest], out->is_held_out, &n_images);
    gap = lx_arena_calloc(arena, n_images + 1, sizeof *gap);
    out->p = lx_arena_calloc(arena, n, sizeof *out->p);
    if (!gap || !out->p)
        return lx_oom(err);
    out->best = n;
    for (size_t i = 0; i < n; i++) {
        const double *x = gains_of(results[i], out->is_held_out, &same);
        for (size_t k = 0; k < n_images && k < same; k++)
            gap[k] = top[k] - x[k];
        out->p[i] = lx_sign_flip_p(gap, n_images, LX_TAIL_GREATER,
                                   lx_rng_stream(seed, LX_RNG_VERIFY, STREAM_SWEEP, i));
        if (out->best == n && (i == out->highest || out->p[i] > 0.05))
            out->best = i;
    }
    out->n_images = n_images;
    out->is_few = n_images < FEWEST_IMAGES;
    if (out->is_few)
        out->best = out->highest;
    return LX_OK;
}
