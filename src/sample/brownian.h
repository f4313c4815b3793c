/*
 * sample/brownian - the Brownian path that SDE samplers draw their noise from
 *
 * k-diffusion's BrownianTreeNoiseSampler over torchsde 0.2.6's BrownianTree: the path
 * over [sigma_min, sigma_max] is halved until it has a node at every level that is asked
 * for (rounded to 1e-6); the value at a node is drawn from the interval's ends by the
 * Brownian bridge
 *
 *     W(left) = (left / whole) W + sqrt(left right / whole) N(0, 1)
 *
 * with a seed that is a hash of the picture's seed and the node's place: NumPy's
 * SeedSequence with spawn key (place, depth) and a pool of 24 words. So the path depends
 * on the seed alone, not on which levels are asked for, in which order.
 *
 * Sources: Kidger et al. 2021, arXiv:2105.13493, section 4; torchsde;
 * numpy.random.SeedSequence (O'Neill's seed_seq). Tests: increments printed by
 * k-diffusion itself.
 */
#ifndef LX_SAMPLE_BROWNIAN_H
#define LX_SAMPLE_BROWNIAN_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"

typedef struct lx_brownian lx_brownian;

/* Fills out[n] with the normal tensor of a 32-bit seed. */
typedef void (*lx_brownian_draw)(float *out, size_t n, uint32_t seed);

/* 0 < least < most. */
int lx_brownian_new(lx_brownian **out, uint64_t seed, size_t n, double least, double most,
                    lx_brownian_draw draw, lx_error *err);
void lx_brownian_free(lx_brownian *path);

/* out[n] = (W(to) - W(from)) / sqrt|to - from|: variance 1. Levels beyond the ends are
 * held there. */
int lx_brownian_noise(float *out, lx_brownian *path, double from, double to,
                      lx_error *err);

/* NumPy's SeedSequence(entropy, spawn_key=key, pool_size=24).generate_state(n), n <= 4;
 * n_key 0: no spawn key. */
void lx_seed_sequence(uint32_t *out, int n, uint64_t entropy, const uint64_t *key,
                      int n_key);

#endif
