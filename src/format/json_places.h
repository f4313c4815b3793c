/*
 * format/json_places - in which line of a JSON text each value stands
 *
 * For settings that may be written in TOML or in JSON: errors name the line in both.
 */
#ifndef LX_FORMAT_JSON_PLACES_H
#define LX_FORMAT_JSON_PLACES_H

#include "src/format/toml.h"

/* `root` was parsed from these bytes by lx_json_parse. A member's place is that of its key. Released by
 * lx_toml_places_release, also after an error (LX_ENOMEM only). */
int lx_json_places(lx_toml_places *places, const cJSON *root, const char *text, size_t n,
                   lx_error *err);

#endif
