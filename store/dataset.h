/*
 * store/dataset - a dataset as a Merkle tree of objects
 *
 *     folder object
 * {"class_tokens","images":[{"bytes","caption","height","latents","name","sha256","width"}],
 *                      "is_reg","name","repeats"}       images sorted by name
 *     root object     {"folders":[{"is_reg","name","object"}],"images":N,"version":1}
 *
 * "caption" is the hash of an object that holds the text that was trained, null when
 * there is none. "latents", the hash of a file that was trained instead of the pixels, is
 * there only where that is so. Equal content has an equal root whatever order it was given in; images
 * themselves are named by hash, not stored.
 */
#ifndef LX_STORE_DATASET_H
#define LX_STORE_DATASET_H

#include "src/base/arena.h"
#include "store/store.h"

typedef struct lx_store_image {
    const char *name; /* in its folder */
    lx_hash hash;     /* of the file's bytes */
    int64_t bytes;
    int width, height;
    const char *caption; /* as trained; NULL = none */
    const lx_hash *latents; /* of the file that gave its latents; NULL = its own pixels */
} lx_store_image;

typedef struct lx_store_folder {
    const char *name, *class_tokens;
    int repeats;
    bool is_reg;
    lx_store_image *images; /* sorted in place */
    size_t n_images;
} lx_store_folder;

/* *root_json is yours (lx_free): what lx_run_start.dataset wants. Folders are sorted in
 * place. */
int lx_store_dataset_put(char **root_json, lx_store *store, lx_store_folder *folders,
                         size_t n_folders, lx_error *err);

/* ---- reading it back ----------------------------------------------------------------------- */

typedef struct lx_dataset_image_row {
    const char *name;
    const char *hash;    /* of its bytes, hex */
    const char *caption; /* the object that holds the text, hex; "" = none */
    const char *latents; /* of the file that gave its latents, hex; "" = none */
    int64_t bytes;
    int width, height;
} lx_dataset_image_row;

typedef struct lx_dataset_folder_row {
    const char *name, *class_tokens;
    int repeats;
    bool is_reg;
    lx_dataset_image_row *images;
    size_t n_images;
} lx_dataset_folder_row;

typedef struct lx_dataset_rows {
    lx_dataset_folder_row *folders;
    size_t n_folders, n_images;
} lx_dataset_rows;

/* root_json: lx_run_texts.dataset. Texts are in the arena; captions are not read. */
int lx_store_dataset_get(lx_dataset_rows *out, lx_store *store, const char *root_json,
                         lx_arena *arena, lx_error *err);

#endif
