#include "src/lora/counts.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/json_reader.h"
#include "src/base/plain_run.h"

typedef struct list {
    void *items;
    size_t count, capacity, first; /* first: items that there may be, by the text; or 0 */
} list;

/* Twice the room; the arena keeps what became too small. */
static bool make_room(list *l, size_t item, lx_arena *arena)
{
    const size_t capacity = l->capacity ? l->capacity * 2 : l->first ? l->first : 64;
    void *more = lx_arena_alloc(arena, capacity * item);

    if (!more)
        return false;
    if (l->count)
        memcpy(more, l->items, l->count * item);
    l->items = more;
    l->capacity = capacity;
    return true;
}

/* Room for one more item, which is all zeros. */
static void *push(list *l, size_t item, lx_arena *arena)
{
    if (l->count == l->capacity && !make_room(l, item, arena))
        return NULL;
    return memset((char *)l->items + l->count++ * item, 0, item);
}

static int read_name(const char **out, size_t *n, const lx_json_reader *r,
                     lx_arena *arena, lx_error *err)
{
    char *copy = lx_arena_alloc(arena, r->token_n + 8);
    bool is_printable;

    if (!copy)
        return lx_oom(err);
    *n = lx_json_copy(copy, &is_printable, r);
    *out = copy;
    return LX_OK;
}

/* ---- the usual form ------------------------------------------------------ */

/*
 * {"group": {"name": 12, "name": 3}} with whole numbers of at most nine digits. Whatever else comes, the whole text is
 * left to the reader below. What a processor must guess costs more here than what it computes: how long a name is and
 * how many digits a number has is found without a loop in nearly all cases.
 */
static const char *skip_space(const char *p, const char *end)
{
    while (p < end && *p == ' ')
        p++;
    return p;
}

/* Where the plain letters at p end. */
static inline const char *plain_end(const char *p, const char *end)
{
    if (end - p >= 32) {
        const uint64_t specials = lx_specials_of_16(p) | lx_specials_of_16(p + 16) << 16;
        if (specials)
            return p + __builtin_ctzll(specials);
        p += 32;
    }
    return lx_plain_run(p, end);
}

/* A name with escapes or letters beyond ASCII, from its quote on: copied. NULL: unsound, or *rc is LX_ENOMEM. */
static const char *other_name(const char **name, size_t *n, const char *p,
                              const char *end, lx_arena *arena, int *rc)
{
    lx_json_reader r = lx_json_reader_of(p, (size_t)(end - p));

    if (lx_json_next(&r, NULL) < 0)
        return NULL;
    *rc = read_name(name, n, &r, arena, NULL);
    return *rc < 0 ? NULL : p + r.at;
}

/* "name": - behind the colon and spaces, or NULL. */
static inline const char *quick_name(const char **name, size_t *n, const char *p,
                                     const char *end, lx_arena *arena, int *rc)
{
    const char *begin = p + 1;

    if (p == end || *p != '"')
        return NULL;
    p = plain_end(begin, end);
    *name = begin;
    *n = (size_t)(p - begin);
    if (p < end && *p == '"')
        p++;
    else if (!(p = other_name(name, n, begin - 1, end, arena, rc)))
        return NULL;
    p = skip_space(p, end);
    return p < end && *p == ':' ? skip_space(p + 1, end) : NULL;
}

static const char *slow_number(double *out, const char *p, const char *end)
{
    int value = 0, digits = 0;

    for (; p < end && *p >= '0' && *p <= '9' && digits < 10; p++, digits++)
        value = digits < 9 ? value * 10 + (*p - '0') : value;
    if (!digits || digits > 9 || (digits > 1 && p[-digits] == '0'))
        return NULL;
    *out = value;
    return p;
}

/* Up to seven digits among eight bytes, taken as one word. */
static inline const char *quick_number(double *out, const char *p, const char *end)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (end - p >= 8) {
        uint64_t x, others;
        memcpy(&x, p, 8);
        x ^= LX_EACH_BYTE('0');
        others = (x | (x + LX_EACH_BYTE(0x76))) & LX_EACH_BYTE(0x80); /* no digit */
        if (others) {
            const unsigned n = (unsigned)__builtin_ctzll(others) / 8;
            if (!n || (n > 1 && !(x & 0xFF)))
                return NULL;
            x <<= 8 * (8 - n); /* zeros in front */
            x = (x * 10 + (x >> 8)) & 0x00FF00FF00FF00FF;
            x = (x * 100 + (x >> 16)) & 0x0000FFFF0000FFFF;
            *out = (double)(uint32_t)(x * 10000 + (x >> 32));
            return p + n;
        }
    }
#endif
    return slow_number(out, p, end);
}

enum { LOOKED_AT = 512, BEYOND = 16 };

/* Where special bytes stand among the next LOOKED_AT: up to eight of 64 without a branch, which is nearly always all. */
static size_t find_specials(uint16_t *at, const char *p)
{
    size_t n = 0;

    for (unsigned begin = 0; begin < LOOKED_AT; begin += 64) {
        uint64_t specials = lx_specials_of_64(p + begin);
#pragma GCC unroll 8
        for (int k = 0; k < 8; k++) {
            at[n] = (uint16_t)(begin + (unsigned)__builtin_ctzll(specials | 1ull << 63));
            n += specials != 0;
            specials &= specials - 1;
        }
        for (; specials; specials &= specials - 1)
            at[n++] = (uint16_t)(begin + (unsigned)__builtin_ctzll(specials));
    }
    return n;
}

/* "name": 12, " with these spaces, its three quotes at at[0], at[1] and at[2]. */
static inline bool is_usual_item(lx_counted *out, const char *p, const uint16_t *at)
{
    const char *close = p + at[1];
    const unsigned n = (unsigned)(at[2] - at[1]) - 5; /* digits */
    const char *next;

    if (n - 1 > 6)
        return false;
    next = p + at[2];
    out->name = p + at[0] + 1;
    out->n = (size_t)(at[1] - at[0]) - 1;
    return (p[at[0]] == '"') & (*close == '"') & (*next == '"') & (close[1] == ':') &
               (close[2] == ' ') & (next[-2] == ',') & (next[-1] == ' ') &&
           quick_number(&out->count, close + 3, next + BEYOND) == next - 2;
}

/*
 * Items of the usual spelling, many at a time, up to the name that is returned: where the next one begins does not have
 * to wait for the one before it to be read. NULL: no memory.
 */
static const char *usual_items(list *items, const char *p, const char *end,
                               lx_arena *arena)
{
    uint16_t at[LOOKED_AT + 8];

    while (end - p >= LOOKED_AT + BEYOND && *p == '"') {
        const size_t n = find_specials(at, p);
        size_t i = 0;
        for (; i + 2 < n; i += 2) {
            if (items->count == items->capacity &&
                !make_room(items, sizeof(lx_counted), arena))
                return NULL;
            if (!is_usual_item((lx_counted *)items->items + items->count, p, at + i))
                return p + at[i];
            items->count++;
        }
        if (!i)
            break; /* a long name */
        p += at[i];
    }
    return p;
}

/* An item of any spelling without fractions: up to what follows it, or NULL. */
static const char *one_item(list *items, const char *p, const char *end, lx_arena *arena,
                            int *rc)
{
    lx_counted *item;

    if (items->count == items->capacity && !make_room(items, sizeof *item, arena)) {
        *rc = LX_ENOMEM;
        return NULL;
    }
    item = (lx_counted *)items->items + items->count;
    if (!(p = quick_name(&item->name, &item->n, p, end, arena, rc)) ||
        !(p = quick_number(&item->count, p, end)))
        return NULL;
    items->count++;
    return skip_space(p, end);
}

/* From behind the opening brace to behind the closing one. *rc: LX_ENOMEM. */
static const char *quick_group(lx_count_group *out, const char *p, const char *end,
                               lx_arena *arena, int *rc)
{
    enum { TEXT_OF_ONE = 16, MOST_AT_FIRST = 1024, PATIENCE = 16 };
    const size_t n = (size_t)(end - p) / TEXT_OF_ONE + 1;
    list items = {.first = n < MOST_AT_FIRST ? n : MOST_AT_FIRST};
    size_t wait = 0; /* items before another try, where the last one found none */

    p = skip_space(p, end);
    if (p < end && *p == '}')
        return p + 1;
    for (;; p = skip_space(p + 1, end)) {
        const size_t before = items.count;
        if (wait) {
            wait--;
        } else if (!(p = usual_items(&items, p, end, arena))) {
            *rc = LX_ENOMEM;
            return NULL;
        } else {
            wait = items.count == before ? PATIENCE : 0;
        }
        if (!(p = one_item(&items, p, end, arena, rc)) || p == end ||
            (*p != ',' && *p != '}'))
            return NULL;
        if (*p == '}')
            break;
    }
    out->items = items.items;
    out->n_items = items.count;
    return p + 1;
}

/* 1: read. 0: not of this form. LX_ENOMEM. */
static int read_quickly(lx_counts *out, const char *p, const char *end, lx_arena *arena)
{
    list groups = {0};
    int rc = 0;

    if (p == end || *p != '{')
        return 0;
    for (p++;; p++) {
        lx_count_group *group;
        const char *name;
        size_t n;
        if (!(p = quick_name(&name, &n, skip_space(p, end), end, arena, &rc)) ||
            p == end || *p != '{')
            return rc;
        if (!(group = push(&groups, sizeof *group, arena)) ||
            !(group->name = lx_arena_strndup(arena, name, n)))
            return LX_ENOMEM;
        if (!(p = quick_group(group, p + 1, end, arena, &rc)))
            return rc;
        p = skip_space(p, end);
        if (p == end || (*p != ',' && *p != '}'))
            return 0;
        if (*p == '}')
            break;
    }
    if (skip_space(p + 1, end) != end)
        return 0;
    out->groups = groups.items;
    out->n_groups = groups.count;
    return 1;
}

/* ---- any form ------------------------------------------------------------ */

static int read_group(lx_count_group *out, lx_json_reader *r, lx_arena *arena,
                      lx_error *err)
{
    list items = {0};
    int kind, rc;

    while ((kind = lx_json_next(r, err)) == LX_JSON_KEY) {
        lx_counted *item = push(&items, sizeof *item, arena);
        if (!item)
            return lx_oom(err);
        if ((rc = read_name(&item->name, &item->n, r, arena, err)) < 0 ||
            (rc = lx_json_next(r, err)) < 0)
            return rc;
        if (rc == LX_JSON_NUMBER)
            item->count = strtod(r->token, NULL);
        else if ((rc = lx_json_skip(r, rc, err)) < 0)
            return rc;
    }
    out->items = items.items;
    out->n_items = items.count;
    return kind < 0 ? kind : LX_OK;
}

int lx_counts_parse(lx_counts *out, const char *text, lx_arena *arena, lx_error *err)
{
    const size_t n = text ? strlen(text) : 0;
    lx_json_reader r = lx_json_reader_of(text, n);
    list groups = {0};
    int kind, rc;

    *out = (lx_counts){0};
    if (!text)
        return LX_OK;
    if ((rc = read_quickly(out, text, text + n, arena)) != 0)
        return rc < 0 ? lx_oom(err) : LX_OK;
    if ((kind = lx_json_next(&r, err)) < 0)
        return kind;
    if (kind != LX_JSON_OBJECT) {
        if ((rc = lx_json_skip(&r, kind, err)) < 0)
            return rc;
        return lx_json_next(&r, err);
    }
    while ((kind = lx_json_next(&r, err)) == LX_JSON_KEY) {
        lx_count_group *group = push(&groups, sizeof *group, arena);
        size_t n_name;
        if (!group)
            return lx_oom(err);
        if ((rc = read_name(&group->name, &n_name, &r, arena, err)) < 0 ||
            (kind = lx_json_next(&r, err)) < 0)
            return rc < 0 ? rc : kind;
        rc = kind == LX_JSON_OBJECT ? read_group(group, &r, arena, err)
                                    : lx_json_skip(&r, kind, err);
        if (rc < 0)
            return rc;
    }
    if (kind < 0 || (kind = lx_json_next(&r, err)) < 0)
        return kind;
    out->groups = groups.items;
    out->n_groups = groups.count;
    return LX_OK;
}

const lx_count_group *lx_counts_find(const lx_counts *counts, const char *name)
{
    for (size_t i = 0; i < counts->n_groups; i++)
        if (strcmp(counts->groups[i].name, name) == 0)
            return &counts->groups[i];
    return NULL;
}

double lx_counted_get(const lx_count_group *group, const char *name, double otherwise)
{
    size_t n = strlen(name);

    for (size_t i = 0; group && i < group->n_items; i++)
        if (group->items[i].n == n && memcmp(group->items[i].name, name, n) == 0)
            return group->items[i].count;
    return otherwise;
}
