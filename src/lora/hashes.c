#include "src/lora/hashes.h"

#include <string.h>

#include "src/base/alloc.h"
#include "src/base/str.h"

enum { LEGACY_FROM = 0x100000, LEGACY_BYTES = 0x10000 };

typedef struct sink {
    lx_sha256 model, legacy;
    size_t header_bytes; /* 8 + header, known with the first bytes */
    size_t at;
} sink;

/* The part of [at, at + n) that lies in [from, to), hashed. */
static void hash_window(lx_sha256 *h, const unsigned char *data, size_t at, size_t n,
                        size_t from, size_t to)
{
    size_t begin = at > from ? at : from, end = at + n < to ? at + n : to;
    if (begin < end)
        lx_sha256_update(h, data + (begin - at), end - begin);
}

static int take(void *context, const void *data, size_t n, lx_error *err)
{
    sink *s = context;
    (void)err;
    hash_window(&s->model, data, s->at, n, s->header_bytes, SIZE_MAX);
    hash_window(&s->legacy, data, s->at, n, LEGACY_FROM, LEGACY_FROM + LEGACY_BYTES);
    s->at += n;
    return LX_OK;
}

int lx_lora_hashes_of(lx_lora_hashes *out, const lx_tensor_view *tensors, size_t n_tensors,
                      const lx_metadata_entry *metadata, size_t n_metadata, lx_error *err)
{
    lx_metadata_entry *kept = lx_calloc(n_metadata, sizeof *kept);
    char hex[LX_HASH_HEX + 1];
    lx_hash hash;
    sink s = {.at = 0};
    size_t n = 0;
    int rc;

    if (!kept)
        return lx_oom(err);
    for (size_t i = 0; i < n_metadata; i++)
        if (lx_starts_with(metadata[i].key, "ss_"))
            kept[n++] = metadata[i];
    lx_sha256_init(&s.model);
    lx_sha256_init(&s.legacy);
    rc = lx_safetensors_stream(take, &s, &s.header_bytes, tensors, n_tensors, kept, n, err);
    lx_free(kept);
    if (rc < 0)
        return rc;
    hash = lx_sha256_final(&s.model);
    lx_hash_hex(out->model, &hash);
    hash = lx_sha256_final(&s.legacy);
    lx_hash_hex(hex, &hash);
    memcpy(out->legacy, hex, 8);
    out->legacy[8] = '\0';
    return LX_OK;
}
