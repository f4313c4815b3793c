/* Products of register tiles, in f32 and of bf16 pairs, and where they are put; for isa_body.h. */

/*
 * Register tiles: `rows` by `vectors` accumulators. The last block of many shapes has four rows (powers of two
 * by tiles of twelve) or eight columns (heads of 40 channels), which are worth a tile of their own.
 */
#define TILE_BEGIN(rows, vectors, vec)                                             \
    enum { LANES = sizeof(vec) / sizeof(float) };                                  \
    vec c[vectors][rows];                                                          \
    UNROLL for (int i = 0; i < rows; i++) UNROLL for (int j = 0; j < vectors; j++) \
    {                                                                              \
        c[j][i] = (vec){0};                                                        \
        if (is_added)                                                              \
            memcpy(&c[j][i], acc + i * ld + j * LANES, sizeof(vec));               \
    }
#define TILE_END(rows, vectors, vec)                                               \
    UNROLL for (int i = 0; i < rows; i++) UNROLL for (int j = 0; j < vectors; j++) \
        memcpy(acc + i * ld + j * LANES, &c[j][i], sizeof(vec));

#define F32_TILE(name, rows, vectors, vec, madd)                            \
    static void name(float *acc, int64_t ld, const float *a, int64_t lda,   \
                     const float *b, int64_t ldb, int64_t k, bool is_added) \
    {                                                                       \
        TILE_BEGIN(rows, vectors, vec)                                      \
        for (; k; k--, a++, b += ldb) {                                     \
            vec r[vectors];                                                 \
            UNROLL for (int j = 0; j < vectors; j++)                        \
                memcpy(&r[j], b + j * LANES, sizeof(vec));                  \
            UNROLL for (int i = 0; i < rows; i++)                           \
            {                                                               \
                const vec x = a[i * lda] - (vec){0};                        \
                UNROLL for (int j = 0; j < vectors; j++) c[j][i] =          \
                    madd(x, r[j], c[j][i]);                                 \
            }                                                               \
        }                                                                   \
        TILE_END(rows, vectors, vec)                                        \
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

static void isa_product(float *acc, int64_t ld, const float *a, int64_t lda,
                        const float *b, int64_t ldb, int64_t k, int64_t rows,
                        int64_t cols, bool is_added)
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

#define PAIRS_16(a, b, c) \
    ((vf)_mm512_dpbf16_ps((__m512)(c), (__m512bh)(a), (__m512bh)(b)))
#define PAIRS_8(a, b, c) ((hf)_mm256_dpbf16_ps((__m256)(c), (__m256bh)(a), (__m256bh)(b)))

#define BF16_TILE(name, rows, vectors, vec, set, madd)                       \
    static void name(float *acc, int64_t ld, const uint16_t *a, int64_t lda, \
                     const uint32_t *b, int64_t k, bool is_added)            \
    {                                                                        \
        TILE_BEGIN(rows, vectors, vec)                                       \
        for (; k > 0; k -= 2, a += 2, b += 2 * VL) {                         \
            vec r[vectors];                                                  \
            UNROLL for (int j = 0; j < vectors; j++)                         \
                memcpy(&r[j], b + j * LANES, sizeof(vec));                   \
            UNROLL for (int i = 0; i < rows; i++)                            \
            {                                                                \
                int32_t pair;                                                \
                memcpy(&pair, a + i * lda, sizeof pair);                     \
                UNROLL for (int j = 0; j < vectors; j++) c[j][i] =           \
                    madd(set(pair), r[j], c[j][i]);                          \
            }                                                                \
        }                                                                    \
        TILE_END(rows, vectors, vec)                                         \
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

#define BF16_TILE(name, rows, vectors, vec, madd)                                        \
    static void name(float *acc, int64_t ld, const float *a, int64_t lda,                \
                     const float *b, int64_t k, bool is_added)                           \
    {                                                                                    \
        TILE_BEGIN(rows, vectors, vec)                                                   \
        for (; k > 0; k -= 2, a += 2, b += 4 * VL) {                                     \
            UNROLL for (int t = 1; t >= 0; t--) UNROLL for (int j = 0; j < vectors; j++) \
            {                                                                            \
                vec r;                                                                   \
                memcpy(&r, b + t * 2 * VL + j * LANES, sizeof(vec));                     \
                UNROLL for (int i = 0; i < rows; i++) c[j][i] =                          \
                    madd(a[i * lda + t] - (vec){0}, r, c[j][i]);                         \
            }                                                                            \
        }                                                                                \
        TILE_END(rows, vectors, vec)                                                     \
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
