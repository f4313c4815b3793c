/* numpy's archives; and as latents of an image of 100x100 pixels in a bucket of 64x64, with a mirror and a mask. */
#include <stdlib.h>

#include "src/data/npz_latents.h"
#include "tests/fuzz/fuzz.h"

static void as_latents(const char *path)
{
    static lx_dataset_config config;
    lx_arena *arena = lx_arena_new();
    lx_bucket bucket = {.width = 64, .height = 64};
    lx_folder folder = {.config = &config};
    /* Under the older name the file stands beside an image of its own stem. */
    lx_image image = {
        .path = path, .width = 100, .height = 100, .repeats = 1, .orientation = 1};
    lx_dataset d = {.arena = arena,
                    .folders = &folder,
                    .n_folders = 1,
                    .images = &image,
                    .n_images = 1,
                    .buckets = &bucket,
                    .n_buckets = 1};
    float latents[4 * 64], mask[64];
    lx_error err = {0};

    if (!arena)
        abort();
    lx_dataset_config_defaults(&config);
    config.cache_latents = config.flip_aug = config.alpha_mask = true;
    config.npz_latents = LX_NPZ_READ;
    d.config = config;
    if (lx_npz_latents_find(&d, &err) < 0)
        abort(); /* what does not fit is a finding */
    for (int is_mirror = 0; image.npz && is_mirror < 2; is_mirror++)
        if (lx_npz_latents_read(latents, mask, &d, &image, is_mirror, &err) < 0)
            abort();
    lx_arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file(data, size, ".npz");

    fuzz_tensor_file(path);
    as_latents(path);
    return 0;
}
