/* Rows and windows laid out as the products read them; for isa_body.h. */

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
        _mm256_storeu_ps(dst + perm[i] * 2 * VL,
                         _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        _mm256_storeu_ps(dst + perm[i + 4] * 2 * VL,
                         _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
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
