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
/* n more bytes of each, side by side: in the time of one where there are pairs, one after the other elsewhere. */
void lx_sha256_update_two(lx_sha256 *a, const void *data_a, lx_sha256 *b,
                          const void *data_b, size_t n);
/* Whether the processor has SHA instructions, and time between them for those of another hash. */
bool lx_sha256_has_pairs(void);
/* Of two texts, side by side. */
void lx_sha256_of_two(lx_hash out[2], const void *const data[2], const size_t n[2]);

void lx_hash_hex(char out[LX_HASH_HEX + 1], const lx_hash *hash);
bool lx_hash_from_hex(lx_hash *out, const char *hex); /* exactly 64 lower-case digits */
bool lx_hash_equal(const lx_hash *a, const lx_hash *b);

#endif
