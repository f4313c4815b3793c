#include "src/base/rng.h"

#include <math.h>
#include <string.h>

static uint32_t mul_high(uint32_t a, uint32_t b, uint32_t *low)
{
    uint64_t product = (uint64_t)a * b;
    *low = (uint32_t)product;
    return (uint32_t)(product >> 32);
}

void lx_philox4x32(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];

    for (int round = 0; round < 10; round++) {
        uint32_t low0, low1;
        uint32_t high0 = mul_high(0xD2511F53u, c0, &low0);
        uint32_t high1 = mul_high(0xCD9E8D57u, c2, &low1);
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

static uint32_t fold32(uint64_t x)
{
    return (uint32_t)x ^ (uint32_t)(x >> 32) * 0x9E3779B1u;
}

lx_rng lx_rng_stream(uint64_t seed, lx_rng_purpose purpose, uint64_t step,
                     uint64_t sample)
{
    lx_rng rng = {
        .key = {(uint32_t)seed, (uint32_t)(seed >> 32)},
        .counter = {0, (uint32_t)purpose, fold32(step), fold32(sample)},
        .used = 4,
    };
    return rng;
}

uint32_t lx_rng_u32(lx_rng *rng)
{
    if (rng->used == 4) {
        lx_philox4x32(rng->block, rng->counter, rng->key);
        rng->counter[0]++;
        rng->used = 0;
    }
    return rng->block[rng->used++];
}

enum { LANES = 8 };

/* LANES blocks side by side: what one round waits for, the others' fill. */
static void many_blocks(uint32_t *out, lx_rng *rng)
{
    uint32_t c0[LANES], c1[LANES], c2[LANES], c3[LANES];
    uint32_t k0 = rng->key[0], k1 = rng->key[1];

    for (uint32_t i = 0; i < LANES; i++) {
        c0[i] = rng->counter[0] + i;
        c1[i] = rng->counter[1];
        c2[i] = rng->counter[2];
        c3[i] = rng->counter[3];
    }
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < LANES; i++) {
            uint32_t low0, low1;
            uint32_t high0 = mul_high(0xD2511F53u, c0[i], &low0);
            uint32_t high1 = mul_high(0xCD9E8D57u, c2[i], &low1);
            c0[i] = high1 ^ c1[i] ^ k0;
            c1[i] = low1;
            c2[i] = high0 ^ c3[i] ^ k1;
            c3[i] = low0;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    for (int i = 0; i < LANES; i++) {
        out[4 * i] = c0[i];
        out[4 * i + 1] = c1[i];
        out[4 * i + 2] = c2[i];
        out[4 * i + 3] = c3[i];
    }
    rng->counter[0] += LANES;
}

void lx_rng_words(uint32_t *out, uint64_t n, lx_rng *rng)
{
    for (; n && rng->used < 4; n--)
        *out++ = rng->block[rng->used++];
    for (; n >= 4 * LANES; n -= 4 * LANES, out += 4 * LANES)
        many_blocks(out, rng);
    for (; n; n--)
        *out++ = lx_rng_u32(rng);
}

uint64_t lx_rng_below(lx_rng *rng, uint64_t n)
{
    uint64_t limit = UINT64_MAX - UINT64_MAX % n, x;
    do {
        x = (uint64_t)lx_rng_u32(rng) << 32;
        x |= lx_rng_u32(rng);
    } while (x >= limit);
    return x % n;
}

double lx_rng_uniform(lx_rng *rng)
{
    uint64_t high = lx_rng_u32(rng) >> 5, low = lx_rng_u32(rng) >> 6;
    return (double)(high << 26 | low) * 0x1p-53;
}

/* u in (0, 1] so that the logarithm is finite. */
static void box_muller(float out[2], uint32_t a, uint32_t b)
{
    double u = ((double)a + 1.0) * 0x1p-32;
    double angle = (double)b * (0x1p-32 * 6.283185307179586476925);
    double radius = sqrt(-2.0 * log(u));
    out[0] = (float)(radius * cos(angle));
    out[1] = (float)(radius * sin(angle));
}

void lx_rng_normal(float *out, uint64_t n, uint64_t first, const lx_rng *stream)
{
    for (uint64_t i = 0; i < n; i += 4) {
        uint32_t counter[4] = {(uint32_t)((first + i) / 4), stream->counter[1],
                               stream->counter[2], stream->counter[3]};
        uint32_t words[4];
        float four[4];
        lx_philox4x32(words, counter, stream->key);
        box_muller(four, words[0], words[1]);
        box_muller(four + 2, words[2], words[3]);
        for (uint64_t j = 0; j < 4 && i + j < n; j++)
            out[i + j] = four[j];
    }
}

uint64_t lx_hash_name(const char *name)
{
    return lx_hash_bytes(name, strlen(name));
}

uint64_t lx_hash_bytes(const char *name, size_t n)
{
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)name[i]) * 0x100000001B3u;
    return h;
}
