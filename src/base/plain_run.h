/*
 * base/plain_run - the stretch of a text that asks no questions, many bytes at a time
 *
 * Nearly all of a JSON text are printable ASCII letters that are neither a quote nor a
 * backslash. Of eight bytes at once one sum each tells which are not: with the high bits
 * cleared, c + 0x60 has its high bit set where c >= 0x20, (c ^ q) + 0x7F where c is not
 * q, and c + 1 where c is DEL. The first such byte is found by counting zeros from the end that comes first in
 * memory. Every x86-64 compares sixteen at once and gathers the answers as bits.
 */
#ifndef LX_BASE_PLAIN_RUN_H
#define LX_BASE_PLAIN_RUN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define LX_EACH_BYTE(b) (0x0101010101010101u * (uint64_t)(b))

/* The high bit of every byte that is < 0x20, >= 0x7F, a double quote or a backslash. */
static inline uint64_t lx_special_bytes(uint64_t x)
{
    const uint64_t high = LX_EACH_BYTE(0x80), low = x & ~high;
    const uint64_t printable = low + LX_EACH_BYTE(0x60);
    const uint64_t no_quote = (low ^ LX_EACH_BYTE('"')) + LX_EACH_BYTE(0x7F);
    const uint64_t no_backslash = (low ^ LX_EACH_BYTE('\\')) + LX_EACH_BYTE(0x7F);

    const uint64_t is_delete = low + LX_EACH_BYTE(1);

    return high & (x | is_delete | ~(printable & no_quote & no_backslash));
}

static inline unsigned lx_first_special(uint64_t special)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return (unsigned)__builtin_ctzll(special) / 8;
#else
    return (unsigned)__builtin_clzll(special) / 8;
#endif
}

/* The special ones of the next 16 bytes: a bit each, the first the lowest. */
static inline uint64_t lx_specials_of_16(const char *p)
{
#ifdef __SSE2__
    const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    /* signed: from 0x80 on they are less, too */
    const __m128i outside = _mm_or_si128(_mm_cmplt_epi8(x, _mm_set1_epi8(0x20)),
                                         _mm_cmpeq_epi8(x, _mm_set1_epi8(0x7F)));
    const __m128i marks = _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8('"')),
                                       _mm_cmpeq_epi8(x, _mm_set1_epi8('\\')));

    return (uint64_t)(unsigned)_mm_movemask_epi8(_mm_or_si128(outside, marks));
#else
    uint64_t bits = 0;

    for (int half = 0; half < 2; half++) {
        uint64_t x, special;
        memcpy(&x, p + 8 * half, 8);
        for (special = lx_special_bytes(x); special;) {
            const unsigned i = lx_first_special(special);
            bits |= 1ull << (8 * half + (int)i);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
            special &= special - 1;
#else
            special &= ~(0x8000000000000000u >> (8 * i));
#endif
        }
    }
    return bits;
#endif
}

static inline uint64_t lx_specials_of_64(const char *p)
{
    return lx_specials_of_16(p) | lx_specials_of_16(p + 16) << 16 |
           lx_specials_of_16(p + 32) << 32 | lx_specials_of_16(p + 48) << 48;
}

static inline bool lx_is_special(unsigned char c)
{
    return c < 0x20 || c >= 0x7F || c == '"' || c == '\\';
}

/* The first special byte of [p, end), or end. */
static inline const char *lx_plain_run(const char *p, const char *end)
{
    while (end - p >= 16) {
        const uint64_t specials = lx_specials_of_16(p);
        if (specials)
            return p + __builtin_ctzll(specials);
        p += 16;
    }
    while (p < end && !lx_is_special((unsigned char)*p))
        p++;
    return p;
}

#endif
