#include "src/compare/data.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/unicode.h"

/* ---- images -------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    const lx_data_image *x = a, *y = b;
    int order = strcmp(x->folder, y->folder);
    return order ? order : strcmp(x->name, y->name);
}

static int by_hash(const void *a, const void *b)
{
    const lx_data_image *x = *(const lx_data_image *const *)a;
    const lx_data_image *y = *(const lx_data_image *const *)b;
    int order = strcmp(x->hash, y->hash);
    return order ? order : by_name(x, y);
}

static int by_kind(const void *a, const void *b)
{
    const lx_data_change *x = a, *y = b;
    if (x->kind != y->kind)
        return (int)x->kind - (int)y->kind;
    return by_name(x->a ? x->a : x->b, y->a ? y->a : y->b);
}

typedef struct matcher {
    lx_data_changes *out;
    const lx_data_image **only_a, **only_b;
    size_t n_only_a, n_only_b;
} matcher;

static void tell(matcher *m, lx_data_change_kind kind, const lx_data_image *a,
                 const lx_data_image *b)
{
    m->out->items[m->out->count++] = (lx_data_change){kind, a, b};
}

static const char *latents_of(const lx_data_image *image)
{
    return image->latents ? image->latents : "";
}

static void pair(matcher *m, const lx_data_image *a, const lx_data_image *b,
                 bool is_moved)
{
    size_t before = m->out->count;

    if (is_moved)
        tell(m, LX_DATA_MOVED, a, b);
    else if (strcmp(a->hash, b->hash) != 0)
        tell(m, LX_DATA_BYTES, a, b);
    else if (strcmp(latents_of(a), latents_of(b)) != 0)
        tell(m, LX_DATA_LATENTS, a, b);
    if (strcmp(a->caption, b->caption) != 0)
        tell(m, LX_DATA_CAPTION, a, b);
    m->out->n_same += m->out->count == before;
}

static void match_names(matcher *m, const lx_data_image *a, size_t n_a,
                        const lx_data_image *b, size_t n_b)
{
    size_t i = 0, k = 0;

    while (i < n_a || k < n_b) {
        int order = i == n_a ? 1 : k == n_b ? -1 : by_name(&a[i], &b[k]);
        if (order == 0)
            pair(m, &a[i++], &b[k++], false);
        else if (order < 0)
            m->only_a[m->n_only_a++] = &a[i++];
        else
            m->only_b[m->n_only_b++] = &b[k++];
    }
}

static void match_bytes(matcher *m)
{
    size_t i = 0, k = 0;

    qsort(m->only_a, m->n_only_a, sizeof *m->only_a, by_hash);
    qsort(m->only_b, m->n_only_b, sizeof *m->only_b, by_hash);
    while (i < m->n_only_a || k < m->n_only_b) {
        int order = i == m->n_only_a   ? 1
                    : k == m->n_only_b ? -1
                                       : strcmp(m->only_a[i]->hash, m->only_b[k]->hash);
        if (order == 0)
            pair(m, m->only_a[i++], m->only_b[k++], true);
        else if (order < 0)
            tell(m, LX_DATA_REMOVED, m->only_a[i++], NULL);
        else
            tell(m, LX_DATA_ADDED, NULL, m->only_b[k++]);
    }
}

int lx_compare_data(lx_data_changes *out, lx_data_image *a, size_t n_a, lx_data_image *b,
                    size_t n_b, lx_arena *arena, lx_error *err)
{
    matcher m = {.out = out};

    *out = (lx_data_changes){0};
    m.only_a = lx_arena_calloc(arena, n_a + 1, sizeof *m.only_a);
    m.only_b = lx_arena_calloc(arena, n_b + 1, sizeof *m.only_b);
    out->items = lx_arena_calloc(arena, 2 * (n_a + n_b) + 1, sizeof *out->items);
    if (!m.only_a || !m.only_b || !out->items)
        return lx_oom(err);
    if (n_a)
        qsort(a, n_a, sizeof *a, by_name);
    if (n_b)
        qsort(b, n_b, sizeof *b, by_name);
    match_names(&m, a, n_a, b, n_b);
    match_bytes(&m);
    qsort(out->items, out->count, sizeof *out->items, by_kind);
    return LX_OK;
}

/* ---- tags ---------------------------------------------------------------- */

typedef struct tag {
    const char *text;
    size_t at; /* in its caption */
    bool is_common;
} tag;

static int split(tag **out, size_t *n, const char *caption, lx_arena *arena,
                 lx_error *err)
{
    size_t most = 1;

    *n = 0;
    for (const char *p = caption ? caption : ""; *p; p++)
        most += *p == ',';
    if (!(*out = lx_arena_calloc(arena, most, sizeof **out)))
        return lx_oom(err);
    for (const char *p = caption; p && *p;) {
        size_t length = strcspn(p, ","), stripped = length;
        const char *text = p;
        lx_unicode_strip(&text, &stripped);
        if (stripped) {
            const char *copy = lx_arena_strndup(arena, text, stripped);
            if (!copy)
                return lx_oom(err);
            (*out)[*n] = (tag){copy, *n, false};
            (*n)++;
        }
        p += length + (p[length] == ',');
    }
    return LX_OK;
}

static int by_text(const void *a, const void *b)
{
    const tag *x = a, *y = b;
    int order = strcmp(x->text, y->text);
    return order ? order : (x->at > y->at) - (x->at < y->at);
}

static int by_place(const void *a, const void *b)
{
    const tag *x = a, *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

/* Marks what both have, each as often as both have it. */
static void mark_common(tag *a, size_t n_a, tag *b, size_t n_b)
{
    qsort(a, n_a, sizeof *a, by_text);
    qsort(b, n_b, sizeof *b, by_text);
    for (size_t i = 0, k = 0; i < n_a && k < n_b;) {
        int order = strcmp(a[i].text, b[k].text);
        if (order == 0)
            a[i].is_common = b[k].is_common = true;
        i += order <= 0;
        k += order >= 0;
    }
    qsort(a, n_a, sizeof *a, by_place);
    qsort(b, n_b, sizeof *b, by_place);
}

static int keep_single(const char ***out, size_t *count, const tag *tags, size_t n,
                       lx_arena *arena, lx_error *err)
{
    *count = 0;
    if (!(*out = lx_arena_calloc(arena, n + 1, sizeof **out)))
        return lx_oom(err);
    for (size_t i = 0; i < n; i++)
        if (!tags[i].is_common)
            (*out)[(*count)++] = tags[i].text;
    return LX_OK;
}

int lx_compare_tags(lx_tag_changes *out, const char *a, const char *b, lx_arena *arena,
                    lx_error *err)
{
    tag *x, *y;
    size_t n_x, n_y;
    int rc;

    *out = (lx_tag_changes){0};
    if ((rc = split(&x, &n_x, a, arena, err)) < 0 ||
        (rc = split(&y, &n_y, b, arena, err)) < 0)
        return rc;
    mark_common(x, n_x, y, n_y);
    if ((rc = keep_single(&out->removed, &out->n_removed, x, n_x, arena, err)) < 0 ||
        (rc = keep_single(&out->added, &out->n_added, y, n_y, arena, err)) < 0)
        return rc;
    out->is_reordered =
        !out->n_added && !out->n_removed && strcmp(a ? a : "", b ? b : "") != 0;
    return LX_OK;
}
