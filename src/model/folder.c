#include "src/model/folder.h"

#include <string.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/str.h"

enum { JSON_LIMIT = 64 << 20 };

static int add_name(lx_weight_files *out, lx_arena *arena, const char *name,
                    lx_error *err)
{
    for (size_t i = 0; i < out->n; i++)
        if (strcmp(out->names[i], name) == 0)
            return LX_OK;
    if (lx_arena_grow(arena, &out->names, &out->capacity, out->n + 1,
                      sizeof *out->names) < 0)
        return lx_oom(err);
    if (!(out->names[out->n] = lx_arena_strdup(arena, name)))
        return lx_oom(err);
    out->n++;
    return LX_OK;
}

/* "weight_map" names a file for each weight. */
static int add_shards(lx_weight_files *out, lx_arena *arena, const char *index,
                      lx_error *err)
{
    lx_str text = LX_STR_INIT;
    cJSON *json = NULL;
    const cJSON *map, *item;
    int rc;

    if ((rc = lx_file_read(&text, index, JSON_LIMIT, err)) < 0 ||
        (rc = lx_json_parse(&json, text.data, text.len, err)) < 0)
        goto done;
    map = cJSON_GetObjectItemCaseSensitive(json, "weight_map");
    if (!cJSON_IsObject(map) || !map->child)
        rc = lx_fail(err, LX_EFORMAT, "no \"weight_map\" in it");
    cJSON_ArrayForEach(item, map)
    {
        if (rc < 0)
            break;
        if (!cJSON_IsString(item) || !item->valuestring[0] ||
            strchr(item->valuestring, '/'))
            rc = lx_fail(err, LX_EFORMAT,
                         "weight_map: the file of \"%s\" is not a file name",
                         item->string);
        else
            rc = add_name(out, arena, item->valuestring, err);
    }
done:
    if (rc < 0)
        lx_within(err, "%s", index);
    cJSON_Delete(json);
    lx_str_release(&text);
    return rc;
}

int lx_weight_files_find(lx_weight_files *out, lx_arena *arena, const char *folder,
                         const char *what, lx_error *err)
{
    static const char *const stems[] = {"diffusion_pytorch_model", "model",
                                        "pytorch_model"};
    static const char *const suffixes[] = {
        ".safetensors",    ".safetensors.index.json", ".bin",
        ".bin.index.json", ".fp16.safetensors",       ".safetensors.index.fp16.json",
        ".fp16.bin",       ".bin.index.fp16.json"};

    *out = (lx_weight_files){0};
    for (size_t s = 0; s < sizeof suffixes / sizeof *suffixes; s++)
        for (size_t i = 0; i < sizeof stems / sizeof *stems; i++) {
            const char *path =
                lx_arena_printf(arena, "%s/%s%s", folder, stems[i], suffixes[s]);
            if (!path)
                return lx_oom(err);
            if (!lx_file_exists(path))
                continue;
            if (!lx_ends_with(path, ".json"))
                return add_name(out, arena, lx_path_base(path), err);
            out->index = lx_path_base(path);
            return add_shards(out, arena, path, err);
        }
    return lx_fail(err, LX_ENOTFOUND,
                   "%s: no weights of a %s (.safetensors or .bin) in this folder", folder,
                   what);
}
