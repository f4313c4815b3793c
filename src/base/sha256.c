#include "src/base/sha256.h"

#include <string.h>

void lx_sha256_init(lx_sha256 *h)
{
    SHA256_Init(&h->ctx);
}

void lx_sha256_update(lx_sha256 *h, const void *data, size_t n)
{
    SHA256_Update(&h->ctx, data, n);
}

lx_hash lx_sha256_final(lx_sha256 *h)
{
    lx_hash hash;
    SHA256_Final(hash.bytes, &h->ctx);
    return hash;
}

lx_hash lx_sha256_of(const void *data, size_t n)
{
    lx_sha256 h;
    lx_sha256_init(&h);
    lx_sha256_update(&h, data, n);
    return lx_sha256_final(&h);
}

void lx_hash_hex(char out[LX_HASH_HEX + 1], const lx_hash *hash)
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 32; i++) {
        out[2 * i] = digits[hash->bytes[i] >> 4];
        out[2 * i + 1] = digits[hash->bytes[i] & 15];
    }
    out[LX_HASH_HEX] = '\0';
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool lx_hash_from_hex(lx_hash *out, const char *hex)
{
    if (strlen(hex) != LX_HASH_HEX)
        return false;
    for (int i = 0; i < 32; i++) {
        int high = digit(hex[2 * i]), low = digit(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out->bytes[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

bool lx_hash_equal(const lx_hash *a, const lx_hash *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}
