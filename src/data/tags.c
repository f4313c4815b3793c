#include "src/data/tags.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/unicode.h"

void lx_tags_release(lx_tags *tags)
{
    lx_free(tags->items);
    *tags = (lx_tags){0};
}

static int push(lx_tags *tags, lx_tag tag, lx_error *err)
{
    if (lx_grow(&tags->items, &tags->capacity, tags->count + 1, sizeof *tags->items) < 0)
        return lx_oom(err);
    tags->items[tags->count++] = tag;
    return LX_OK;
}

int lx_tags_split(lx_tags *out, const char *text, size_t n, const char *separator,
                  lx_error *err)
{
    const char *mark = separator && *separator ? separator : ",", *end = text + n;
    const size_t mark_n = strlen(mark);
    int rc = LX_OK;

    while (text <= end && rc == LX_OK) {
        const char *next =
            text < end ? memmem(text, (size_t)(end - text), mark, mark_n) : NULL;
        lx_tag tag = {text, (size_t)((next ? next : end) - text)};
        lx_unicode_strip(&tag.text, &tag.n);
        if (tag.n)
            rc = push(out, tag, err);
        if (!next)
            break;
        text = next + mark_n;
    }
    return rc;
}

bool lx_tag_equal(const lx_tag *a, const lx_tag *b, bool ignores_case)
{
    lx_str x = LX_STR_INIT, y = LX_STR_INIT;
    bool is_equal = a->n == b->n && memcmp(a->text, b->text, a->n) == 0;

    if (is_equal || !ignores_case)
        return is_equal;
    lx_str_put_lower(&x, a->text, a->n);
    lx_str_put_lower(&y, b->text, b->n);
    is_equal =
        !x.failed && !y.failed && x.len == y.len && memcmp(x.data, y.data, x.len) == 0;
    lx_str_release(&x);
    lx_str_release(&y);
    return is_equal;
}

char *lx_tag_fold(const lx_tag *tag, lx_arena *arena)
{
    lx_str lower = LX_STR_INIT;
    char *out, *to;

    lx_str_put_lower(&lower, tag->text, tag->n);
    out = to =
        lower.failed ? NULL : lx_arena_strndup(arena, lx_str_text(&lower), lower.len);
    for (const char *from = out; from && *from; from++) {
        const char c = *from == '_' || *from == '\t' ? ' ' : *from;
        if (c == '\\' || (c == ' ' && to > out && to[-1] == ' '))
            continue;
        *to++ = c;
    }
    if (to)
        *to = '\0';
    lx_str_release(&lower);
    return out;
}

/* ---- edits -------------------------------------------------------------------------------- */

static size_t find(const lx_tags *tags, const lx_tag *tag, bool ignores_case)
{
    for (size_t i = 0; i < tags->count; i++)
        if (lx_tag_equal(&tags->items[i], tag, ignores_case))
            return i;
    return SIZE_MAX;
}

static void take_out(lx_tags *tags, size_t at)
{
    tags->count--;
    memmove(&tags->items[at], &tags->items[at + 1],
            (tags->count - at) * sizeof *tags->items);
}

static bool remove_all(lx_tags *tags, const lx_tag *tag, bool ignores_case)
{
    const size_t before = tags->count;

    for (size_t at; (at = find(tags, tag, ignores_case)) != SIZE_MAX;)
        take_out(tags, at);
    return tags->count != before;
}

static int prepend(lx_tags *tags, const lx_tag_edit *edit, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = edit->tags.count; i-- > 0 && rc == LX_OK;) {
        const lx_tag *tag = &edit->tags.items[i];
        remove_all(tags, tag, edit->ignores_case);
        if ((rc = push(tags, *tag, err)) < 0)
            break;
        memmove(&tags->items[1], &tags->items[0],
                (tags->count - 1) * sizeof *tags->items);
        tags->items[0] = *tag;
    }
    return rc;
}

static int append(lx_tags *tags, const lx_tag_edit *edit, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; i < edit->tags.count && rc == LX_OK; i++)
        if (find(tags, &edit->tags.items[i], edit->ignores_case) == SIZE_MAX)
            rc = push(tags, edit->tags.items[i], err);
    return rc;
}

/* The first stays. */
static void dedupe(lx_tags *tags, bool ignores_case)
{
    for (size_t i = 1; i < tags->count;) {
        const lx_tags before = {tags->items, i, 0};
        if (find(&before, &tags->items[i], ignores_case) != SIZE_MAX)
            take_out(tags, i);
        else
            i++;
    }
}

static void replace(lx_tags *tags, const lx_tag_edit *edit)
{
    const lx_tag *old = &edit->tags.items[0], *new = &edit->tags.items[1];
    bool has_new = false;

    if (find(tags, old, edit->ignores_case) == SIZE_MAX)
        return;
    for (size_t i = 0; i < tags->count; i++)
        if (lx_tag_equal(&tags->items[i], old, edit->ignores_case))
            tags->items[i] = *new;
    for (size_t i = 0; i < tags->count;) {
        const bool is_new = lx_tag_equal(&tags->items[i], new, false);
        if (is_new && has_new)
            take_out(tags, i);
        else
            i++;
        has_new |= is_new;
    }
}

static int by_bytes(const void *a, const void *b)
{
    const lx_tag *x = a, *y = b;
    const size_t n = x->n < y->n ? x->n : y->n;
    const int order = memcmp(x->text, y->text, n);

    return order ? order : (x->n > y->n) - (x->n < y->n);
}

static int apply(lx_tags *tags, const lx_tag_edit *edit, lx_error *err)
{
    switch (edit->kind) {
    case LX_TAG_PREPEND:
        return prepend(tags, edit, err);
    case LX_TAG_APPEND:
        return append(tags, edit, err);
    case LX_TAG_REMOVE:
        for (size_t i = 0; i < edit->tags.count; i++)
            remove_all(tags, &edit->tags.items[i], edit->ignores_case);
        break;
    case LX_TAG_REPLACE:
        replace(tags, edit);
        break;
    case LX_TAG_DEDUPE:
        dedupe(tags, edit->ignores_case);
        break;
    case LX_TAG_SORT:
        if (tags->count > edit->n_kept)
            qsort(tags->items + edit->n_kept, tags->count - edit->n_kept,
                  sizeof *tags->items, by_bytes);
    }
    return LX_OK;
}

static bool same(const lx_tags *a, const lx_tags *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!lx_tag_equal(&a->items[i], &b->items[i], false))
            return false;
    return true;
}

static int edit_line(lx_str *out, size_t *n_changed, const lx_tag_edit *edit,
                     const char *line, size_t n, lx_error *err)
{
    const char *separator = edit->separator && *edit->separator ? edit->separator : ",";
    lx_tags before = {0}, after = {0};
    int rc;

    if ((rc = lx_tags_split(&before, line, n, separator, err)) == LX_OK &&
        (rc = lx_tags_split(&after, line, n, separator, err)) == LX_OK)
        rc = apply(&after, edit, err);
    if (rc == LX_OK && same(&before, &after)) {
        lx_str_append(out, line, n);
    } else if (rc == LX_OK) {
        ++*n_changed;
        for (size_t i = 0; i < after.count; i++) {
            if (i)
                lx_str_printf(out, "%s ", separator);
            lx_str_append(out, after.items[i].text, after.items[i].n);
        }
    }
    lx_tags_release(&before);
    lx_tags_release(&after);
    return rc;
}

static bool has_text(const char *line, size_t n)
{
    lx_unicode_strip(&line, &n);
    return n > 0;
}

int lx_tags_edit(lx_str *out, size_t *n_changed, const lx_tag_edit *edit,
                 const char *bytes, size_t n, lx_error *err)
{
    const char *p = bytes, *end = bytes + n;
    bool is_first = true;
    int rc = LX_OK;

    *n_changed = 0;
    if (n >= 3 && memcmp(p, "\xEF\xBB\xBF", 3) == 0) {
        lx_str_append(out, p, 3);
        p += 3;
    }
    while ((p < end || is_first) && rc == LX_OK) {
        const char *q = p;
        while (q < end && *q != '\n' && *q != '\r')
            q++;
        /* The first line is the caption, even one without text. */
        if (is_first || has_text(p, (size_t)(q - p)))
            rc = edit_line(out, n_changed, edit, p, (size_t)(q - p), err);
        else
            lx_str_append(out, p, (size_t)(q - p));
        is_first = false;
        for (p = q; p < end && (*p == '\n' || *p == '\r') &&
                    (p == q || (p[-1] == '\r' && *p == '\n'));
             p++)
            lx_str_putc(out, *p);
    }
    return rc < 0 ? rc : lx_str_check(out, err);
}
