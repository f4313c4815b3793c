/*
 * store/privacy - whose machine it was, taken out of what leaves it
 *
 * A report, a bundle and an export are for others. Taken out of every text of them:
 *
 *     home folders       /home/NAME, /Users/NAME, C:\Users\NAME, /root, $HOME       ~
 *     user names         this user's; those seen in home folders and recorded       user
 *     host names         this machine's; those recorded                             host
 *     e-mail addresses   but for git@ and example.com             name@example.com
 *     tokens             as base/scrub, and values of what is named like one      ***
 *     URL users          https://user:password@                                    ***
 *
 * Names are found as whole words in any spelling of capitals; "_" and "-" end a word, \n and \uXXXX of JSON lie
 * between two, and letters of a name may be written as \uXXXX.
 * Names that tell nothing (user, root, admin, ubuntu ...) and those shorter than three
 * letters stay. A name known by its home folder only is recognised if the text with the
 * folder was learned before: learn all, then scrub all. Scrubbing twice changes nothing
 * more. JSON stays JSON, and bytes that are no text are not touched.
 *
 * Order of use: lx_privacy_new, lx_privacy_learn per text, lx_privacy_scrub per text,
 * lx_privacy_told, lx_privacy_free.
 */
#ifndef LX_STORE_PRIVACY_H
#define LX_STORE_PRIVACY_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/arena.h"
#include "src/base/error.h"
#include "src/base/str.h"

typedef enum lx_private {
    LX_PRIVATE_HOME,
    LX_PRIVATE_USER,
    LX_PRIVATE_HOST,
    LX_PRIVATE_EMAIL,
    LX_PRIVATE_TOKEN,
    LX_PRIVATE_URL,
    LX_PRIVATE_COUNT
} lx_private;

typedef struct lx_privacy lx_privacy;

/* Knows this machine's user, home and host. is_off: every text passes as it is
 * (--no-scrub). */
int lx_privacy_new(lx_privacy **out, bool is_off, lx_error *err);
void lx_privacy_free(lx_privacy *p);
bool lx_privacy_is_off(const lx_privacy *p);

/* Names in home folders, and values of JSON members called host, hostname, user,
 * username. */
void lx_privacy_learn(lx_privacy *p, const char *text, size_t n);
/* A name known from elsewhere. */
void lx_privacy_learn_name(lx_privacy *p, lx_private kind, const char *name);

/* Appends the text scrubbed; true when it differs. */
bool lx_privacy_scrub(lx_str *out, lx_privacy *p, const char *text, size_t n);
/* The same of a C string, into the arena; the text itself where nothing was found. NULL
 * stays NULL;
 * "" without memory. */
const char *lx_privacy_text(lx_privacy *p, const char *text, lx_arena *arena);

/* Whether a text may have been scrubbed: something that is written for private words stands in it. */
bool lx_privacy_seems_scrubbed(const char *text);

/* Without NUL, and UTF-8. */
bool lx_privacy_is_text(const void *data, size_t n);

typedef enum lx_scrubbing {
    LX_SCRUB_CLEAN, /* nothing private in it */
    LX_SCRUB_CHANGED,
    LX_SCRUB_LEFT /* no text, and something private seems to be in it: stays as it is */
} lx_scrubbing;

/*
 * A file: a text scrubbed; of a safetensors file the texts of its header, which is padded
 * to a multiple of 8 again, while the tensors stay byte for byte. Only LX_SCRUB_CHANGED
 * appends anything; else the bytes are good as they are.
 */
lx_scrubbing lx_privacy_scrub_file(lx_str *out, lx_privacy *p, const void *data,
                                   size_t n);

/* Whether lx_privacy_count goes on: not while the same bytes are scrubbed a second time.
 */
void lx_privacy_set_counting(lx_privacy *p, bool is_counting);

/* How often each kind was taken out so far. */
size_t lx_privacy_count(const lx_privacy *p, lx_private kind);
/* "home folders: 12 times, written as ~", one text a kind that was found. */
int lx_privacy_told(const char *const **out, size_t *n, const lx_privacy *p,
                    lx_arena *arena, lx_error *err);

#endif
