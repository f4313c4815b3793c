/* Opcodes that push a plain value: numbers, texts, bytes. */
#include <stdlib.h>
#include <string.h>

#include "src/base/str.h"
#include "src/format/pickle_machine.h"

static int push_number(lx_pickle_machine *m, double x)
{
    lx_pickle *v = lx_pickle__new(m, LX_PICKLE_FLOAT);
    if (v)
        v->as.number = x;
    return lx_pickle__push(m, v);
}

/* A text with its length before it, in `width` bytes. */
static int counted_text(lx_pickle_machine *m, lx_pickle_kind kind, int width)
{
    uint64_t n = 0;
    int rc = lx_pickle__take_number(m, &n, width);
    if (rc < 0)
        return rc;
    return lx_pickle__push_text(m, kind, (const char *)lx_pickle__take(m, n), n);
}

/* Python 2's str: a text when it is UTF-8, as torch reads it. */
static int counted_str(lx_pickle_machine *m, int width)
{
    uint64_t n = 0;
    const char *p;
    int rc = lx_pickle__take_number(m, &n, width);
    if (rc < 0)
        return rc;
    p = (const char *)lx_pickle__take(m, n);
    return lx_pickle__push_text(
        m, p && lx_utf8_check(p, n) == n ? LX_PICKLE_TEXT : LX_PICKLE_BYTES, p, n);
}

/* Two's complement, little endian. */
static int long_int(lx_pickle_machine *m, int width)
{
    uint64_t n = 0, value = 0;
    const unsigned char *p;
    int rc = lx_pickle__take_number(m, &n, width);

    if (rc < 0)
        return rc;
    if (width == 4 && n > INT32_MAX)
        return lx_pickle__bad(m, "LONG4 with a negative length");
    if (!(p = lx_pickle__take(m, n)))
        return LX_EFORMAT;
    if (n > 8)
        return lx_pickle__push_text(m, LX_PICKLE_BYTES, (const char *)p, n);
    for (size_t i = 0; i < n; i++)
        value |= (uint64_t)p[i] << (8 * i);
    if (n && n < 8 && p[n - 1] & 0x80)
        value |= ~(uint64_t)0 << (8 * n);
    return lx_pickle__push_int(m, (int64_t)value);
}

/* INT and LONG: decimal, LONG with an L behind; 00 and 01 are the truth values. */
static int text_int(lx_pickle_machine *m, bool is_long)
{
    char copy[32], *end;
    size_t n;
    const char *p = lx_pickle__take_line(m, &n);
    long long x;

    if (!p)
        return LX_EFORMAT;
    if (!is_long && n == 2 && p[0] == '0' && (p[1] == '0' || p[1] == '1'))
        return lx_pickle__push(m, &lx_pickle__truth[p[1] - '0']);
    n -= is_long && n && p[n - 1] == 'L';
    if (!n || n >= sizeof copy)
        return lx_pickle__bad(m, "number that is no number");
    memcpy(copy, p, n);
    copy[n] = '\0';
    x = strtoll(copy, &end, 10);
    return *end ? lx_pickle__bad(m, "number that is no number")
                : lx_pickle__push_int(m, x);
}

static int text_float(lx_pickle_machine *m)
{
    char copy[64], *end;
    size_t n;
    const char *p = lx_pickle__take_line(m, &n);
    double x;

    if (!p)
        return LX_EFORMAT;
    if (!n || n >= sizeof copy)
        return lx_pickle__bad(m, "number that is no number");
    memcpy(copy, p, n);
    copy[n] = '\0';
    x = strtod(copy, &end);
    return *end ? lx_pickle__bad(m, "number that is no number") : push_number(m, x);
}

static int big_endian_float(lx_pickle_machine *m)
{
    const unsigned char *p = lx_pickle__take(m, 8);
    uint64_t bits = 0;
    double x;
    if (!p)
        return LX_EFORMAT;
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | p[i];
    memcpy(&x, &bits, sizeof x);
    return push_number(m, x);
}

/* STRING: a quoted line. Its escapes are not resolved: such a text is kept as bytes. */
static int quoted_line(lx_pickle_machine *m)
{
    size_t n;
    const char *p = lx_pickle__take_line(m, &n);
    if (!p)
        return LX_EFORMAT;
    if (n < 2 || (p[0] != '\'' && p[0] != '"') || p[n - 1] != p[0])
        return lx_pickle__bad(m, "text without quotes");
    return lx_pickle__push_text(
        m,
        memchr(p, '\\', n) || lx_utf8_check(p, n) != n ? LX_PICKLE_BYTES : LX_PICKLE_TEXT,
        p + 1, n - 2);
}

static int unicode_line(lx_pickle_machine *m)
{
    size_t n;
    const char *p = lx_pickle__take_line(m, &n);
    if (!p)
        return LX_EFORMAT;
    return lx_pickle__push_text(
        m,
        memchr(p, '\\', n) || lx_utf8_check(p, n) != n ? LX_PICKLE_BYTES : LX_PICKLE_TEXT,
        p, n);
}

static int small_int(lx_pickle_machine *m, int width)
{
    uint64_t x = 0;
    int rc = lx_pickle__take_number(m, &x, width);
    return rc < 0 ? rc
                  : lx_pickle__push_int(m, width == 4 ? (int64_t)(int32_t)(uint32_t)x
                                                      : (int64_t)x);
}

/* Opcodes that push a plain value; 1 when op is none of them. */
int lx_pickle__run_value(lx_pickle_machine *m, unsigned char op)
{
    switch (op) {
    case 'N':
        return lx_pickle__push(m, &lx_pickle__none);
    case 0x88:
    case 0x89:
        return lx_pickle__push(m, &lx_pickle__truth[op == 0x88]);
    case 'I':
    case 'L':
        return text_int(m, op == 'L');
    case 'J':
        return small_int(m, 4);
    case 'K':
        return small_int(m, 1);
    case 'M':
        return small_int(m, 2);
    case 0x8A:
        return long_int(m, 1);
    case 0x8B:
        return long_int(m, 4);
    case 'F':
        return text_float(m);
    case 'G':
        return big_endian_float(m);
    case 'S':
        return quoted_line(m);
    case 'T':
        return counted_str(m, 4);
    case 'U':
        return counted_str(m, 1);
    case 'V':
        return unicode_line(m);
    case 'X':
        return counted_text(m, LX_PICKLE_TEXT, 4);
    case 0x8C:
        return counted_text(m, LX_PICKLE_TEXT, 1);
    case 0x8D:
        return counted_text(m, LX_PICKLE_TEXT, 8);
    case 'B':
        return counted_text(m, LX_PICKLE_BYTES, 4);
    case 'C':
        return counted_text(m, LX_PICKLE_BYTES, 1);
    case 0x8E:
        return counted_text(m, LX_PICKLE_BYTES, 8);
    default:
        return 1;
    }
}
