#include "src/lora/model_files.h"

#include <string.h>

#include "src/base/file.h"
#include "src/model/folder.h"

static int add_file(lx_model_files *out, const char *path, const char *prefix,
                    const char *folder, const char *index, lx_error *err)
{
    lx_model_file f = {.prefix = prefix, .folder = folder, .index = index};
    int rc;

    if (lx_arena_grow(out->arena, &out->items, &out->capacity, out->n + 1,
                      sizeof *out->items) < 0)
        return lx_oom(err);
    if (!(f.path = lx_arena_strdup(out->arena, path)))
        return lx_oom(err);
    f.name = lx_path_base(f.path);
    if ((rc = lx_tensor_file_open(&f.file, path, err)) < 0) {
        lx_within(err, "%s", path);
        return rc;
    }
    out->items[out->n++] = f;
    return LX_OK;
}

static int add_folder(lx_model_files *out, const char *model, const char *folder,
                      const char *prefix, lx_error *err)
{
    const char *path = lx_arena_printf(out->arena, "%s/%s", model, folder);
    lx_weight_files files;
    int rc;

    if (!path)
        return lx_oom(err);
    if (!lx_file_is_dir(path))
        return LX_OK;
    if ((rc = lx_weight_files_find(&files, out->arena, path, folder, err)) < 0)
        return rc;
    for (size_t i = 0; i < files.n && rc == LX_OK; i++) {
        const char *file = lx_arena_printf(out->arena, "%s/%s", path, files.names[i]);
        rc = file ? add_file(out, file, prefix, folder, files.index, err) : lx_oom(err);
    }
    return rc;
}

int lx_model_files_open(lx_model_files *out, const char *path, lx_error *err)
{
    static const char *const folders[][2] = {
        {"unet", "unet."},
        {"transformer", "transformer."},
        {"text_encoder", "text_encoder."},
        {"text_encoder_2", "text_encoder_2."},
        {"text_encoder_3", "text_encoder_3."},
        {"vae", "vae."},
    };
    size_t n_networks;
    int rc = LX_OK;

    *out = (lx_model_files){.arena = lx_arena_new(), .is_folder = lx_file_is_dir(path)};
    if (!out->arena)
        return lx_oom(err);
    if (!out->is_folder)
        rc = add_file(out, path, "", "", NULL, err);
    for (size_t i = 0; out->is_folder && i < 5 && rc == LX_OK; i++)
        rc = add_folder(out, path, folders[i][0], folders[i][1], err);
    n_networks = out->n;
    if (rc == LX_OK && !n_networks)
        rc = lx_fail(err, LX_ENOTFOUND,
                     "%s: not a diffusers model: it has no unet/ or transformer/ in it",
                     path);
    if (rc == LX_OK && out->is_folder)
        rc = add_folder(out, path, folders[5][0], folders[5][1], err);
    if (rc < 0)
        lx_model_files_close(out);
    return rc;
}

void lx_model_files_close(lx_model_files *files)
{
    for (size_t i = 0; i < files->n; i++)
        lx_tensor_file_close(files->items[i].file);
    lx_arena_free(files->arena);
    *files = (lx_model_files){0};
}

const char *lx_model_key(lx_str *out, const lx_model_file *file, const char *key)
{
    lx_str_clear(out);
    lx_str_printf(out, "%s%s", file->prefix, key);
    return lx_str_text(out);
}

int lx_model_files_hash(lx_hash *out, const lx_model_files *files, lx_error *err)
{
    lx_str lines = LX_STR_INIT;
    lx_sha256 sum;
    int rc = LX_OK;

    if (!files->is_folder)
        return lx_file_hash(out, files->items[0].path, err);
    for (size_t i = 0; i < files->n && rc == LX_OK; i++) {
        char hex[LX_HASH_HEX + 1];
        lx_hash one;
        if ((rc = lx_file_hash(&one, files->items[i].path, err)) < 0)
            break;
        lx_hash_hex(hex, &one);
        lx_str_printf(&lines, "%s  %s/%s\n", hex, files->items[i].folder,
                      files->items[i].name);
    }
    if (rc == LX_OK && (rc = lx_str_check(&lines, err)) == LX_OK) {
        lx_sha256_init(&sum);
        lx_sha256_update(&sum, lx_str_text(&lines), lines.len);
        *out = lx_sha256_final(&sum);
    }
    lx_str_release(&lines);
    return rc;
}
