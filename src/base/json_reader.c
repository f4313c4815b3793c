#include "src/base/json_reader.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/plain_run.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#endif

enum { VALUE, VALUE_OR_END, KEY, KEY_OR_END, COMMA_OR_END, NOTHING };

lx_json_reader lx_json_reader_of(const char *text, size_t n)
{
    return (lx_json_reader){.text = text, .n = n, .wants = VALUE};
}

static int fail_at(lx_error *err, size_t at, const char *what)
{
    return lx_fail(err, LX_EFORMAT, "%s at byte %zu", what, at);
}

static void skip_space(lx_json_reader *r)
{
    while (r->at < r->n && (r->text[r->at] == ' ' || r->text[r->at] == '\t' ||
                            r->text[r->at] == '\n' || r->text[r->at] == '\r'))
        r->at++;
}

/* Four hexadecimal digits, or -1. */
static int read_hex4(const char *p, const char *end)
{
    int value = 0;

    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* Checks the escape at text[*at] == '\\' and moves behind it. */
static int check_escape(const lx_json_reader *r, size_t *at, lx_error *err)
{
    const char *end = r->text + r->n, *p = r->text + *at;
    int unit;

    if (end - p < 2)
        return fail_at(err, *at, "JSON: text without an end");
    if (p[1] && strchr("\"\\/bfnrt", p[1])) {
        *at += 2;
        return LX_OK;
    }
    if (p[1] != 'u' || (unit = read_hex4(p + 2, end)) < 0)
        return fail_at(err, *at, "JSON: invalid escape");
    *at += 6;
    if (unit < 0xD800 || unit > 0xDFFF)
        return LX_OK;
    if (unit < 0xDC00 && end - p >= 8 && p[6] == '\\' && p[7] == 'u') {
        int low = read_hex4(p + 8, end);
        if (low >= 0xDC00 && low <= 0xDFFF) {
            *at += 6;
            return LX_OK;
        }
    }
    return fail_at(err, (size_t)(p - r->text), "JSON: half of a surrogate pair");
}

static int read_string(lx_json_reader *r, lx_error *err)
{
    size_t at = r->at + 1;
    int rc;

    while (at < r->n) {
        unsigned char c;
        at = (size_t)(lx_plain_run(r->text + at, r->text + r->n) - r->text);
        if (at == r->n)
            break;
        c = (unsigned char)r->text[at];
        if (c == '"') {
            r->token = r->text + r->at + 1;
            r->token_n = at - r->at - 1;
            r->at = at + 1;
            return LX_OK;
        }
        if (c == '\\') {
            /* The usual ones first: JSON within JSON is full of them. */
            if (r->n - at >= 2 && (r->text[at + 1] == '"' || r->text[at + 1] == '\\'))
                at += 2;
            else if ((rc = check_escape(r, &at, err)) < 0)
                return rc;
        } else if (c < 0x20) {
            return fail_at(err, at, "JSON: raw control character in a text");
        } else {
            const char *p = r->text + at;
            if (lx_utf8_next(&p, r->text + r->n) == UINT32_MAX)
                return fail_at(err, at, "JSON: invalid UTF-8");
            at = (size_t)(p - r->text);
        }
    }
    return fail_at(err, r->at, "JSON: text without an end, begun");
}

static uint32_t next_char(const char **p, const char *end);

/*
 * Where the processor can press bytes together (AVX-512 VBMI2), 64 of them are copied without a branch: out go the
 * backslashes in front of a quote or a backslash, and all from the first other special byte on.
 */
#if defined(__x86_64__) && defined(__GNUC__)
#define PRESSES_BYTES 1
__attribute__((target("avx512f,avx512bw,avx512vbmi2,popcnt,bmi"))) static void
press_usual(const char **from, char **to, const char *end)
{
    const __m512i quote = _mm512_set1_epi8('"'), backslash = _mm512_set1_epi8('\\');
    const __m512i least = _mm512_set1_epi8(0x20), range = _mm512_set1_epi8(0x7F - 0x20);
    const char *p = *from;
    char *out = *to;

    while (end - p >= 64) {
        const __m512i x = _mm512_loadu_si512(p);
        const uint64_t quotes = _mm512_cmpeq_epi8_mask(x, quote);
        const uint64_t slashes = _mm512_cmpeq_epi8_mask(x, backslash);
        const uint64_t odd = ~_mm512_cmplt_epu8_mask(_mm512_sub_epi8(x, least), range);
        const uint64_t after = slashes << 1; /* what a backslash stands in front of */
        uint64_t stops = odd | (quotes & ~after) | slashes >> 63 << 63;
        unsigned n;

        stops |= (after & ~quotes) >> 1 |
                 (slashes & after); /* other escapes, and rows of backslashes */
        n = stops ? (unsigned)_tzcnt_u64(stops) : 64;
        _mm512_storeu_si512(out, _mm512_maskz_compress_epi8(
                                     ~slashes & (n < 64 ? (1ull << n) - 1 : ~0ull), x));
        out +=
            n - (unsigned)_mm_popcnt_u64(n < 64 ? slashes & ((1ull << n) - 1) : slashes);
        p += n;
        /* A backslash at the end begins an escape: it comes first next time. */
        if (n < 63 || (n == 63 && !(slashes >> 63)))
            break;
    }
    *from = p;
    *to = out;
}
#endif

/* n bytes; up to 15 more may be read and written behind them. */
static inline void copy_loosely(char *to, const char *from, size_t n)
{
    for (size_t i = 0; i < n; i += 16)
        memcpy(to + i, from + i, 16);
}

/*
 * Copies plain letters and the escapes of JSON within JSON, \" and \\, up to the first other special byte or near the
 * end. The special ones of 64 bytes are found at once, so that no step waits for where the one before it ended.
 */
static void copy_usual(const char **from, char **to, const char *end)
{
    const char *p;
    char *out;

#ifdef PRESSES_BYTES
    if (__builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512bw"))
        press_usual(from, to, end);
#endif
    p = *from;
    out = *to;
    while (end - p >= 64 + 16) {
        uint64_t specials = lx_specials_of_64(p);
        unsigned at = 0; /* what of the 64 is copied */
        while (specials) {
            const unsigned i = (unsigned)__builtin_ctzll(specials);
            copy_loosely(out, p + at, i - at);
            out += i - at;
            if (p[i] != '\\' || (p[i + 1] != '"' && p[i + 1] != '\\')) {
                *from = p + i;
                *to = out;
                return;
            }
            *out++ = p[i + 1];
            at = i + 2;
            specials &= i < 63 ? ~(3ull << i) : 0;
        }
        if (at < 64) {
            copy_loosely(out, p + at, 64 - at);
            out += 64 - at;
            at = 64;
        }
        p += at;
    }
    *from = p;
    *to = out;
}

/* As read_string, and the text goes to r->out on the way. */
static int copy_string(lx_json_reader *r, lx_error *err)
{
    const char *p = r->text + r->at + 1, *end = r->text + r->n;
    char *out = r->out;
    size_t at;
    int rc;

    r->is_printable = true;
    while (p < end) {
        copy_usual(&p, &out, end);
        if (p == end)
            break;
        if (*p == '"') {
            r->token = r->text + r->at + 1;
            r->token_n = (size_t)(p - r->token);
            r->at = (size_t)(p - r->text) + 1;
            r->copied_n = (size_t)(out - r->out);
            *out = '\0';
            return LX_OK;
        }
        if (*p == '\\' && end - p >= 2 && (p[1] == '"' || p[1] == '\\')) {
            *out++ = p[1];
            p += 2;
        } else if (!lx_is_special((unsigned char)*p)) {
            *out++ = *p++;
        } else {
            uint32_t c;
            at = (size_t)(p - r->text);
            if (*p == '\\' && (rc = check_escape(r, &at, err)) < 0)
                return rc;
            if ((unsigned char)*p < 0x20)
                return fail_at(err, at, "JSON: raw control character in a text");
            if ((c = next_char(&p, end)) == UINT32_MAX)
                return fail_at(err, at, "JSON: invalid UTF-8");
            r->is_printable = r->is_printable && c >= 0x20 && c < 0x7F;
            out += lx_utf8_put(out, c);
        }
    }
    return fail_at(err, r->at, "JSON: text without an end, begun");
}

static size_t skip_digits(const lx_json_reader *r, size_t at)
{
    while (at < r->n && r->text[at] >= '0' && r->text[at] <= '9')
        at++;
    return at;
}

/* -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)? */
static int read_number(lx_json_reader *r, lx_error *err)
{
    size_t at = r->at, digits;

    at += r->text[at] == '-';
    digits = at;
    at = skip_digits(r, at);
    if (at == digits || (r->text[digits] == '0' && at > digits + 1))
        return fail_at(err, r->at, "JSON: invalid number");
    if (at < r->n && r->text[at] == '.') {
        digits = ++at;
        if ((at = skip_digits(r, at)) == digits)
            return fail_at(err, r->at, "JSON: invalid number");
    }
    if (at < r->n && (r->text[at] == 'e' || r->text[at] == 'E')) {
        at++;
        at += at < r->n && (r->text[at] == '+' || r->text[at] == '-');
        digits = at;
        if ((at = skip_digits(r, at)) == digits)
            return fail_at(err, r->at, "JSON: invalid number");
    }
    r->token = r->text + r->at;
    r->token_n = at - r->at;
    r->at = at;
    return LX_OK;
}

static bool read_word(lx_json_reader *r, const char *word)
{
    size_t n = strlen(word);
    if (r->n - r->at < n || memcmp(r->text + r->at, word, n))
        return false;
    r->token = r->text + r->at;
    r->token_n = n;
    r->at += n;
    return true;
}

static int open_container(lx_json_reader *r, bool is_object, lx_error *err)
{
    if (r->depth == LX_JSON_DEPTH)
        return lx_fail(err, LX_ELIMIT, "JSON: nested deeper than %d at byte %zu",
                       LX_JSON_DEPTH, r->at);
    r->is_object[r->depth++] = is_object;
    r->wants = is_object ? KEY_OR_END : VALUE_OR_END;
    r->at++;
    return is_object ? LX_JSON_OBJECT : LX_JSON_ARRAY;
}

static int close_container(lx_json_reader *r)
{
    r->depth--;
    r->wants = r->depth ? COMMA_OR_END : NOTHING;
    r->at++;
    return r->is_object[r->depth] ? LX_JSON_OBJECT_END : LX_JSON_ARRAY_END;
}

static int read_value(lx_json_reader *r, lx_error *err)
{
    char c = r->text[r->at];
    int kind, rc;

    if (c == '{' || c == '[')
        return open_container(r, c == '{', err);
    if (c == '"') {
        kind = LX_JSON_STRING;
        if ((rc = r->out ? copy_string(r, err) : read_string(r, err)) < 0)
            return rc;
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        kind = LX_JSON_NUMBER;
        if ((rc = read_number(r, err)) < 0)
            return rc;
    } else if (read_word(r, "true")) {
        kind = LX_JSON_TRUE;
    } else if (read_word(r, "false")) {
        kind = LX_JSON_FALSE;
    } else if (read_word(r, "null")) {
        kind = LX_JSON_NULL;
    } else {
        return fail_at(err, r->at, "JSON: not a value");
    }
    r->wants = r->depth ? COMMA_OR_END : NOTHING;
    return kind;
}

static int read_key(lx_json_reader *r, lx_error *err)
{
    int rc;

    if (r->text[r->at] != '"')
        return fail_at(err, r->at, "JSON: a key in double quotes is needed");
    if ((rc = r->out ? copy_string(r, err) : read_string(r, err)) < 0)
        return rc;
    skip_space(r);
    if (r->at == r->n || r->text[r->at] != ':')
        return fail_at(err, r->at, "JSON: ':' is missing");
    r->at++;
    r->wants = VALUE;
    return LX_JSON_KEY;
}

int lx_json_next(lx_json_reader *r, lx_error *err)
{
    char closing = r->depth && r->is_object[r->depth - 1] ? '}' : ']';

    skip_space(r);
    r->offset = r->at;
    if (r->wants == NOTHING)
        return r->at == r->n ? LX_JSON_DONE
                             : fail_at(err, r->at, "JSON: something after the value");
    if (r->at == r->n)
        return fail_at(err, r->at, "JSON: ends too early");
    if (r->wants == COMMA_OR_END) {
        if (r->text[r->at] == closing)
            return close_container(r);
        if (r->text[r->at] != ',')
            return fail_at(err, r->at, "JSON: ',' is missing");
        r->at++;
        skip_space(r);
        r->offset = r->at;
        if (r->at == r->n)
            return fail_at(err, r->at, "JSON: ends too early");
        r->wants = closing == '}' ? KEY : VALUE;
    } else if ((r->wants == KEY_OR_END || r->wants == VALUE_OR_END) &&
               r->text[r->at] == closing) {
        return close_container(r);
    }
    return r->wants == KEY || r->wants == KEY_OR_END ? read_key(r, err)
                                                     : read_value(r, err);
}

/* A number that no double holds, as 1E400: it has an exponent, or more digits than the largest double. Of those what
 * stands behind them ends them for strtod as well (behind a mere 0 an x would not); where nothing does, the document
 * ends too early or is that number alone. */
static int check_range(const lx_json_reader *r, lx_error *err)
{
    enum { MOST_DIGITS = 308 };
    const bool may_pass = r->token_n > MOST_DIGITS || memchr(r->token, 'e', r->token_n) ||
                          memchr(r->token, 'E', r->token_n);

    return may_pass && r->at < r->n && !isfinite(strtod(r->token, NULL))
               ? fail_at(err, r->offset, "JSON: number out of range")
               : LX_OK;
}

int lx_json_skip(lx_json_reader *r, int kind, lx_error *err)
{
    int outside = r->depth - 1, rc;

    if (kind == LX_JSON_NUMBER)
        return check_range(r, err);
    if (kind != LX_JSON_OBJECT && kind != LX_JSON_ARRAY)
        return LX_OK;
    while (r->depth > outside) {
        if ((kind = lx_json_next(r, err)) < 0)
            return kind;
        if (kind == LX_JSON_NUMBER && (rc = check_range(r, err)) < 0)
            return rc;
    }
    return LX_OK;
}

/* The code point at *p of a text already checked, escapes resolved. */
static uint32_t next_char(const char **p, const char *end)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    uint32_t unit;
    char c;

    if (**p != '\\')
        return lx_utf8_next(p, end);
    c = (*p)[1];
    *p += 2;
    if (c != 'u')
        return (unsigned char)to[strchr(from, c) - from];
    unit = (uint32_t)read_hex4(*p, end);
    *p += 4;
    if (unit >= 0xD800 && unit < 0xDC00) {
        unit = 0x10000 + ((unit - 0xD800) << 10) +
               ((uint32_t)read_hex4(*p + 2, end) - 0xDC00);
        *p += 6;
    }
    return unit;
}

void lx_json_unescape(lx_str *out, const lx_json_reader *r)
{
    const char *p = r->token, *end = p + r->token_n;

    while (p < end) {
        const char *escape = memchr(p, '\\', (size_t)(end - p));
        lx_str_append(out, p, (size_t)((escape ? escape : end) - p));
        if (!escape)
            break;
        p = escape;
        lx_str_put_utf8(out, next_char(&p, end));
    }
}

/* Eight bytes are written at once; those behind the first special one are overwritten next. */
size_t lx_json_copy(char *out, bool *is_printable, const lx_json_reader *r)
{
    const char *p = r->token, *end = p + r->token_n;
    char *at = out;

    *is_printable = true;
    while (p < end) {
        if (end - p >= 8) {
            uint64_t eight, special;
            unsigned n;
            memcpy(&eight, p, 8);
            memcpy(at, &eight, 8);
            special = lx_special_bytes(eight);
            n = special ? lx_first_special(special) : 8;
            p += n;
            at += n;
            if (!special)
                continue;
        }
        if (!lx_is_special((unsigned char)*p)) {
            *at++ = *p++;
        } else if (*p == '\\' && (p[1] == '"' || p[1] == '\\')) {
            *at++ = p[1];
            p += 2;
        } else {
            uint32_t c = next_char(&p, end);
            *is_printable = *is_printable && c >= 0x20 && c < 0x7F;
            at += lx_utf8_put(at, c);
        }
    }
    *at = '\0';
    return (size_t)(at - out);
}

size_t lx_json_find_nul(const lx_json_reader *r)
{
    const char *p = r->token, *end = p + r->token_n;

    while (end - p >= 6 && (p = memchr(p, '\\', (size_t)(end - p)))) {
        if (end - p >= 6 && !memcmp(p, "\\u0000", 6))
            return (size_t)(p - r->text);
        p += 2;
    }
    return r->n;
}

/* UTF-8 sorts bytewise as its code points do. */
int lx_json_compare(const char *a, size_t na, const char *b, size_t nb)
{
    const char *end_a = a + na, *end_b = b + nb;

    if (!memchr(a, '\\', na) && !memchr(b, '\\', nb)) {
        int order = memcmp(a, b, na < nb ? na : nb);
        return order ? order : (na > nb) - (na < nb);
    }
    while (a < end_a && b < end_b) {
        uint32_t x = next_char(&a, end_a), y = next_char(&b, end_b);
        if (x != y)
            return x < y ? -1 : 1;
    }
    return (a < end_a) - (b < end_b);
}

bool lx_json_u64(uint64_t *out, const lx_json_reader *r)
{
    uint64_t value = 0;

    for (size_t i = 0; i < r->token_n; i++) {
        char c = r->token[i];
        if (c < '0' || c > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(c - '0'), &value))
            return false;
    }
    *out = value;
    return r->token_n > 0;
}
