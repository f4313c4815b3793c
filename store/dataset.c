#include "store/dataset.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/json.h"
#include "store/internal.h"

static int by_image_name(const void *a, const void *b)
{
    return strcmp(((const lx_store_image *)a)->name, ((const lx_store_image *)b)->name);
}

static int by_folder_name(const void *a, const void *b)
{
    const lx_store_folder *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (int)x->is_reg - (int)y->is_reg;
}

static void add_hash(cJSON *o, const char *key, const lx_hash *hash)
{
    char hex[LX_HASH_HEX + 1];
    lx_hash_hex(hex, hash);
    cJSON_AddStringToObject(o, key, hex);
}

static int add_image(cJSON *list, lx_store *store, const lx_store_image *image, lx_error *err)
{
    cJSON *o = cJSON_CreateObject();
    lx_hash caption;
    int rc = LX_OK;

    cJSON_AddItemToArray(list, o);
    cJSON_AddStringToObject(o, "name", image->name);
    add_hash(o, "sha256", &image->hash);
    cJSON_AddNumberToObject(o, "bytes", (double)image->bytes);
    cJSON_AddNumberToObject(o, "width", image->width);
    cJSON_AddNumberToObject(o, "height", image->height);
    if (image->caption) {
        rc = store__put(&caption, store, image->caption, strlen(image->caption), err);
        add_hash(o, "caption", &caption);
    } else {
        cJSON_AddNullToObject(o, "caption");
    }
    return rc;
}

static int put_json(lx_hash *hash, char **text, lx_store *store, const cJSON *value, lx_error *err)
{
    lx_str out = LX_STR_INIT;
    int rc = value ? lx_json_canonical(&out, value, err) : lx_oom(err);
    if (rc == LX_OK)
        rc = store__put(hash, store, lx_str_text(&out), out.len, err);
    if (rc == LX_OK && text && !(*text = lx_str_detach(&out)))
        rc = lx_oom(err);
    lx_str_release(&out);
    return rc;
}

static int put_folder(lx_hash *hash, lx_store *store, lx_store_folder *folder, lx_error *err)
{
    cJSON *o = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(o, "images");
    int rc = LX_OK;

    qsort(folder->images, folder->n_images, sizeof *folder->images, by_image_name);
    cJSON_AddStringToObject(o, "name", folder->name);
    cJSON_AddStringToObject(o, "class_tokens", folder->class_tokens ? folder->class_tokens : "");
    cJSON_AddNumberToObject(o, "repeats", folder->repeats);
    cJSON_AddBoolToObject(o, "is_reg", folder->is_reg);
    for (size_t i = 0; i < folder->n_images && rc == LX_OK; i++)
        rc = add_image(list, store, &folder->images[i], err);
    if (rc == LX_OK)
        rc = put_json(hash, NULL, store, o, err);
    cJSON_Delete(o);
    return rc;
}

static int put_root(char **text, lx_store *store, lx_store_folder *folders, size_t n,
                    lx_error *err)
{
    cJSON *root = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(root, "folders");
    double n_images = 0;
    lx_hash hash;
    int rc = LX_OK;

    qsort(folders, n, sizeof *folders, by_folder_name);
    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(list, o);
        rc = put_folder(&hash, store, &folders[i], err);
        cJSON_AddStringToObject(o, "name", folders[i].name);
        cJSON_AddBoolToObject(o, "is_reg", folders[i].is_reg);
        add_hash(o, "object", &hash);
        n_images += (double)folders[i].n_images;
    }
    cJSON_AddNumberToObject(root, "images", n_images);
    cJSON_AddNumberToObject(root, "version", 1);
    if (rc == LX_OK)
        rc = put_json(&hash, text, store, root, err);
    cJSON_Delete(root);
    return rc;
}

int lx_store_dataset_put(char **root_json, lx_store *store, lx_store_folder *folders, size_t n,
                         lx_error *err)
{
    int rc = store__begin(store, err);
    *root_json = NULL;
    if (rc < 0)
        return rc;
    if ((rc = put_root(root_json, store, folders, n, err)) == LX_OK)
        return store__commit(store, err);
    store__rollback(store);
    return rc;
}
