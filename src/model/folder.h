/*
 * model/folder - which files of a diffusers folder hold the weights of a network
 *
 *     unet/diffusion_pytorch_model.safetensors      text_encoder/model.safetensors, pytorch_model.bin
 *     ....safetensors.index.json                    its "weight_map" names the shards
 *
 * Full precision and safetensors come first, as diffusers itself takes them; then .bin, then the fp16 variants.
 */
#ifndef LX_MODEL_FOLDER_H
#define LX_MODEL_FOLDER_H

#include "src/base/arena.h"
#include "src/base/error.h"

/* All in the arena. */
typedef struct lx_weight_files {
    const char **names; /* in the folder */
    size_t n, capacity;
    const char *index; /* the name of the shards' index, or NULL */
} lx_weight_files;

/* Of "MODEL/unet", say. `what` is for the message. LX_ENOTFOUND when there are none, LX_EFORMAT for a bad index. */
int lx_weight_files_find(lx_weight_files *out, lx_arena *arena, const char *folder,
                         const char *what, lx_error *err);

#endif
