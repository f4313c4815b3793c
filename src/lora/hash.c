#include "src/lora/hash.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "src/base/file.h"

/* Where the tensors begin; 0: no safetensors file. */
static size_t tensors_at(const lx_mapping *map)
{
    uint64_t header = 0;

    for (size_t i = 0; i < 8 && map->size >= 8; i++)
        header |= (uint64_t)map->data[i] << (8 * i);
    return map->size < 10 || header < 2 || header > map->size - 8 || map->data[8] != '{'
               ? 0
               : 8 + (size_t)header;
}

int lx_lora_tensor_hash(lx_hash *out, const char *path, lx_error *err)
{
    lx_mapping map;
    size_t at;
    int rc = lx_file_map(&map, path, err);

    if (rc < 0)
        return rc;
    if (!(at = tensors_at(&map)))
        rc = lx_fail(err, LX_EFORMAT, "not a safetensors file");
    else
        *out = lx_sha256_of(map.data + at, map.size - at);
    lx_file_unmap(&map);
    return rc;
}

int lx_lora_tensor_hash_if(bool *has, lx_hash *out, const char *path, lx_error *err)
{
    lx_error problem;
    int rc = lx_lora_tensor_hash(out, path, &problem);

    *has = rc == LX_OK;
    return rc == LX_OK || rc == LX_EFORMAT ? LX_OK : lx_fail_as(err, rc, &problem);
}

int lx_model_hashes_of(lx_model_hashes *out, const char *path, lx_error *err)
{
    enum { V1_BEGIN = 0x100000, V1_BYTES = 0x10000 };
    lx_mapping map;
    lx_hash hash;
    size_t at, n = 0;
    char hex[LX_HASH_HEX + 1];
    int rc = lx_file_map(&map, path, err);

    memset(out, 0, sizeof *out);
    if (rc < 0)
        return rc;
    if (map.size > V1_BEGIN)
        n = map.size - V1_BEGIN < V1_BYTES ? map.size - V1_BEGIN : V1_BYTES;
    hash = lx_sha256_of(n ? map.data + V1_BEGIN : (const unsigned char *)"", n);
    lx_hash_hex(hex, &hash);
    snprintf(out->autov1, sizeof out->autov1, "%.8s", hex);
    hash = lx_sha256_of(map.data, map.size);
    lx_hash_hex(out->sha256, &hash);
    snprintf(out->autov2, sizeof out->autov2, "%.10s", out->sha256);
    if ((at = tensors_at(&map))) {
        hash = lx_sha256_of(map.data + at, map.size - at);
        lx_hash_hex(out->tensors, &hash);
        snprintf(out->autov3, sizeof out->autov3, "%.12s", out->tensors);
    }
    lx_file_unmap(&map);
    return LX_OK;
}
