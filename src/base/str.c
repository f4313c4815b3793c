#include "src/base/str.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"

void lx_str_release(lx_str *s)
{
    lx_free(s->data);
    *s = (lx_str)LX_STR_INIT;
}

void lx_str_clear(lx_str *s)
{
    s->len = 0;
    s->failed = false;
    if (s->data)
        s->data[0] = '\0';
}

static bool reserve(lx_str *s, size_t more)
{
    size_t need;
    if (s->failed || !lx_add_size(&need, s->len, more) || !lx_add_size(&need, need, 1) ||
        lx_grow(&s->data, &s->capacity, need, 1) < 0) {
        s->failed = true;
        return false;
    }
    return true;
}

void lx_str_append(lx_str *s, const char *bytes, size_t n)
{
    if (!reserve(s, n))
        return;
    if (n)
        memcpy(s->data + s->len, bytes, n);
    s->len += n;
    s->data[s->len] = '\0';
}

void lx_str_puts(lx_str *s, const char *text)
{
    lx_str_append(s, text, strlen(text));
}

void lx_str_putc(lx_str *s, char c)
{
    lx_str_append(s, &c, 1);
}

void lx_str_printf(lx_str *s, const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0 || !reserve(s, (size_t)n)) {
        s->failed = true;
        return;
    }
    va_start(args, fmt);
    vsnprintf(s->data + s->len, (size_t)n + 1, fmt, args);
    va_end(args);
    s->len += (size_t)n;
}

size_t lx_utf8_put(char out[4], uint32_t c)
{
    size_t n = 0;
    if (c < 0x80) {
        out[n++] = (char)c;
    } else if (c < 0x800) {
        out[n++] = (char)(0xC0 | c >> 6);
        out[n++] = (char)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        out[n++] = (char)(0xE0 | c >> 12);
        out[n++] = (char)(0x80 | (c >> 6 & 63));
        out[n++] = (char)(0x80 | (c & 63));
    } else {
        out[n++] = (char)(0xF0 | c >> 18);
        out[n++] = (char)(0x80 | (c >> 12 & 63));
        out[n++] = (char)(0x80 | (c >> 6 & 63));
        out[n++] = (char)(0x80 | (c & 63));
    }
    return n;
}

void lx_str_put_utf8(lx_str *s, uint32_t c)
{
    char bytes[4];
    lx_str_append(s, bytes, lx_utf8_put(bytes, c));
}

static uint32_t utf16_unit(const unsigned char *p, bool is_big)
{
    return is_big ? (uint32_t)(p[0] << 8 | p[1]) : (uint32_t)(p[1] << 8 | p[0]);
}

void lx_str_put_utf16(lx_str *s, const void *bytes, size_t n, bool is_big)
{
    const unsigned char *p = bytes;

    for (size_t i = 0; i + 1 < n; i += 2) {
        uint32_t c = utf16_unit(p + i, is_big);
        if (c >= 0xD800 && c < 0xE000) {
            const uint32_t low = c < 0xDC00 && i + 3 < n ? utf16_unit(p + i + 2, is_big) : 0;
            const bool is_pair = low >= 0xDC00 && low < 0xE000;
            c = is_pair ? 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00) : 0xFFFD;
            i += is_pair ? 2 : 0;
        }
        lx_str_put_utf8(s, c);
    }
    if (n % 2)
        lx_str_put_utf8(s, 0xFFFD);
}

const char *lx_str_text(const lx_str *s)
{
    return s->data ? s->data : "";
}

int lx_str_check(const lx_str *s, lx_error *err)
{
    return s->failed ? lx_oom(err) : LX_OK;
}

char *lx_str_detach(lx_str *s)
{
    char *text = NULL;
    if (!s->failed)
        text = s->data ? s->data : lx_strdup("");
    if (text)
        *s = (lx_str)LX_STR_INIT;
    else
        lx_str_release(s);
    return text;
}

bool lx_starts_with(const char *text, const char *prefix)
{
    while (*prefix && *text == *prefix) /* most differ in the first letters */
        text++, prefix++;
    return !*prefix;
}

bool lx_ends_with(const char *text, const char *suffix)
{
    size_t n = strlen(text), m = strlen(suffix);
    return n >= m && memcmp(text + n - m, suffix, m) == 0;
}

uint32_t lx_utf8_next(const char **p, const char *end)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *s = (const unsigned char *)*p;
    size_t left = (size_t)(end - *p), n;
    uint32_t c;

    (*p)++;
    if (s[0] < 0x80)
        return s[0];
    if (s[0] >= 0xF0 && s[0] <= 0xF4) {
        n = 4;
        c = s[0] & 7;
    } else if (s[0] >= 0xE0 && s[0] < 0xF0) {
        n = 3;
        c = s[0] & 15;
    } else if (s[0] >= 0xC2 && s[0] < 0xE0) {
        n = 2;
        c = s[0] & 31;
    } else {
        return UINT32_MAX;
    }
    if (left < n)
        return UINT32_MAX;
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return UINT32_MAX;
        c = c << 6 | (s[i] & 63);
    }
    if (c < least[n] || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000))
        return UINT32_MAX;
    *p += n - 1;
    return c;
}

size_t lx_utf8_check(const char *bytes, size_t n)
{
    const char *p = bytes, *end = bytes + n;
    while (p < end) {
        const char *at = p;
        if (lx_utf8_next(&p, end) == UINT32_MAX)
            return (size_t)(at - bytes);
    }
    return n;
}

/* Controls, the bidi characters that reorder what a reader sees, those that nobody sees (but for the
 * joiners of scripts and emoji), and the two code points that no XML file may hold. */
bool lx_is_unsafe_point(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x061C || c == 0x200E ||
           c == 0x200F || c == 0x200B || (c >= 0x2028 && c <= 0x202E) ||
           (c >= 0x2060 && c <= 0x2064) || (c >= 0x2066 && c <= 0x2069) || c == 0xFEFF ||
           c == 0xFFFE || c == 0xFFFF;
}

void lx_escape_terminal(lx_str *out, const char *text, size_t n, bool one_line)
{
    const char *p = text, *end = text + n;
    while (p < end) {
        const char *at = p;
        uint32_t c;
        while (p < end && *p >= 0x20 && *p < 0x7F) /* nearly all there is */
            p++;
        if (p > at) {
            lx_str_append(out, at, (size_t)(p - at));
            continue;
        }
        c = lx_utf8_next(&p, end);
        if (c == UINT32_MAX)
            lx_str_printf(out, "\\x%02x", (unsigned char)*at);
        else if (!one_line && (c == '\n' || c == '\t'))
            lx_str_putc(out, (char)c);
        else if (c == '\n')
            lx_str_puts(out, "\\n");
        else if (c == '\t')
            lx_str_puts(out, "\\t");
        else if (lx_is_unsafe_point(c))
            lx_str_printf(out, c < 0x80 ? "\\x%02x" : "\\u{%x}", c);
        else
            lx_str_append(out, at, (size_t)(p - at));
    }
}

void lx_escape_html(lx_str *out, const char *text, size_t n)
{
    const char *p = text, *end = text + n;
    while (p < end) {
        const char *at = p;
        uint32_t c = lx_utf8_next(&p, end);
        switch (c) {
        case '&':
            lx_str_puts(out, "&amp;");
            break;
        case '<':
            lx_str_puts(out, "&lt;");
            break;
        case '>':
            lx_str_puts(out, "&gt;");
            break;
        case '"':
            lx_str_puts(out, "&quot;");
            break;
        case '\'':
            lx_str_puts(out, "&#39;");
            break;
        case '\n':
        case '\t':
            lx_str_putc(out, (char)c);
            break;
        case UINT32_MAX:
            lx_str_puts(out, "\xEF\xBF\xBD");
            break;
        default:
            if (lx_is_unsafe_point(c))
                lx_str_printf(out, "\\u{%x}", c);
            else
                lx_str_append(out, at, (size_t)(p - at));
        }
    }
}

void lx_escape_json(lx_str *out, const char *text, size_t n)
{
    const char *p = text, *end = text + n;
    lx_str_putc(out, '"');
    while (p < end) {
        const char *at = p;
        uint32_t c = lx_utf8_next(&p, end);
        if (c == '"' || c == '\\') {
            lx_str_putc(out, '\\');
            lx_str_putc(out, (char)c);
        } else if (c == '\n') {
            lx_str_puts(out, "\\n");
        } else if (c == '\r') {
            lx_str_puts(out, "\\r");
        } else if (c == '\t') {
            lx_str_puts(out, "\\t");
        } else if (c == UINT32_MAX) {
            lx_str_puts(out, "\\ufffd");
        } else if (lx_is_unsafe_point(c)) {
            lx_str_printf(out, "\\u%04x", c);
        } else {
            lx_str_append(out, at, (size_t)(p - at));
        }
    }
    lx_str_putc(out, '"');
}

void lx_escape_csv(lx_str *out, const char *text, size_t n)
{
    bool defuse = n && memchr("=+-@\t\r", text[0], 6);
    bool quote = defuse;
    for (size_t i = 0; i < n && !quote; i++)
        quote = text[i] == '"' || text[i] == ',' || text[i] == '\n' || text[i] == '\r';
    if (!quote) {
        lx_escape_terminal(out, text, n, true);
        return;
    }
    lx_str_putc(out, '"');
    if (defuse)
        lx_str_putc(out, '\'');
    for (size_t i = 0, from = 0; i <= n; i++) {
        if (i < n && text[i] != '"')
            continue;
        lx_escape_terminal(out, text + from, i - from, false);
        if (i < n)
            lx_str_puts(out, "\"\"");
        from = i + 1;
    }
    lx_str_putc(out, '"');
}

void lx_escape_shell(lx_str *out, const char *word)
{
    /* Letters that no shell reads anything into. */
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
        "_-./:=,+@%";

    if (*word && !word[strspn(word, plain)]) {
        lx_str_puts(out, word);
        return;
    }
    lx_str_putc(out, '\'');
    for (; *word; word++) {
        if (*word == '\'')
            lx_str_puts(out, "'\\''");
        else
            lx_str_putc(out, *word);
    }
    lx_str_putc(out, '\'');
}

const char *lx_plural(size_t n)
{
    return n == 1 ? "" : "s";
}

static int fold(char c)
{
    return c == '-' ? '_' : tolower((unsigned char)c);
}

int lx_name_distance(const char *a, const char *b)
{
    enum { MOST = 64 };
    int row[MOST + 1];
    size_t n = strlen(a), m = strlen(b);

    if (n > MOST || m > MOST)
        return 1000;
    for (size_t j = 0; j <= m; j++)
        row[j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            int best = diagonal + (fold(a[i - 1]) != fold(b[j - 1]));
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[m];
}
