/*
 * Vectors of the compilers' own types, for isa_body.h: parts of a row, choices, exponentials, the activations and
 * their slopes, sums of lanes.
 */

typedef float vf __attribute__((vector_size(4 * VL)));
typedef int32_t vi __attribute__((vector_size(4 * VL)));

INLINE vf load(const float *p)
{
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void store(float *p, vf v)
{
    memcpy(p, &v, sizeof v);
}

/* The first n floats (at most a vector), zeros behind them. */
#ifdef __AVX512F__
INLINE __mmask16 first_lanes(int64_t n)
{
    return n >= VL ? 0xffff : (__mmask16)((1u << n) - 1);
}

INLINE vf load_some(const float *p, int64_t n)
{
    return (vf)_mm512_maskz_loadu_ps(first_lanes(n), p);
}

INLINE void store_some(float *p, vf v, int64_t n)
{
    _mm512_mask_storeu_ps(p, first_lanes(n), (__m512)v);
}
#else
INLINE vf load_some(const float *p, int64_t n)
{
    vf v = {0};
    if (n >= VL)
        return load(p);
    memcpy(&v, p, (size_t)n * sizeof *p);
    return v;
}

INLINE void store_some(float *p, vf v, int64_t n)
{
    if (n >= VL)
        store(p, v);
    else
        memcpy(p, &v, (size_t)n * sizeof *p);
}
#endif

INLINE vf all(float x)
{
    return x - (vf){0};
}

INLINE vf choose(vi mask, vf yes, vf no)
{
    return (vf)((mask & (vi)yes) | (~mask & (vi)no));
}

#if VL == 16
#define LANE_NUMBERS ((vi){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
#elif VL == 8
#define LANE_NUMBERS ((vi){0, 1, 2, 3, 4, 5, 6, 7})
#else
#define LANE_NUMBERS ((vi){0, 1, 2, 3})
#endif

/* Lane i is lane from[i] of a, or from VL on of b. */
INLINE vf shuffle(vf a, vf b, vi from)
{
#ifdef __clang__
    vf r;
    for (int i = 0; i < VL; i++)
        r[i] = from[i] < VL ? a[from[i]] : b[from[i] - VL];
    return r;
#else
    return __builtin_shuffle(a, b, from);
#endif
}

/* The smaller and the larger; v where it is NaN. */
INLINE vf at_most(vf most, vf v)
{
#ifdef __AVX512F__
    return (vf)_mm512_min_ps((__m512)most, (__m512)v);
#else
    return choose(v > most, most, v);
#endif
}

INLINE vf at_least(vf least, vf v)
{
#ifdef __AVX512F__
    return (vf)_mm512_max_ps((__m512)least, (__m512)v);
#else
    return choose(v < least, least, v);
#endif
}

/* p 2^n for whole n of at most 254, rounded once. */
INLINE vf times_power(vf p, vf n)
{
#ifdef __AVX512F__
    return (vf)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
    const vf magic = all(12582912.0f);
    const vi whole = (vi)(n + magic) - (vi)magic, half = whole >> 1;
    return p * (vf)((half + 127) << 23) * (vf)((whole - half + 127) << 23);
#endif
}

/*
 * exp to 1 ulp: 2^n p(r), n = round(x / ln 2), p a minimax polynomial on |r| <= ln(2)/2, error
 * 4e-9. 2^n is applied in two halves so that results down to the smallest denormal and up to
 * infinity come out by themselves. NaN gives NaN.
 */
INLINE vf vexp(vf x)
{
    const vf magic = all(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
    x = at_least(all(-104.0f), at_most(all(89.0f), x));
    vf whole = FMA(x, all(1.44269504f), magic) - magic;
    vf r = FMA(whole, all(-0.693145751953125f), x);
    r = FMA(whole, all(-1.42860682e-6f), r);
    vf p = FMA(all(1.39517058e-3f), r, all(8.36959004e-3f));
    p = FMA(p, r, all(4.16661874e-2f));
    p = FMA(p, r, all(1.66665130e-1f));
    p = FMA(p, r, all(5.00000010e-1f));
    p = FMA(p, r * r, r) + all(1.0f);
    return times_power(p, whole);
}

INLINE vf sigmoid(vf x)
{
    return all(1.0f) / (all(1.0f) + vexp(-x));
}

/*
 * erf, error 1 ulp of 1: x p(x^2) up to |x| = 1, beyond it 1 - exp(q(|x|)) with q a minimax fit of
 * log(erfc) on 1..4 weighted by erfc (error 1e-9). From 4 on it is 1 to the last bit.
 */
INLINE vf verf(vf x)
{
    const vi sign = (vi)x & (vi)all(-0.0f);
    const vf t = (vf)((vi)x ^ sign), s = x * x;
    vf p = FMA(all(7.88912318e-5f), s, all(-8.02084237e-4f));
    p = FMA(p, s, all(5.18953546e-3f));
    p = FMA(p, s, all(-2.68544447e-2f));
    p = FMA(p, s, all(1.12836002e-1f));
    p = FMA(p, s, all(-3.76126271e-1f));
    p = FMA(p, s, all(1.12837917e0f)) * x;
    vf u = at_most(all(4.0f), t);
    vf q = FMA(all(1.85573394e-4f), u, all(-2.93960656e-3f));
    q = FMA(q, u, all(2.18053154e-2f));
    q = FMA(q, u, all(-1.03037363e-1f));
    q = FMA(q, u, all(-6.38225684e-1f));
    q = FMA(q, u, all(-1.12704003e0f));
    q = FMA(q, u, all(-3.53720470e-4f));
    q = all(1.0f) - vexp(q);
    return choose(t > all(1.0f), (vf)((vi)q | sign), p);
}

INLINE vf silu_of(vf x)
{
    return x * sigmoid(x);
}

INLINE vf silu_slope(vf x)
{
    vf s = sigmoid(x);
    return s * FMA(x, all(1.0f) - s, all(1.0f));
}

INLINE vf quick_gelu_of(vf x)
{
    return x * sigmoid(x * all(1.702f));
}

INLINE vf quick_gelu_slope(vf x)
{
    vf s = sigmoid(x * all(1.702f));
    return s * FMA(x * all(1.702f), all(1.0f) - s, all(1.0f));
}

INLINE vf normal_cdf(vf x)
{
    return FMA(all(0.5f), verf(x * all(0.70710678f)), all(0.5f));
}

INLINE vf gelu_of(vf x)
{
    return x * normal_cdf(x);
}

INLINE vf gelu_slope(vf x)
{
    vf density = all(0.39894228f) * vexp(all(-0.5f) * x * x);
    return FMA(x, density, normal_cdf(x));
}

/* Lane i from lane i + step on. */
INLINE vf shifted(vf v, int step)
{
    return shuffle(v, v, (LANE_NUMBERS + step) & (VL - 1));
}

/* Lanes added pairwise, in an order that is always the same. */
INLINE float lane_sum(vf v)
{
    UNROLL for (int step = VL / 2; step; step /= 2) v = v + shifted(v, step);
    return v[0];
}
