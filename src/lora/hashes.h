/*
 * lora/hashes - the hashes sd-scripts writes into a LoRA
 *
 *     sshs_model_hash   SHA-256 of the file's tensor area: all bytes after the header
 *     sshs_legacy_hash  first 8 digits of SHA-256 over 65,536 bytes at 1,048,576 of the file as it
 *                       would be with only the ss_* keys; of nothing when it is shorter
 *
 * Source: sd-scripts library/train_util.py (precalculate_safetensors_hashes).
 */
#ifndef LX_LORA_HASHES_H
#define LX_LORA_HASHES_H

#include "src/base/sha256.h"
#include "src/format/safetensors.h"

typedef struct lx_lora_hashes {
    char model[LX_HASH_HEX + 1];
    char legacy[9];
} lx_lora_hashes;

int lx_lora_hashes_of(lx_lora_hashes *out, const lx_tensor_view *tensors, size_t n_tensors,
                      const lx_metadata_entry *metadata, size_t n_metadata, lx_error *err);

#endif
