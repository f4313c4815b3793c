#include "src/lora/hash.h"

#include <stdint.h>

#include "src/base/file.h"

int lx_lora_tensor_hash(lx_hash *out, const char *path, lx_error *err)
{
    uint64_t header = 0;
    lx_mapping map;
    int rc = lx_file_map(&map, path, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < 8 && map.size >= 8; i++)
        header |= (uint64_t)map.data[i] << (8 * i);
    if (map.size < 10 || header < 2 || header > map.size - 8 || map.data[8] != '{')
        rc = lx_fail(err, LX_EFORMAT, "not a safetensors file");
    else
        *out = lx_sha256_of(map.data + 8 + header, map.size - 8 - (size_t)header);
    lx_file_unmap(&map);
    return rc;
}
