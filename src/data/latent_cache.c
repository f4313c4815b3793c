#include "src/data/latent_cache.h"

#include <string.h>

#include "src/base/file.h"
#include "src/base/str.h"
#include "src/format/safetensors.h"
#include "src/format/tensor_file.h"

/* Raised when other numbers come out of the same: the encoder's arithmetic or this layout. */
enum { VERSION = 1 };

static int make_path(lx_str *out, const lx_latent_cache *cache, const lx_dataset *d,
                     const lx_image *image, bool is_mirror, lx_error *err)
{
    const lx_dataset_config *c = lx_dataset_settings(d, image);
    const lx_bucket *b = &d->buckets[image->bucket];
    char image_hex[LX_HASH_HEX + 1], vae_hex[LX_HASH_HEX + 1], hex[LX_HASH_HEX + 1];
    lx_str key = LX_STR_INIT;
    lx_hash hash;

    lx_hash_hex(image_hex, &image->hash);
    lx_hash_hex(vae_hex, &cache->vae);
    lx_str_printf(&key, "lx latents %d\nimage %s\nvae %s\nbucket %dx%d\nresized %dx%d\n",
                  VERSION, image_hex, vae_hex, b->width, b->height, image->resized_w,
                  image->resized_h);
    lx_str_printf(&key, "interpolation %d\nbackground %s\norientation %d\nmirror %d\n",
                  (int)c->resize, c->background, image->orientation, is_mirror);
    hash = lx_sha256_of(lx_str_text(&key), key.len);
    lx_hash_hex(hex, &hash);
    lx_str_clear(out);
    lx_str_printf(out, "%s/%.2s/%s.safetensors", cache->folder, hex, hex);
    out->failed = out->failed || key.failed;
    lx_str_release(&key);
    return lx_str_check(out, err);
}

static bool take(float *values, const lx_tensor_file *file, const char *name,
                 const lx_bucket *b)
{
    const lx_tensor_view *view = lx_tensor_file_find(file, name);
    const size_t n = 4 * (size_t)(b->width / 8) * (size_t)(b->height / 8);

    if (!view || view->dtype != LX_F32 || view->n_elements != n)
        return false;
    memcpy(values, view->data, n * sizeof *values);
    return true;
}

int lx_latent_cache_read(bool *found, float *mean, float *logvar,
                         const lx_latent_cache *cache, const lx_dataset *d,
                         const lx_image *image, bool is_mirror, lx_error *err)
{
    const lx_bucket *b = &d->buckets[image->bucket];
    lx_tensor_file *file = NULL;
    lx_str path = LX_STR_INIT;
    lx_error why = {0};
    int rc = make_path(&path, cache, d, image, is_mirror, err);

    *found = false;
    if (rc == LX_OK) {
        int opened = lx_tensor_file_open(&file, lx_str_text(&path), &why);
        if (opened == LX_OK)
            *found = take(mean, file, "mean", b) && take(logvar, file, "logvar", b);
        else if (opened == LX_ENOMEM)
            rc = lx_oom(err);
    }
    lx_tensor_file_close(file);
    lx_str_release(&path);
    return rc;
}

bool lx_latent_cache_has(const lx_latent_cache *cache, const lx_dataset *d,
                         const lx_image *image, bool is_mirror)
{
    lx_str path = LX_STR_INIT;
    bool is_there = cache->folder &&
                    make_path(&path, cache, d, image, is_mirror, NULL) == LX_OK &&
                    lx_file_exists(lx_str_text(&path));

    lx_str_release(&path);
    return is_there;
}

int lx_latent_cache_write(const lx_latent_cache *cache, const lx_dataset *d,
                          const lx_image *image, bool is_mirror, const float *mean,
                          const float *logvar, lx_error *err)
{
    const lx_bucket *b = &d->buckets[image->bucket];
    const size_t n = 4 * (size_t)(b->width / 8) * (size_t)(b->height / 8);
    lx_tensor_view views[2] = {{.name = "mean", .data = mean},
                               {.name = "logvar", .data = logvar}};
    lx_str path = LX_STR_INIT, folder = LX_STR_INIT;
    int rc = make_path(&path, cache, d, image, is_mirror, err);

    for (int i = 0; i < 2; i++) {
        views[i].dtype = LX_F32;
        views[i].n_dims = 3;
        views[i].shape[0] = 4;
        views[i].shape[1] = b->height / 8;
        views[i].shape[2] = b->width / 8;
        views[i].n_elements = n;
        views[i].bytes = n * sizeof(float);
    }
    if (rc == LX_OK) {
        lx_str_append(&folder, path.data, path.len - strlen(lx_path_base(path.data)) - 1);
        if ((rc = lx_str_check(&folder, err)) == LX_OK &&
            (rc = lx_make_dirs(lx_str_text(&folder), err)) == LX_OK)
            rc = lx_safetensors_write(lx_str_text(&path), views, 2, NULL, 0, err);
        if (rc < 0)
            lx_within(err, "--cache_latents_to_disk: %s", lx_str_text(&path));
    }
    lx_str_release(&path);
    lx_str_release(&folder);
    return rc;
}
