#include "src/text/unicode.h"

#include <string.h>

#include "src/base/alloc.h"

struct range {
    uint32_t first, last;
};
struct lower_range {
    uint32_t first, last;
    int step, delta;
};
struct ccc_range {
    uint32_t first, last;
    int class;
};

#include "src/text/unicode_tables.inc"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

void lx_points_release(lx_points *p)
{
    lx_free(p->at);
    *p = (lx_points)LX_POINTS_INIT;
}

void lx_points_clear(lx_points *p)
{
    p->n = 0;
}

void lx_points_append(lx_points *p, const uint32_t *c, size_t n)
{
    if (n == 0 || p->failed)
        return;
    if (lx_grow(&p->at, &p->capacity, p->n + n, sizeof(uint32_t)) < 0) {
        p->failed = true;
        return;
    }
    memcpy(p->at + p->n, c, n * sizeof(uint32_t));
    p->n += n;
}

void lx_points_push(lx_points *p, uint32_t c)
{
    lx_points_append(p, &c, 1);
}

int lx_points_from_utf8(lx_points *p, const char *text, size_t bytes, lx_error *err)
{
    const char *s = text, *end = text + bytes;

    while (s < end) {
        const char *at = s;
        uint32_t c = lx_utf8_next(&s, end);
        if (c == UINT32_MAX)
            return lx_fail(err, LX_EFORMAT,
                           "byte %zu is not UTF-8 (0x%02x); save the text as UTF-8",
                           (size_t)(at - text), (unsigned char)*at);
        lx_points_push(p, c);
    }
    return lx_points_check(p, err);
}

void lx_points_swap(lx_points *a, lx_points *b)
{
    lx_points t = *a;
    *a = *b;
    *b = t;
}

int lx_points_check(const lx_points *p, lx_error *err)
{
    return p->failed ? lx_oom(err) : 0;
}

/* Every table starts its rows with first and last, sorted, without overlap. */
static const void *find(const void *rows, size_t n, size_t row, uint32_t c)
{
    size_t low = 0, high = n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct range *r = (const void *)((const char *)rows + middle * row);
        if (c < r->first)
            high = middle;
        else if (c > r->last)
            low = middle + 1;
        else
            return r;
    }
    return NULL;
}

#define FIND(table, c) find(table, COUNT(table), sizeof((table)[0]), c)

bool lx_is_letter(uint32_t c)
{
    return FIND(letters, c) != NULL;
}

bool lx_is_number(uint32_t c)
{
    return FIND(numbers, c) != NULL;
}

bool lx_is_decimal(uint32_t c)
{
    return FIND(decimals, c) != NULL;
}

int lx_decimal_value(uint32_t c)
{
    const struct range *r = FIND(decimals, c); /* every run of them is whole sets of ten */
    return r ? (int)((c - r->first) % 10) : 0;
}

bool lx_is_word(uint32_t c)
{
    return FIND(words, c) != NULL;
}

bool lx_is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == 32 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

/* A capital sigma is final after a cased letter and before none, what is case-ignorable being
 * looked through on both sides. */
static bool is_final_sigma(const uint32_t *in, size_t n, size_t at)
{
    size_t i = at;

    while (i > 0 && FIND(case_ignorable, in[i - 1]))
        i--;
    if (i == 0 || !FIND(cased, in[i - 1]))
        return false;
    for (i = at + 1; i < n && FIND(case_ignorable, in[i]); i++)
        ;
    return i == n || !FIND(cased, in[i]);
}

void lx_points_lower(lx_points *out, const uint32_t *in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct lower_range *r = FIND(lowers, in[i]);
        uint32_t c = in[i];

        if (c == 0x130) { /* the one character whose lower case is two */
            lx_points_push(out, 'i');
            c = 0x307;
        } else if (c == 0x3A3) {
            c = is_final_sigma(in, n, i) ? 0x3C2 : 0x3C3;
        } else if (r && (c - r->first) % (uint32_t)r->step == 0) {
            c = (uint32_t)((int64_t)c + r->delta);
        }
        lx_points_push(out, c);
    }
}

/* Hangul syllables, section 3.12. */
enum { S0 = 0xAC00, L0 = 0x1100, V0 = 0x1161, T0 = 0x11A7, NL = 19, NV = 21, NT = 28 };

static int combining_class(uint32_t c)
{
    const struct ccc_range *r = c < 0x300 ? NULL : FIND(cccs, c);
    return r ? r->class : 0;
}

/* Rows sorted by their first `keys` members. */
static const uint32_t *find_row(const uint32_t (*rows)[3], size_t n, int keys, uint32_t a,
                                uint32_t b)
{
    size_t low = 0, high = n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const uint32_t *r = rows[middle];
        if (a < r[0] || (a == r[0] && keys == 2 && b < r[1]))
            high = middle;
        else if (a > r[0] || (keys == 2 && b > r[1]))
            low = middle + 1;
        else
            return r;
    }
    return NULL;
}

static void decompose(lx_points *out, uint32_t c)
{
    uint32_t tail[8]; /* the longest chain in Unicode is 3 */
    size_t n_tail = 0;

    if (c >= S0 && c < S0 + NL * NV * NT) {
        uint32_t s = c - S0;
        lx_points_push(out, L0 + s / (NV * NT));
        lx_points_push(out, V0 + s % (NV * NT) / NT);
        if (s % NT)
            lx_points_push(out, T0 + s % NT);
        return;
    }
    while (c >= 0xC0 && n_tail < COUNT(tail)) {
        const uint32_t *r = find_row(decompositions, COUNT(decompositions), 1, c, 0);
        if (!r)
            break;
        c = r[1];
        if (r[2])
            tail[n_tail++] = r[2];
    }
    lx_points_push(out, c);
    /* The second part of a step decomposes only in one place (U+0344), whose parts do not. */
    while (n_tail > 0) {
        const uint32_t *r =
            find_row(decompositions, COUNT(decompositions), 1, tail[n_tail - 1], 0);
        n_tail--;
        if (!r) {
            lx_points_push(out, tail[n_tail]);
            continue;
        }
        lx_points_push(out, r[1]);
        if (r[2])
            lx_points_push(out, r[2]);
    }
}

/* Stable sort of every run of non-starters by class; runs may be long, so merge by counting. */
static void reorder(lx_points *p)
{
    size_t i = 0;

    while (i < p->n) {
        size_t first = i, end;
        bool sorted = true;
        if (combining_class(p->at[i]) == 0) {
            i++;
            continue;
        }
        for (end = first; end < p->n && combining_class(p->at[end]) != 0; end++)
            sorted = sorted && (end == first || combining_class(p->at[end - 1]) <=
                                                    combining_class(p->at[end]));
        i = end;
        if (sorted)
            continue;
        lx_points run = LX_POINTS_INIT;
        for (int class = 1; class < 256; class++)
            for (size_t k = first; k < end; k++)
                if (combining_class(p->at[k]) == class)
                    lx_points_push(&run, p->at[k]);
        if (run.failed)
            p->failed = true;
        else
            memcpy(p->at + first, run.at, run.n * sizeof(uint32_t));
        lx_points_release(&run);
    }
}

static uint32_t compose_pair(uint32_t a, uint32_t b)
{
    const uint32_t *r;

    if (a >= L0 && a < L0 + NL && b >= V0 && b < V0 + NV)
        return S0 + ((a - L0) * NV + (b - V0)) * NT;
    if (a >= S0 && a < S0 + NL * NV * NT && (a - S0) % NT == 0 && b > T0 && b < T0 + NT)
        return a + (b - T0);
    r = find_row(compositions, COUNT(compositions), 2, a, b);
    return r ? r[2] : 0;
}

/* In place: the result is never longer. */
static void compose(lx_points *p)
{
    size_t starter = SIZE_MAX, out = 0;
    int last_class = 0; /* of what was kept since the starter; 0 = nothing */

    for (size_t i = 0; i < p->n; i++) {
        uint32_t c = p->at[i], whole = 0;
        int class = combining_class(c);

        /* Blocked when something of the same or a higher class, or a starter, is between. */
        if (starter != SIZE_MAX && (out == starter + 1 || (last_class != 0 && last_class < class)))
            whole = compose_pair(p->at[starter], c);
        if (whole) {
            p->at[starter] = whole;
            continue;
        }
        if (class == 0)
            starter = out;
        last_class = class;
        p->at[out++] = c;
    }
    p->n = out;
}

void lx_points_nfc(lx_points *out, const uint32_t *in, size_t n)
{
    lx_points work = LX_POINTS_INIT;

    for (size_t i = 0; i < n; i++)
        decompose(&work, in[i]);
    if (!work.failed)
        reorder(&work);
    if (!work.failed)
        compose(&work);
    if (work.failed)
        out->failed = true;
    else
        lx_points_append(out, work.at, work.n);
    lx_points_release(&work);
}
