/*
 * base/secret_token - secrets that show what they are by how they look: tokens of known services, private keys
 */
#ifndef LX_BASE_SECRET_TOKEN_H
#define LX_BASE_SECRET_TOKEN_H

#include <stdbool.h>
#include <stddef.h>

/* The length of the token that begins at `at`; 0: none. In the middle of a word (behind - or _) only what can be
 * nothing else. */
size_t lx_token_length(const char *at, const char *end, bool is_inside);

/* Of a private key that begins at `at`: the bytes between its first line and its last (or the end of the text),
 * *keep being the length of the first. 0: none. */
size_t lx_private_key_length(size_t *keep, const char *at, const char *end);

/* Does it look drawn by lot: 16 characters or more in one, or 8 with letters and digits? Of digits alone 16. */
bool lx_looks_drawn(const char *p, size_t n);
/* Digits, signs, points, an exponent. */
bool lx_looks_numeric(const char *p, size_t n);

#endif
