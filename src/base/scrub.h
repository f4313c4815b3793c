/*
 * base/scrub - secrets out of command lines and texts, before they are written
 *
 * Every text that enters the store passes here (store/run.c, store/curve.c): command line, settings, notes, facts, names,
 * console, git's differences, errors. What a secret is, it shows in one of these ways, and becomes "***":
 *
 *     by where it stands    the user part of a URL; behind a name that speaks of a key, token, password,
 *                           secret or credential (base/secret_name.h: --wandb_api_key X, "password": "X");
 *                           in an Authorization or Cookie header, behind Bearer; the path of a webhook;
 *                           between the lines of a private key
 *     by how it looks       tokens of known services (base/secret_token.h)
 *     by both               40 hexadecimal digits in a line that speaks of W&B; netrc lines
 *
 * The words token and key are honest words of prompts and settings too: behind a name of theirs (save api_key,
 * access_token and such) only what looks drawn by lot is taken: 16 characters or more, or 8 with letters and
 * digits. Numbers stay there. docs/security.md says what is not found.
 *
 * Scrubbing once more changes nothing; JSON stays JSON.
 */
#ifndef LX_BASE_SCRUB_H
#define LX_BASE_SCRUB_H

#include "src/base/str.h"

/* argv as one line a shell would read back, scrubbed. */
void lx_scrub_command(lx_str *out, int argc, const char *const *argv);
/* Appends the text, scrubbed. */
void lx_scrub_text(lx_str *out, const char *text, size_t n);

/* Does this name of an option or a variable announce a secret? ("--wandb_api_key") */
bool lx_is_secret_name(const char *name);
/* Is this the value of such a name, as lx_scrub_text would hide it? */
bool lx_hides_value(const char *name, const char *value);
/* Of an option with its dashes: would lx_scrub_command hide this value of it? */
bool lx_hides_option(const char *option, size_t n, const char *value);
/* The length of the user part (without the @) of an address whose host would begin at p. */
size_t lx_url_user_length(const char *p, const char *end);
/* The secret that begins at `at` of a text, URLs aside: its length, 0 for none. *keep: bytes in front of it that
 * stay, its name. */
size_t lx_secret_at(size_t *keep, const char *text, const char *at, const char *end);

#endif
