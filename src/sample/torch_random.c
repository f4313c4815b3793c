#include "src/sample/torch_random.h"

#include <math.h>

#include "src/base/error.h"
#include "src/base/rng.h"

enum { N = 624, M = 397 };

void lx_torch_seed(lx_torch_random *r, uint64_t seed)
{
    r->state[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < N; i++)
        r->state[i] = 1812433253u * (r->state[i - 1] ^ (r->state[i - 1] >> 30)) + i;
    r->next = N;
}

static void refill(lx_torch_random *r)
{
    for (int i = 0; i < N; i++) {
        uint32_t y = (r->state[i] & 0x80000000u) | (r->state[(i + 1) % N] & 0x7FFFFFFFu);
        r->state[i] = r->state[(i + M) % N] ^ (y >> 1) ^ (y & 1 ? 0x9908B0DFu : 0);
    }
    r->next = 0;
}

uint32_t lx_torch_u32(lx_torch_random *r)
{
    uint32_t y;

    if (r->next == N)
        refill(r);
    y = r->state[r->next++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9D2C5680u;
    y ^= (y << 15) & 0xEFC60000u;
    return y ^ (y >> 18);
}

static float uniform(lx_torch_random *r)
{
    return (float)(lx_torch_u32(r) & 0xFFFFFFu) * 0x1p-24f;
}

static void box_muller_16(float block[16])
{
    const float two_pi = 6.28318530717958647692f;

    for (int j = 0; j < 8; j++) {
        float log_u = (float)log((double)(1.0f - block[j]));
        float radius = (float)sqrt((double)(-2.0f * log_u));
        float angle = two_pi * block[j + 8];
        block[j] = radius * (float)cos((double)angle);
        block[j + 8] = radius * (float)sin((double)angle);
    }
}

void lx_torch_normal(float *out, size_t n, lx_torch_random *r)
{
    lx_assert(n >= 16);
    for (size_t i = 0; i < n; i++)
        out[i] = uniform(r);
    for (size_t i = 0; i + 16 <= n; i += 16)
        box_muller_16(out + i);
    if (n % 16 == 0)
        return;
    for (size_t i = n - 16; i < n; i++)
        out[i] = uniform(r);
    box_muller_16(out + n - 16);
}

void lx_cuda_normal(float *out, size_t n, uint64_t seed, uint32_t call)
{
    const float unit = 2.3283064e-10f, unit_2pi = 2.3283064e-10f * 6.2831855f;
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};

    for (size_t i = 0; i < n; i++) {
        const uint32_t counter[4] = {call, 0, (uint32_t)i, 0};
        uint32_t words[4];
        lx_philox4x32(words, counter, key);
        float u = (float)words[0] * unit + unit / 2,
              v = (float)words[1] * unit_2pi + unit_2pi / 2;
        float radius = (float)sqrt(-2.0 * (double)(float)log((double)u));
        out[i] = radius * (float)sin((double)v);
    }
}
