#include "src/base/dtype.h"

#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "src/base/error.h"
#include "src/base/fast.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#include <immintrin.h>
#endif

static const struct {
    const char *name;
    int bits;
} table[LX_DTYPE_COUNT] = {
    [LX_U64] = {"U64", 64},
    [LX_I64] = {"I64", 64},
    [LX_F64] = {"F64", 64},
    [LX_C64] = {"C64", 64},
    [LX_U32] = {"U32", 32},
    [LX_I32] = {"I32", 32},
    [LX_F32] = {"F32", 32},
    [LX_BF16] = {"BF16", 16},
    [LX_F16] = {"F16", 16},
    [LX_U16] = {"U16", 16},
    [LX_I16] = {"I16", 16},
    [LX_F8_E5M2FNUZ] = {"F8_E5M2FNUZ", 8},
    [LX_F8_E4M3FNUZ] = {"F8_E4M3FNUZ", 8},
    [LX_F8_E8M0] = {"F8_E8M0", 8},
    [LX_F8_E4M3] = {"F8_E4M3", 8},
    [LX_F8_E5M2] = {"F8_E5M2", 8},
    [LX_I8] = {"I8", 8},
    [LX_U8] = {"U8", 8},
    [LX_F6_E3M2] = {"F6_E3M2", 6},
    [LX_F6_E2M3] = {"F6_E2M3", 6},
    [LX_F4] = {"F4", 4},
    [LX_BOOL] = {"BOOL", 8},
};

const char *lx_dtype_name(lx_dtype dtype)
{
    return table[dtype].name;
}

int lx_dtype_bits(lx_dtype dtype)
{
    return table[dtype].bits;
}

int lx_dtype_from_name(const char *name, size_t n)
{
    for (int i = 0; i < LX_DTYPE_COUNT; i++)
        if (strlen(table[i].name) == n && !memcmp(table[i].name, name, n))
            return i;
    return -1;
}

static uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static float float_of(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/*
 * binary16 has 5 exponent bits (bias 15) and 10 of significand. Widening shifts the significand
 * by 13 and rebiases by 112; subnormals are exact multiples of 2^-24. Written without branches
 * that depend on the data, so that the loops below become vector code.
 */
static inline float widen_f16(uint16_t h)
{
    uint32_t magnitude = h & 0x7FFFu, sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t normal = (magnitude << 13) + (112u << 23);
    uint32_t special = (magnitude << 13) | 0x7F800000u;
    uint32_t small = bits_of((float)(int32_t)magnitude * 0x1p-24f);
    uint32_t u = magnitude < 0x400u ? small : magnitude >= 0x7C00u ? special : normal;
    return float_of(u | sign);
}

/*
 * Narrowing drops 13 bits: half of the last kept bit less one, plus that bit, is added first,
 * which is round to nearest with ties to even; a carry into the exponent is what it should be.
 * Below 2^-14 the value is counted in units of 2^-24 instead.
 */
static inline uint16_t narrow_f16(float x)
{
    uint32_t u = bits_of(x), sign = u >> 16 & 0x8000u, magnitude = u & 0x7FFFFFFFu;
    uint32_t normal = (magnitude - (112u << 23) + 0xFFFu + (magnitude >> 13 & 1)) >> 13;
    /* 0.5 has a last bit of 2^-24: adding it rounds there (nearest even) and leaves the count
     * in the low bits. */
    uint32_t small = bits_of(float_of(magnitude < 0x38800000u ? magnitude : 0) + 0.5f) -
                     bits_of(0.5f);
    uint32_t special = magnitude > 0x7F800000u ? 0x7E00u | (magnitude >> 13 & 0x1FFu) : 0x7C00u;
    uint32_t h = magnitude < 0x38800000u   ? small
                 : magnitude >= 0x47800000u ? special
                                            : normal;
    return (uint16_t)(h | sign);
}

static inline uint16_t narrow_bf16(float x)
{
    uint32_t u = bits_of(x);
    uint32_t rounded = (u + 0x7FFFu + (u >> 16 & 1)) >> 16;
    return (uint16_t)((u & 0x7FFFFFFFu) > 0x7F800000u ? u >> 16 | 0x40u : rounded);
}

uint16_t lx_f16_from_f32(float x)
{
    return narrow_f16(x);
}

float lx_f32_from_f16(uint16_t h)
{
    return widen_f16(h);
}

uint16_t lx_bf16_from_f32(float x)
{
    return narrow_bf16(x);
}

float lx_f32_from_bf16(uint16_t h)
{
    return float_of((uint32_t)h << 16);
}

/*
 * The 8-bit floats. "fn" of E4M3 (safetensors' F8_E4M3) has no infinity and one NaN per sign;
 * FNUZ has neither infinity nor minus zero, its NaN is 0x80 and its bias is one higher.
 * Sources: OCP OFP8 1.0 (E4M3, E5M2), OCP MX 1.0 (E8M0), Noune et al. 2022, arXiv:2206.02915
 * (FNUZ).
 */
typedef struct small_float {
    int mantissa, bias;
    bool is_fnuz, has_infinity;
} small_float;

static const small_float e4m3 = {3, 7, false, false}, e5m2 = {2, 15, false, true},
                         e4m3fnuz = {3, 8, true, false}, e5m2fnuz = {2, 16, true, false};

static float widen_f8(uint8_t code, const small_float *format)
{
    int m = format->mantissa, field = (code & 0x7F) >> m, fraction = code & ((1 << m) - 1);
    int top = (1 << (7 - m)) - 1;
    float sign = code & 0x80 ? -1.0f : 1.0f, value;

    if (format->is_fnuz) {
        if (code == 0x80)
            return NAN;
    } else if (format->has_infinity && field == top) {
        return fraction ? NAN : sign * INFINITY;
    } else if (!format->has_infinity && (code & 0x7F) == 0x7F) {
        return NAN;
    }
    value = field ? ldexpf((float)(fraction + (1 << m)), field - format->bias - m)
                  : ldexpf((float)fraction, 1 - format->bias - m);
    return sign * value;
}

/* Larger values and infinities become the largest finite one. */
static uint8_t narrow_f8(float x, const small_float *format)
{
    int m = format->mantissa, least = 1 - format->bias, exponent, code;
    int most = format->has_infinity ? 0x7B : 0x7E;
    int sign = signbit(x) ? 0x80 : 0;

    if (isnan(x))
        return (uint8_t)(sign | (format->has_infinity ? 0x7E : 0x7F));
    if (x == 0)
        return (uint8_t)sign;
    if (isinf(x))
        return (uint8_t)(sign | most);
    exponent = ilogbf(x);
    if (exponent < least)
        exponent = least;
    if (exponent > 32)
        return (uint8_t)(sign | most);
    /* In units of the last place; lrint rounds to even, and a carry moves to the next exponent
     * by itself because the codes of a sign are in the order of their values. */
    code = (exponent - least) * (1 << m) + (int)lrint(ldexp(fabs((double)x), m - exponent));
    return (uint8_t)(sign | (code > most ? most : code));
}

static float widen_e8m0(uint8_t code)
{
    return code == 0xFF ? NAN : ldexpf(1.0f, code - 127);
}

static void fill_f8_table(float out[256], lx_dtype dtype)
{
    for (int i = 0; i < 256; i++) {
        uint8_t code = (uint8_t)i;
        out[i] = dtype == LX_F8_E8M0       ? widen_e8m0(code)
                 : dtype == LX_F8_E4M3     ? widen_f8(code, &e4m3)
                 : dtype == LX_F8_E5M2     ? widen_f8(code, &e5m2)
                 : dtype == LX_F8_E4M3FNUZ ? widen_f8(code, &e4m3fnuz)
                                           : widen_f8(code, &e5m2fnuz);
    }
}

/*
 * What the processor's own conversion of halves does faster, eight at a time; returns how many were done. It
 * rounds to nearest even as the loops do and differs in one thing: signalling NaNs come out quiet, so eights with a
 * value that is not finite are left to the loops.
 */
#if defined(__x86_64__) && defined(__GNUC__)
#define HALVES_OF_THE_PROCESSOR 1
__attribute__((target("avx2,f16c"))) static size_t
widen_f16_eights(float *dst, const unsigned char *src, size_t n)
{
    const __m128i top = _mm_set1_epi16(0x7C00);
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        const __m128i h = _mm_loadu_si128((const __m128i *)(const void *)(src + 2 * i));
        if (_mm_movemask_epi8(_mm_cmpeq_epi16(_mm_and_si128(h, top), top)))
            break;
        _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(h));
    }
    return i;
}

__attribute__((target("avx2,f16c"))) static size_t
narrow_f16_eights(unsigned char *dst, const float *src, size_t n)
{
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(void *)(dst + 2 * i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(src + i),
                                         _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    return i;
}

/* F16C is not among what __builtin_cpu_supports knows in every compiler. Asked once: under a hypervisor cpuid leaves the
 * machine. */
static bool has_halves(void)
{
    static atomic_int known; /* 0: not yet */
    int answer = atomic_load_explicit(&known, memory_order_relaxed);
    unsigned a, b, c, d;

    if (!answer) {
        answer = __builtin_cpu_supports("avx2") && __get_cpuid(1, &a, &b, &c, &d) &&
                         (c & bit_F16C)
                     ? 1
                     : -1;
        atomic_store_explicit(&known, answer, memory_order_relaxed);
    }
    return answer > 0;
}
#endif

LX_FAST static void widen_f16_many(float *dst, const unsigned char *src, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, src + 2 * i, 2);
        dst[i] = widen_f16(h);
    }
}

LX_FAST static void widen_bf16_many(float *dst, const unsigned char *src, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, src + 2 * i, 2);
        dst[i] = float_of((uint32_t)h << 16);
    }
}

LX_FAST static void narrow_f16_many(unsigned char *dst, const float *src, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t h = narrow_f16(src[i]);
        memcpy(dst + 2 * i, &h, 2);
    }
}

LX_FAST static void narrow_bf16_many(unsigned char *dst, const float *src, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t h = narrow_bf16(src[i]);
        memcpy(dst + 2 * i, &h, 2);
    }
}

static void widen_halves(float *dst, const unsigned char *src, size_t n)
{
    size_t done = 0;

#ifdef HALVES_OF_THE_PROCESSOR
    while (has_halves() && n - done >= 8) {
        done += widen_f16_eights(dst + done, src + 2 * done, n - done);
        if (n - done < 8)
            break;
        widen_f16_many(dst + done, src + 2 * done, 8);
        done += 8;
    }
#endif
    widen_f16_many(dst + done, src + 2 * done, n - done);
}

static void narrow_halves(unsigned char *dst, const float *src, size_t n)
{
    size_t done = 0;

#ifdef HALVES_OF_THE_PROCESSOR
    if (has_halves())
        done = narrow_f16_eights(dst, src, n);
#endif
    narrow_f16_many(dst + 2 * done, src + done, n - done);
}

/* One loop per type: memcpy because data may lie at any address. */
#define CONVERT(type, to)                                                                \
    do {                                                                                 \
        for (size_t i = 0; i < n; i++) {                                                 \
            type x;                                                                      \
            memcpy(&x, bytes + i * sizeof x, sizeof x);                                  \
            dst[i] = (to)x;                                                              \
        }                                                                                \
        return LX_OK;                                                                    \
    } while (0)

int lx_to_f32(float *dst, const void *src, lx_dtype dtype, size_t n)
{
    const unsigned char *bytes = src;
    float f8[256];

    switch (dtype) {
    case LX_F32:
        if (n)
            memcpy(dst, src, n * sizeof *dst);
        return LX_OK;
    case LX_F16:
        widen_halves(dst, bytes, n);
        return LX_OK;
    case LX_BF16:
        widen_bf16_many(dst, bytes, n);
        return LX_OK;
    case LX_F64:
        CONVERT(double, float);
    case LX_U64:
        CONVERT(uint64_t, float);
    case LX_I64:
        CONVERT(int64_t, float);
    case LX_U32:
        CONVERT(uint32_t, float);
    case LX_I32:
        CONVERT(int32_t, float);
    case LX_U16:
        CONVERT(uint16_t, float);
    case LX_I16:
        CONVERT(int16_t, float);
    case LX_I8:
        CONVERT(int8_t, float);
    case LX_U8:
        CONVERT(uint8_t, float);
    case LX_BOOL:
        for (size_t i = 0; i < n; i++)
            dst[i] = bytes[i] ? 1.0f : 0.0f;
        return LX_OK;
    case LX_F8_E8M0:
    case LX_F8_E4M3:
    case LX_F8_E5M2:
    case LX_F8_E4M3FNUZ:
    case LX_F8_E5M2FNUZ:
        fill_f8_table(f8, dtype);
        for (size_t i = 0; i < n; i++)
            dst[i] = f8[bytes[i]];
        return LX_OK;
    case LX_C64:
    case LX_F6_E3M2:
    case LX_F6_E2M3:
    case LX_F4:
    case LX_DTYPE_COUNT:
        break;
    }
    return LX_EUNSUPPORTED;
}

int lx_to_f64(double *dst, const void *src, lx_dtype dtype, size_t n)
{
    const unsigned char *bytes = src;
    size_t width;
    int rc;

    switch (dtype) {
    case LX_F64:
        if (n)
            memcpy(dst, src, n * sizeof *dst);
        return LX_OK;
    case LX_U64:
        CONVERT(uint64_t, double);
    case LX_I64:
        CONVERT(int64_t, double);
    case LX_U32:
        CONVERT(uint32_t, double);
    case LX_I32:
        CONVERT(int32_t, double);
    default: /* all others are exact in f32 */
        break;
    }
    width = (size_t)lx_dtype_bits(dtype) / 8;
    for (size_t from = 0; from < n || !from; from += 256) {
        float some[256];
        size_t k = n - from < 256 ? n - from : 256;
        if ((rc = lx_to_f32(some, bytes + from * width, dtype, k)) < 0)
            return rc;
        for (size_t i = 0; i < k; i++)
            dst[from + i] = some[i];
    }
    return LX_OK;
}

int lx_from_f32(void *dst, lx_dtype dtype, const float *src, size_t n)
{
    unsigned char *bytes = dst;

    switch (dtype) {
    case LX_F32:
        if (n)
            memcpy(dst, src, n * sizeof *src);
        return LX_OK;
    case LX_F16:
        narrow_halves(bytes, src, n);
        return LX_OK;
    case LX_BF16:
        narrow_bf16_many(bytes, src, n);
        return LX_OK;
    case LX_F64:
        for (size_t i = 0; i < n; i++) {
            double x = src[i];
            memcpy(bytes + i * sizeof x, &x, sizeof x);
        }
        return LX_OK;
    case LX_F8_E4M3:
    case LX_F8_E5M2:
        for (size_t i = 0; i < n; i++)
            bytes[i] = narrow_f8(src[i], dtype == LX_F8_E4M3 ? &e4m3 : &e5m2);
        return LX_OK;
    default:
        return LX_EUNSUPPORTED;
    }
}
