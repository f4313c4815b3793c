#include "src/data/facts.h"

#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
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

/* "name", and "name (2)" where another folder of that kind before it has the name. */
static void put_name(lx_str *out, const lx_dataset *d, size_t folder)
{
    const lx_folder *f = &d->folders[folder];
    lx_str name = LX_STR_INIT;
    int n = 1;

    for (size_t i = 0; i < folder; i++)
        n += d->folders[i].is_reg == f->is_reg && d->folders[i].n_images &&
             strcmp(d->folders[i].name, f->name) == 0;
    lx_str_puts(&name, f->name);
    if (n > 1)
        lx_str_printf(&name, " (%d)", n);
    out->failed = out->failed || name.failed;
    put_string(out, lx_str_text(&name), name.len);
    lx_str_release(&name);
}

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
        put_name(&out, d, i);
        lx_str_printf(&out, ": {\"n_repeats\": %d, \"img_count\": %zu}", f->repeats,
                      f->n_images);
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
    } * tags;
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
    for (at = hash_bytes(text, n) % t->n_slots; t->slots[at];
         at = (at + 1) % t->n_slots) {
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

/* The peer counts by the names of folders, in each dataset apart (set_tag_frequency). */
static bool is_one_name(const lx_dataset *d, size_t a, size_t b)
{
    return d->folders[a].part == d->folders[b].part &&
           strcmp(d->folders[a].name, d->folders[b].name) == 0;
}

static int put_folder_tags(lx_str *out, const lx_dataset *d, size_t folder)
{
    tag_table t = {0};
    int rc = LX_OK;

    for (size_t i = 0; i < d->n_images && rc == LX_OK; i++) {
        const lx_image *image = &d->images[i];
        if (is_one_name(d, (size_t)image->folder, folder) && !image->is_held_out)
            rc = count_caption(&t, image->tags ? image->tags : image->caption);
    }
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

static bool is_in(const lx_dataset *d, size_t folder, int part)
{
    return part < 0 || d->folders[folder].part == part;
}

/* Its name has stood there: one of the same part was counted with it, and one of another part does not count. */
static bool is_counted(const lx_dataset *d, size_t folder, int part)
{
    for (size_t i = 0; i < folder; i++)
        if (is_in(d, i, part) && strcmp(d->folders[i].name, d->folders[folder].name) == 0)
            return true;
    return false;
}

static void put_tags(lx_str *out, const lx_dataset *d, int part)
{
    int n = 0;

    lx_str_putc(out, '{');
    for (size_t i = 0; i < d->n_folders; i++) {
        if (!is_in(d, i, part) || is_counted(d, i, part))
            continue;
        lx_str_puts(out, n++ ? ", " : "");
        if (put_folder_tags(out, d, i) < 0)
            out->failed = true;
    }
    lx_str_putc(out, '}');
}

static const char *tags_json(const lx_dataset *d, lx_arena *arena)
{
    lx_str out = LX_STR_INIT;
    put_tags(&out, d, -1);
    return settle(&out, arena);
}

/* ---- buckets ----------------------------------------------------------------------------- */

static void put_buckets(lx_str *out, const lx_dataset *d, const lx_data_part *part)
{
    const lx_bucket *buckets = d->buckets + part->first_bucket;
    char error[40];
    int n = 0;

    if (!part->config->enable_bucket) {
        lx_str_puts(out, "null");
        return;
    }
    lx_str_puts(out, "{\"buckets\": {");
    for (size_t i = 0; i < part->n_buckets; i++) {
        if (!buckets[i].n_samples) /* of held-out images alone */
            continue;
        lx_str_printf(out, "%s\"%d\": {\"resolution\": [%d, %d], \"count\": %zu}",
                      n ? ", " : "", n, buckets[i].width, buckets[i].height,
                      buckets[i].n_samples);
        n++;
    }
    lx_python_float(error, part->mean_ar_error);
    lx_str_printf(out, "}, \"mean_img_ar_error\": %s}", error);
}

static const char *buckets_json(const lx_dataset *d, lx_arena *arena)
{
    lx_str out = LX_STR_INIT;

    put_buckets(&out, d, &d->parts[0]);
    return settle(&out, arena);
}

/* ---- several datasets -------------------------------------------------------------------- */

static void put_text_or_null(lx_str *out, const char *key, const char *text)
{
    lx_str_printf(out, ", \"%s\": ", key);
    if (text)
        put_string(out, text, strlen(text));
    else
        lx_str_puts(out, "null");
}

static void put_bool(lx_str *out, const char *key, bool value)
{
    lx_str_printf(out, ", \"%s\": %s", key, value ? "true" : "false");
}

static void put_subset(lx_str *out, const lx_folder *f)
{
    const lx_dataset_config *c = f->config;

    lx_str_printf(out, "{\"img_count\": %zu, \"num_repeats\": %d", f->n_images,
                  f->repeats);
    put_bool(out, "color_aug", c->color_aug);
    put_bool(out, "flip_aug", c->flip_aug);
    put_bool(out, "random_crop", c->random_crop);
    put_bool(out, "shuffle_caption", c->shuffle_caption);
    lx_str_printf(out, ", \"keep_tokens\": %d", c->keep_tokens);
    put_text_or_null(out, "keep_tokens_separator", c->keep_tokens_separator);
    put_text_or_null(out, "secondary_separator", c->secondary_separator);
    put_bool(out, "enable_wildcard", c->enable_wildcard);
    put_text_or_null(out, "caption_prefix", c->caption_prefix);
    put_text_or_null(out, "caption_suffix", c->caption_suffix);
    put_text_or_null(out, "resize_interpolation", c->resize_interpolation);
    if (f->is_metadata) {
        if (f->image_dir)
            put_text_or_null(out, "image_dir", lx_path_base(f->image_dir));
        put_text_or_null(out, "metadata_file", f->name);
    } else {
        put_text_or_null(out, "image_dir", f->name);
        put_text_or_null(out, "class_tokens",
                         f->class_tokens[0] ? f->class_tokens : NULL);
        put_bool(out, "is_reg", f->is_reg);
    }
    lx_str_putc(out, '}');
}

static void count_images(int64_t *n_train, int64_t *n_reg, const lx_dataset *d, int part)
{
    *n_train = *n_reg = 0;
    for (size_t i = 0; i < d->n_folders; i++) {
        const lx_folder *f = &d->folders[i];
        if (is_in(d, i, part))
            *(f->is_reg ? n_reg : n_train) += (int64_t)f->repeats * (int64_t)f->n_images;
    }
}

static void put_part(lx_str *out, const lx_dataset *d, int index)
{
    const lx_data_part *part = &d->parts[index];
    const lx_dataset_config *c = part->config;
    bool is_metadata = false;
    int64_t n_train, n_reg;
    int n = 0;

    for (size_t i = 0; i < d->n_folders; i++)
        is_metadata = is_metadata || (is_in(d, i, index) && d->folders[i].is_metadata);
    count_images(&n_train, &n_reg, d, index);
    lx_str_printf(out,
                  "{\"is_dreambooth\": %s, \"batch_size_per_device\": %d, "
                  "\"num_train_images\": %lld, \"num_reg_images\": %lld, "
                  "\"resolution\": [%d, %d], \"enable_bucket\": %s",
                  is_metadata ? "false" : "true", c->batch_size, (long long)n_train,
                  (long long)n_reg, c->width, c->height,
                  c->enable_bucket ? "true" : "false");
    if (c->enable_bucket)
        lx_str_printf(out, ", \"min_bucket_reso\": %d, \"max_bucket_reso\": %d",
                      part->min_bucket_reso, part->max_bucket_reso);
    else
        lx_str_puts(out, ", \"min_bucket_reso\": null, \"max_bucket_reso\": null");
    lx_str_puts(out, ", \"tag_frequency\": ");
    put_tags(out, d, index);
    lx_str_puts(out, ", \"bucket_info\": ");
    put_buckets(out, d, part);
    put_text_or_null(out, "resize_interpolation", c->resize_interpolation);
    lx_str_puts(out, ", \"subsets\": [");
    for (size_t i = 0; i < d->n_folders; i++)
        if (is_in(d, i, index) && d->folders[i].n_images) {
            lx_str_puts(out, n++ ? ", " : "");
            put_subset(out, &d->folders[i]);
        }
    lx_str_puts(out, "]}");
}

static const char *datasets_json(const lx_dataset *d, lx_arena *arena)
{
    lx_str out = LX_STR_INIT;

    lx_str_putc(&out, '[');
    for (size_t i = 0; i < d->n_parts; i++) {
        lx_str_puts(&out, i ? ", " : "");
        put_part(&out, d, (int)i);
    }
    lx_str_putc(&out, ']');
    return settle(&out, arena);
}

int lx_dataset_facts_of(lx_dataset_facts *out, const lx_dataset *d, lx_arena *arena,
                        lx_error *err)
{
    *out = (lx_dataset_facts){.dataset_dirs = dirs_json(d, false, arena),
                              .reg_dataset_dirs = dirs_json(d, true, arena),
                              .tag_frequency = tags_json(d, arena),
                              .bucket_info = buckets_json(d, arena),
                              .datasets = datasets_json(d, arena)};
    count_images(&out->n_train_images, &out->n_reg_images, d, -1);
    return out->dataset_dirs && out->reg_dataset_dirs && out->tag_frequency &&
                   out->bucket_info && out->datasets
               ? LX_OK
               : lx_oom(err);
}
