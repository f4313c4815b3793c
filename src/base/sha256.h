/*
 * base/sha256 - content addresses
 *
 * OpenSSL's low-level SHA256_* calls: they allocate nothing, so a hash cannot fail. (EVP crashes
 * when memory runs out inside libcrypto's start-up.)
 */
#ifndef LX_BASE_SHA256_H
#define LX_BASE_SHA256_H

#include <openssl/sha.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct lx_sha256 {
    SHA256_CTX ctx;
} lx_sha256;

typedef struct lx_hash {
    unsigned char bytes[32];
} lx_hash;

enum { LX_HASH_HEX = 64 };

void lx_sha256_init(lx_sha256 *h);
void lx_sha256_update(lx_sha256 *h, const void *data, size_t n);
lx_hash lx_sha256_final(lx_sha256 *h);
lx_hash lx_sha256_of(const void *data, size_t n);
/* Of two texts, side by side: where the processor has SHA instructions it takes as long as the longer one alone. */
void lx_sha256_of_two(lx_hash out[2], const void *const data[2], const size_t n[2]);

void lx_hash_hex(char out[LX_HASH_HEX + 1], const lx_hash *hash);
bool lx_hash_from_hex(lx_hash *out, const char *hex); /* exactly 64 lower-case digits */
bool lx_hash_equal(const lx_hash *a, const lx_hash *b);

#endif
