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

static int add_image(cJSON *list, store__batch *batch, const lx_store_image *image,
                     lx_error *err)
{
    cJSON *o = cJSON_CreateObject();
    lx_hash caption;
    int rc = LX_OK;

    if (!cJSON_AddItemToArray(list, o)) {
        cJSON_Delete(o);
        return lx_oom(err);
    }
    cJSON_AddStringToObject(o, "name", image->name);
    add_hash(o, "sha256", &image->hash);
    cJSON_AddNumberToObject(o, "bytes", (double)image->bytes);
    cJSON_AddNumberToObject(o, "width", image->width);
    cJSON_AddNumberToObject(o, "height", image->height);
    if (image->latents)
        add_hash(o, "latents", image->latents);
    if (image->caption) {
        if ((rc = store__batch_put(&caption, batch, image->caption,
                                   strlen(image->caption), err)) < 0)
            return rc;
        add_hash(o, "caption", &caption);
    } else {
        cJSON_AddNullToObject(o, "caption");
    }
    return rc;
}

static int put_json(lx_hash *hash, char **text, store__batch *batch, const cJSON *value,
                    lx_error *err)
{
    lx_str out = LX_STR_INIT;
    int rc = value ? lx_json_canonical(&out, value, err) : lx_oom(err);
    if (rc == LX_OK)
        rc = store__batch_put(hash, batch, lx_str_text(&out), out.len, err);
    if (rc == LX_OK && text && !(*text = lx_str_detach(&out)))
        rc = lx_oom(err);
    lx_str_release(&out);
    return rc;
}

static int put_folder(lx_hash *hash, store__batch *batch, lx_store_folder *folder,
                      lx_error *err)
{
    cJSON *o = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(o, "images");
    int rc = LX_OK;

    if (folder->n_images) /* qsort takes no NULL */
        qsort(folder->images, folder->n_images, sizeof *folder->images, by_image_name);
    cJSON_AddStringToObject(o, "name", folder->name);
    cJSON_AddStringToObject(o, "class_tokens",
                            folder->class_tokens ? folder->class_tokens : "");
    cJSON_AddNumberToObject(o, "repeats", folder->repeats);
    cJSON_AddBoolToObject(o, "is_reg", folder->is_reg);
    for (size_t i = 0; i < folder->n_images && rc == LX_OK; i++)
        rc = add_image(list, batch, &folder->images[i], err);
    if (rc == LX_OK)
        rc = put_json(hash, NULL, batch, o, err);
    cJSON_Delete(o);
    return rc;
}

static int put_root(char **text, store__batch *batch, lx_store_folder *folders, size_t n,
                    lx_error *err)
{
    cJSON *root = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(root, "folders");
    double n_images = 0;
    lx_hash hash;
    int rc = LX_OK;

    if (n)
        qsort(folders, n, sizeof *folders, by_folder_name);
    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        cJSON *o = cJSON_CreateObject();
        if (!cJSON_AddItemToArray(list, o)) {
            cJSON_Delete(o);
            rc = lx_oom(err);
            break;
        }
        if ((rc = put_folder(&hash, batch, &folders[i], err)) < 0)
            break;
        cJSON_AddStringToObject(o, "name", folders[i].name);
        cJSON_AddBoolToObject(o, "is_reg", folders[i].is_reg);
        add_hash(o, "object", &hash);
        n_images += (double)folders[i].n_images;
    }
    cJSON_AddNumberToObject(root, "images", n_images);
    cJSON_AddNumberToObject(root, "version", 1);
    if (rc == LX_OK)
        rc = put_json(&hash, text, batch, root, err);
    cJSON_Delete(root);
    return rc;
}

int lx_store_dataset_put(char **root_json, lx_store *store, lx_store_folder *folders,
                         size_t n, lx_error *err)
{
    store__batch batch = store__batch_of(store);
    int rc;

    *root_json = NULL;
    if ((rc = put_root(root_json, &batch, folders, n, err)) == LX_OK &&
        (rc = store__begin(store, err)) == LX_OK)
        rc = store__end(store, store__batch_add(&batch, err), err);
    store__batch_release(&batch);
    if (rc < 0) {
        lx_free(*root_json);
        *root_json = NULL;
    }
    return rc;
}
