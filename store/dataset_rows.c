/* A recorded dataset read back: root, folders, images. */
#include <string.h>

#include "src/base/json.h"
#include "store/dataset.h"

static int get_json(cJSON **out, lx_store *store, const char *hex, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    lx_hash hash;
    int rc;

    if (!hex || !lx_hash_from_hex(&hash, hex))
        return lx_fail(err, LX_EFORMAT, "a folder of the dataset names no object");
    if ((rc = lx_object_get(&text, store, &hash, err)) == LX_OK)
        rc = lx_json_parse(out, text.data, text.len, err);
    lx_str_release(&text);
    return rc;
}

/* "" for what is absent; NULL without memory. */
static const char *copy(lx_arena *arena, const cJSON *object, const char *key)
{
    const char *text = lx_json_text(object, key);
    return lx_arena_strdup(arena, text ? text : "");
}

static int add_images(lx_dataset_rows *rows, lx_dataset_folder_row *folder, const cJSON *list,
                      lx_arena *arena, lx_error *err)
{
    int n = cJSON_GetArraySize(list);
    lx_dataset_image_row *at = lx_arena_calloc(arena, (size_t)n + 1, sizeof *at);
    const cJSON *item;

    if (!at)
        return lx_oom(err);
    folder->images = at;
    cJSON_ArrayForEach(item, list)
    {
        *at = (lx_dataset_image_row){.name = copy(arena, item, "name"),
                                     .hash = copy(arena, item, "sha256"),
                                     .caption = copy(arena, item, "caption"),
                                     .latents = copy(arena, item, "latents"),
                                     .bytes = lx_json_integer(item, "bytes", 0),
                                     .width = (int)lx_json_integer(item, "width", 0),
                                     .height = (int)lx_json_integer(item, "height", 0)};
        if (!at->name || !at->hash || !at->caption || !at->latents)
            return lx_oom(err);
        at++;
    }
    folder->n_images = (size_t)n;
    rows->n_images += (size_t)n;
    return LX_OK;
}

static int add_folder(lx_dataset_rows *rows, lx_store *store, const cJSON *entry, lx_arena *arena,
                      lx_error *err)
{
    lx_dataset_folder_row *f = &rows->folders[rows->n_folders++];
    cJSON *object = NULL;
    int rc = get_json(&object, store, lx_json_text(entry, "object"), err);

    if (rc < 0)
        return rc;
    *f = (lx_dataset_folder_row){.name = copy(arena, object, "name"),
                                 .class_tokens = copy(arena, object, "class_tokens"),
                                 .repeats = (int)lx_json_integer(object, "repeats", 0),
                                 .is_reg = lx_json_bool(object, "is_reg", false)};
    rc = f->name && f->class_tokens
             ? add_images(rows, f, cJSON_GetObjectItemCaseSensitive(object, "images"), arena, err)
             : lx_oom(err);
    cJSON_Delete(object);
    return rc;
}

int lx_store_dataset_get(lx_dataset_rows *out, lx_store *store, const char *root_json,
                         lx_arena *arena, lx_error *err)
{
    cJSON *root = NULL;
    const cJSON *folders, *entry;
    int rc = lx_json_parse(&root, root_json, strlen(root_json), err);

    *out = (lx_dataset_rows){0};
    if (rc < 0)
        return rc;
    folders = cJSON_GetObjectItemCaseSensitive(root, "folders");
    out->folders = lx_arena_calloc(arena, (size_t)cJSON_GetArraySize(folders) + 1,
                                   sizeof *out->folders);
    if (!out->folders)
        rc = lx_oom(err);
    cJSON_ArrayForEach(entry, folders) if (rc == LX_OK)
        rc = add_folder(out, store, entry, arena, err);
    cJSON_Delete(root);
    return rc;
}
