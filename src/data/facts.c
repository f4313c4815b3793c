#include "src/data/facts.h"

#include <string.h>

#include "src/base/alloc.h"
#include "src/base/python.h"
#include "src/base/str.h"
#include "src/base/unicode.h"

/* ---- Python's json.dumps ----------------------------------------------------------------- */

static void put_string(lx_str *out, const char *text, size_t n)
{
    const char *p = text, *end = text + n;
    lx_str_putc(out, '"');
    while (p < end) {
        const unsigned char byte = (unsigned char)*p;
        uint32_t c = lx_utf8_next(&p, end);
        if (c == '"' || c == '\\')
            lx_str_printf(out, "\\%c", (int)c);
        else if (c == '\n')
            lx_str_puts(out, "\\n");
        else if (c == '\r')
            lx_str_puts(out, "\\r");
        else if (c == '\t')
            lx_str_puts(out, "\\t");
        else if (c == '\b')
            lx_str_puts(out, "\\b");
        else if (c == '\f')
            lx_str_puts(out, "\\f");
        else if (c == UINT32_MAX)
            lx_str_printf(out, "\\udc%02x", byte); /* Python's surrogateescape */
        else if (c >= 0x10000)
            lx_str_printf(out, "\\u%04x\\u%04x", 0xD800 + ((c - 0x10000) >> 10),
                          0xDC00 + ((c - 0x10000) & 0x3FF));
        else if (c < 0x20 || c >= 0x7F)
            lx_str_printf(out, "\\u%04x", c);
        else
            lx_str_putc(out, (char)c);
    }
    lx_str_putc(out, '"');
}

static const char *settle(lx_str *text, lx_arena *arena)
{
    const char *copy = text->failed ? NULL : lx_arena_strdup(arena, lx_str_text(text));
    lx_str_release(text);
    return copy;
}

/* ---- folders ----------------------------------------------------------------------------- */

static const char *dirs_json(const lx_dataset *d, bool is_reg, lx_arena *arena)
{
    lx_str out = LX_STR_INIT;
    int n = 0;
    lx_str_putc(&out, '{');
    for (size_t i = 0; i < d->n_folders; i++) {
        const lx_folder *f = &d->folders[i];
        if (f->is_reg != is_reg || !f->n_images)
            continue;
        lx_str_puts(&out, n++ ? ", " : "");
        put_string(&out, f->name, strlen(f->name));
        lx_str_printf(&out, ": {\"n_repeats\": %d, \"img_count\": %zu}", f->repeats, f->n_images);
    }
    lx_str_putc(&out, '}');
    return settle(&out, arena);
}

/* ---- tags -------------------------------------------------------------------------------- */

/* The tags of one folder in the order they are first met; an index by hash over them. */
typedef struct tag_table {
    struct tag {
        char *text;
        size_t n, count;
    } *tags;
    size_t n_tags, capacity;
    size_t *slots, n_slots; /* index + 1 */
} tag_table;

static uint64_t hash_bytes(const char *p, size_t n)
{
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)p[i]) * 0x100000001B3u;
    return h;
}

static int rehash(tag_table *t)
{
    size_t n = t->n_slots ? 2 * t->n_slots : 256;
    size_t *slots = lx_calloc(n, sizeof *slots);
    if (!slots)
        return LX_ENOMEM;
    for (size_t i = 0; i < t->n_tags; i++) {
        size_t at = hash_bytes(t->tags[i].text, t->tags[i].n) % n;
        while (slots[at])
            at = (at + 1) % n;
        slots[at] = i + 1;
    }
    lx_free(t->slots);
    t->slots = slots;
    t->n_slots = n;
    return LX_OK;
}

static int count_tag(tag_table *t, const char *text, size_t n)
{
    size_t at;
    if (2 * t->n_tags >= t->n_slots && rehash(t) < 0)
        return LX_ENOMEM;
    for (at = hash_bytes(text, n) % t->n_slots; t->slots[at]; at = (at + 1) % t->n_slots) {
        struct tag *tag = &t->tags[t->slots[at] - 1];
        if (tag->n == n && memcmp(tag->text, text, n) == 0) {
            tag->count++;
            return LX_OK;
        }
    }
    if (lx_grow(&t->tags, &t->capacity, t->n_tags + 1, sizeof *t->tags) < 0)
        return LX_ENOMEM;
    t->tags[t->n_tags] = (struct tag){lx_strndup(text, n), n, 1};
    if (!t->tags[t->n_tags].text)
        return LX_ENOMEM;
    t->slots[at] = ++t->n_tags;
    return LX_OK;
}

/* Split at commas, stripped, lower-cased; empty ones are no tags. */
static int count_caption(tag_table *t, const char *caption)
{
    lx_str lower = LX_STR_INIT;
    int rc = LX_OK;
    for (const char *from = caption; from && rc == LX_OK;) {
        const char *comma = strchr(from, ',');
        const char *tag = from;
        size_t n = comma ? (size_t)(comma - from) : strlen(from);
        lx_unicode_strip(&tag, &n);
        if (n) {
            lx_str_clear(&lower);
            lx_str_put_lower(&lower, tag, n);
            rc = lower.failed ? LX_ENOMEM : count_tag(t, lx_str_text(&lower), lower.len);
        }
        from = comma ? comma + 1 : NULL;
    }
    lx_str_release(&lower);
    return rc;
}

static void drop_tags(tag_table *t)
{
    for (size_t i = 0; i < t->n_tags; i++)
        lx_free(t->tags[i].text);
    lx_free(t->tags);
    lx_free(t->slots);
}

static int put_folder_tags(lx_str *out, const lx_dataset *d, size_t folder)
{
    tag_table t = {0};
    int rc = LX_OK;

    for (size_t i = 0; i < d->n_images && rc == LX_OK; i++)
        if ((size_t)d->images[i].folder == folder)
            rc = count_caption(&t, d->images[i].caption);
    put_string(out, d->folders[folder].name, strlen(d->folders[folder].name));
    lx_str_puts(out, ": {");
    for (size_t i = 0; i < t.n_tags; i++) {
        lx_str_puts(out, i ? ", " : "");
        put_string(out, t.tags[i].text, t.tags[i].n);
        lx_str_printf(out, ": %zu", t.tags[i].count);
    }
    lx_str_putc(out, '}');
    drop_tags(&t);
    return rc;
}

static const char *tags_json(const lx_dataset *d, lx_arena *arena)
{
    lx_str out = LX_STR_INIT;
    lx_str_putc(&out, '{');
    for (size_t i = 0; i < d->n_folders; i++) {
        lx_str_puts(&out, i ? ", " : "");
        if (put_folder_tags(&out, d, i) < 0)
            out.failed = true;
    }
    lx_str_putc(&out, '}');
    return settle(&out, arena);
}

/* ---- buckets ----------------------------------------------------------------------------- */

static const char *buckets_json(const lx_dataset *d, lx_arena *arena)
{
    lx_str out = LX_STR_INIT;
    char error[40];

    if (!d->config.enable_bucket)
        return "null";
    lx_str_puts(&out, "{\"buckets\": {");
    for (size_t i = 0; i < d->n_buckets; i++)
        lx_str_printf(&out, "%s\"%zu\": {\"resolution\": [%d, %d], \"count\": %zu}", i ? ", " : "",
                      i, d->buckets[i].width, d->buckets[i].height, d->buckets[i].n_samples);
    lx_python_float(error, d->mean_ar_error);
    lx_str_printf(&out, "}, \"mean_img_ar_error\": %s}", error);
    return settle(&out, arena);
}

int lx_dataset_facts_of(lx_dataset_facts *out, const lx_dataset *d, lx_arena *arena,
                        lx_error *err)
{
    *out = (lx_dataset_facts){.dataset_dirs = dirs_json(d, false, arena),
                              .reg_dataset_dirs = dirs_json(d, true, arena),
                              .tag_frequency = tags_json(d, arena),
                              .bucket_info = buckets_json(d, arena)};
    for (size_t i = 0; i < d->n_folders; i++) {
        const lx_folder *f = &d->folders[i];
        *(f->is_reg ? &out->n_reg_images : &out->n_train_images) +=
            (int64_t)f->repeats * (int64_t)f->n_images;
    }
    return out->dataset_dirs && out->reg_dataset_dirs && out->tag_frequency && out->bucket_info
               ? LX_OK
               : lx_oom(err);
}
