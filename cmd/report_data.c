/* What a run was trained on, for a report: folders, tags and a contact sheet. */
#include <stdlib.h>
#include <string.h>

#include "cmd/report_collect.h"
#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/unicode.h"

enum { THUMBNAIL_SIDE = 224 };

/* One run's data being gathered. */
typedef struct gatherer {
    lx_collector *c;
    const char *data_dir, *reg_dir;
    lx_report_folder *folders;
    size_t n_folders;
    lx_report_picture *images;
    size_t n_images, n_seen, n_wanted;
    const char **tags; /* every one, as often as it stands */
    size_t n_tags, tag_capacity;
} gatherer;

/* ---- tags -------------------------------------------------------------------------- */

static int add_tags(gatherer *g, const char *caption, lx_error *err)
{
    const char *from = caption;
    while (*from) {
        size_t n = strcspn(from, ","), stripped = n;
        const char *tag = from;
        lx_unicode_strip(&tag, &stripped);
        if (stripped) {
            if (lx_grow(&g->tags, &g->tag_capacity, g->n_tags + 1, sizeof *g->tags) < 0 ||
                !(g->tags[g->n_tags] = lx_arena_strndup(g->c->arena, tag, stripped)))
                return lx_oom(err);
            g->n_tags++;
        }
        from += n + (from[n] == ',');
    }
    return LX_OK;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int by_count(const void *a, const void *b)
{
    const lx_report_tag *x = a, *y = b;
    return x->count != y->count ? (x->count < y->count ? 1 : -1) : strcmp(x->tag, y->tag);
}

static int count_tags(lx_report_run *out, gatherer *g, lx_error *err)
{
    lx_report_tag *counted = lx_arena_calloc(g->c->arena, g->n_tags, sizeof *counted);
    size_t n = 0;

    if (!counted)
        return lx_oom(err);
    if (g->n_tags)
        qsort(g->tags, g->n_tags, sizeof *g->tags, by_text);
    for (size_t i = 0; i < g->n_tags; i++) {
        if (!n || strcmp(counted[n - 1].tag, g->tags[i]) != 0)
            counted[n++].tag = g->tags[i];
        counted[n - 1].count++;
    }
    if (n)
        qsort(counted, n, sizeof *counted, by_count);
    out->frequencies = counted;
    out->n_frequencies = n < g->c->options.n_tags ? n : g->c->options.n_tags;
    out->n_more_frequencies = g->c->options.n_tags ? n - out->n_frequencies : 0;
    return LX_OK;
}

/* ---- images ------------------------------------------------------------------------ */

/* A name that is one: a store may have been filled by a stranger. */
static bool is_file_name(const char *name)
{
    return name && *name && !strchr(name, '/') && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

int lx_report_image(lx_report_picture *out, lx_collector *c, const char *data_dir,
                    const char *folder, const char *name, const char *sha256, int side,
                    lx_error *err)
{
    const char *path;
    lx_hash wanted, found;
    int rc;

    if (!data_dir || !is_file_name(name) || !is_file_name(folder) || !sha256 ||
        !lx_hash_from_hex(&wanted, sha256)) {
        out->missing = "its folder is not known";
        return LX_OK;
    }
    if (!(path = lx_arena_printf(c->arena, "%s/%s/%s", data_dir, folder, name)))
        return lx_oom(err);
    if ((rc = lx_file_hash(&found, path, NULL)) < 0)
        out->missing = rc == LX_EIO ? "cannot be read" : "no longer there";
    else if (!lx_hash_equal(&wanted, &found))
        out->missing = "changed since";
    else
        return lx_report_picture_of(out, c, path, NULL, 0, side, err);
    return LX_OK;
}

static int add_picture(lx_report_picture *out, gatherer *g, const char *folder_dir,
                       const char *folder, const cJSON *image, lx_error *err)
{
    const char *name = lx_json_text(image, "name"), *hex = lx_json_text(image, "sha256");
    lx_hash hash;

    if (!g->c->options.link)
        return lx_report_image(out, g->c, folder_dir, folder, name, hex, THUMBNAIL_SIDE,
                               err);
    if (!hex || !lx_hash_from_hex(&hash, hex)) {
        out->missing = "its hash is not known";
        return LX_OK;
    }
    out->url = lx_arena_printf(g->c->arena, "%s/image/%s", g->c->options.link, hex);
    return out->url ? LX_OK : lx_oom(err);
}

/* The text an image was trained with; NULL = none. */
static int read_caption(const char **out, gatherer *g, const cJSON *image, lx_error *err)
{
    const char *hex = lx_json_text(image, "caption");
    lx_str text = LX_STR_INIT;
    lx_hash hash;
    int rc = LX_OK;

    *out = NULL;
    if (!hex || !lx_hash_from_hex(&hash, hex))
        return LX_OK;
    if ((rc = lx_object_get(&text, g->c->store, &hash, err)) == LX_OK &&
        (!(*out = lx_arena_strndup(g->c->arena, lx_str_text(&text), text.len)) ||
         !(*out = lx_report_text(g->c, *out))))
        rc = lx_oom(err);
    lx_str_release(&text);
    return rc;
}

/* Pictures are taken evenly from all images, so that a sheet shows the whole set. */
static bool is_chosen(gatherer *g)
{
    size_t i = g->n_seen++, most = g->c->options.n_images;
    if (g->n_images >= most) /* the number of images in the root is not to be trusted */
        return false;
    return (g->n_wanted <= most ||
            i * most / g->n_wanted != (i + 1) * most / g->n_wanted);
}

static int add_image(gatherer *g, const char *dir, const char *folder, const cJSON *image,
                     lx_report_folder *into, lx_error *err)
{
    const char *caption;
    lx_report_picture *picture;
    int rc = read_caption(&caption, g, image, err);

    if (rc < 0)
        return rc;
    into->images++;
    /* An image without a caption was trained on the folder's words, which are recorded. */
    into->captioned += caption && strcmp(caption, into->class_tokens) != 0;
    if (caption && (rc = add_tags(g, caption, err)) < 0)
        return rc;
    if (!is_chosen(g))
        return LX_OK;
    if (g->c->tell)
        g->c->tell(g->c->context, "reading images", g->n_seen, g->n_wanted);
    picture = &g->images[g->n_images++];
    *picture = (lx_report_picture){
        .name = lx_report_text(
            g->c, lx_json_text(image, "name") ? lx_json_text(image, "name") : "?"),
        .text = caption,
        .step = -1};
    if (!(picture->name = lx_arena_strdup(g->c->arena, picture->name)))
        return lx_oom(err);
    return add_picture(picture, g, dir, folder, image, err);
}

/* ---- folders ----------------------------------------------------------------------- */

static int add_folder(gatherer *g, const cJSON *entry, lx_error *err)
{
    bool is_reg = lx_json_bool(entry, "is_reg", false);
    const char *hex = lx_json_text(entry, "object"), *name, *tokens;
    lx_report_folder *into = &g->folders[g->n_folders];
    lx_str text = LX_STR_INIT;
    cJSON *folder = NULL, *image;
    lx_hash hash;
    int rc;

    if (!hex || !lx_hash_from_hex(&hash, hex))
        return LX_OK;
    if ((rc = lx_object_get(&text, g->c->store, &hash, err)) < 0 ||
        (rc = lx_json_parse(&folder, text.data, text.len, err)) < 0)
        goto done;
    name = lx_json_text(folder, "name");
    tokens = lx_json_text(folder, "class_tokens");
    *into = (lx_report_folder){
        .name = lx_arena_strdup(g->c->arena, lx_report_text(g->c, name ? name : "?")),
        .class_tokens =
            lx_arena_strdup(g->c->arena, lx_report_text(g->c, tokens ? tokens : "")),
        .repeats = lx_json_integer(folder, "repeats", 1),
        .is_reg = is_reg};
    if (!into->name || !into->class_tokens) {
        rc = lx_oom(err);
        goto done;
    }
    g->n_folders++;
    cJSON_ArrayForEach(image, cJSON_GetObjectItemCaseSensitive(folder, "images"))
    {
        rc = add_image(g, is_reg ? g->reg_dir : g->data_dir, name, image, into, err);
        if (rc < 0)
            break;
    }
done:
    cJSON_Delete(folder);
    lx_str_release(&text);
    return rc;
}

int lx_report_data_dir(const char **out, lx_collector *c, int64_t run, const char *named,
                       lx_error *err)
{
    lx_remark_row *facts = NULL;
    size_t n = 0;
    int rc;

    *out = NULL;
    if (!named)
        return LX_OK;
    if (*named != '/' &&
        (rc = lx_query_remarks(&facts, &n, c->store, run, "fact", c->arena, err)) < 0)
        return rc;
    for (size_t i = 0; *named != '/' && i < n; i++)
        if (strcmp(facts[i].key, "cwd") == 0) {
            const char *path = lx_arena_printf(c->arena, "%s/%s", facts[i].value, named);
            if (!path)
                return lx_oom(err);
            *out = lx_file_is_dir(path) ? path : *out; /* of another machine: from here */
        }
    if (!*out && !(*out = lx_arena_strdup(c->arena, named)))
        return lx_oom(err);
    return LX_OK;
}

int lx_report_collect_data(lx_report_run *out, lx_collector *c, const char *dataset,
                           const char *data_dir, const char *reg_dir, lx_error *err)
{
    gatherer g = {.c = c, .data_dir = data_dir, .reg_dir = reg_dir};
    cJSON *root = NULL, *list, *entry;
    int rc;

    if (!dataset)
        return LX_OK;
    if ((rc = lx_json_parse(&root, dataset, strlen(dataset), err)) < 0)
        return rc;
    list = cJSON_GetObjectItemCaseSensitive(root, "folders");
    g.n_wanted = (size_t)lx_json_integer(root, "images", 0);
    g.folders =
        lx_arena_calloc(c->arena, (size_t)cJSON_GetArraySize(list), sizeof *g.folders);
    /* The number in the root may be a stranger's: images are bounded by what is chosen.
     */
    g.images = lx_arena_calloc(c->arena, c->options.n_images + 1, sizeof *g.images);
    if (!g.folders || !g.images)
        rc = lx_oom(err);
    cJSON_ArrayForEach(entry, list)
    {
        if (rc < 0 || (rc = add_folder(&g, entry, err)) < 0)
            break;
    }
    if (rc == LX_OK)
        rc = count_tags(out, &g, err);
    out->folders = g.folders;
    out->n_folders = g.n_folders;
    out->images = g.images;
    out->n_images = g.n_images;
    out->n_more_images = c->options.n_images ? g.n_seen - g.n_images : 0;
    lx_free(g.tags);
    cJSON_Delete(root);
    return rc;
}
