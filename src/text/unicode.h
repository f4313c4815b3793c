/*
 * text/unicode - code points: what they are, lower case, canonical composition
 *
 * Tables of Unicode 14.0, as Python 3.11 has them and with them the peer's tokenizer: captions
 * become the same tokens whatever the system's libraries know. For the same reason these are our
 * own tables and not GLib's, which also ends the process when memory runs out.
 * Source: The Unicode Standard 14.0, sections 3.11 (normalisation) and 3.13 (final sigma).
 */
#ifndef LX_TEXT_UNICODE_H
#define LX_TEXT_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"
#include "src/base/str.h"

/* A growing array of code points. Like lx_str: running out of memory is remembered. */
typedef struct lx_points {
    uint32_t *at;
    size_t n, capacity;
    bool failed;
} lx_points;

#define LX_POINTS_INIT {NULL, 0, 0, false}

void lx_points_release(lx_points *p);
void lx_points_clear(lx_points *p);
void lx_points_push(lx_points *p, uint32_t c);
void lx_points_append(lx_points *p, const uint32_t *c, size_t n);
/* Appends sound UTF-8; LX_EFORMAT names the offset of the first bad byte. */
int lx_points_from_utf8(lx_points *p, const char *text, size_t bytes, lx_error *err);
void lx_points_swap(lx_points *a, lx_points *b);
int lx_points_check(const lx_points *p, lx_error *err); /* LX_ENOMEM if a push failed */

bool lx_is_letter(uint32_t c);  /* L */
bool lx_is_number(uint32_t c);  /* N */
bool lx_is_decimal(uint32_t c); /* Nd */
int lx_decimal_value(uint32_t c); /* 0..9, of a decimal */
bool lx_is_word(uint32_t c);    /* Python's \w */
bool lx_is_space(uint32_t c);   /* White_Space */

/* Appends in[0..n) in lower case: full mappings, final sigma, no locale. */
void lx_points_lower(lx_points *out, const uint32_t *in, size_t n);
/* Appends in[0..n) in normalisation form C. */
void lx_points_nfc(lx_points *out, const uint32_t *in, size_t n);

#endif
