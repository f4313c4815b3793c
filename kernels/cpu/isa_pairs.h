/*
 * A weight laid out as pairs of bf16 in one pass, from F16 or F32 as the file has them; for isa_body.h, with
 * AVX-512 that has BF16, BW and VL. The same numbers as widening, laying out and rounding one after the other.
 *
 * Terms of a panel of 32 columns n are [tap][channel]. Sources are 1x1 or 3x3 windows, 9 taps together.
 */

enum { PANEL = 32, WINDOW = 9, HALF = 16 };

/* 32 terms from index `at` on, zeros from `n` on, rounded. */
INLINE __m512i terms_at(const void *src, bool is_f16, int64_t at, int64_t n)
{
    __m512 low, high;

    if (is_f16) {
        const __mmask32 some = n >= PANEL ? 0xffffffff : (1u << n) - 1;
        const __m512i halves = _mm512_maskz_loadu_epi16(some, (const uint16_t *)src + at);
        low = _mm512_cvtph_ps(_mm512_castsi512_si256(halves));
        high = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(halves, 1));
    } else {
        const float *from = (const float *)src + at;
        low = (__m512)load_some(from, n);
        high = n > HALF ? (__m512)load_some(from + HALF, n - HALF) : _mm512_setzero_ps();
    }
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

INLINE void prefetch_terms(const void *src, bool is_f16, int64_t at)
{
    const char *line = (const char *)src + at * (is_f16 ? 2 : 4);

    __builtin_prefetch(line);
    if (!is_f16)
        __builtin_prefetch(line + 64);
}

/* 16 x 16 pairs, turned. */
INLINE void turn_pairs(__m512i r[HALF])
{
    __m512i t[HALF];

    UNROLL for (int i = 0; i < HALF; i += 2)
    {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    UNROLL for (int i = 0; i < HALF; i += 4)
    {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    UNROLL for (int i = 0; i < 4; i++)
    {
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
    UNROLL for (int i = 0; i < 8; i++)
    {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    }
}

/* Every third of 96 terms, from the r-th on: first of v[0] and v[1], then with those of v[2]. */
typedef struct thirds {
    __m512i from_two[3], from_last[3];
} thirds;

static void find_thirds(thirds *w)
{
    uint16_t two[PANEL], last[PANEL];

    for (int r = 0; r < 3; r++) {
        for (int i = 0; i < PANEL; i++) {
            const int at = 3 * i + r;
            two[i] = (uint16_t)(at % (2 * PANEL));
            last[i] = (uint16_t)(at < 2 * PANEL ? i : at - PANEL);
        }
        w->from_two[r] = _mm512_loadu_si512(two);
        w->from_last[r] = _mm512_loadu_si512(last);
    }
}

INLINE __m512i third_of(const thirds *w, const __m512i v[3], int r)
{
    const __m512i most = _mm512_permutex2var_epi16(v[0], w->from_two[r], v[1]);
    return _mm512_permutex2var_epi16(most, w->from_last[r], v[2]);
}

/* Of 32 windows one after the other, the terms under each tap: every ninth, as thirds of thirds. */
INLINE void take_taps(__m512i taps[WINDOW], const thirds *w, const void *src, bool is_f16,
                      int64_t at)
{
    __m512i v[WINDOW], part[3];

    UNROLL for (int i = 0; i < WINDOW; i++) v[i] =
        terms_at(src, is_f16, at + i * PANEL, PANEL);
    UNROLL for (int r = 0; r < 3; r++)
    {
        UNROLL for (int i = 0; i < 3; i++) part[i] = third_of(w, v + 3 * i, r);
        UNROLL for (int i = 0; i < 3; i++) taps[3 * i + r] = third_of(w, part, i);
    }
}

static void turn_plain(uint32_t *dst, const void *src, bool is_f16, int64_t step,
                       int64_t n, int64_t ahead)
{
    for (int64_t half = 0; half < PANEL; half += HALF)
        for (int64_t c = 0; c < n; c += PANEL) {
            __m512i r[HALF];
            UNROLL for (int i = 0; i < HALF; i++)
            {
                const int64_t at = (half + i) * step + c;
                prefetch_terms(src, is_f16, at + ahead);
                r[i] = terms_at(src, is_f16, at, n - c);
            }
            turn_pairs(r);
            for (int64_t i = 0; i < HALF && c + 2 * i < n; i++)
                _mm512_storeu_si512(dst + (c / 2 + i) * PANEL + half, r[i]);
        }
}

static void turn_windows(uint32_t *dst, const void *src, bool is_f16, int64_t step,
                         int64_t n, int64_t ahead)
{
    thirds w;
    __m512i taps[HALF][WINDOW];

    find_thirds(&w);
    for (int64_t half = 0; half < PANEL; half += HALF)
        for (int64_t c = 0; c < n; c += PANEL) {
            for (int i = 0; i < HALF; i++) {
                const int64_t at = (half + i) * step + c * WINDOW;
                for (int line = 0; line < WINDOW; line++)
                    prefetch_terms(src, is_f16, at + ahead + line * PANEL);
                take_taps(taps[i], &w, src, is_f16, at);
            }
            for (int t = 0; t < WINDOW; t++) {
                __m512i r[HALF];
                UNROLL for (int i = 0; i < HALF; i++) r[i] = taps[i][t];
                turn_pairs(r);
                UNROLL for (int i = 0; i < HALF; i++)
                    _mm512_storeu_si512(dst + ((t * n + c) / 2 + i) * PANEL + half, r[i]);
            }
        }
}

static void isa_pairs_turned(void *dst, const void *src, bool is_f16, int64_t step,
                             int64_t n, int taps, int64_t ahead)
{
    if (taps == WINDOW && is_f16)
        turn_windows(dst, src, true, step, n, ahead);
    else if (taps == WINDOW)
        turn_windows(dst, src, false, step, n, ahead);
    else if (is_f16)
        turn_plain(dst, src, true, step, n, ahead);
    else
        turn_plain(dst, src, false, step, n, ahead);
}

/* Two rows of 32 become 32 pairs. */
INLINE void store_pairs(uint32_t *dst, __m512i first, __m512i second)
{
    const __m512i lower =
        _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39,
                         7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    const __m512i upper = _mm512_add_epi16(lower, _mm512_set1_epi16(HALF));

    _mm512_storeu_si512(dst, _mm512_permutex2var_epi16(first, lower, second));
    _mm512_storeu_si512(dst + HALF, _mm512_permutex2var_epi16(first, upper, second));
}

static void isa_pairs_straight(void *dst, const void *src, bool is_f16, int64_t step,
                               int64_t n, int taps, int64_t ahead)
{
    uint32_t *to = dst;
    thirds w;
    __m512i first[WINDOW], second[WINDOW];

    if (taps == WINDOW)
        find_thirds(&w);
    for (int64_t c = 0; c < n; c += 2) {
        const int64_t at = c * step, next = at + step;
        if (taps == WINDOW) {
            for (int line = 0; line < WINDOW; line++) {
                prefetch_terms(src, is_f16, at + ahead + line * PANEL);
                prefetch_terms(src, is_f16, next + ahead + line * PANEL);
            }
            take_taps(first, &w, src, is_f16, at);
            take_taps(second, &w, src, is_f16, next);
            for (int t = 0; t < WINDOW; t++)
                store_pairs(to + (t * n + c) / 2 * PANEL, first[t], second[t]);
            continue;
        }
        prefetch_terms(src, is_f16, at + ahead);
        prefetch_terms(src, is_f16, next + ahead);
        store_pairs(to + c / 2 * PANEL, terms_at(src, is_f16, at, PANEL),
                    terms_at(src, is_f16, next, PANEL));
    }
}
