/*
 * lora/hash - the name of a LoRA's tensors, whatever its metadata say
 *
 * SHA-256 of all bytes behind the header of a safetensors file: what sd-scripts writes as
 * sshs_model_hash. A file whose metadata were stripped or rewritten keeps it.
 * Source: sd-scripts library/model_util.py addnet_hash_safetensors.
 */
#ifndef LX_LORA_HASH_H
#define LX_LORA_HASH_H

#include "src/base/error.h"
#include "src/base/sha256.h"

/* LX_EFORMAT when it is no safetensors file. The message does not name the path. */
int lx_lora_tensor_hash(lx_hash *out, const char *path, lx_error *err);

#endif
