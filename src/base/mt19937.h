/*
 * base/mt19937 - the generator behind Python's random and torch's CPU numbers
 *
 * For repeating what the peer drew; lx's own numbers come from base/rng.
 * Source: Matsumoto and Nishimura 1998, "Mersenne Twister".
 */
#ifndef LX_BASE_MT19937_H
#define LX_BASE_MT19937_H

#include <stddef.h>
#include <stdint.h>

typedef struct lx_mt19937 {
    uint32_t state[624];
    int next;
} lx_mt19937;

void lx_mt19937_seed(lx_mt19937 *mt, uint32_t seed);
/* init_by_array of the reference; n >= 1. */
void lx_mt19937_seed_words(lx_mt19937 *mt, const uint32_t *words, size_t n);
uint32_t lx_mt19937_u32(lx_mt19937 *mt);

/* What Python's random.seed(seed); random.shuffle(order) makes of n items. |seed| counts. */
void lx_python_shuffle(size_t *order, size_t n, int64_t seed);

#endif
