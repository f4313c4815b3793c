/*
 * verify/draws - noise and timesteps that every arm of an image shares
 *
 * Common random numbers: what is compared differs in the prompt or in the weights, never
 * in the draw, so the draw cancels. With K = 2 S draws of an image:
 *
 *     t_j = floor(1000 (j + u) / S)   j = 0 .. S-1, one u in [0, 1) per image: one in
 *                                     each stratum
 *     eps_j and -eps_j                both signs in each stratum (antithetic)
 *
 * Numbers are a function of (seed, image) alone, and those of stratum j of S also of S.
 * Source: Kingma et al. 2021, arXiv:2107.00630 (low-discrepancy timesteps).
 */
#ifndef LX_VERIFY_DRAWS_H
#define LX_VERIFY_DRAWS_H

#include <stdint.h>

/* timesteps [n_draws] alone. */
void lx_verify_timesteps(int64_t *timesteps, int n_draws, uint64_t seed, uint64_t image);

/* timesteps [n_draws], noise [n_draws, n]: draws 2j and 2j + 1 are stratum j. n_draws is
 * even; `image` names the image (a word of its hash). */
void lx_verify_draw(int64_t *timesteps, float *noise, int n_draws, int64_t n,
                    uint64_t seed, uint64_t image);

#endif
