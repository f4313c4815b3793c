#include "src/data/dataset.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/data/scan.h"

void lx_dataset_config_defaults(lx_dataset_config *c)
{
    memset(c, 0, sizeof *c);
    c->caption_extension = ".caption";
    c->batch_size = 1;
    c->dataset_repeats = 1;
    c->min_bucket_reso = 256;
    c->max_bucket_reso = 1024;
    c->bucket_reso_steps = 64;
    c->caption_separator = ",";
    c->keep_tokens_separator = "";
    c->token_warmup_min = 1;
    c->background = "white";
}

/* Images, and no folder of a training, lie in it. */
static int holds_images_only(bool *out, const char *dir, lx_error *err)
{
    lx_str path = LX_STR_INIT;
    lx_dir names = {0};
    int rc = lx_dir_list(&names, dir, err);

    *out = false;
    for (size_t i = 0; i < names.count && rc == LX_OK; i++) {
        const char *class_tokens;
        int64_t repeats;
        if (lx_scan__is_image_name(names.names[i]))
            *out = true;
        if (!lx_scan__folder_name(&repeats, &class_tokens, names.names[i]))
            continue;
        lx_str_clear(&path);
        lx_str_printf(&path, "%s/%s", dir, names.names[i]);
        if ((rc = lx_str_check(&path, err)) < 0 || !lx_file_is_dir(lx_str_text(&path)))
            continue;
        *out = false;
        break;
    }
    lx_str_release(&path);
    lx_dir_free(&names);
    return rc;
}

int lx_dataset_config_dir(lx_dataset_config *c, const char *dir, lx_arena *arena,
                          lx_error *err)
{
    lx_subset_config *subset;
    int64_t repeats = 1;
    bool is_folder;
    char *real;
    int rc;

    if (!lx_file_is_dir(dir))
        return lx_fail(err, LX_ENOTFOUND, "\"%s\" is no folder", dir);
    if ((rc = holds_images_only(&is_folder, dir, err)) < 0)
        return rc;
    c->train_data_dir = is_folder ? NULL : dir;
    if (!is_folder)
        return LX_OK;
    if (!(subset = lx_arena_calloc(arena, 1, sizeof *subset)))
        return lx_oom(err);
    *subset = (lx_subset_config){.image_dir = dir, .class_tokens = "", .repeats = 1};
    if ((real = realpath(dir, NULL)) &&
        lx_scan__folder_name(&repeats, &subset->class_tokens, lx_path_base(real))) {
        subset->class_tokens = lx_arena_strdup(arena, subset->class_tokens);
        subset->repeats = repeats > 0 && repeats < 1000000 ? (int)repeats : 1;
    }
    free(real);
    c->subsets = subset;
    c->n_subsets = 1;
    return subset->class_tokens ? LX_OK : lx_oom(err);
}
