/*
 * lora/model_files - a whole model's weights, whether they lie in one file or in a diffusers folder
 *
 * A checkpoint is one file whose keys say which network they are of. A diffusers folder has a file (or shards) for
 * each network, whose keys do not; `prefix` then makes names of them that lora/layer understands:
 *
 *     unet/diffusion_pytorch_model.safetensors    "unet."
 *     text_encoder/model.safetensors              "text_encoder."
 *     transformer/..., text_encoder_2/..., _3     likewise
 *     vae/...                                     "vae.", which no LoRA adapts
 */
#ifndef LX_LORA_MODEL_FILES_H
#define LX_LORA_MODEL_FILES_H

#include <stdbool.h>

#include "src/base/arena.h"
#include "src/base/sha256.h"
#include "src/base/str.h"
#include "src/format/tensor_file.h"

typedef struct lx_model_file {
    lx_tensor_file *file;
    const char *path;
    const char *prefix; /* of its keys; "" of a checkpoint */
    const char *folder; /* "unet", ...; "" of a checkpoint */
    const char *name;   /* in that folder */
    const char *index;  /* which names it as a shard; NULL of a file that is whole */
} lx_model_file;

/* Starts as {0}. */
typedef struct lx_model_files {
    lx_arena *arena;
    lx_model_file *items;
    size_t n, capacity;
    bool is_folder;
} lx_model_files;

/* LX_ENOTFOUND: a folder that is no diffusers model. Messages name the file. */
int lx_model_files_open(lx_model_files *out, const char *path, lx_error *err);
void lx_model_files_close(lx_model_files *files);

/* Of a file its SHA-256; of a folder that of a line for each weight file: its SHA-256, two spaces, FOLDER/NAME. */
int lx_model_files_hash(lx_hash *out, const lx_model_files *files, lx_error *err);

/* "prefix" + key, in `out`, which is cleared. */
const char *lx_model_key(lx_str *out, const lx_model_file *file, const char *key);

#endif
