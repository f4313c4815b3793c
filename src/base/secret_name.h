/*
 * base/secret_name - names that announce a secret: of variables, keys, parameters, options
 *
 * Compared without case; "apiKey", "API-Key" and "api key" are api_key.
 */
#ifndef LX_BASE_SECRET_NAME_H
#define LX_BASE_SECRET_NAME_H

#include <stdbool.h>
#include <stddef.h>

typedef enum lx_name_kind {
    LX_NAME_HONEST,
    LX_NAME_WEAK,  /* a token or key of some sort: its value must look like a secret */
    LX_NAME_STRONG /* its value is one */
} lx_name_kind;

lx_name_kind lx_name_kind_of(const char *name, size_t n);

/* With its dashes: words that are called just key, auth or user mean more there, as in curl -u NAME:PASSWORD. */
lx_name_kind lx_name_kind_of_option(const char *name, size_t n);
/* -u, --user, --proxy-user: the secret stands behind the colon of its value. */
bool lx_name_is_user(const char *option, size_t n);

#endif
