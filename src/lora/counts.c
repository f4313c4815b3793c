#include "src/lora/counts.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/json_reader.h"
#include "src/base/plain_run.h"

typedef struct list {
    void *items;
    size_t count, capacity, first; /* first: items that there may be, by the text; or 0 */
} list;

/* Room for one more item; the arena keeps what became too small. */
static void *push(list *l, size_t item, lx_arena *arena)
{
    void *one;

    if (l->count == l->capacity) {
        size_t capacity = l->capacity ? l->capacity * 2 : l->first ? l->first : 64;
        void *more = lx_arena_alloc(arena, capacity * item);
        if (!more)
            return NULL;
        if (l->count)
            memcpy(more, l->items, l->count * item);
        l->items = more;
        l->capacity = capacity;
    }
    one = (char *)l->items + l->count++ * item;
    return memset(one, 0, item);
}

/* ---- the usual form ------------------------------------------------------ */

/*
 * {"group": {"name": 12, "name": 3}} with names of printable ASCII without escapes and
 * whole numbers of at most nine digits. Whatever else comes, the whole text is left to the
 * reader below.
 */
static const char *skip_space(const char *p, const char *end)
{
    while (p < end && *p == ' ')
        p++;
    return p;
}

/* "name": - behind the colon and spaces, or NULL. */
static const char *quick_name(const char **name, size_t *n, const char *p,
                              const char *end)
{
    if (p == end || *p != '"')
        return NULL;
    *name = ++p;
    p = lx_plain_run(p, end);
    if (p == end || *p != '"')
        return NULL;
    *n = (size_t)(p - *name);
    p = skip_space(p + 1, end);
    return p < end && *p == ':' ? skip_space(p + 1, end) : NULL;
}

static const char *quick_number(double *out, const char *p, const char *end)
{
    int value = 0, digits = 0;

    for (; p < end && *p >= '0' && *p <= '9' && digits < 10; p++, digits++)
        value = digits < 9 ? value * 10 + (*p - '0') : value;
    if (!digits || digits > 9 || (digits > 1 && p[-digits] == '0'))
        return NULL;
    *out = value;
    return skip_space(p, end);
}

/* From behind the opening brace to behind the closing one. *rc: LX_ENOMEM. */
static const char *quick_group(lx_count_group *out, const char *p, const char *end,
                               lx_arena *arena, int *rc)
{
    enum { TEXT_OF_ONE = 16, MOST_AT_FIRST = 1024 };
    const size_t n = (size_t)(end - p) / TEXT_OF_ONE + 1;
    list items = {.first = n < MOST_AT_FIRST ? n : MOST_AT_FIRST};

    p = skip_space(p, end);
    if (p < end && *p == '}')
        return p + 1;
    for (;; p = skip_space(p + 1, end)) {
        lx_counted one, *item;
        if (!(p = quick_name(&one.name, &one.n, p, end)) ||
            !(p = quick_number(&one.count, p, end)) || p == end ||
            (*p != ',' && *p != '}'))
            return NULL;
        if (!(item = push(&items, sizeof one, arena))) {
            *rc = LX_ENOMEM;
            return NULL;
        }
        *item = one;
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
        if (!(p = quick_name(&name, &n, skip_space(p, end), end)) || p == end ||
            *p != '{')
            return 0;
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
