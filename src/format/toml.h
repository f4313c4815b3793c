/*
 * format/toml - TOML 1.0 as configuration files use it, into a cJSON tree
 *
 * Read: tables, arrays of tables, dotted and quoted keys, all four kinds of strings, integers in
 * four bases with underscores, floats, booleans, arrays, inline tables, CR LF line ends. Refused
 * beside what TOML refuses: dates and times, nan and inf (no setting takes them), and integers that
 * a double does not hold exactly. Keys and tables defined twice are refused, nesting deeper than
 * LX_JSON_DEPTH too. Errors begin "line L, column C (byte B): ".
 *
 * Places answer where a value came from, so that whoever knows the keys can say
 * "line 3, column 1: unknown key".
 * Source: toml.io/en/v1.0.0.
 */
#ifndef LX_FORMAT_TOML_H
#define LX_FORMAT_TOML_H

#include <cjson/cJSON.h>
#include <stddef.h>

#include "src/base/error.h"

typedef struct lx_toml_place {
    const cJSON *value;
    int line, column; /* of its key (or of the value, in an array), from 1; columns in bytes */
    size_t byte;
} lx_toml_place;

typedef struct lx_toml_places {
    lx_toml_place *items; /* sorted by address of value */
    size_t count, capacity;
} lx_toml_places;

/*
 * Parses exactly n bytes. *out is an object, freed with cJSON_Delete. places may be NULL; else it
 * is filled and released by the caller.
 *
 *   LX_EFORMAT   not TOML, or defined twice
 *   LX_ELIMIT    too deep, or an integer too large
 *   LX_EUNSUPPORTED   a date or time
 */
int lx_toml_parse(cJSON **out, lx_toml_places *places, const char *text, size_t n,
                  lx_error *err);

/* NULL when the value is not of that tree. */
const lx_toml_place *lx_toml_find_place(const lx_toml_places *places, const cJSON *value);
/* For lookups, once all are there. */
void lx_toml_places_sort(lx_toml_places *places);
void lx_toml_places_release(lx_toml_places *places);

#endif
