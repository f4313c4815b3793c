/*
 * format/infotext - the settings of a picture, as web UIs write them
 *
 *     prompt, of any number of lines
 *     Negative prompt: ...                          left out when empty
 *     Steps: 28, Sampler: DPM++ SDE Karras, CFG scale: 8, Seed: 1, Size: 512x864, ...
 *
 * The last line holds settings when it has at least three "Key: value". A value with a
 * comma, a colon or a line break stands in double quotes with JSON's escapes; one in quotes
 * that is no JSON is taken as it stands. Source: AUTOMATIC1111's web UI,
 * modules/infotext_utils. Goldens: lora/a1111.
 */
#ifndef LX_FORMAT_INFOTEXT_H
#define LX_FORMAT_INFOTEXT_H

#include "src/base/arena.h"
#include "src/base/str.h"

typedef struct lx_infotext_pair {
    const char *key, *value;
} lx_infotext_pair;

typedef struct lx_infotext {
    const char *prompt, *negative; /* never NULL; negative "" when there is none */
    lx_infotext_pair *settings;    /* in their order */
    size_t n_settings;
} lx_infotext;

/* All of it in the arena. Any text has a meaning: one without settings is a prompt. */
int lx_infotext_parse(lx_infotext *out, lx_arena *arena, const char *text, lx_error *err);
/* NULL when it is not among the settings. */
const char *lx_infotext_get(const lx_infotext *info, const char *key);

void lx_infotext_write(lx_str *out, const lx_infotext *info);

#endif
