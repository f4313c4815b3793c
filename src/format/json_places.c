#include "src/format/json_places.h"

#include "src/base/alloc.h"
#include "src/base/json_reader.h"

typedef struct walker {
    lx_json_reader reader;
    lx_toml_places *places;
    const char *text;
    size_t seen, line_start; /* bytes counted so far, and where their last line begins */
    int line;
} walker;

static int put(walker *w, const cJSON *value, size_t at)
{
    lx_toml_places *p = w->places;

    for (; w->seen < at; w->seen++)
        if (w->text[w->seen] == '\n') {
            w->line++;
            w->line_start = w->seen + 1;
        }
    if (lx_grow(&p->items, &p->capacity, p->count + 1, sizeof *p->items) < 0)
        return LX_ENOMEM;
    p->items[p->count++] = (lx_toml_place){.value = value,
                                           .line = w->line,
                                           .column = (int)(at - w->line_start) + 1,
                                           .byte = at};
    return LX_OK;
}

/* The reader gives the tokens of the tree in its own order: a value, then its children. The parser has
 * limited the depth. */
static int walk(walker *w, const cJSON *value)
{
    int kind = lx_json_next(&w->reader, NULL), rc;
    size_t at = w->reader.offset;

    if (kind == LX_JSON_KEY)
        kind = lx_json_next(&w->reader, NULL);
    if (kind <= 0 || (rc = put(w, value, at)) < 0)
        return kind <= 0 ? LX_EFORMAT : rc;
    if (kind != LX_JSON_OBJECT && kind != LX_JSON_ARRAY)
        return LX_OK;
    for (const cJSON *child = value->child; child; child = child->next)
        if ((rc = walk(w, child)) < 0)
            return rc;
    return lx_json_next(&w->reader, NULL) > 0 ? LX_OK : LX_EFORMAT; /* its end */
}

int lx_json_places(lx_toml_places *places, const cJSON *root, const char *text, size_t n,
                   lx_error *err)
{
    walker w = {
        .reader = lx_json_reader_of(text, n), .places = places, .text = text, .line = 1};

    *places = (lx_toml_places){0};
    if (walk(&w, root) == LX_ENOMEM)
        return lx_oom(err);
    lx_toml_places_sort(places);
    return LX_OK;
}
