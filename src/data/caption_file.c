#include "src/data/caption_file.h"

#include <string.h>
#include <strings.h>

#include "src/base/file.h"
#include "src/base/unicode.h"

static bool starts_with_bytes(const char *bytes, size_t n, const char *start, size_t length)
{
    return n >= length && memcmp(bytes, start, length) == 0;
}

/* Two-byte Shift-JIS characters, and half-width katakana; false at the first byte that is
 * neither. */
static bool is_shift_jis(const unsigned char *s, size_t n, size_t *n_wide)
{
    *n_wide = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < 0x80 || (s[i] >= 0xA1 && s[i] <= 0xDF))
            continue;
        if (!((s[i] >= 0x81 && s[i] <= 0x9F) || (s[i] >= 0xE0 && s[i] <= 0xFC)) || i + 1 >= n)
            return false;
        i++;
        if (s[i] < 0x40 || s[i] == 0x7F || s[i] > 0xFC)
            return false;
        ++*n_wide;
    }
    return true;
}

/* Two-byte characters of GBK and Big5 overlap so far that only "one of them" can be said. */
static bool is_chinese(const unsigned char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (s[i] < 0x80)
            continue;
        if (s[i] == 0x80 || s[i] == 0xFF || i + 1 >= n)
            return false;
        i++;
        if (s[i] < 0x40 || s[i] == 0x7F || s[i] == 0xFF)
            return false;
    }
    return true;
}

const char *lx_caption_guess_encoding(const char *bytes, size_t n)
{
    const unsigned char *s = (const unsigned char *)bytes;
    size_t n_zero_even = 0, n_zero_odd = 0, n_high = 0, n_wide;

    if (starts_with_bytes(bytes, n, "\xFF\xFE\0\0", 4))
        return "UTF-32";
    if (starts_with_bytes(bytes, n, "\xFF\xFE", 2) || starts_with_bytes(bytes, n, "\xFE\xFF", 2))
        return "UTF-16";
    for (size_t i = 0; i < n; i++) {
        n_high += s[i] >= 0x80;
        n_zero_even += s[i] == 0 && i % 2 == 0;
        n_zero_odd += s[i] == 0 && i % 2 == 1;
    }
    if (n_zero_even + n_zero_odd > 0)
        return n_zero_even > n / 4 || n_zero_odd > n / 4 ? "UTF-16 without its mark" : "binary";
    /* Accents in an otherwise plain text stand alone; in CJK text high bytes come in runs. */
    if (is_shift_jis(s, n, &n_wide) && 2 * n_wide >= n_high - n_high / 3)
        return "Shift-JIS";
    if (n_high >= 4 && is_chinese(s, n))
        return "GBK or Big5";
    return "Latin-1 (Windows-1252)";
}

static int refuse_bytes(const char *bytes, size_t n, size_t at, lx_error *err)
{
    const char *guess = lx_caption_guess_encoding(bytes, n);

    return lx_fail(err, LX_EFORMAT,
                   "byte 0x%02x at offset %zu is not UTF-8 text: it looks like %s; save the file "
                   "as UTF-8",
                   (unsigned char)bytes[at], at, guess);
}

/* One line without its end; *p moves behind it. */
static void next_line(const char **line, size_t *length, const char **p, const char *end,
                      bool *has_cr)
{
    const char *q = *p;

    while (q < end && *q != '\n' && *q != '\r')
        q++;
    *line = *p;
    *length = (size_t)(q - *p);
    if (q < end && *q == '\r') {
        *has_cr = true;
        q++;
        if (q < end && *q == '\n')
            q++;
    } else if (q < end) {
        q++;
    }
    *p = q;
}

/*
 * What turns or hides text and is seen by no person: marks of direction, spaces of no width, line
 * ends that editors do not show, noncharacters. Joiners (U+200C, U+200D) and variation selectors
 * are part of emoji and of scripts.
 */
static bool is_invisible(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {{0xAD, 0xAD},     {0x61C, 0x61C},   {0x180E, 0x180E}, {0x200B, 0x200B},
                  {0x200E, 0x200F}, {0x2028, 0x202E}, {0x2060, 0x206F}, {0xFDD0, 0xFDEF},
                  {0xFEFF, 0xFEFF}, {0xFFF9, 0xFFFB}};

    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    return (c & 0xFFFE) == 0xFFFE;
}

/* Tag characters spell the region of a flag behind it: England, Scotland, Wales. */
enum { BLACK_FLAG = 0x1F3F4 };

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/*
 * What a spreadsheet would run, to the first comma. Tags of faces begin like it (=_=, =3, @_@, +_+,
 * -_-, +++): three characters do nothing, and a sign alone needs a call behind it.
 */
static bool is_formula(const char *text, size_t n)
{
    size_t at = 0, end;

    while (at < n && strchr(" \t\r\n", text[at]))
        at++;
    for (end = at; end < n && !strchr(",\r\n", text[end]);)
        end++;
    while (end > at && text[end - 1] == ' ')
        end--;
    if (end - at <= 3 || !strchr("=@+-", text[at]))
        return false;
    if (text[at] == '=' || text[at] == '@')
        return is_alnum(text[at + 1]) || strchr("(\"'+-", text[at + 1]);
    if (!is_alnum(text[at + 1]) && text[at + 1] != '(')
        return false;
    for (size_t i = at + 1; i < end; i++)
        if (text[i] == '|' || (text[i] == '(' && (is_alnum(text[i - 1]) || i == at + 1)))
            return true;
    return false;
}

/* A tag of HTML that runs or loads something, in letters of either case. <lora:x:1> and <3 are none. */
static bool has_markup(const char *text, size_t n)
{
    static const char *const names[] = {"script", "img", "svg", "iframe", "html", "body", "meta"};
    const char *end = text + n;

    for (const char *p = text; n && (p = memchr(p, '<', (size_t)(end - p))) != NULL;) {
        p++;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            const size_t length = strlen(names[i]);
            if ((size_t)(end - p) > length && strncasecmp(p, names[i], length) == 0 &&
                strchr(" \t\r\n/>", p[length]))
                return true;
        }
    }
    return false;
}

/* What a tool or a stranger left there rather than a person who describes an image. */
static bool is_odd(const char *text, size_t n)
{
    const char *p = text, *end = text + n;
    uint32_t before = 0; /* the last one that is no tag character */

    if (is_formula(text, n) || has_markup(text, n))
        return true;
    while (p < end) {
        const uint32_t c = lx_utf8_next(&p, end);
        const bool is_tag = c >= 0xE0000 && c <= 0xE007F;

        if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || (c >= 0x7F && c < 0xA0) ||
            is_invisible(c) || (is_tag && before != BLACK_FLAG))
            return true;
        before = is_tag ? before : c;
    }
    return false;
}

int lx_caption_decode(lx_caption_text *out, const char *bytes, size_t n, bool enable_wildcard,
                      lx_error *err)
{
    const char *p = bytes, *end = bytes + n, *nul;
    size_t bad = lx_utf8_check(bytes, n), n_lines = 0;

    if (bad < n)
        return refuse_bytes(bytes, n, bad, err);
    if ((nul = n > 0 ? memchr(bytes, 0, n) : NULL) != NULL)
        return refuse_bytes(bytes, n, (size_t)(nul - bytes), err);
    if (starts_with_bytes(bytes, n, "\xEF\xBB\xBF", 3)) {
        out->has_bom = true;
        p += 3;
    }
    out->is_empty = p == end;
    out->is_odd = is_odd(p, (size_t)(end - p));
    while (p < end) {
        const char *line;
        size_t length;
        next_line(&line, &length, &p, end, &out->has_cr);
        lx_unicode_strip(&line, &length);
        if (enable_wildcard ? length > 0 : n_lines == 0) {
            if (out->text.len > 0)
                lx_str_putc(&out->text, '\n');
            lx_str_append(&out->text, line, length);
        } else if (length > 0) {
            out->unread_lines++;
        }
        n_lines++;
    }
    return lx_str_check(&out->text, err);
}

int lx_caption_read(lx_caption_text *out, const char *path, bool enable_wildcard, lx_error *err)
{
    lx_str bytes = LX_STR_INIT, shown = LX_STR_INIT;
    int rc;

    memset(out, 0, sizeof *out);
    if ((rc = lx_file_read(&bytes, path, LX_CAPTION_BYTES, err)) < 0)
        goto done;
    rc = lx_caption_decode(out, lx_str_text(&bytes), bytes.len, enable_wildcard, err);
    if (rc < 0) {
        lx_escape_terminal(&shown, path, strlen(path), true);
        lx_within(err, "\"%s\"", lx_str_text(&shown));
    }
done:
    lx_str_release(&bytes);
    lx_str_release(&shown);
    return rc;
}
