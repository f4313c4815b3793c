/*
 * lora/hash - the name of a LoRA's tensors, whatever its metadata say
 *
 * SHA-256 of all bytes behind the header of a safetensors file: what sd-scripts writes as
 * sshs_model_hash. A file whose metadata were stripped or rewritten keeps it.
 * Source: sd-scripts library/model_util.py addnet_hash_safetensors.
 */
#ifndef LX_LORA_HASH_H
#define LX_LORA_HASH_H

#include <stdbool.h>

#include "src/base/error.h"
#include "src/base/sha256.h"

/* LX_EFORMAT, without the path in the message, when it is no safetensors file; what lx_file_map fails with. */
int lx_lora_tensor_hash(lx_hash *out, const char *path, lx_error *err);
/* Of a file that need not be one: *has says whether it is, and *out is set then. A file that cannot be read is an error. */
int lx_lora_tensor_hash_if(bool *has, lx_hash *out, const char *path, lx_error *err);

/*
 * The names that programs and model sites know a file by, lower-case hex:
 *
 *     AutoV1   8 digits of the SHA-256 of 64 KiB from 1 MiB on (e3b0c442 for a shorter file: of nothing)
 *     AutoV2   10 digits of the SHA-256 of the file
 *     AutoV3   12 digits of the SHA-256 of the tensors; only safetensors have one, "" else
 *
 * Source: AUTOMATIC1111's modules/sd_models.model_hash, modules/hashes; goldens lora/metadata.
 */
typedef struct lx_model_hashes {
    char autov1[9], autov2[11], autov3[13];
    char sha256[LX_HASH_HEX + 1], tensors[LX_HASH_HEX + 1];
} lx_model_hashes;

int lx_model_hashes_of(lx_model_hashes *out, const char *path, lx_error *err);

#endif
