#include "src/text/fix.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"

struct entity {
    const char *name;
    uint32_t points[3];
};

#include "src/text/entities.inc"

enum { SEGMENT_MAX = 1000000 }; /* as ftfy's max_decode_length, in code points */

static int compare_entity(const void *key, const void *row)
{
    return strcmp(key, ((const struct entity *)row)->name);
}

static bool is_alnum(uint32_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The value of a whole numeric reference (between "&#" and ";"), or UINT32_MAX if it is none.
 * Values past Unicode saturate. */
static uint32_t reference_value(const char *digits)
{
    uint32_t value = 0, base = 10;

    if (*digits == 'x' || *digits == 'X') {
        base = 16;
        digits++;
    }
    if (!*digits)
        return UINT32_MAX;
    for (; *digits; digits++) {
        uint32_t d;
        if (*digits >= '0' && *digits <= '9')
            d = (uint32_t)(*digits - '0');
        else if (base == 16 && ((*digits | 32) >= 'a' && (*digits | 32) <= 'f'))
            d = (uint32_t)((*digits | 32) - 'a') + 10;
        else
            return UINT32_MAX;
        value = value > 0x110000 ? value : value * base + d;
    }
    return value;
}

/* A numeric reference by the rules of HTML5 (13.2.5.80). False: leave the text as it is. */
static bool put_reference(lx_points *out, const char *digits)
{
    uint32_t c = reference_value(digits);

    if (c == UINT32_MAX || c == ';') /* ftfy takes a ';' in the result for an undecoded rest */
        return false;
    if (c == 0 || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) {
        lx_points_push(out, 0xFFFD);
    } else if (c >= 0x80 && c < 0xA0) {
        lx_points one = LX_POINTS_INIT;
        lx_points_push(&one, c);
        if (one.failed)
            out->failed = true;
        else
            lx__fix_c1(&one);
        lx_points_append(out, one.at, one.n);
        lx_points_release(&one);
    } else if ((c < 0x20 && c != 9 && c != 10 && c != 12 && c != 13) || c == 0x7F ||
               (c >= 0xFDD0 && c <= 0xFDEF) || (c & 0xFFFE) == 0xFFFE) {
        /* no character at all */
    } else {
        lx_points_push(out, c);
    }
    return true;
}

static void unescape_html(lx_points *out, const lx_points *in)
{
    size_t i = 0;

    while (i < in->n) {
        size_t k = i + 1, n_name;
        char name[32];
        const struct entity *e;
        bool is_number;

        if (in->at[i] != '&') {
            lx_points_push(out, in->at[i++]);
            continue;
        }
        is_number = k < in->n && in->at[k] == '#';
        k += is_number;
        for (n_name = 0; k < in->n && is_alnum(in->at[k]) && n_name <= 24; k++)
            name[n_name++] = (char)in->at[k];
        name[n_name] = '\0';
        if (n_name >= 1 && n_name <= 24 && k < in->n && in->at[k] == ';') {
            if (is_number && put_reference(out, name)) {
                i = k + 1;
                continue;
            }
            e = is_number ? NULL
                          : bsearch(name, entities, sizeof(entities) / sizeof(entities[0]),
                                    sizeof(entities[0]), compare_entity);
            for (int p = 0; e && p < 3 && e->points[p]; p++)
                lx_points_push(out, e->points[p]);
            if (e) {
                i = k + 1;
                continue;
            }
        }
        lx_points_push(out, in->at[i++]);
    }
}

/* Latin ligatures and digraphs taken apart. */
static const uint32_t ligatures[][4] = {
    {0x132, 'I', 'J', 0},     {0x133, 'i', 'j', 0},     {0x149, 0x2BC, 'n', 0},
    {0x1F1, 'D', 'Z', 0},     {0x1F2, 'D', 'z', 0},     {0x1F3, 'd', 'z', 0},
    {0x1C4, 'D', 0x17D, 0},   {0x1C5, 'D', 0x17E, 0},   {0x1C6, 'd', 0x17E, 0},
    {0x1C7, 'L', 'J', 0},     {0x1C8, 'L', 'j', 0},     {0x1C9, 'l', 'j', 0},
    {0x1CA, 'N', 'J', 0},     {0x1CB, 'N', 'j', 0},     {0x1CC, 'n', 'j', 0},
    {0xFB00, 'f', 'f', 0},    {0xFB01, 'f', 'i', 0},    {0xFB02, 'f', 'l', 0},
    {0xFB03, 'f', 'f', 'i'},  {0xFB04, 'f', 'f', 'l'},  {0xFB05, 0x17F, 't', 0},
    {0xFB06, 's', 't', 0},
};

static const uint16_t widths[][2] = {
#include "src/text/widths.inc"
};

/* Ligatures, widths and quotes are each one character in; none makes work for an earlier one
 * except that a ligature may hold U+02BC, which is a quote: hence the order. */
static void simplify_characters(lx_points *out, const lx_points *in)
{
    for (size_t i = 0; i < in->n; i++) {
        uint32_t c = in->at[i], parts[4] = {c, 0, 0, 0};

        for (size_t k = 0; c >= 0x132 && k < sizeof(ligatures) / sizeof(ligatures[0]); k++)
            if (ligatures[k][0] == c)
                memcpy(parts, ligatures[k] + 1, 3 * sizeof(uint32_t));
        if (c == 0x3000) {
            parts[0] = ' ';
        } else if (c >= 0xFF01 && c < 0xFFF0 && widths[c - 0xFF01][0]) {
            parts[0] = widths[c - 0xFF01][0];
            parts[1] = widths[c - 0xFF01][1];
        }
        for (int k = 0; k < 4 && (k == 0 || parts[k]); k++) {
            uint32_t p = parts[k];
            if (p == 0x2BC || (p >= 0x2018 && p <= 0x201B))
                p = '\'';
            else if (p >= 0x201C && p <= 0x201F)
                p = '"';
            lx_points_push(out, p);
        }
    }
}

/* The length of a terminal escape at `at`, or 0: ESC [ digits and semicolons, one letter. */
static size_t escape_length(const lx_points *in, size_t at)
{
    size_t k = at + 2;

    if (in->at[at] != 0x1B || at + 1 >= in->n || in->at[at + 1] != '[')
        return 0;
    while (k < in->n && (in->at[k] == ';' || lx_is_decimal(in->at[k])))
        k++;
    if (k >= in->n || !((in->at[k] >= 'a' && in->at[k] <= 'z') ||
                        (in->at[k] >= 'A' && in->at[k] <= 'Z')))
        return 0;
    return k + 1 - at;
}

static bool is_removed(uint32_t c)
{
    return c < 0x09 || c == 0x0B || (c >= 0x0E && c < 0x20) || c == 0x7F ||
           (c >= 0x206A && c <= 0x206F) || c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFC);
}

static void unify_lines_and_drop_controls(lx_points *out, const lx_points *in)
{
    size_t i = 0;

    while (i < in->n) {
        uint32_t c = in->at[i];
        size_t skip = escape_length(in, i);

        if (skip > 0) {
            i += skip;
            continue;
        }
        i++;
        if (c == '\r' && i < in->n && in->at[i] == '\n')
            continue;
        if (c == '\r' || c == 0x2028 || c == 0x2029 || c == 0x85)
            c = '\n';
        if (!is_removed(c))
            lx_points_push(out, c);
    }
}

static bool equal(const lx_points *a, const lx_points *b)
{
    return a->n == b->n && (a->n == 0 || memcmp(a->at, b->at, a->n * sizeof(uint32_t)) == 0);
}

/* One line, until nothing changes. Every step shortens the text or moves it to characters that no
 * step touches, so this ends. */
static int fix_segment(lx_points *text, bool may_unescape, lx_error *err)
{
    lx_points before = LX_POINTS_INIT, next = LX_POINTS_INIT;
    int rc;

    do {
        lx_points_clear(&before);
        lx_points_append(&before, text->at, text->n);
        if (may_unescape) {
            lx_points_clear(&next);
            unescape_html(&next, text);
            lx_points_swap(&next, text);
        }
        if ((rc = lx_points_check(text, err)) < 0 || (rc = lx__fix_encoding(text, 0, err)) < 0)
            goto done;
        lx__fix_c1(text);
        lx_points_clear(&next);
        simplify_characters(&next, text);
        lx_points_clear(text);
        unify_lines_and_drop_controls(text, &next);
        lx_points_clear(&next);
        lx_points_nfc(&next, text->at, text->n);
        next.failed |= text->failed;
        lx_points_swap(&next, text);
        if ((rc = lx_points_check(text, err)) < 0 || (rc = lx_points_check(&before, err)) < 0)
            goto done;
    } while (!equal(text, &before));
    rc = 0;
done:
    lx_points_release(&before);
    lx_points_release(&next);
    return rc;
}

int lx_fix_text(lx_points *out, const uint32_t *in, size_t n, lx_error *err)
{
    lx_points segment = LX_POINTS_INIT;
    bool may_unescape = true; /* a '<' turns it off for its line and all that follow */
    size_t at = 0;
    int rc = 0;

    while (at < n) {
        size_t end = at;
        while (end < n && end - at < SEGMENT_MAX && in[end] != '\n')
            end++;
        if (end < n && end - at < SEGMENT_MAX)
            end++;
        for (size_t i = at; i < end; i++)
            may_unescape = may_unescape && in[i] != '<';
        lx_points_clear(&segment);
        lx_points_append(&segment, in + at, end - at);
        if ((rc = lx_points_check(&segment, err)) < 0 ||
            (rc = fix_segment(&segment, may_unescape, err)) < 0)
            break;
        lx_points_append(out, segment.at, segment.n);
        at = end;
    }
    lx_points_release(&segment);
    return rc < 0 ? rc : lx_points_check(out, err);
}
