#include "src/base/mt19937.h"

enum { N = 624, M = 397 };

void lx_mt19937_seed(lx_mt19937 *mt, uint32_t seed)
{
    mt->state[0] = seed;
    for (uint32_t i = 1; i < N; i++)
        mt->state[i] = 1812433253u * (mt->state[i - 1] ^ (mt->state[i - 1] >> 30)) + i;
    mt->next = N;
}

/* The word before state[i], mixed. */
static uint32_t mixed(const lx_mt19937 *mt, size_t i)
{
    return mt->state[i - 1] ^ (mt->state[i - 1] >> 30);
}

void lx_mt19937_seed_words(lx_mt19937 *mt, const uint32_t *words, size_t n)
{
    size_t i = 1, j = 0;

    lx_mt19937_seed(mt, 19650218u);
    for (size_t k = N > n ? N : n; k > 0; k--) {
        mt->state[i] =
            (mt->state[i] ^ (mixed(mt, i) * 1664525u)) + words[j] + (uint32_t)j;
        if (++i >= N) {
            mt->state[0] = mt->state[N - 1];
            i = 1;
        }
        j = j + 1 < n ? j + 1 : 0;
    }
    for (size_t k = N - 1; k > 0; k--) {
        mt->state[i] = (mt->state[i] ^ (mixed(mt, i) * 1566083941u)) - (uint32_t)i;
        if (++i >= N) {
            mt->state[0] = mt->state[N - 1];
            i = 1;
        }
    }
    mt->state[0] = 0x80000000u;
}

static void refill(lx_mt19937 *mt)
{
    for (int i = 0; i < N; i++) {
        uint32_t y =
            (mt->state[i] & 0x80000000u) | (mt->state[(i + 1) % N] & 0x7FFFFFFFu);
        mt->state[i] = mt->state[(i + M) % N] ^ (y >> 1) ^ (y & 1 ? 0x9908B0DFu : 0);
    }
    mt->next = 0;
}

uint32_t lx_mt19937_u32(lx_mt19937 *mt)
{
    uint32_t y;

    if (mt->next == N)
        refill(mt);
    y = mt->state[mt->next++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9D2C5680u;
    y ^= (y << 15) & 0xEFC60000u;
    return y ^ (y >> 18);
}

/* Python's _randbelow for n < 2^32: as many bits as n has, again until they are below it. */
static uint32_t below(lx_mt19937 *mt, uint32_t n)
{
    int bits = 0;
    uint32_t x;

    while (bits < 32 && n >> bits)
        bits++;
    do
        x = lx_mt19937_u32(mt) >> (32 - bits);
    while (x >= n);
    return x;
}

void lx_python_shuffle(size_t *order, size_t n, int64_t seed)
{
    const uint64_t size = seed < 0 ? 0 - (uint64_t)seed : (uint64_t)seed;
    const uint32_t words[2] = {(uint32_t)size, (uint32_t)(size >> 32)};
    lx_mt19937 mt;

    lx_mt19937_seed_words(&mt, words, words[1] ? 2 : 1);
    for (size_t i = n; i > 1; i--) {
        const size_t j = below(&mt, (uint32_t)i), spare = order[i - 1];
        order[i - 1] = order[j];
        order[j] = spare;
    }
}
