/*
 * base/plain_run - the stretch of a text that asks no questions, eight bytes at a time
 *
 * Nearly all of a JSON text are printable ASCII letters that are neither a quote nor a
 * backslash. Of eight bytes at once one sum each tells which are not: with the high bits
 * cleared, c + 0x60 has its high bit set where c >= 0x20, (c ^ q) + 0x7F where c is not
 * q, and c + 1 where c is DEL. The first such byte is found by counting zeros from the end that comes first in
 * memory.
 */
#ifndef LX_BASE_PLAIN_RUN_H
#define LX_BASE_PLAIN_RUN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

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

static inline bool lx_is_special(unsigned char c)
{
    return c < 0x20 || c >= 0x7F || c == '"' || c == '\\';
}

/* The first special byte of [p, end), or end. */
static inline const char *lx_plain_run(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t x, special;
        memcpy(&x, p, 8);
        if ((special = lx_special_bytes(x)))
            return p + lx_first_special(special);
        p += 8;
    }
    while (p < end && !lx_is_special((unsigned char)*p))
        p++;
    return p;
}

#endif
