#include "src/train/draw.h"

#include "src/base/alloc.h"
#include "src/base/rng.h"
#include "src/train/noise.h"

/* Sub-streams of LX_RNG_NOISE_OFFSET beside the per-sample offsets. */
enum { STREAM_STRENGTH = 1 << 20, STREAM_GAMMA, STREAM_LEVEL };

static int64_t draw_timestep(const lx_train_config *c, int64_t micro_step, int sample)
{
    lx_rng rng = lx_rng_stream(c->seed, LX_RNG_TIMESTEP, (uint64_t)micro_step, (uint64_t)sample);
    if (c->max_timestep <= c->min_timestep)
        return c->min_timestep;
    return c->min_timestep +
           (int64_t)lx_rng_below(&rng, (uint64_t)(c->max_timestep - c->min_timestep));
}

static double draw_strength(const lx_train_config *c, int64_t micro_step, uint64_t stream,
                            bool is_random, double strength)
{
    lx_rng rng = lx_rng_stream(c->seed, LX_RNG_NOISE_OFFSET, (uint64_t)micro_step, stream);
    return is_random ? strength * lx_rng_uniform(&rng) : strength;
}

static void add_offset(lx_draw *draw, const lx_train_config *c, int64_t micro_step,
                       const float *latents, int batch, int64_t cells)
{
    double strength = draw_strength(c, micro_step, STREAM_STRENGTH,
                                    c->noise_offset_random_strength, c->noise_offset);
    for (int i = 0; i < batch; i++) {
        float offsets[4];
        lx_rng rng =
            lx_rng_stream(c->seed, LX_RNG_NOISE_OFFSET, (uint64_t)micro_step, (uint64_t)i);
        lx_rng_normal(offsets, 4, 0, &rng);
        lx_noise_offset(draw->noise + i * 4 * cells, latents + i * 4 * cells, offsets, 1, cells,
                        strength, c->adaptive_noise_scale);
    }
}

/*
 * Pyramid noise: level i is drawn at 1/r^i of the size, r = 2 + 2u, until a side is one cell.
 * Source: sd-scripts library/custom_train_functions.py (pyramid_noise_like).
 */
static int add_pyramid(lx_draw *draw, const lx_train_config *c, int64_t micro_step, int batch,
                       int64_t h, int64_t w, lx_error *err)
{
    size_t cells = (size_t)(h * w), n = (size_t)batch * 4 * cells;
    lx_rng sizes =
        lx_rng_stream(c->seed, LX_RNG_NOISE_OFFSET, (uint64_t)micro_step, STREAM_LEVEL);
    double factor = 1;

    if (lx_grow(&draw->spare, &draw->spare_capacity, n, sizeof(float)) < 0)
        return lx_oom(err);
    for (int i = 0; i < c->multires_noise_iterations; i++) {
        double r = 2.0 + 2.0 * lx_rng_uniform(&sizes), shrink = 1;
        int64_t level_h, level_w;
        lx_rng level = lx_rng_stream(c->seed, LX_RNG_NOISE_OFFSET, (uint64_t)micro_step,
                                     STREAM_LEVEL + 1 + (uint64_t)i);
        for (int k = 0; k < i; k++)
            shrink *= r;
        level_h = (int64_t)((double)h / shrink) > 1 ? (int64_t)((double)h / shrink) : 1;
        level_w = (int64_t)((double)w / shrink) > 1 ? (int64_t)((double)w / shrink) : 1;
        lx_rng_normal(draw->spare, (uint64_t)batch * 4 * (uint64_t)(level_h * level_w), 0,
                      &level);
        lx_noise_add_level(draw->noise, draw->spare, batch, h, w, level_h, level_w, factor);
        factor *= c->multires_noise_discount;
        if (level_h == 1 || level_w == 1)
            break;
    }
    lx_noise_normalise(draw->noise, (int64_t)n);
    return LX_OK;
}

static int perturb_input(lx_draw *draw, const lx_train_config *c, int64_t micro_step, int batch,
                         size_t per_sample, lx_error *err)
{
    float gamma = (float)draw_strength(c, micro_step, STREAM_GAMMA,
                                       c->ip_noise_gamma_random_strength, c->ip_noise_gamma);
    if (lx_grow(&draw->input_noise, &draw->input_capacity, (size_t)batch * per_sample,
                sizeof(float)) < 0)
        return lx_oom(err);
    for (int i = 0; i < batch; i++) {
        float *to = draw->input_noise + (size_t)i * per_sample;
        const float *from = draw->noise + (size_t)i * per_sample;
        lx_rng rng = lx_rng_stream(c->seed, LX_RNG_NOISE, (uint64_t)micro_step,
                                   STREAM_GAMMA + (uint64_t)i);
        lx_rng_normal(to, per_sample, 0, &rng);
        for (size_t j = 0; j < per_sample; j++)
            to[j] = from[j] + gamma * to[j];
    }
    return LX_OK;
}

int lx_draw_step(lx_draw *draw, const lx_train_config *c, int64_t micro_step,
                 const float *latents, int batch, int64_t h, int64_t w, lx_error *err)
{
    size_t per_sample = (size_t)(4 * h * w);
    int rc;

    if (lx_grow(&draw->noise, &draw->noise_capacity, (size_t)batch * per_sample,
                sizeof(float)) < 0 ||
        lx_grow(&draw->timesteps, &draw->timestep_capacity, (size_t)batch, sizeof(int64_t)) < 0)
        return lx_oom(err);
    for (int i = 0; i < batch; i++) {
        lx_rng rng = lx_rng_stream(c->seed, LX_RNG_NOISE, (uint64_t)micro_step, (uint64_t)i);
        lx_rng_normal(draw->noise + (size_t)i * per_sample, per_sample, 0, &rng);
        draw->timesteps[i] = draw_timestep(c, micro_step, i);
    }
    if (c->noise_offset != 0)
        add_offset(draw, c, micro_step, latents, batch, h * w);
    if (c->multires_noise_iterations > 0 &&
        (rc = add_pyramid(draw, c, micro_step, batch, h, w, err)) < 0)
        return rc;
    if (c->ip_noise_gamma > 0)
        return perturb_input(draw, c, micro_step, batch, per_sample, err);
    return LX_OK;
}

void lx_draw_release(lx_draw *draw)
{
    lx_free(draw->noise);
    lx_free(draw->input_noise);
    lx_free(draw->timesteps);
    lx_free(draw->spare);
    *draw = (lx_draw){0};
}
