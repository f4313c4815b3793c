/*
 * base/unicode - the little of Unicode that Python's str methods need
 *
 * sd-scripts strips, lower-cases and reads numbers with Python's str.strip, str.lower and int;
 * tags and repeats only agree with it if these do. Tables: Unicode 14.0 (as Python 3.11).
 */
#ifndef LX_BASE_UNICODE_H
#define LX_BASE_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/str.h"

bool lx_unicode_is_space(uint32_t c); /* str.isspace */
int lx_unicode_digit(uint32_t c);     /* 0..9 of any script (category Nd), else -1 */
uint32_t lx_unicode_lower(uint32_t c); /* simple mapping, locale-free */

/* Narrows [*text, *text + *n) to what str.strip() leaves. */
void lx_unicode_strip(const char **text, size_t *n);

/* str.lower(), with the dotted capital I and the final sigma as Python does them. Invalid bytes
 * are copied. */
void lx_str_put_lower(lx_str *out, const char *text, size_t n);

/*
 * int(text): white space around, one sign, decimal digits of any script. false if it is not a
 * number; beyond an int64_t the value is held at INT64_MIN or INT64_MAX. (Python's underscores
 * between digits cannot occur: folder names are cut at the first one.)
 */
bool lx_unicode_int(int64_t *out, const char *text, size_t n);

#endif
