#include "src/data/metadata_file.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/str.h"
#include "src/base/unicode.h"

/* Grows on the heap, settles in the arena. */
typedef struct reader {
    lx_arena *arena;
    lx_metadata_image *images;
    size_t count, capacity;
} reader;

/* A text or null; anything else is an error. */
static int take_text(const char **out, reader *r, const cJSON *entry, const char *name,
                     lx_error *err)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(entry, name);

    *out = NULL;
    if (!value || cJSON_IsNull(value))
        return LX_OK;
    if (!cJSON_IsString(value))
        return lx_fail(err, LX_EFORMAT, "\"%s\" must be a text", name);
    *out = lx_arena_strdup(r->arena, value->valuestring);
    return *out ? LX_OK : lx_oom(err);
}

static int add(reader *r, const char *key, const cJSON *entry, lx_error *err)
{
    lx_metadata_image image = {.key = lx_arena_strdup(r->arena, key)};
    int rc;

    if (!image.key)
        return lx_oom(err);
    if (!*key)
        return lx_fail(err, LX_EFORMAT, "the name of an image is empty");
    if (!cJSON_IsObject(entry))
        return lx_fail(err, LX_EFORMAT,
                       "{\"caption\": ..., \"tags\": ...} is wanted here");
    if ((rc = take_text(&image.caption, r, entry, "caption", err)) < 0 ||
        (rc = take_text(&image.tags, r, entry, "tags", err)) < 0)
        return rc;
    if (lx_grow(&r->images, &r->capacity, r->count + 1, sizeof image) < 0)
        return lx_oom(err);
    r->images[r->count++] = image;
    return LX_OK;
}

static int read_object(reader *r, const char *text, size_t n, lx_error *err)
{
    cJSON *root = NULL;
    int rc = lx_json_parse(&root, text, n, err);

    if (rc == LX_OK && !cJSON_IsObject(root))
        rc = lx_fail(err, LX_EFORMAT, "an object of images by their names is wanted");
    for (const cJSON *item = rc == LX_OK ? root->child : NULL; item && rc == LX_OK;
         item = item->next)
        if ((rc = add(r, item->string, item, err)) < 0)
            lx_within(err, "\"%.200s\"", item->string);
    cJSON_Delete(root);
    return rc;
}

static int read_line(reader *r, const char *text, size_t n, lx_error *err)
{
    cJSON *root = NULL;
    const char *key;
    int rc = lx_json_parse(&root, text, n, err);

    if (rc == LX_OK) {
        key = lx_json_text(root, "image_path");
        rc = key ? add(r, key, root, err)
                 : lx_fail(err, LX_EFORMAT,
                           "{\"image_path\": ...} is wanted in every line");
    }
    cJSON_Delete(root);
    return rc;
}

static int read_lines(reader *r, const char *text, size_t n, lx_error *err)
{
    const char *end = text + n;
    size_t line = 1;
    int rc = LX_OK;

    for (; text < end && rc == LX_OK; line++) {
        const char *stop = memchr(text, '\n', (size_t)(end - text)), *from = text;
        size_t length = (size_t)((stop ? stop : end) - text);

        lx_unicode_strip(&from, &length);
        if (length && (rc = read_line(r, from, length, err)) < 0)
            lx_within(err, "line %zu", line);
        text = stop ? stop + 1 : end;
    }
    return rc;
}

static int by_key(const void *a, const void *b)
{
    const lx_metadata_image *const *x = a, *const *y = b;
    const int order = strcmp((*x)->key, (*y)->key);

    return order ? order : (*x > *y) - (*x < *y);
}

/* What is said again of an image takes the place of what was, as in the peer. */
static int settle_repeats(reader *r, lx_error *err)
{
    lx_metadata_image **sorted = lx_calloc(r->count, sizeof *sorted);
    size_t n = 0, end;

    if (!sorted)
        return lx_oom(err);
    for (size_t i = 0; i < r->count; i++)
        sorted[i] = &r->images[i];
    qsort(sorted, r->count, sizeof *sorted, by_key);
    for (size_t i = 0; i < r->count; i = end) {
        for (end = i + 1; end < r->count && strcmp(sorted[end]->key, sorted[i]->key) == 0; end++)
            ;
        *sorted[i] = *sorted[end - 1];
        for (size_t k = i + 1; k < end; k++)
            sorted[k]->key = NULL;
    }
    for (size_t i = 0; i < r->count; i++)
        if (r->images[i].key)
            r->images[n++] = r->images[i];
    r->count = n;
    lx_free(sorted);
    return LX_OK;
}

int lx_metadata_file_read(lx_metadata_file *out, const char *path, lx_arena *arena,
                          lx_error *err)
{
    reader r = {.arena = arena};
    lx_str text = LX_STR_INIT;
    int rc = lx_file_read(&text, path, LX_METADATA_FILE_BYTES, err);

    *out = (lx_metadata_file){0};
    if (rc < 0)
        goto done; /* has the path */
    rc = lx_ends_with(path, ".jsonl")
             ? read_lines(&r, lx_str_text(&text), text.len, err)
             : read_object(&r, lx_str_text(&text), text.len, err);
    if (rc == LX_OK && !r.count)
        rc = lx_fail(err, LX_EFORMAT, "no images in it");
    if (rc == LX_OK)
        rc = settle_repeats(&r, err);
    if (rc < 0) {
        lx_within(err, "%s", path);
        goto done;
    }
    if (!(out->images = lx_arena_calloc(arena, r.count, sizeof *out->images))) {
        rc = lx_oom(err);
        goto done;
    }
    memcpy(out->images, r.images, r.count * sizeof *out->images);
    out->count = r.count;
done:
    lx_free(r.images);
    lx_str_release(&text);
    return rc;
}

/* ---- the caption ------------------------------------------------------------------------- */

static void put_one_line(lx_str *out, const char *tags, const char *separator)
{
    for (const char *t = tags; *t; t++)
        if (*t == '\n')
            lx_str_puts(out, separator);
        else
            lx_str_putc(out, *t);
}

/* Tags after every line of the caption that is not blank; their own lines become one. */
static void put_lines(lx_str *out, const char *caption, const char *tags,
                      const char *separator)
{
    while (*caption) {
        size_t n = strcspn(caption, "\n"), stripped = n;
        const char *from = caption;

        lx_unicode_strip(&from, &stripped);
        if (stripped) {
            lx_str_puts(out, out->len ? "\n" : "");
            lx_str_append(out, caption, n);
            lx_str_puts(out, separator);
            put_one_line(out, tags, separator);
        }
        caption += n + (caption[n] == '\n');
    }
}

static const char *keep(lx_str *text, lx_arena *arena)
{
    const char *copy = text->failed ? NULL : lx_arena_strdup(arena, lx_str_text(text));

    lx_str_release(text);
    return copy;
}

const char *lx_metadata_caption(const lx_metadata_image *image, const char *separator,
                                bool enable_wildcard, lx_arena *arena)
{
    const char *caption = image->caption ? image->caption : "";
    const char *tags = image->tags ? image->tags : "";
    lx_str text = LX_STR_INIT;

    if (enable_wildcard && image->tags)
        put_lines(&text, caption, tags, separator);
    else
        lx_str_printf(&text, "%s%s%s", caption, *caption && *tags ? separator : "", tags);
    return keep(&text, arena);
}

const char *lx_metadata_tags(const lx_metadata_image *image, const char *separator,
                             bool enable_wildcard, lx_arena *arena)
{
    const char *tags = image->tags ? image->tags : "";
    lx_str text = LX_STR_INIT;

    if (!enable_wildcard)
        return tags;
    put_one_line(&text, tags, separator);
    return keep(&text, arena);
}
