/*
 * verify/images - the pictures that a LoRA is verified on, as latents
 *
 * A folder in sd-scripts' convention (with folders N_words inside), or one with pictures
 * right in it. Sizes and crops as trained (verify/training); the latent is the mean of
 * the VAE's posterior, times 0.18215: no draw of it. Pictures that are the same file, or
 * whose latents differ by less than 5 % (relative L2), are one: a repeated picture is no
 * second witness.
 */
#ifndef LX_VERIFY_IMAGES_H
#define LX_VERIFY_IMAGES_H

#include "src/data/dataset.h"
#include "src/train/latents.h"

typedef enum lx_image_role {
    LX_IMAGES_TRAINING,
    LX_IMAGES_HELD_OUT,
    LX_IMAGES_CLASS,
    LX_IMAGES_FOREIGN,
    LX_IMAGE_ROLE_COUNT
} lx_image_role;

typedef struct lx_verify_image {
    lx_image_role role;
    const char *path, *caption;
    const char *class_words; /* of its folder; "" = none */
    uint64_t stream;         /* names its draws: of its bytes, not of its place */
    int64_t h, w;            /* latent cells */
    float *latents;          /* [4, h, w] */
} lx_verify_image;

typedef struct lx_verify_images {
    lx_arena *arena; /* borrowed */
    lx_verify_image *items;
    size_t count, capacity;
    size_t n_found[LX_IMAGE_ROLE_COUNT],
        n_twins;                            /* pictures of each role; left out as twins */
    size_t n_captions[LX_IMAGE_ROLE_COUNT]; /* caption files that were read */
} lx_verify_images;

/*
 * Appends at most `most` pictures of the folder, chosen by (seed, hash of the file), so
 * that another picture in the folder changes few of them. config: sizes, buckets and
 * caption rules.
 *
 *   LX_ENOTFOUND, LX_EFORMAT  no such folder, no pictures, a broken one
 */
int lx_verify_images_add(lx_verify_images *images, lx_image_role role, const char *folder,
                         const lx_dataset_config *config, size_t most, uint64_t seed,
                         lx_latents *encoder, lx_error *err);

/* A folder as a dataset, whichever of the two layouts it has; is_whole: also checked,
 * planned and hashed. */
int lx_verify_scan(lx_dataset **out, const char *folder, const lx_dataset_config *config,
                   bool is_whole, lx_error *err);

const char *lx_image_role_name(lx_image_role role);

#endif
