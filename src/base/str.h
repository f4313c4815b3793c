/*
 * base/str - a growing byte string
 *
 * Appending never fails at the call: out of memory is remembered in `failed` and asked for once,
 * at the end (lx_str_check). The bytes are always NUL-terminated and may hold NULs.
 */
#ifndef LX_BASE_STR_H
#define LX_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"

typedef struct lx_str {
    char *data; /* never NULL after the first append; use lx_str_text for printing */
    size_t len, capacity;
    bool failed;
} lx_str;

#define LX_STR_INIT {NULL, 0, 0, false}

void lx_str_release(lx_str *s); /* back to LX_STR_INIT */
void lx_str_clear(lx_str *s);   /* empty, memory kept */
void lx_str_append(lx_str *s, const char *bytes, size_t n);
void lx_str_puts(lx_str *s, const char *text);
void lx_str_putc(lx_str *s, char c);
void lx_str_printf(lx_str *s, const char *fmt, ...) LX_PRINTF(2, 3);
void lx_str_put_utf8(lx_str *s, uint32_t codepoint);
/* n bytes of UTF-16 as UTF-8. Halves of nothing become U+FFFD, an odd byte at the end too. */
void lx_str_put_utf16(lx_str *s, const void *bytes, size_t n, bool is_big_endian);
size_t lx_utf8_put(char out[4], uint32_t codepoint); /* the bytes it took */

const char *lx_str_text(const lx_str *s);         /* "" when empty */
int lx_str_check(const lx_str *s, lx_error *err); /* LX_ENOMEM if an append failed */
char *lx_str_detach(lx_str *s);                   /* yours, lx_free; NULL on out of memory */

bool lx_starts_with(const char *text, const char *prefix);
bool lx_ends_with(const char *text, const char *suffix);

/* Next code point at *p (< end), advancing *p; 0xFFFFFFFF on an invalid byte (advanced by one).
 * Overlong forms, surrogates and values past U+10FFFF are invalid. */
uint32_t lx_utf8_next(const char **p, const char *end);
/* Offset of the first invalid byte, or n if all is sound. */
size_t lx_utf8_check(const char *bytes, size_t n);

/*
 * Text from files made safe to show on a terminal: C0, C1, DEL, bidi controls and invalid bytes
 * become \xNN or \u{NNNN}; newline and tab too when `one_line`. Appends to out.
 */
bool lx_is_unsafe_point(uint32_t c); /* what these make visible: controls, bidi, no width */
void lx_escape_terminal(lx_str *out, const char *text, size_t n, bool one_line);
void lx_escape_html(lx_str *out, const char *text, size_t n); /* & < > " ' and controls */
void lx_escape_json(lx_str *out, const char *text, size_t n); /* with the quotes */
/* RFC 4180 quoting, and a leading = + - @ tab or CR is defused with an apostrophe. */
void lx_escape_csv(lx_str *out, const char *text, size_t n);

/* One word of a POSIX shell, between apostrophes where it holds more than plain letters. */
void lx_escape_shell(lx_str *out, const char *word);

/* "s", but "" for one: "%zu image%s", n, lx_plural(n). */
const char *lx_plural(size_t n);

/* Levenshtein distance of names, for "did you mean"; case and -/_ are ignored. */
int lx_name_distance(const char *a, const char *b);

#endif
