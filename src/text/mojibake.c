/*
 * Text that was UTF-8 and was read as something else, found and undone.
 *
 * A text is suspicious when it has one of the sequences in `rules`, which hardly occur in what
 * people write but do when UTF-8 bytes are shown in a one-byte encoding. A suspicious text is
 * encoded in each of nine encodings in turn; the first whose bytes are sound UTF-8 is the answer.
 * Bytes lost on the way (A0 shown as a space, undecodable ones shown as U+FFFD) are allowed for.
 */
#include <string.h>
#include <uchar.h>

#include "src/base/alloc.h"
#include "src/text/fix.h"

struct class_range {
    uint32_t first, last, mask;
};
struct charmap {
    const char *name;
    bool is_sloppy; /* byte 1A stands for U+FFFD, holes for the C1 control of their number */
    uint16_t high[128];
};

#include "src/text/mojibake_tables.inc"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { DEPTH_MAX = 32, RULE_MAX = 6 };

/* Bits of the table, then those that are computed. */
enum {
    COMMON = 1 << 0,
    C1 = 1 << 1,
    BAD = 1 << 2,
    CURRENCY = 1 << 3,
    START = 1 << 4,
    END = 1 << 5,
    NUMERIC = 1 << 6,
    KAOMOJI = 1 << 7,
    UPPER = 1 << 8, /* accented */
    LOWER = 1 << 9, /* accented */
    UPPER_COMMON = 1 << 10,
    LOWER_COMMON = 1 << 11,
    BOX = 1 << 12,
    FIRST_OF_2 = 1 << 13,
    FIRST_OF_3 = 1 << 14,
    FIRST_OF_4 = 1 << 15,
    CONTINUATION = 1 << 16,
    STRICT = 1 << 17,
    SMALL = 1 << 18,     /* a-z */
    CAPITAL = 1 << 19,   /* A-Z */
    WHITE = 1 << 20,     /* Python's \s */
    WORD = 1 << 21,      /* Python's \w */
    NO_LATIN = 1 << 22,  /* not A-Z, not a-z */
    ANY = 1 << 23        /* but a line feed */
};

/* One position of a rule: a character in one of these classes or in this list. */
struct position {
    uint32_t mask;
    const char32_t *chars;
};

static const struct position rules[][RULE_MAX] = {
    {{C1, U""}},
    {{BAD | LOWER | UPPER | BOX | START | END | CURRENCY | NUMERIC, U""}, {BAD, U""}},
    {{SMALL | CAPITAL, U""}, {LOWER_COMMON | UPPER_COMMON, U""}, {BAD, U""}},
    {{BAD, U""}, {LOWER | UPPER | BOX | START | END | CURRENCY | NUMERIC, U""}},
    {{LOWER | LOWER_COMMON | BOX | END | CURRENCY | NUMERIC, U""}, {UPPER, U""}},
    {{BOX | END | CURRENCY | NUMERIC, U""}, {LOWER, U""}},
    {{LOWER | BOX | END, U""}, {CURRENCY, U""}},
    {{WHITE, U""}, {UPPER, U""}, {CURRENCY, U""}},
    {{UPPER | BOX, U""}, {NUMERIC, U""}},
    {{LOWER | UPPER | BOX | CURRENCY | END, U""}, {START, U""}, {NUMERIC, U""}},
    {{LOWER | UPPER | CURRENCY | NUMERIC | BOX, U""}, {END, U""}, {START, U""}},
    {{CURRENCY | NUMERIC | BOX, U""}, {START, U""}},
    {{SMALL, U""}, {UPPER, U""}, {START | CURRENCY, U""}},
    {{BOX, U""}, {KAOMOJI, U""}},
    {{LOWER | UPPER | CURRENCY | NUMERIC | START | END, U""}, {BOX, U""}},
    {{BOX, U""}, {END, U""}},
    {{LOWER | UPPER, U""}, {END, U""}, {WORD, U""}},
    /* the ligature oe before what is not a plain letter */
    {{0, U"\u0152\u0153"}, {NO_LATIN, U""}},
    /* windows-1252 */
    {{0, U"\u00C2\u00C3\u00CE\u00D0"},
     {START | END, U"\u20AC\u0160\u0161\u00A2\u00A3\u0178\u017E\u00A0\u00AD\u00AE\u00A9\u00B0"
                   U"\u00B7\u00BB\u2013\u2014\u00B4"}},
    {{0, U"\u00D7"}, {0, U"\u00B2\u00B3"}},
    /* Arabic in windows-1252: common characters, so four are asked for */
    {{0, U"\u00D8\u00D9"},
     {COMMON | CURRENCY | BAD | NUMERIC | START, U"\u0178\u0160\u00AE\u00B0\u00B5\u00BB"},
     {0, U"\u00D8\u00D9"},
     {COMMON | CURRENCY | BAD | NUMERIC | START, U"\u0178\u0160\u00AE\u00B0\u00B5\u00BB"}},
    /* South Asian alphabets in windows-1252 */
    {{0, U"\u00E0"}, {0, U"\u00B2\u00B5\u00B9\u00BC\u00BD\u00BE"}},
    /* MacRoman */
    {{0, U"\u221A"},
     {0, U"\u00B1\u2202\u2020\u2260\u00AE\u2122\u00B4\u2264\u2265\u00A5\u00B5\u00F8"}},
    {{0, U"\u2248"}, {0, U"\u00B0\u00A2"}},
    {{0, U"\u201A"},
     {0, U"\u00C4"},
     {0, U"\u00EC\u00EE\u00EF\u00F2\u00F4\u00FA\u00F9\u00FB\u2020\u00B0\u00A2\u03C0"}},
    {{0, U"\u201A"}, {0, U"\u00E2\u00F3"}, {0, U"\u00E0\u00E4\u00B0\u00EA"}},
    /* windows-1251 */
    {{0, U"\u0432"}, {0, U"\u0402"}},
    {{0, U"\u0412\u0413\u0420\u0421"},
     {C1 | BAD | START | END | CURRENCY, U"\u00B0\u00B5"},
     {0, U"\u0412\u0413\u0420\u0421"}},
    {{0, U"\u0413"},
     {0, U"\u045E"},
     {0, U"\u0412"},
     {0, U"\u0402"},
     {0, U"\u0412"},
     {ANY, U""}}, /* and a Latin letter or a space: in the code */
    /* windows-1252 of a grave, a acute and the hard space */
    {{0, U"\u00C3"}, {0, U"\u00A0\u00A1"}},
    {{SMALL, U""}, {0, U"\u00C2\u00C3"}, {0, U" "}},
    {{SMALL, U""}, {WHITE, U""}, {0, U"\u00C2\u00C3"}, {0, U" "}},
    {{SMALL | END, U".,?!"}, {0, U"\u00C2"}, {START | END, U" "}},
    /* windows-1253 */
    {{0, U"\u03B2"}, {0, U"\u20AC"}, {0, U"\u2122\u00A0\u0386\u00AD\u00AE\u00B0"}},
    {{0, U"\u0392\u0393\u039E\u039F"},
     {C1 | BAD | START | END | CURRENCY, U"\u00B0"},
     {0, U"\u0392\u0393\u039E\u039F"}},
};

static uint32_t mask_of(uint32_t c)
{
    uint32_t mask = c == '\n' ? 0 : ANY;
    size_t low = 0, high = COUNT(classes);

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (c < classes[middle].first) {
            high = middle;
        } else if (c > classes[middle].last) {
            low = middle + 1;
        } else {
            mask |= classes[middle].mask;
            break;
        }
    }
    if (c >= 'a' && c <= 'z')
        mask |= SMALL;
    else if (c >= 'A' && c <= 'Z')
        mask |= CAPITAL;
    else
        mask |= NO_LATIN;
    if (lx_is_space(c) || (c >= 0x1C && c <= 0x1F))
        mask |= WHITE;
    if (lx_is_word(c))
        mask |= WORD;
    return mask;
}

static bool holds(const char32_t *chars, uint32_t c)
{
    for (; *chars; chars++)
        if (*chars == c)
            return true;
    return false;
}

static bool matches_at(const uint32_t *text, const uint32_t *masks, size_t n, size_t at)
{
    for (size_t r = 0; r < COUNT(rules); r++) {
        size_t k = 0;
        while (k < RULE_MAX && rules[r][k].chars && at + k < n &&
               ((masks[k] & rules[r][k].mask) || holds(rules[r][k].chars, text[at + k])))
            k++;
        if (k == RULE_MAX) /* the one long rule has a seventh position */
            return at + 6 < n && ((masks[6] & (SMALL | CAPITAL)) || text[at + 6] == ' ');
        if (!rules[r][k].chars)
            return true;
    }
    return at == 0 && n >= 2 && (text[0] == 0xC2 || text[0] == 0xC3) && text[1] == ' ';
}

bool lx__is_mojibake(const uint32_t *text, size_t n)
{
    uint32_t masks[RULE_MAX + 1]; /* of text[at ...]; shifted along */

    for (size_t k = 0; k < COUNT(masks); k++)
        masks[k] = k < n ? mask_of(text[k]) : 0;
    for (size_t at = 0; at < n; at++) {
        if (matches_at(text, masks, n, at))
            return true;
        memmove(masks, masks + 1, sizeof(masks) - sizeof(masks[0]));
        masks[RULE_MAX] = at + 1 + RULE_MAX < n ? mask_of(text[at + 1 + RULE_MAX]) : 0;
    }
    return false;
}

/* The byte of c, or -1. */
static int encode_one(const struct charmap *map, uint32_t c)
{
    if (c < 0x80)
        return map->is_sloppy && c == 0x1A ? -1 : (int)c;
    if (map->is_sloppy && c == 0xFFFD)
        return 0x1A;
    for (int i = 0; i < 128; i++)
        if (map->high[i] == c)
            return 0x80 + i;
    return -1;
}

static bool encode(lx_str *out, const struct charmap *map, const lx_points *text)
{
    for (size_t i = 0; i < text->n; i++) {
        int byte = encode_one(map, text->at[i]);
        if (byte < 0)
            return false;
        lx_str_putc(out, (char)byte);
    }
    return true;
}

static bool in(unsigned char b, unsigned first, unsigned last)
{
    return b >= first && b <= last;
}

static bool is_continuation(unsigned char b)
{
    return in(b, 0x80, 0xBF);
}

/* A continuation that is no ellipsis (85) and no A0: what ftfy trusts beside a lost A0. */
static bool is_trusted(unsigned char b)
{
    return is_continuation(b) && b != 0x85 && b != 0xA0;
}

/* The length of a sequence at s that would be UTF-8 if its one space were A0, or 0. */
static size_t altered_length(const unsigned char *s, size_t n)
{
    if (n >= 2 && s[1] == ' ' && memchr("\xC2\xC3\xC5\xCE\xD0\xD9", s[0], 6))
        return 2;
    if (n >= 3 && in(s[0], 0xE2, 0xE3) && s[1] == ' ' && is_trusted(s[2]))
        return 3;
    if (n >= 3 && in(s[0], 0xE0, 0xE3) && is_trusted(s[1]) && s[2] == ' ')
        return 3;
    if (n >= 4 && s[0] == 0xF0 &&
        ((s[1] == ' ' && is_continuation(s[2]) && is_continuation(s[3])) ||
         (is_continuation(s[1]) && s[2] == ' ' && is_continuation(s[3])) ||
         (is_continuation(s[1]) && is_continuation(s[2]) && s[3] == ' ')))
        return 4;
    return 0;
}

static bool starts(const unsigned char *s, size_t n, const char *text)
{
    return n >= strlen(text) && memcmp(s, text, strlen(text)) == 0;
}

/* C3 and a space: a word of its own ("a la" with its grave), unless what follows shows that the
 * letter begins a Portuguese word, or another space shows that nothing was swallowed. */
static bool is_a_grave_word(const unsigned char *s, size_t n)
{
    return n >= 2 && s[0] == 0xC3 && s[1] == ' ' && !starts(s + 2, n - 2, " ") &&
           !starts(s + 2, n - 2, "quele") && !starts(s + 2, n - 2, "quela") &&
           !starts(s + 2, n - 2, "quilo") && !starts(s + 2, n - 2, "s ");
}

static void restore_a0(lx_str *bytes)
{
    const unsigned char *s = (const unsigned char *)lx_str_text(bytes);
    lx_str grave = LX_STR_INIT, out = LX_STR_INIT;
    bool any = false;

    for (size_t i = 0; i < bytes->len && !any; i++)
        any = altered_length(s + i, bytes->len - i) > 0;
    if (!any)
        return;
    for (size_t i = 0; i < bytes->len; i++) {
        if (is_a_grave_word(s + i, bytes->len - i)) {
            lx_str_append(&grave, "\xC3\xA0 ", 3);
            i++;
        } else {
            lx_str_putc(&grave, (char)s[i]);
        }
    }
    s = (const unsigned char *)lx_str_text(&grave);
    for (size_t i = 0; i < grave.len;) {
        size_t n = altered_length(s + i, grave.len - i);
        for (size_t k = 0; k < (n ? n : 1); k++)
            lx_str_putc(&out, n && s[i + k] == ' ' ? (char)0xA0 : (char)s[i + k]);
        i += n ? n : 1;
    }
    out.failed |= grave.failed;
    lx_str_release(&grave);
    lx_str_release(bytes);
    *bytes = out;
}

static bool is_lost(unsigned char b)
{
    return b == 0x1A || b == '?';
}

/* The length of a UTF-8 (or CESU-8) sequence of which some bytes are lost, or 0. */
static size_t lossy_length(const unsigned char *s, size_t n)
{
    const unsigned char a = s[0];

#define CONT(k) (s[k] == 0x1A || is_continuation(s[k]))
    if (n >= 2 && ((in(a, 0xC2, 0xDF) && s[1] == 0x1A) || (in(a, 0xC2, 0xC3) && s[1] == '?')))
        return 2;
    if (n >= 6 && a == 0xED && in(s[1], 0xA0, 0xAF) && s[3] == 0xED && in(s[4], 0xB0, 0xBF) &&
        ((is_lost(s[2]) && (is_lost(s[5]) || is_continuation(s[5]))) ||
         (is_continuation(s[2]) && is_lost(s[5]))))
        return 6;
    if (n >= 3 && in(a, 0xE0, 0xEF) &&
        ((is_lost(s[1]) && CONT(2)) || (CONT(1) && is_lost(s[2]))))
        return 3;
    if (n >= 4 && in(a, 0xF0, 0xF4) &&
        ((is_lost(s[1]) && CONT(2) && CONT(3)) || (CONT(1) && is_lost(s[2]) && CONT(3)) ||
         (CONT(1) && CONT(2) && is_lost(s[3]))))
        return 4;
#undef CONT
    return a == 0x1A ? 1 : 0;
}

static void replace_lossy(lx_str *bytes)
{
    const unsigned char *s = (const unsigned char *)lx_str_text(bytes);
    lx_str out = LX_STR_INIT;

    for (size_t i = 0; i < bytes->len;) {
        size_t n = lossy_length(s + i, bytes->len - i);
        if (n)
            lx_str_append(&out, "\xEF\xBF\xBD", 3);
        else
            lx_str_putc(&out, (char)s[i]);
        i += n ? n : 1;
    }
    out.failed |= bytes->failed;
    lx_str_release(bytes);
    *bytes = out;
}

/* UTF-8, and with it C0 80 for NUL and surrogate pairs written as two sequences (CESU-8). The
 * last byte of either may have become a line feed at the very end, as in ftfy. */
static bool decode(lx_points *out, const lx_str *bytes)
{
    const char *p = lx_str_text(bytes), *end = p + bytes->len;

    while (p < end) {
        const unsigned char *s = (const unsigned char *)p;
        size_t n = (size_t)(end - p);
        uint32_t c = lx_utf8_next(&p, end);

        if (c != UINT32_MAX) {
            lx_points_push(out, c);
        } else if (n >= 2 && s[0] == 0xC0 && (s[1] == 0x80 || (n == 2 && s[1] == '\n'))) {
            lx_points_push(out, 0);
            p = (const char *)s + 2;
        } else if (n >= 6 && s[0] == 0xED && in(s[1], 0xA0, 0xAF) && is_continuation(s[2]) &&
                   s[3] == 0xED && in(s[4], 0xB0, 0xBF) &&
                   (is_continuation(s[5]) || (n == 6 && s[5] == '\n'))) {
            lx_points_push(out, ((s[1] & 15u) << 16) + ((s[2] & 63u) << 10) +
                                    ((s[4] & 15u) << 6) + (s[5] & 63u) + 0x10000);
            p = (const char *)s + 6;
        } else {
            return false;
        }
    }
    return true;
}

static const struct charmap *windows_1252(void)
{
    return &charmaps[1];
}

void lx__fix_c1(lx_points *text)
{
    for (size_t i = 0; i < text->n; i++)
        if (text->at[i] >= 0x80 && text->at[i] < 0xA0)
            text->at[i] = windows_1252()->high[text->at[i] - 0x80];
}

/* How many characters from `at` look like one UTF-8 sequence seen in a one-byte encoding. */
static size_t sequence_length(const lx_points *text, size_t at)
{
    size_t n_continuations = 0;
    uint32_t first = mask_of(text->at[at]);

    while (n_continuations < 3 && at + 1 + n_continuations < text->n &&
           (mask_of(text->at[at + 1 + n_continuations]) & CONTINUATION))
        n_continuations++;
    if ((first & FIRST_OF_2) && n_continuations >= 1)
        return 2;
    if ((first & FIRST_OF_3) && n_continuations >= 2)
        return 3;
    if ((first & FIRST_OF_4) && n_continuations >= 3)
        return 4;
    return 0;
}

/* Runs of such sequences, each mended on its own where it looks broken. */
static int fix_embedded(lx_points *out, const lx_points *text, int depth, lx_error *err)
{
    lx_points part = LX_POINTS_INIT;
    size_t i = 0;
    int rc = 0;

    while (i < text->n) {
        size_t end = i, n;
        if (i == 0 || !(mask_of(text->at[i - 1]) & STRICT))
            while (end < text->n && (n = sequence_length(text, end)) > 0)
                end += n;
        if (end == i) {
            lx_points_push(out, text->at[i++]);
            continue;
        }
        lx_points_clear(&part);
        lx_points_append(&part, text->at + i, end - i);
        if ((rc = lx_points_check(&part, err)) < 0)
            break;
        if (part.n < text->n && lx__is_mojibake(part.at, part.n) &&
            (rc = lx__fix_encoding(&part, depth + 1, err)) < 0)
            break;
        lx_points_append(out, part.at, part.n);
        i = end;
    }
    lx_points_release(&part);
    return rc < 0 ? rc : lx_points_check(out, err);
}

static bool is_same(const lx_points *a, const lx_points *b)
{
    return a->n == b->n && (a->n == 0 || memcmp(a->at, b->at, a->n * sizeof(uint32_t)) == 0);
}

/* The text read through the first encoding whose bytes are UTF-8, if there is one. */
static int decode_as_any(lx_points *out, bool *found, const lx_points *text, lx_error *err)
{
    lx_str bytes = LX_STR_INIT;
    int rc = 0;

    *found = false;
    for (size_t m = 0; m < COUNT(charmaps) && rc == 0 && !*found; m++) {
        lx_str_clear(&bytes);
        if (!encode(&bytes, &charmaps[m], text))
            continue;
        restore_a0(&bytes);
        if (charmaps[m].is_sloppy)
            replace_lossy(&bytes);
        lx_points_clear(out);
        if ((rc = lx_str_check(&bytes, err)) == 0)
            *found = decode(out, &bytes);
    }
    lx_str_release(&bytes);
    return rc < 0 ? rc : lx_points_check(out, err);
}

/* One step; *text is as it was when there is nothing to do. */
static int fix_once(lx_points *text, int depth, lx_error *err)
{
    lx_points next = LX_POINTS_INIT;
    bool found;
    int rc;

    if (!lx__is_mojibake(text->at, text->n))
        return 0;
    if ((rc = decode_as_any(&next, &found, text, err)) < 0)
        goto done;
    if (!found) {
        lx_points_clear(&next);
        if (depth >= DEPTH_MAX)
            goto done;
        if ((rc = fix_embedded(&next, text, depth, err)) < 0)
            goto done;
        found = !is_same(&next, text);
    }
    if (found) {
        lx_points_swap(&next, text);
        goto done;
    }
    /* What remains is Latin-1 that should have been windows-1252, or a control or two among
     * other letters: the same letters come of it either way. */
    lx__fix_c1(text);
done:
    lx_points_release(&next);
    return rc;
}

int lx__fix_encoding(lx_points *text, int depth, lx_error *err)
{
    lx_points before = LX_POINTS_INIT;
    int rc;

    do {
        lx_points_clear(&before);
        lx_points_append(&before, text->at, text->n);
        if ((rc = lx_points_check(&before, err)) < 0 || (rc = fix_once(text, depth, err)) < 0)
            break;
    } while (!is_same(&before, text));
    lx_points_release(&before);
    return rc;
}
