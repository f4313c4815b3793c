/*
 * base/json_reader - JSON token by token, strictly (RFC 8259)
 *
 * For documents that must not be turned into a tree: numbers of 64 bits, duplicate keys that are
 * to be noted and not refused, offsets for messages. Depth is counted, nothing recurses, nothing
 * is allocated. Refused, with the byte offset: what RFC 8259 refuses, invalid UTF-8, lone
 * surrogates, nesting deeper than LX_JSON_DEPTH.
 *
 *     lx_json_reader r = lx_json_reader_of(text, n);
 *     while ((kind = lx_json_next(&r, err)) > 0) ...
 *     // 0: the document is complete; negative: an LX_E code
 */
#ifndef LX_BASE_JSON_READER_H
#define LX_BASE_JSON_READER_H

#include "src/base/json.h"

typedef enum lx_json_kind {
    LX_JSON_DONE = 0,
    LX_JSON_OBJECT,
    LX_JSON_OBJECT_END,
    LX_JSON_ARRAY,
    LX_JSON_ARRAY_END,
    LX_JSON_KEY,
    LX_JSON_STRING,
    LX_JSON_NUMBER,
    LX_JSON_TRUE,
    LX_JSON_FALSE,
    LX_JSON_NULL
} lx_json_kind;

typedef struct lx_json_reader {
    const char *text;
    size_t n, at;
    /* The token last returned. Of keys and strings: the bytes between the quotes, still escaped;
     * `offset` is where the token starts (the quote). */
    size_t offset;
    const char *token;
    size_t token_n;
    /*
     * Where keys and strings are to be copied to, unescaped and ended by a NUL, as they
     * are read: the caller's, with room for what is left of the document and 8 bytes more,
     * and to be moved on by copied_n + 1. NULL: they are not copied.
     */
    char *out;
    size_t copied_n;
    bool is_printable; /* all of it is ASCII that shows (0x20 to 0x7E) */
    int depth;
    unsigned char wants;                     /* what may come next; private */
    unsigned char is_object[LX_JSON_DEPTH];  /* by depth */
} lx_json_reader;

lx_json_reader lx_json_reader_of(const char *text, size_t n);

/* An lx_json_kind, or LX_EFORMAT or LX_ELIMIT with "... at byte N". */
int lx_json_next(lx_json_reader *r, lx_error *err);

/* After a token that opens an object or array: reads up to and with its end. After any other value
 * token: nothing. LX_JSON_DONE (0) or an error; numbers that no double holds are one. */
int lx_json_skip(lx_json_reader *r, int kind, lx_error *err);

/* The text of the last key or string, unescaped, appended to `out` (may contain NUL bytes). */
void lx_json_unescape(lx_str *out, const lx_json_reader *r);

/*
 * The same into `out`, which has room for token_n + 8 bytes; ends it with a NUL and
 * returns its length. is_printable: all of it is ASCII that shows (0x20 to 0x7E).
 */
size_t lx_json_copy(char *out, bool *is_printable, const lx_json_reader *r);

/* Where in the document the last key or string stands for a NUL byte (\u0000); n if nowhere. */
size_t lx_json_find_nul(const lx_json_reader *r);

/* Compares two escaped texts by the bytes they stand for, as memcmp would. */
int lx_json_compare(const char *a, size_t na, const char *b, size_t nb);

/* The last number as an unsigned integer; false if it has a sign, point or exponent or is 2^64
 * or more. */
bool lx_json_u64(uint64_t *out, const lx_json_reader *r);

#endif
