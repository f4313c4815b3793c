/*
 * store/scrub - secrets out of command lines and texts, before they are written
 *
 * The value of an option whose name speaks of a token, key, password or secret, the user part of a
 * URL, and words that look like tokens of known services become "***".
 */
#ifndef LX_STORE_SCRUB_H
#define LX_STORE_SCRUB_H

#include "src/base/str.h"

/* argv as one line a shell would read back, scrubbed. */
void lx_scrub_command(lx_str *out, int argc, const char *const *argv);
/* Appends the text with URL passwords and known tokens replaced. */
void lx_scrub_text(lx_str *out, const char *text, size_t n);
/* Is this option's value a secret by its name? ("--wandb_api_key") */
bool lx_is_secret_name(const char *name);
/* Is this word a token of a known service, by its beginning and its length? */
bool lx_is_secret_word(const char *word, size_t n);
/* The length of the user part (without the @) of an address whose host would begin at p. */
size_t lx_url_user_length(const char *p, const char *end);

#endif
