/*
 * The loops of kernels/cpu/isa.h for one instruction set. The file that includes this defines
 *
 *   VL, VLOG           floats in a vector and its logarithm
 *   MR                 rows of the register tile; its columns are 2*VL
 *   FMA(a, b, c)       a*b + c on vectors, rounded once where the machine can
 *   ISA                the lx_isa to define, ISA_NAME its name
 *
 * Vectors are the compilers' vector types. The rest of a row is done by the same vector code on a
 * padded copy, so that an element's arithmetic does not depend on its place.
 */
#include "kernels/cpu/isa.h"

#include <math.h>
#include <string.h>

#include "src/base/dtype.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

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

#define MAP(name, expression)                                                                \
    static void name(float *y, const float *x, int64_t n)                                    \
    {                                                                                        \
        int64_t i = 0;                                                                       \
        for (; i + VL <= n; i += VL) {                                                       \
            vf v = load(x + i);                                                              \
            store(y + i, expression);                                                        \
        }                                                                                    \
        if (i < n) {                                                                         \
            vf v = load_some(x + i, n - i);                                                  \
            store_some(y + i, expression, n - i);                                            \
        }                                                                                    \
    }
#define MAP_SLOPE(name, slope)                                                               \
    static void name(float *dx, const float *dy, const float *x, int64_t n)                  \
    {                                                                                        \
        int64_t i = 0;                                                                       \
        for (; i + VL <= n; i += VL)                                                         \
            store(dx + i, load(dy + i) * slope(load(x + i)));                                \
        if (i < n)                                                                           \
            store_some(dx + i, load_some(dy + i, n - i) * slope(load_some(x + i, n - i)),    \
                       n - i);                                                               \
    }

MAP(isa_silu, silu_of(v))
MAP(isa_gelu, gelu_of(v))
MAP(isa_quick_gelu, quick_gelu_of(v))
MAP_SLOPE(isa_silu_dx, silu_slope)
MAP_SLOPE(isa_gelu_dx, gelu_slope)
MAP_SLOPE(isa_quick_gelu_dx, quick_gelu_slope)

static void isa_row_scale(float *y, const float *x, float factor, int64_t n)
{
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        store(y + i, load(x + i) * all(factor));
    for (; i < n; i++)
        y[i] = x[i] * factor;
}

static void isa_add(float *y, const float *a, const float *b, int64_t n)
{
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        store(y + i, load(a + i) + load(b + i));
    for (; i < n; i++)
        y[i] = a[i] + b[i];
}

static void isa_geglu(float *y, const float *a, const float *g, int64_t n)
{
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        store(y + i, load(a + i) * gelu_of(load(g + i)));
    if (i < n)
        store_some(y + i, load_some(a + i, n - i) * gelu_of(load_some(g + i, n - i)), n - i);
}

INLINE void geglu_slopes(vf *da, vf *dg, vf dy, vf a, vf g)
{
    vf cdf = normal_cdf(g), density = all(0.39894228f) * vexp(all(-0.5f) * g * g);
    *da = dy * (g * cdf);
    *dg = dy * a * FMA(g, density, cdf);
}

static void isa_geglu_dx(float *da, float *dg, const float *dy, const float *a, const float *g,
                         int64_t n)
{
    int64_t i = 0;
    vf va, vg;
    for (; i + VL <= n; i += VL) {
        geglu_slopes(&va, &vg, load(dy + i), load(a + i), load(g + i));
        store(da + i, va);
        store(dg + i, vg);
    }
    if (i < n) {
        geglu_slopes(&va, &vg, load_some(dy + i, n - i), load_some(a + i, n - i),
                     load_some(g + i, n - i));
        store_some(da + i, va, n - i);
        store_some(dg + i, vg, n - i);
    }
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

/* A NaN is passed over here and comes out of the exponentials that follow. */
static float isa_row_max(const float *x, int64_t n)
{
    float max;
    int64_t i = 0;
    vf best = all(-INFINITY);

    for (; i + VL <= n; i += VL) {
        vf v = load(x + i);
        best = at_least(v, best);
    }
    UNROLL for (int step = VL / 2; step; step /= 2) best = at_least(shifted(best, step), best);
    max = best[0];
    for (; i < n; i++)
        max = x[i] > max ? x[i] : max;
    return max;
}

static float isa_row_dot(const float *x, const float *y, int64_t n)
{
    vf s0 = {0}, s1 = {0};
    int64_t i = 0;
    for (; i + 2 * VL <= n; i += 2 * VL) {
        s0 = FMA(load(x + i), load(y + i), s0);
        s1 = FMA(load(x + i + VL), load(y + i + VL), s1);
    }
    for (; i < n; i += VL) {
        int64_t m = n - i < VL ? n - i : VL;
        s0 = FMA(load_some(x + i, m), load_some(y + i, m), s0);
    }
    return lane_sum(s0 + s1);
}

static float isa_row_exp(float *y, const float *x, int64_t n, float scale, float shift)
{
    vf sum = {0};
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        vf v = vexp(FMA(load(x + i), all(scale), all(-shift)));
        store(y + i, v);
        sum += v;
    }
    if (i < n) {
        vf v = vexp(FMA(load_some(x + i, n - i), all(scale), all(-shift)));
        store_some(y + i, v, n - i);
        sum += load_some(y + i, n - i);
    }
    return lane_sum(sum);
}

static void isa_row_exp_each(float *y, const float *x, int64_t n, float scale, const float *shift)
{
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        store(y + i, vexp(FMA(load(x + i), all(scale), -load(shift + i))));
    if (i < n)
        store_some(y + i,
                   vexp(FMA(load_some(x + i, n - i), all(scale), -load_some(shift + i, n - i))),
                   n - i);
}

static void isa_row_score_slope(float *y, const float *p, const float *x, const float *d,
                                float scale, int64_t n)
{
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        store(y + i, load(p + i) * (load(x + i) - load(d + i)) * all(scale));
    for (; i < n; i++)
        y[i] = p[i] * (x[i] - d[i]) * scale;
}

static void isa_column_sum(double *sum, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        sum[i] += x[i];
}

static void isa_column_moments(double *sum, double *squares, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double v = x[i];
        sum[i] += v;
        squares[i] += v * v;
    }
}

INLINE vf norm_of(vf x, const lx_norm_rows *r, int64_t i, int64_t m)
{
    return FMA(x - load_some(r->mean + i, m), load_some(r->w + i, m), load_some(r->b + i, m));
}

static void isa_norm_row(float *y, const float *x, const lx_norm_rows *r, bool has_silu, int64_t n)
{
    for (int64_t i = 0; i < n; i += VL) {
        vf z = norm_of(load_some(x + i, n - i), r, i, n - i);
        store_some(y + i, has_silu ? silu_of(z) : z, n - i);
    }
}

INLINE vf norm_gradient(vf dy, vf x, const lx_norm_rows *r, bool has_silu, int64_t i, int64_t m)
{
    vf w = load_some(r->w + i, m);
    return has_silu ? dy * silu_slope(norm_of(x, r, i, m)) * w : dy * w;
}

static void isa_norm_sums(double *sum, double *dot, const float *dy, const float *x,
                          const lx_norm_rows *r, bool has_silu, int64_t n)
{
    for (int64_t i = 0; i < n; i += VL) {
        const int64_t m = n - i < VL ? n - i : VL;
        const vf v = load_some(x + i, m);
        float g[VL], d[VL];
        store(g, norm_gradient(load_some(dy + i, m), v, r, has_silu, i, m));
        store(d, v - load_some(r->mean + i, m));
        for (int64_t j = 0; j < m; j++) {
            sum[i + j] += g[j];
            dot[i + j] += (double)g[j] * d[j];
        }
    }
}

static void isa_norm_finish(float *dx, const float *dy, const float *x, const lx_norm_rows *r,
                            const float *p, const float *q, const float *add, bool has_silu,
                            int64_t n)
{
    for (int64_t i = 0; i < n; i += VL) {
        const int64_t m = n - i;
        vf v = load_some(x + i, m);
        vf g = norm_gradient(load_some(dy + i, m), v, r, has_silu, i, m);
        g = g - FMA(load_some(q + i, m), v - load_some(r->mean + i, m), load_some(p + i, m));
        store_some(dx + i, add ? load_some(add + i, m) + g : g, m);
    }
}

/*
 * The mean is corrected by the mean of what is left when it is taken off: a sum of f32 is off by
 * some of its last bits, which is much where the values lie close together.
 */
static void isa_layer_norm_row(float *y, float stats[2], const float *x, const float *w,
                               const float *b, float eps, int64_t n)
{
    vf sum = {0}, squares = {0}, d;
    float mean, rest, rstd;
    int64_t i;

    for (i = 0; i < n; i += VL)
        sum += load_some(x + i, n - i);
    mean = lane_sum(sum) / (float)n;
    sum = all(0);
    for (i = 0; i + VL <= n; i += VL) {
        d = load(x + i) - all(mean);
        sum += d;
        squares = FMA(d, d, squares);
    }
    if (i < n) {
        float tail[VL] = {0};
        for (int64_t j = 0; j < n - i; j++)
            tail[j] = x[i + j] - mean;
        d = load(tail);
        sum += d;
        squares = FMA(d, d, squares);
    }
    rest = lane_sum(sum) / (float)n;
    rstd = 1 / sqrtf(lane_sum(squares) / (float)n - rest * rest + eps);
    for (i = 0; i < n; i += VL) {
        d = (load_some(x + i, n - i) - all(mean) - all(rest)) * all(rstd);
        store_some(y + i, FMA(d, load_some(w + i, n - i), load_some(b + i, n - i)), n - i);
    }
    stats[0] = mean + rest;
    stats[1] = rstd;
}

static void isa_layer_norm_dx_row(float *dx, const float *dy, const float *x, const float *w,
                                  const float *add, const float stats[2], int64_t n)
{
    const vf mean = all(stats[0]), rstd = all(stats[1]);
    vf sum = {0}, dot = {0};

    for (int64_t i = 0; i < n; i += VL) {
        int64_t m = n - i < VL ? n - i : VL;
        vf g = load_some(dy + i, m) * load_some(w + i, m);
        sum += g;
        dot = FMA(g, (load_some(x + i, m) - mean) * rstd, dot);
    }
    const vf mean_g = all(lane_sum(sum) / (float)n), mean_dot = all(lane_sum(dot) / (float)n);
    for (int64_t i = 0; i < n; i += VL) {
        int64_t m = n - i < VL ? n - i : VL;
        vf xhat = (load_some(x + i, m) - mean) * rstd;
        vf g = load_some(dy + i, m) * load_some(w + i, m);
        g = rstd * (g - FMA(xhat, mean_dot, mean_g));
        store_some(dx + i, add ? load_some(add + i, m) + g : g, m);
    }
}

static void isa_softmax_dx_row(float *dx, const float *dy, const float *y, int64_t n)
{
    const float dot = isa_row_dot(dy, y, n);
    for (int64_t i = 0; i < n; i++)
        dx[i] = y[i] * (dy[i] - dot);
}

static void isa_widen_f16(float *dst, const uint16_t *src, int64_t n)
{
    int64_t i = 0;
#ifdef __F16C__
    for (; i + 8 <= n; i += 8) {
        __m128i half;
        memcpy(&half, src + i, sizeof half);
        _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(half));
    }
#endif
    for (; i < n; i++)
        dst[i] = lx_f32_from_f16(src[i]);
}

#ifdef __AVX2__
/* 8 rows of 8, turned; row j goes to dst + perm[j] * NR. */
INLINE void turn_8x8(float *dst, const float *src, int64_t ld, const int *perm)
{
    __m256 r[8], t[8];

    for (int i = 0; i < 8; i++)
        r[i] = _mm256_loadu_ps(src + i * ld);
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(dst + perm[i] * 2 * VL, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        _mm256_storeu_ps(dst + perm[i + 4] * 2 * VL, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
}
#endif

static void isa_pack_turned(float *dst, const float *src, int64_t ld, int cols, int k,
                            const int *perm)
{
    int n = 0;
#ifdef __AVX2__
    for (; n + 8 <= cols; n += 8) {
        int j = 0;
        for (; j + 8 <= k; j += 8)
            turn_8x8(dst + n, src + n * ld + j, ld, perm + j);
        for (; j < k; j++)
            for (int i = 0; i < 8; i++)
                dst[perm[j] * 2 * VL + n + i] = src[(n + i) * ld + j];
    }
#endif
    for (; n < cols; n++)
        for (int j = 0; j < k; j++)
            dst[perm[j] * 2 * VL + n] = src[n * ld + j];
    for (; n < 2 * VL; n++)
        for (int j = 0; j < k; j++)
            dst[perm[j] * 2 * VL + n] = 0;
}

static void isa_pack_spread(float *dst, const float *src, int64_t step, int cols)
{
    int n = 0;
#ifdef __AVX2__
    const __m256i at = _mm256_mullo_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
                                          _mm256_set1_epi32((int)step));
    for (; n + 8 <= cols; n += 8)
        _mm256_storeu_ps(dst + n, _mm256_i32gather_ps(src + n * step, at, 4));
#endif
    for (; n < cols; n++)
        dst[n] = src[n * step];
    for (; n < 2 * VL; n++)
        dst[n] = 0;
}

static void isa_pack_windows(float *dst, int64_t step, const float *src, int cols)
{
    int n = 0;
#ifdef __AVX2__
    static const int taps[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    float eight[8 * 2 * VL];
    for (; n + 8 <= cols; n += 8) {
        turn_8x8(eight, src + n * 9, 9, taps);
        for (int t = 0; t < 8; t++)
            _mm256_storeu_ps(dst + t * step + n, _mm256_loadu_ps(eight + t * 2 * VL));
        for (int i = 0; i < 8; i++)
            dst[8 * step + n + i] = src[(n + i) * 9 + 8];
    }
#endif
    for (; n < 2 * VL; n++)
        for (int t = 0; t < 9; t++)
            dst[t * step + n] = n < cols ? src[n * 9 + t] : 0;
}

/*
 * Register tiles: `rows` by `vectors` accumulators. The last block of many shapes has four rows (powers of two
 * by tiles of twelve) or eight columns (heads of 40 channels), which are worth a tile of their own.
 */
#define TILE_BEGIN(rows, vectors, vec)                                            \
    enum { LANES = sizeof(vec) / sizeof(float) };                                 \
    vec c[vectors][rows];                                                         \
    UNROLL for (int i = 0; i < rows; i++)                                         \
        UNROLL for (int j = 0; j < vectors; j++)                                  \
    {                                                                             \
        c[j][i] = (vec){0};                                                       \
        if (is_added)                                                             \
            memcpy(&c[j][i], acc + i * ld + j * LANES, sizeof(vec));              \
    }
#define TILE_END(rows, vectors, vec)                                              \
    UNROLL for (int i = 0; i < rows; i++)                                         \
        UNROLL for (int j = 0; j < vectors; j++)                                  \
            memcpy(acc + i * ld + j * LANES, &c[j][i], sizeof(vec));

#define F32_TILE(name, rows, vectors, vec, madd)                                  \
    static void name(float *acc, int64_t ld, const float *a, int64_t lda,         \
                     const float *b, int64_t ldb, int64_t k, bool is_added)       \
    {                                                                             \
        TILE_BEGIN(rows, vectors, vec)                                            \
        for (; k; k--, a++, b += ldb) {                                           \
            vec r[vectors];                                                       \
            UNROLL for (int j = 0; j < vectors; j++)                              \
                memcpy(&r[j], b + j * LANES, sizeof(vec));                        \
            UNROLL for (int i = 0; i < rows; i++)                                 \
            {                                                                     \
                const vec x = a[i * lda] - (vec){0};                              \
                UNROLL for (int j = 0; j < vectors; j++)                          \
                    c[j][i] = madd(x, r[j], c[j][i]);                             \
            }                                                                     \
        }                                                                         \
        TILE_END(rows, vectors, vec)                                              \
    }

F32_TILE(tile_whole, MR, 2, vf, FMA)
F32_TILE(tile_half, MR, 1, vf, FMA)
#if MR > 4
F32_TILE(tile_four, 4, 2, vf, FMA)
F32_TILE(tile_four_half, 4, 1, vf, FMA)
#endif
#if VL == 16
typedef float hf __attribute__((vector_size(32)));
#define FMA_8(a, b, c) ((hf)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
F32_TILE(tile_quarter, MR, 1, hf, FMA_8)
#endif

static void isa_product(float *acc, int64_t ld, const float *a, int64_t lda, const float *b,
                        int64_t ldb, int64_t k, int64_t rows, int64_t cols, bool is_added)
{
#if MR > 4
    if (rows <= 4) {
        (cols <= VL ? tile_four_half : tile_four)(acc, ld, a, lda, b, ldb, k, is_added);
        return;
    }
#endif
#if VL == 16
    if (cols <= VL / 2) {
        tile_quarter(acc, ld, a, lda, b, ldb, k, is_added);
        return;
    }
#endif
    (cols <= VL ? tile_half : tile_whole)(acc, ld, a, lda, b, ldb, k, is_added);
}

/* ---- products in bf16 --------------------------------------------------------------------- */

/* f32 rounded to what bf16 has; what is smaller than 2^-126 is zero. */
INLINE vf round_bf16(vf x)
{
    const vi bits = (vi)x, upper = (vi){0} + (int32_t)0xffff0000;
    const vi rounded = (bits + 0x7fff + ((bits >> 16) & 1)) & upper;
    const vi is_small = (bits & 0x7f800000) == 0, is_nan = x != x;
    vi r = (is_small & bits & INT32_MIN) | (~is_small & rounded);
    return (vf)((is_nan & ((bits | 0x400000) & upper)) | (~is_nan & r));
}

#ifdef __AVX512BF16__
static void isa_narrow_bf16(void *dst, const float *src, int64_t n)
{
    uint16_t *to = dst;
    for (int64_t i = 0; i < n; i += VL) {
        const __mmask16 rest = n - i >= VL ? 0xffff : (__mmask16)((1u << (n - i)) - 1);
        const __m256i v =
            (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(rest, src + i));
        _mm256_mask_storeu_epi16(to + i, rest, v);
    }
}

/* Two rows of two vectors become two vectors of pairs. */
static void isa_pair_bf16(void *dst, const float *src, int64_t step, int64_t k)
{
    uint32_t *to = dst;
    for (; k > 0; k -= 2, src += 2 * step, to += 2 * VL)
        for (int half = 0; half < 2 * VL; half += VL) {
            const vf first = load(src + half),
                     second = k > 1 ? load(src + step + half) : (vf){0};
            const __m512i a =
                _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)first));
            const __m512i b =
                _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)second));
            _mm512_storeu_si512(to + half, _mm512_or_si512(a, _mm512_slli_epi32(b, 16)));
        }
}

#define PAIRS_16(a, b, c) ((vf)_mm512_dpbf16_ps((__m512)(c), (__m512bh)(a), (__m512bh)(b)))
#define PAIRS_8(a, b, c) ((hf)_mm256_dpbf16_ps((__m256)(c), (__m256bh)(a), (__m256bh)(b)))

#define BF16_TILE(name, rows, vectors, vec, set, madd)                            \
    static void name(float *acc, int64_t ld, const uint16_t *a, int64_t lda,      \
                     const uint32_t *b, int64_t k, bool is_added)                 \
    {                                                                             \
        TILE_BEGIN(rows, vectors, vec)                                            \
        for (; k > 0; k -= 2, a += 2, b += 2 * VL) {                              \
            vec r[vectors];                                                       \
            UNROLL for (int j = 0; j < vectors; j++)                              \
                memcpy(&r[j], b + j * LANES, sizeof(vec));                        \
            UNROLL for (int i = 0; i < rows; i++)                                 \
            {                                                                     \
                int32_t pair;                                                     \
                memcpy(&pair, a + i * lda, sizeof pair);                          \
                UNROLL for (int j = 0; j < vectors; j++)                          \
                    c[j][i] = madd(set(pair), r[j], c[j][i]);                     \
            }                                                                     \
        }                                                                         \
        TILE_END(rows, vectors, vec)                                              \
    }

BF16_TILE(pairs_whole, MR, 2, vf, _mm512_set1_epi32, PAIRS_16)
BF16_TILE(pairs_half, MR, 1, vf, _mm512_set1_epi32, PAIRS_16)
BF16_TILE(pairs_four, 4, 2, vf, _mm512_set1_epi32, PAIRS_16)
BF16_TILE(pairs_four_half, 4, 1, vf, _mm512_set1_epi32, PAIRS_16)
BF16_TILE(pairs_quarter, MR, 1, hf, _mm256_set1_epi32, PAIRS_8)
enum { BF16_BYTES = 2 };

#include "kernels/cpu/isa_pairs.h"
#define PAIRS_TURNED isa_pairs_turned
#define PAIRS_STRAIGHT isa_pairs_straight
#else
static void isa_narrow_bf16(void *dst, const float *src, int64_t n)
{
    float *to = dst;
    for (int64_t i = 0; i < n; i += VL)
        store_some(to + i, round_bf16(load_some(src + i, n - i)), n - i);
}

static void isa_pair_bf16(void *dst, const float *src, int64_t step, int64_t k)
{
    float *to = dst;
    for (int64_t i = 0; i < (k + 1) / 2 * 2; i++, src += step, to += 2 * VL) {
        store(to, i < k ? round_bf16(load(src)) : (vf){0});
        store(to + VL, i < k ? round_bf16(load(src + VL)) : (vf){0});
    }
}

#define BF16_TILE(name, rows, vectors, vec, madd)                                 \
    static void name(float *acc, int64_t ld, const float *a, int64_t lda,         \
                     const float *b, int64_t k, bool is_added)                    \
    {                                                                             \
        TILE_BEGIN(rows, vectors, vec)                                            \
        for (; k > 0; k -= 2, a += 2, b += 4 * VL) {                              \
            UNROLL for (int t = 1; t >= 0; t--)                                   \
                UNROLL for (int j = 0; j < vectors; j++)                          \
            {                                                                     \
                vec r;                                                            \
                memcpy(&r, b + t * 2 * VL + j * LANES, sizeof(vec));              \
                UNROLL for (int i = 0; i < rows; i++)                             \
                    c[j][i] = madd(a[i * lda + t] - (vec){0}, r, c[j][i]);        \
            }                                                                     \
        }                                                                         \
        TILE_END(rows, vectors, vec)                                              \
    }

BF16_TILE(pairs_whole, MR, 2, vf, FMA)
BF16_TILE(pairs_half, MR, 1, vf, FMA)
#if MR > 4
BF16_TILE(pairs_four, 4, 2, vf, FMA)
BF16_TILE(pairs_four_half, 4, 1, vf, FMA)
#endif
#if VL == 16
BF16_TILE(pairs_quarter, MR, 1, hf, FMA_8)
#endif
enum { BF16_BYTES = 4 };
#define PAIRS_TURNED NULL
#define PAIRS_STRAIGHT NULL
#endif

static void isa_product_bf16(float *acc, int64_t ld, const void *a, int64_t lda,
                             const void *b, int64_t k, int64_t rows, int64_t cols,
                             bool is_added)
{
#if MR > 4
    if (rows <= 4) {
        (cols <= VL ? pairs_four_half : pairs_four)(acc, ld, a, lda, b, k, is_added);
        return;
    }
#endif
#if VL == 16
    if (cols <= VL / 2) {
        pairs_quarter(acc, ld, a, lda, b, k, is_added);
        return;
    }
#endif
    (cols <= VL ? pairs_half : pairs_whole)(acc, ld, a, lda, b, k, is_added);
}

/* ---- where results go --------------------------------------------------------------------- */

static void isa_store(float *const *y, const float *const *add, const float *bias,
                      float scale, const float *acc, int rows, int cols)
{
    for (int i = 0; i < rows; i++, acc += 2 * VL) {
        float *to = y[i];
        const float *from = add ? add[i] : NULL;
        if (cols == 2 * VL) {
            vf v0 = load(acc) * all(scale), v1 = load(acc + VL) * all(scale);
            if (bias) {
                v0 = v0 + load(bias);
                v1 = v1 + load(bias + VL);
            }
            store(to, from ? v0 + load(from) : v0);
            store(to + VL, from ? v1 + load(from + VL) : v1);
            continue;
        }
        for (int j = 0; j < cols; j++) {
            float v = acc[j] * scale;
            if (bias)
                v = v + bias[j];
            to[j] = from ? v + from[j] : v;
        }
    }
}

/* ---- thin products ------------------------------------------------------------------------ */

/* Of each block of 2*width lanes of a and b the halves added: a's sums in the lower half, b's above. */
INLINE vf add_halves(vf a, vf b, int width)
{
    const vi i = LANE_NUMBERS, is_above = (i & width) != 0;
    const vi lower = (i & ~width) + (is_above & VL);
    return shuffle(a, b, lower) + shuffle(a, b, lower + width);
}

/* Lane i of the result: the sum of the lanes of v[i]. */
INLINE vf sums_of(vf v[VL])
{
    _Pragma("GCC unroll 8") for (int width = VL / 2; width; width /= 2)
    {
        _Pragma("GCC unroll 16") for (int i = 0; i < width; i++)
            v[i] = add_halves(v[i], v[i + width], width);
    }
    return v[0];
}

/* VL / 4 rows by four of R; where there are fewer, the last is taken again. */
enum { THIN_ROWS = VL / 4 };

#define THIN_REDUCE_STEP(get)                                                \
    {                                                                        \
        vf q[4];                                                             \
        _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++) q[j] = get(p[j]); \
        _Pragma("GCC unroll 4") for (int a = 0; a < THIN_ROWS; a++)          \
        {                                                                    \
            const vf v = get(x[a]);                                          \
            _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++)              \
                acc[4 * a + j] = FMA(v, q[j], acc[4 * a + j]);               \
        }                                                                    \
    }
#define WHOLE(row) load((row) + i)
#define REST(row) load_some((row) + i, n - i)

INLINE vf thin_sums(const float *const x[THIN_ROWS], const float *const p[4], int64_t n)
{
    vf acc[VL] = {0};
    int64_t i = 0;

    for (; i + VL <= n; i += VL)
        THIN_REDUCE_STEP(WHOLE)
    if (i < n)
        THIN_REDUCE_STEP(REST)
    return sums_of(acc);
}

static void isa_thin_reduce(float *y, const float *x, const float *p, int64_t rows, int R,
                            int64_t n)
{
    for (int64_t m = 0; m < rows; m += THIN_ROWS)
        for (int r = 0; r < R; r += 4) {
            const float *xs[THIN_ROWS], *ps[4];
            float sums[VL];
            for (int64_t a = 0; a < THIN_ROWS; a++)
                xs[a] = x + (m + a < rows ? m + a : rows - 1) * n;
            for (int j = 0; j < 4; j++)
                ps[j] = p + (r + j < R ? r + j : R - 1) * n;
            store(sums, thin_sums(xs, ps, n));
            for (int64_t a = 0; a < THIN_ROWS && m + a < rows; a++)
                for (int j = 0; j < 4 && r + j < R; j++)
                    y[(m + a) * R + r + j] = sums[4 * a + j];
        }
}

INLINE void thin_expand_rows(float *y, const float *add, const float *bias, const float *h,
                             const float *q, int rows, int R, int64_t n)
{
    for (int64_t i = 0; i < n; i += VL) {
        const vf first = bias ? load_some(bias + i, n - i) : (vf){0};
        vf acc[4];
        for (int a = 0; a < rows; a++)
            acc[a] = first;
        for (int r = 0; r < R; r++) {
            const vf v = load_some(q + r * n + i, n - i);
            for (int a = 0; a < rows; a++)
                acc[a] = FMA(all(h[a * R + r]), v, acc[a]);
        }
        for (int a = 0; a < rows; a++)
            store_some(y + a * n + i,
                       add ? load_some(add + a * n + i, n - i) + acc[a] : acc[a], n - i);
    }
}

static void isa_thin_expand(float *y, const float *add, const float *bias, const float *h,
                            const float *q, int64_t rows, int R, int64_t n)
{
    for (; rows >= 4; rows -= 4, y += 4 * n, h += 4 * R) {
        if (R == 4)
            thin_expand_rows(y, add, bias, h, q, 4, 4, n);
        else
            thin_expand_rows(y, add, bias, h, q, 4, R, n);
        add = add ? add + 4 * n : NULL;
    }
    for (; rows; rows--, y += n, h += R) {
        thin_expand_rows(y, add, bias, h, q, 1, R, n);
        add = add ? add + n : NULL;
    }
}

/* Four of y's rows are added to at once, eight rows of x one after the other. */
INLINE void thin_outer_rows(float *y, int64_t y_step, const float *h, const float *x,
                            int64_t x_step, int rows, int R, int ranks, int64_t n)
{
    for (int64_t i = 0; i < n; i += VL) {
        vf acc[4];
        for (int r = 0; r < ranks; r++)
            acc[r] = load_some(y + r * y_step + i, n - i);
        for (int a = 0; a < rows; a++) {
            const vf v = load_some(x + a * x_step + i, n - i);
            for (int r = 0; r < ranks; r++)
                acc[r] = FMA(all(h[a * R + r]), v, acc[r]);
        }
        for (int r = 0; r < ranks; r++)
            store_some(y + r * y_step + i, acc[r], n - i);
    }
}

static void isa_thin_outer(float *y, int64_t y_step, const float *h, const float *x,
                           int64_t x_step, int64_t rows, int R, int64_t n)
{
    for (int64_t m = 0; m < rows; m += 8) {
        const int some = rows - m < 8 ? (int)(rows - m) : 8;
        for (int r = 0; r < R; r += 4) {
            const int ranks = R - r < 4 ? R - r : 4;
            float *to = y + r * y_step;
            const float *from = x + m * x_step, *factors = h + m * R + r;
            if (some == 8 && ranks == 4)
                thin_outer_rows(to, y_step, factors, from, x_step, 8, R, 4, n);
            else
                thin_outer_rows(to, y_step, factors, from, x_step, some, R, ranks, n);
        }
    }
}

/* B^T d B: rows, then columns. */
static void isa_winograd_input(float *v, int64_t step, const float *const d[16], int64_t n)
{
    for (int64_t i = 0; i < n; i += VL) {
        vf t[16];
        for (int q = 0; q < 4; q++) {
            vf d0 = load_some(d[q] + i, n - i), d1 = load_some(d[4 + q] + i, n - i);
            vf d2 = load_some(d[8 + q] + i, n - i), d3 = load_some(d[12 + q] + i, n - i);
            t[q] = d0 - d2;
            t[4 + q] = d1 + d2;
            t[8 + q] = d2 - d1;
            t[12 + q] = d1 - d3;
        }
        for (int r = 0; r < 16; r += 4) {
            store_some(v + r * step + i, t[r] - t[r + 2], n - i);
            store_some(v + (r + 1) * step + i, t[r + 1] + t[r + 2], n - i);
            store_some(v + (r + 2) * step + i, t[r + 2] - t[r + 1], n - i);
            store_some(v + (r + 3) * step + i, t[r + 1] - t[r + 3], n - i);
        }
    }
}

/* G g G^T */
static void isa_winograd_weights(float *u, int64_t step, const float *const g[9], int64_t n)
{
    const vf half = all(0.5f);
    for (int64_t i = 0; i < n; i += VL) {
        vf t[12];
        for (int q = 0; q < 3; q++) {
            vf g0 = load_some(g[q] + i, n - i), g1 = load_some(g[3 + q] + i, n - i);
            vf g2 = load_some(g[6 + q] + i, n - i), ends = g0 + g2;
            t[q] = g0;
            t[3 + q] = (ends + g1) * half;
            t[6 + q] = (ends - g1) * half;
            t[9 + q] = g2;
        }
        for (int r = 0; r < 4; r++) {
            vf g0 = t[3 * r], g1 = t[3 * r + 1], g2 = t[3 * r + 2], ends = g0 + g2;
            float *to = u + 4 * r * step + i;
            store_some(to, g0, n - i);
            store_some(to + step, (ends + g1) * half, n - i);
            store_some(to + 2 * step, (ends - g1) * half, n - i);
            store_some(to + 3 * step, g2, n - i);
        }
    }
}

/* A^T m A */
static void isa_winograd_output(float *const y[4], const float *const add[4], const float *bias,
                                const float *m, int64_t step, int64_t n)
{
    for (int64_t i = 0; i < n; i += VL) {
        const vf b = bias ? load_some(bias + i, n - i) : (vf){0};
        vf t[8], out[4];
        for (int q = 0; q < 4; q++) {
            vf m0 = load_some(m + q * step + i, n - i), m1 = load_some(m + (4 + q) * step + i, n - i);
            vf m2 = load_some(m + (8 + q) * step + i, n - i);
            vf m3 = load_some(m + (12 + q) * step + i, n - i);
            t[q] = m0 + m1 + m2;
            t[4 + q] = m1 - m2 - m3;
        }
        out[0] = t[0] + t[1] + t[2];
        out[1] = t[1] - t[2] - t[3];
        out[2] = t[4] + t[5] + t[6];
        out[3] = t[5] - t[6] - t[7];
        for (int j = 0; j < 4; j++) {
            if (!y[j])
                continue;
            out[j] = out[j] + b;
            store_some(y[j] + i, add[j] ? out[j] + load_some(add[j] + i, n - i) : out[j], n - i);
        }
    }
}

const lx_isa ISA = {
    .name = ISA_NAME,
    .mr = MR,
    .nr = 2 * VL,
    .product = isa_product,
    .bf16_bytes = BF16_BYTES,
    .narrow_bf16 = isa_narrow_bf16,
    .pair_bf16 = isa_pair_bf16,
    .product_bf16 = isa_product_bf16,
    .pairs_turned = PAIRS_TURNED,
    .pairs_straight = PAIRS_STRAIGHT,
    .store = isa_store,
    .pack_turned = isa_pack_turned,
    .pack_spread = isa_pack_spread,
    .pack_windows = isa_pack_windows,
    .widen_f16 = isa_widen_f16,
    .winograd_input = isa_winograd_input,
    .winograd_weights = isa_winograd_weights,
    .winograd_output = isa_winograd_output,
    .thin_reduce = isa_thin_reduce,
    .thin_expand = isa_thin_expand,
    .thin_outer = isa_thin_outer,
    .row_max = isa_row_max,
    .row_dot = isa_row_dot,
    .row_exp = isa_row_exp,
    .row_exp_each = isa_row_exp_each,
    .row_score_slope = isa_row_score_slope,
    .row_scale = isa_row_scale,
    .silu = isa_silu,
    .silu_dx = isa_silu_dx,
    .gelu = isa_gelu,
    .gelu_dx = isa_gelu_dx,
    .quick_gelu = isa_quick_gelu,
    .quick_gelu_dx = isa_quick_gelu_dx,
    .geglu = isa_geglu,
    .geglu_dx = isa_geglu_dx,
    .column_sum = isa_column_sum,
    .column_moments = isa_column_moments,
    .norm_row = isa_norm_row,
    .norm_sums = isa_norm_sums,
    .norm_finish = isa_norm_finish,
    .layer_norm_row = isa_layer_norm_row,
    .layer_norm_dx_row = isa_layer_norm_dx_row,
    .softmax_dx_row = isa_softmax_dx_row,
    .add = isa_add,
};
