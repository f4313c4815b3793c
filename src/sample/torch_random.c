#include "src/sample/torch_random.h"

#include <math.h>

#include "src/base/error.h"
#include "src/base/rng.h"

void lx_torch_seed(lx_torch_random *r, uint64_t seed)
{
    lx_mt19937_seed(r, (uint32_t)seed);
}

static float uniform(lx_torch_random *r)
{
    return (float)(lx_mt19937_u32(r) & 0xFFFFFFu) * 0x1p-24f;
}

/*
 * ln x for x in (0, 1], in f32: the polynomial of Cephes' logf, every multiply-add fused
 * as torch's vector code has it.
 */
static float cephes_log(float x)
{
    static const float p[] = {7.0376836292e-2f,  -1.1514610310e-1f, 1.1676998740e-1f,
                              -1.2420140846e-1f, 1.4249322787e-1f,  -1.6668057665e-1f,
                              2.0000714765e-1f,  -2.4999993993e-1f, 3.3333331174e-1f};
    const float sqrt_half = 0.707106781186547524f, ln2_low = -2.12194440e-4f,
                ln2_high = 0.693359375f;
    int exponent;
    float e, y, z;

    x = frexpf(x, &exponent);
    e = (float)exponent;
    if (x < sqrt_half) {
        e -= 1;
        x = x - 1.0f + x;
    } else {
        x = x - 1.0f;
    }
    z = x * x;
    y = p[0];
    for (size_t i = 1; i < sizeof p / sizeof *p; i++)
        y = fmaf(y, x, p[i]);
    y = y * x;
    y = fmaf(y, z, e * ln2_low);
    y = fmaf(-z, 0.5f, y);
    return fmaf(e, ln2_high, x + y);
}

/* Sine and cosine of x >= 0, likewise: reduced to eighths of a turn, then a polynomial.
 */
static void cephes_sincos(float *sine, float *cosine, float x)
{
    const float four_over_pi = 1.27323954473516f;
    const float part_1 = -0.78515625f, part_2 = -2.4187564849853515625e-4f,
                part_3 = -3.77489497744594108e-8f; /* of -pi / 4 */
    const int octant = ((int)(x * four_over_pi) + 1) & ~1;
    const float y = (float)octant;
    float z, even, odd;

    x = fmaf(y, part_1, x);
    x = fmaf(y, part_2, x);
    x = fmaf(y, part_3, x);
    z = x * x;
    even = fmaf(2.443315711809948e-5f, z, -1.388731625493765e-3f);
    even = fmaf(even, z, 4.166664568298827e-2f) * z;
    even = fmaf(even, z, -(z * 0.5f)) + 1.0f;
    odd = fmaf(-1.9515295891e-4f, z, 8.3321608736e-3f);
    odd = fmaf(odd, z, -1.6666654611e-1f) * z;
    odd = fmaf(odd, x, x);
    *sine = octant & 2 ? even : odd;
    *cosine = octant & 2 ? odd : even;
    if (octant & 4)
        *sine = -*sine;
    if (~(octant - 2) & 4)
        *cosine = -*cosine;
}

static void box_muller_16(float block[16])
{
    const float two_pi = 6.28318530717958647692f;

    for (int j = 0; j < 8; j++) {
        float radius = sqrtf(-2.0f * cephes_log(1.0f - block[j])), sine, cosine;

        cephes_sincos(&sine, &cosine, two_pi * block[j + 8]);
        block[j] = radius * cosine;
        block[j + 8] = radius * sine;
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
