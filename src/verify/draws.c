#include "src/verify/draws.h"

#include "src/base/error.h"
#include "src/base/rng.h"
#include "src/train/noise.h"

/* Steps of the stream's purpose: the shift of the strata, and the noise of one. */
enum { STREAM_SHIFT = 0, STREAM_NOISE = 1 };

void lx_verify_timesteps(int64_t *timesteps, int n_draws, uint64_t seed, uint64_t image)
{
    const int n_strata = n_draws / 2;
    lx_rng rng = lx_rng_stream(seed, LX_RNG_VERIFY, STREAM_SHIFT, image);
    const double shift = lx_rng_uniform(&rng);

    lx_assert(n_draws > 0 && n_draws % 2 == 0);
    for (int j = 0; j < n_strata; j++)
        timesteps[2 * j] = timesteps[2 * j + 1] =
            (int64_t)(LX_TIMESTEPS * (j + shift) / n_strata);
}

void lx_verify_draw(int64_t *timesteps, float *noise, int n_draws, int64_t n,
                    uint64_t seed, uint64_t image)
{
    lx_verify_timesteps(timesteps, n_draws, seed, image);
    for (int j = 0; j < n_draws / 2; j++) {
        float *plus = noise + 2 * j * n, *minus = plus + n;
        lx_rng rng;

        rng = lx_rng_stream(seed, LX_RNG_VERIFY, (uint64_t)(STREAM_NOISE + j), image);
        lx_rng_normal(plus, (uint64_t)n, 0, &rng);
        for (int64_t i = 0; i < n; i++)
            minus[i] = -plus[i];
    }
}
