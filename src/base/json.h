/*
 * base/json - strict JSON in, canonical JSON out (cJSON underneath)
 *
 * Reading checks first what cJSON lets pass: UTF-8, nesting depth (no recursion before the check),
 * number syntax, NaN, trailing bytes, lone surrogates, duplicate keys. Errors name the byte offset.
 */
#ifndef LX_BASE_JSON_H
#define LX_BASE_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

#include "src/base/error.h"
#include "src/base/str.h"

/* A value takes some eighty bytes and two of text ("0,"): without a limit a small packed file would fill the memory. */
enum { LX_JSON_DEPTH = 64, LX_JSON_VALUES = 16 << 20 };

/* Parses exactly n bytes; free with cJSON_Delete. cJSON's memory comes from base/alloc. */
int lx_json_parse(cJSON **out, const char *text, size_t n, lx_error *err);

/*
 * Canonical form: keys sorted bytewise, no spaces, shortest number that reads back equal
 * (integers below 2^53 without a point), minimal escapes. Equal values give equal bytes, so the
 * hash of it names the value.
 *
 * LX_ENOMEM, from this and from lx_json_pretty, when value is NULL or when an allocation of cJSON's failed
 * in this thread since the last such error: a tree built meanwhile may lack members.
 */
int lx_json_canonical(lx_str *out, const cJSON *value, lx_error *err);

/* For a tree that is judged before it is written: LX_ENOMEM when memory was lacking for one in this thread
 * since someone was last told. */
int lx_json_check(lx_error *err);

/* As people read it: two spaces, keys in the order given. NaN and the infinities, which JSON cannot say,
 * are null; the canonical form refuses them (LX_EFORMAT). */
int lx_json_pretty(lx_str *out, const cJSON *value, lx_error *err);

/* Borrowed members; NULL / the default when absent or of another type. */
const char *lx_json_text(const cJSON *object, const char *key);
double lx_json_number(const cJSON *object, const char *key, double otherwise);
bool lx_json_bool(const cJSON *object, const char *key, bool otherwise);
/* Towards zero, and no farther than int64_t reaches; no number is 0. Numbers of strangers may have any size. */
int64_t lx_json_whole(double x);
int64_t lx_json_integer(const cJSON *object, const char *key, int64_t otherwise);

/* A value that was written as a text: a number where the number says as much ("8", "0.10", "1e-4"; not "007",
 * "1e-400" or more digits than a double holds), and where the key is none of a name, path, hash or version
 * (output_name; NULL: it is none); else the text. NULL: no memory. */
cJSON *lx_json_word(const char *key, const char *text);

/* Shortest decimal that reads back to the same double ("1e-05" style exponents as in JSON). */
void lx_format_double(char out[32], double x);

#endif
