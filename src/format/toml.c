#include "src/format/toml.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/json.h"
#include "src/base/rng.h"
#include "src/base/str.h"
#include "src/format/tensor_file_build.h"

/*
 * How a table or array came to be decides what may still be added to it. cJSON leaves the upper
 * bits of `type` alone, which is where this is kept while parsing; they are cleared at the end.
 */
enum {
    BY_HEADER = 1 << 16,  /* [table]: not a second time */
    BY_DOTS = 2 << 16,    /* a.b = 1 made a: no [a] later */
    BY_SUBTABLE = 3 << 16, /* [a.b] made a: [a] may still come */
    CLOSED = 4 << 16,     /* inline table, plain array or value: nothing may be added */
    BY_ARRAY = 5 << 16,   /* [[a]] */
    ORIGIN = 7 << 16
};

/* A key of a table; cJSON's own lists are walked, which takes minutes with a table of many keys. */
typedef struct slot {
    const cJSON *object;
    cJSON *item; /* NULL: free */
} slot;

typedef struct parser {
    const char *text;
    size_t n, at;
    cJSON *root, *table; /* the table that key lines go to */
    slot *slots;         /* the keys of all tables; a power of two, at most half of it taken */
    size_t n_slots, n_keys;
    lx_toml_places *places;
    int depth;
    lx_error *err;
} parser;

static int fail(const parser *p, size_t at, int code, const char *what)
{
    int line = 1;
    size_t start = 0;
    for (size_t i = 0; i < at && i < p->n; i++)
        if (p->text[i] == '\n') {
            line++;
            start = i + 1;
        }
    return lx_fail(p->err, code, "line %d, column %zu (byte %zu): %s", line, at - start + 1, at,
                   what);
}

static int fail_key(const parser *p, size_t at, const char *key, const char *what)
{
    char text[256];
    snprintf(text, sizeof text, "\"%s\" %s", lx_show(key, strlen(key)).text, what);
    return fail(p, at, LX_EFORMAT, text);
}

static char peek(const parser *p)
{
    return p->at < p->n ? p->text[p->at] : '\0';
}

static void skip_blanks(parser *p)
{
    while (peek(p) == ' ' || peek(p) == '\t')
        p->at++;
}

/* A comment's characters are checked like a text's. */
static int skip_comment(parser *p)
{
    if (peek(p) != '#')
        return LX_OK;
    for (; p->at < p->n && p->text[p->at] != '\n'; p->at++) {
        unsigned char c = (unsigned char)p->text[p->at];
        bool is_line_end = c == '\r' && p->at + 1 < p->n && p->text[p->at + 1] == '\n';
        if ((c < 0x20 && c != '\t' && !is_line_end) || c == 0x7F)
            return fail(p, p->at, LX_EFORMAT, "control character in a comment");
    }
    return LX_OK;
}

static bool take_newline(parser *p)
{
    if (peek(p) == '\n') {
        p->at++;
        return true;
    }
    if (peek(p) == '\r' && p->at + 1 < p->n && p->text[p->at + 1] == '\n') {
        p->at += 2;
        return true;
    }
    return false;
}

/* Blanks, comments and line ends, as allowed between the elements of an array. */
static int skip_filler(parser *p)
{
    int rc;
    do {
        skip_blanks(p);
        if ((rc = skip_comment(p)) < 0)
            return rc;
    } while (take_newline(p));
    return LX_OK;
}

static int end_line(parser *p)
{
    int rc;
    skip_blanks(p);
    if ((rc = skip_comment(p)) < 0)
        return rc;
    if (p->at == p->n || take_newline(p))
        return LX_OK;
    return fail(p, p->at, LX_EFORMAT, "something after the end of the value or table name");
}

/* Strings. */

static int read_hex(parser *p, lx_str *out, int digits)
{
    uint32_t value = 0;
    size_t start = p->at;
    for (int i = 0; i < digits; i++, p->at++) {
        char c = peek(p);
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return fail(p, p->at, LX_EFORMAT, "hexadecimal digit is missing");
        value = value << 4 | (uint32_t)digit;
    }
    if (!value || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000))
        return fail(p, start, LX_EFORMAT, "escape of something that is no character (or NUL)");
    lx_str_put_utf8(out, value);
    return LX_OK;
}

/* A backslash at a line's end swallows all blanks and line ends up to the next character. */
static bool swallow_line_end(parser *p)
{
    size_t start = p->at;
    skip_blanks(p);
    if (!take_newline(p)) {
        p->at = start;
        return false;
    }
    do
        skip_blanks(p);
    while (take_newline(p));
    return true;
}

static int read_escape(parser *p, lx_str *out, bool is_multiline)
{
    static const char from[] = "btnfr\"\\", to[] = "\b\t\n\f\r\"\\";
    const char *known;
    char c;

    p->at++;
    c = peek(p);
    if (is_multiline && swallow_line_end(p))
        return LX_OK;
    if (c && (known = strchr(from, c))) {
        lx_str_putc(out, to[known - from]);
        p->at++;
        return LX_OK;
    }
    if (c == 'u' || c == 'U') {
        p->at++;
        return read_hex(p, out, c == 'u' ? 4 : 8);
    }
    return fail(p, p->at - 1, LX_EFORMAT, "unknown escape");
}

static size_t count_quotes(const parser *p, char quote)
{
    size_t n = 0;
    while (p->at + n < p->n && p->text[p->at + n] == quote)
        n++;
    return n;
}

/* Up to the closing quotes, of which up to two more may belong to the text. */
static int read_multiline(parser *p, lx_str *out, char quote)
{
    size_t start = p->at;
    int rc;

    p->at += 3;
    take_newline(p);
    while (p->at < p->n) {
        unsigned char c = (unsigned char)peek(p);
        size_t quotes = count_quotes(p, quote);
        if (quotes >= 3) {
            if (quotes > 5)
                return fail(p, p->at, LX_EFORMAT, "too many quotes");
            for (size_t i = 3; i < quotes; i++)
                lx_str_putc(out, quote);
            p->at += quotes;
            return LX_OK;
        }
        if (c == '\\' && quote == '"') {
            if ((rc = read_escape(p, out, true)) < 0)
                return rc;
        } else if (take_newline(p)) {
            lx_str_putc(out, '\n');
        } else if ((c < 0x20 && c != '\t') || c == 0x7F) {
            return fail(p, p->at, LX_EFORMAT, "control character in a text");
        } else {
            lx_str_putc(out, (char)c);
            p->at++;
        }
    }
    return fail(p, start, LX_EFORMAT, "text without closing quotes");
}

static int read_string(parser *p, lx_str *out, bool may_be_multiline)
{
    char quote = peek(p);
    size_t start = p->at;
    int rc;

    if (may_be_multiline && count_quotes(p, quote) >= 3)
        return read_multiline(p, out, quote);
    p->at++;
    while (p->at < p->n) {
        unsigned char c = (unsigned char)peek(p);
        if (c == (unsigned char)quote) {
            p->at++;
            return LX_OK;
        }
        if (c == '\n' || c == '\r')
            break;
        if ((c < 0x20 && c != '\t') || c == 0x7F)
            return fail(p, p->at, LX_EFORMAT, "control character in a text");
        if (c == '\\' && quote == '"') {
            if ((rc = read_escape(p, out, false)) < 0)
                return rc;
        } else {
            lx_str_putc(out, (char)c);
            p->at++;
        }
    }
    return fail(p, start, LX_EFORMAT, "text without a closing quote");
}

/* Keys. */

static bool is_bare(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '_' || c == '-';
}

/* One part of a key, into `out` (cleared first). */
static int read_key_part(parser *p, lx_str *out)
{
    size_t start = p->at;
    int rc;

    lx_str_clear(out);
    if (peek(p) == '"' || peek(p) == '\'') {
        if ((rc = read_string(p, out, false)) < 0)
            return rc;
    } else {
        while (is_bare(peek(p)))
            p->at++;
        if (p->at == start)
            return fail(p, start, LX_EFORMAT, "a key is missing");
        lx_str_append(out, p->text + start, p->at - start);
    }
    lx_str_append(out, "", 0);
    return lx_str_check(out, p->err);
}

/* After a part: whether a dot and another part follow. */
static bool take_dot(parser *p)
{
    size_t start = p->at;
    skip_blanks(p);
    if (peek(p) != '.') {
        p->at = start;
        return false;
    }
    p->at++;
    skip_blanks(p);
    return true;
}

/* The tree. */

static int remember(parser *p, const cJSON *value, size_t at)
{
    lx_toml_places *places = p->places;
    if (!places)
        return LX_OK;
    if (lx_grow(&places->items, &places->capacity, places->count + 1, sizeof *places->items) < 0)
        return lx_oom(p->err);
    places->items[places->count++] = (lx_toml_place){.value = value, .byte = at};
    return LX_OK;
}

static int origin(const cJSON *item)
{
    return item->type & ORIGIN;
}

static void set_origin(cJSON *item, int value)
{
    item->type = (item->type & ~ORIGIN) | value;
}

static bool has_kind(const cJSON *item, int kind)
{
    return (item->type & 0xFF) == kind;
}

/* The slot of a key, or the one that is free for it. */
static slot *slot_of(slot *slots, size_t n_slots, const cJSON *object, const char *key)
{
    size_t i = (size_t)((lx_hash_name(key) ^ (uintptr_t)object >> 4) * 0x9E3779B97F4A7C15u >> 32);

    for (i &= n_slots - 1; slots[i].item; i = (i + 1) & (n_slots - 1))
        if (slots[i].object == object && strcmp(slots[i].item->string, key) == 0)
            break;
    return &slots[i];
}

static cJSON *find(const parser *p, const cJSON *object, const char *key)
{
    return p->n_slots ? slot_of(p->slots, p->n_slots, object, key)->item : NULL;
}

static int remember_key(parser *p, const cJSON *object, cJSON *item)
{
    if (2 * (p->n_keys + 1) > p->n_slots) {
        const size_t n = p->n_slots ? 2 * p->n_slots : 64;
        slot *grown = lx_calloc(n, sizeof *grown);
        if (!grown)
            return lx_oom(p->err);
        for (size_t i = 0; i < p->n_slots; i++)
            if (p->slots[i].item)
                *slot_of(grown, n, p->slots[i].object, p->slots[i].item->string) = p->slots[i];
        lx_free(p->slots);
        p->slots = grown;
        p->n_slots = n;
    }
    *slot_of(p->slots, p->n_slots, object, item->string) = (slot){object, item};
    p->n_keys++;
    return LX_OK;
}

/* Adds `item` (taken over, also on failure) under `key`. */
static int attach(parser *p, cJSON *object, const char *key, cJSON *item, size_t at)
{
    int rc;

    if (!item || !cJSON_AddItemToObject(object, key, item)) {
        cJSON_Delete(item);
        return lx_oom(p->err);
    }
    rc = remember_key(p, object, item);
    return rc < 0 ? rc : remember(p, item, at);
}

static int attach_last(parser *p, cJSON *array, cJSON *item, size_t at)
{
    if (!item || !cJSON_AddItemToArray(array, item)) {
        cJSON_Delete(item);
        return lx_oom(p->err);
    }
    return remember(p, item, at);
}

/* A new table under `key`, marked with how it came to be. */
static int make_table(parser *p, cJSON **out, cJSON *object, const char *key, int how, size_t at)
{
    cJSON *table = cJSON_CreateObject();
    int rc = attach(p, object, key, table, at);
    if (rc < 0)
        return rc;
    set_origin(table, how);
    *out = table;
    return LX_OK;
}

/* One step along a dotted key on the left of '='. */
static int enter_dotted(parser *p, cJSON **table, const char *key, size_t at)
{
    cJSON *item = find(p, *table, key);

    if (!item)
        return make_table(p, table, *table, key, BY_DOTS, at);
    if (!has_kind(item, cJSON_Object))
        return fail_key(p, at, key, "has a value already, so it is no table");
    if (origin(item) != BY_DOTS)
        return fail_key(p, at, key, "is a table that cannot be added to here");
    *table = item;
    return LX_OK;
}

/* One step along a [header], the last part excepted: tables of any origin but inline ones; of an
 * array of tables the last one. */
static int enter_header(parser *p, cJSON **table, const char *key, size_t at)
{
    cJSON *item = find(p, *table, key);

    if (!item)
        return make_table(p, table, *table, key, BY_SUBTABLE, at);
    if (origin(item) == BY_ARRAY) {
        item = item->child->prev; /* the first one's prev is the last one */
    } else if (!has_kind(item, cJSON_Object) || origin(item) == CLOSED) {
        return fail_key(p, at, key, "has a value already, so it is no table");
    }
    *table = item;
    return LX_OK;
}

static int open_table(parser *p, cJSON *parent, const char *key, size_t at)
{
    cJSON *item = find(p, parent, key);

    if (!item)
        return make_table(p, &p->table, parent, key, BY_HEADER, at);
    if (!has_kind(item, cJSON_Object))
        return fail_key(p, at, key, "has a value already, so it is no table");
    if (origin(item) != BY_SUBTABLE)
        return fail_key(p, at, key, "is defined twice");
    set_origin(item, BY_HEADER);
    p->table = item;
    return LX_OK;
}

static int open_array_table(parser *p, cJSON *parent, const char *key, size_t at)
{
    cJSON *array = find(p, parent, key), *table;
    int rc;

    if (!array) {
        array = cJSON_CreateArray();
        if ((rc = attach(p, parent, key, array, at)) < 0)
            return rc;
        set_origin(array, BY_ARRAY);
    } else if (origin(array) != BY_ARRAY) {
        return fail_key(p, at, key, "is defined already, and not as [[...]]");
    }
    table = cJSON_CreateObject();
    if ((rc = attach_last(p, array, table, at)) < 0)
        return rc;
    set_origin(table, BY_HEADER);
    p->table = table;
    return LX_OK;
}

/* [a.b] or [[a.b]] */
static int read_header(parser *p)
{
    size_t start = p->at, part_at;
    bool is_array = p->at + 1 < p->n && p->text[p->at + 1] == '[';
    lx_str key = LX_STR_INIT;
    cJSON *table = p->root;
    int rc, depth = 0;

    p->at += is_array ? 2 : 1;
    skip_blanks(p);
    part_at = start;
    while ((rc = read_key_part(p, &key)) == LX_OK && take_dot(p)) {
        if (++depth >= LX_JSON_DEPTH)
            rc = fail(p, start, LX_ELIMIT, "nested deeper than 64");
        else
            rc = enter_header(p, &table, lx_str_text(&key), part_at);
        if (rc < 0)
            break;
    }
    if (rc == LX_OK) {
        skip_blanks(p);
        if (peek(p) != ']' || (is_array && (p->at + 1 >= p->n || p->text[p->at + 1] != ']')))
            rc = fail(p, p->at, LX_EFORMAT, "']' is missing");
        else
            p->at += is_array ? 2 : 1;
    }
    if (rc == LX_OK)
        rc = is_array ? open_array_table(p, table, lx_str_text(&key), start)
                      : open_table(p, table, lx_str_text(&key), start);
    lx_str_release(&key);
    return rc < 0 ? rc : end_line(p);
}

/* Numbers and words. */

static bool is_word_char(char c)
{
    return is_bare(c) || c == '+' || c == '.' || c == ':';
}

static bool is_digit_of(char c, int base)
{
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : 99;
    return digit < base;
}

/* Copies digits, leaving out underscores, which must stand between two digits. */
static bool copy_digits(char **out, const char **p, const char *end, int base)
{
    const char *start = *p;
    while (*p < end && (is_digit_of(**p, base) || **p == '_')) {
        if (**p == '_' && (*p == start || (*p)[-1] == '_' || *p + 1 == end ||
                           !is_digit_of((*p)[1], base)))
            return false;
        if (**p != '_')
            *(*out)++ = **p;
        ++*p;
    }
    return *p > start;
}

static int make_integer(parser *p, cJSON **out, const char *digits, int base, size_t at)
{
    char *end;
    long long x;

    errno = 0;
    x = strtoll(digits, &end, base);
    if (errno == ERANGE)
        return fail(p, at, LX_ELIMIT, "integer beyond 64 bits");
    if (x > (1LL << 53) || x < -(1LL << 53))
        return fail(p, at, LX_ELIMIT, "integer beyond 2^53, which lx does not keep exactly");
    *out = cJSON_CreateNumber((double)x);
    return *out ? LX_OK : lx_oom(p->err);
}

/* sign? digits ( . digits )? ( [eE] sign? digits )?, no leading zeros; false when it is not. */
static bool copy_decimal(char *out, bool *is_float, const char *s, const char *end)
{
    const char *digits;

    *is_float = false;
    if (s < end && (*s == '+' || *s == '-'))
        *out++ = *s++;
    digits = s;
    if (!copy_digits(&out, &s, end, 10) || (*digits == '0' && s - digits > 1))
        return false;
    if (s < end && *s == '.') {
        *is_float = true;
        *out++ = *s++;
        if (!copy_digits(&out, &s, end, 10))
            return false;
    }
    if (s < end && (*s == 'e' || *s == 'E')) {
        *is_float = true;
        *out++ = *s++;
        if (s < end && (*s == '+' || *s == '-'))
            *out++ = *s++;
        if (!copy_digits(&out, &s, end, 10))
            return false;
    }
    *out = '\0';
    return s == end;
}

static int read_number(parser *p, cJSON **out, const char *word, size_t n, size_t at)
{
    char copy[128], *to = copy;
    const char *s = word + 2, *end = word + n;
    bool is_float;
    double x;

    if (n >= sizeof copy)
        return fail(p, at, LX_ELIMIT, "number of more than 127 characters");
    if (n > 2 && word[0] == '0' && strchr("xob", word[1])) {
        int base = word[1] == 'x' ? 16 : word[1] == 'o' ? 8 : 2;
        if (!copy_digits(&to, &s, end, base) || s != end)
            return fail(p, at, LX_EFORMAT, "malformed number");
        *to = '\0';
        return make_integer(p, out, copy, base, at);
    }
    if (!copy_decimal(copy, &is_float, word, end))
        return fail(p, at, LX_EFORMAT, "not a value (texts need quotes)");
    if (!is_float)
        return make_integer(p, out, copy, 10, at);
    x = strtod(copy, NULL);
    if (!isfinite(x))
        return fail(p, at, LX_ELIMIT, "number out of range");
    *out = cJSON_CreateNumber(x);
    return *out ? LX_OK : lx_oom(p->err);
}

static bool is_word(const char *word, size_t n, const char *text)
{
    return strlen(text) == n && !memcmp(word, text, n);
}

/* 1979-05-27... and 07:32:00 */
static bool looks_like_time(const char *word, size_t n)
{
    bool is_date = n >= 10 && word[4] == '-' && word[7] == '-';
    bool is_time = n >= 5 && word[2] == ':';
    return (is_date || is_time) && word[0] >= '0' && word[0] <= '9';
}

static int read_word(parser *p, cJSON **out)
{
    size_t start = p->at, n;
    const char *word = p->text + start;

    while (is_word_char(peek(p)))
        p->at++;
    n = p->at - start;
    if (!n)
        return fail(p, start, LX_EFORMAT, "a value is missing");
    if (is_word(word, n, "true") || is_word(word, n, "false")) {
        *out = cJSON_CreateBool(n == 4);
        return *out ? LX_OK : lx_oom(p->err);
    }
    if (looks_like_time(word, n))
        return fail(p, start, LX_EUNSUPPORTED, "dates and times are not read; put it in quotes");
    if (n >= 3 && (is_word(word + n - 3, 3, "nan") || is_word(word + n - 3, 3, "inf")) && n <= 4)
        return fail(p, start, LX_EFORMAT, "nan and inf are no values for a setting");
    return read_number(p, out, word, n, start);
}

/* Values. Arrays and inline tables recurse; the depth is counted and small. */

static int read_value(parser *p, cJSON **out);

static int read_text(parser *p, cJSON **out)
{
    lx_str text = LX_STR_INIT;
    int rc = read_string(p, &text, true);

    lx_str_append(&text, "", 0);
    if (rc == LX_OK && (rc = lx_str_check(&text, p->err)) == LX_OK &&
        !(*out = cJSON_CreateString(lx_str_text(&text))))
        rc = lx_oom(p->err);
    lx_str_release(&text);
    return rc;
}

static int read_elements(parser *p, cJSON *array)
{
    int rc;

    while ((rc = skip_filler(p)) == LX_OK) {
        cJSON *item = NULL;
        size_t at = p->at;
        if (peek(p) == ']') {
            p->at++;
            return LX_OK;
        }
        if ((rc = read_value(p, &item)) < 0 || (rc = attach_last(p, array, item, at)) < 0 ||
            (rc = skip_filler(p)) < 0)
            return rc;
        if (peek(p) == ',')
            p->at++;
        else if (peek(p) != ']')
            return fail(p, p->at, LX_EFORMAT, "',' or ']' is missing");
    }
    return rc;
}

static int read_key_value(parser *p, cJSON *table);

/* On one line, without a trailing comma. */
static int read_inline(parser *p, cJSON *table)
{
    int rc;

    skip_blanks(p);
    if (peek(p) == '}') {
        p->at++;
        return LX_OK;
    }
    for (;;) {
        skip_blanks(p);
        if ((rc = read_key_value(p, table)) < 0)
            return rc;
        skip_blanks(p);
        if (peek(p) == '}') {
            p->at++;
            return LX_OK;
        }
        if (peek(p) != ',')
            return fail(p, p->at, LX_EFORMAT, "',' or '}' is missing");
        p->at++;
    }
}

/* Nothing can be added to an inline table from outside, nor to what dots made in it. */
static void close_tables(cJSON *table)
{
    cJSON *item;
    set_origin(table, CLOSED);
    cJSON_ArrayForEach(item, table)
        if (has_kind(item, cJSON_Object) && origin(item) != CLOSED)
            close_tables(item);
}

static int read_container(parser *p, cJSON **out)
{
    bool is_array = peek(p) == '[';
    cJSON *container;
    int rc;

    if (p->depth >= LX_JSON_DEPTH)
        return fail(p, p->at, LX_ELIMIT, "nested deeper than 64");
    container = is_array ? cJSON_CreateArray() : cJSON_CreateObject();
    if (!container)
        return lx_oom(p->err);
    p->at++;
    p->depth++;
    rc = is_array ? read_elements(p, container) : read_inline(p, container);
    p->depth--;
    if (rc < 0) {
        cJSON_Delete(container);
        return rc;
    }
    if (is_array)
        set_origin(container, CLOSED);
    else
        close_tables(container);
    *out = container;
    return LX_OK;
}

static int read_value(parser *p, cJSON **out)
{
    char c = peek(p);
    if (c == '"' || c == '\'')
        return read_text(p, out);
    if (c == '[' || c == '{')
        return read_container(p, out);
    return read_word(p, out);
}

/* a.b = value, into `table` */
static int read_key_value(parser *p, cJSON *table)
{
    lx_str key = LX_STR_INIT;
    cJSON *value = NULL;
    size_t at = p->at;
    int rc, depth = p->depth;

    while ((rc = read_key_part(p, &key)) == LX_OK && take_dot(p)) {
        if (++depth >= LX_JSON_DEPTH)
            rc = fail(p, at, LX_ELIMIT, "nested deeper than 64");
        else
            rc = enter_dotted(p, &table, lx_str_text(&key), at);
        if (rc < 0)
            break;
    }
    if (rc == LX_OK && find(p, table, lx_str_text(&key)))
        rc = fail_key(p, at, lx_str_text(&key), "is defined twice");
    if (rc == LX_OK) {
        skip_blanks(p);
        if (peek(p) != '=')
            rc = fail(p, p->at, LX_EFORMAT, "'=' is missing");
    }
    if (rc == LX_OK) {
        p->at++;
        skip_blanks(p);
        if ((rc = read_value(p, &value)) == LX_OK)
            rc = attach(p, table, lx_str_text(&key), value, at);
    }
    lx_str_release(&key);
    return rc;
}

static int read_document(parser *p)
{
    size_t invalid = lx_utf8_check(p->text, p->n);
    int rc;

    if (invalid < p->n)
        return fail(p, invalid, LX_EFORMAT, "invalid UTF-8");
    if (p->n >= 3 && !memcmp(p->text, "\xEF\xBB\xBF", 3)) /* a byte-order mark is harmless */
        p->at = 3;
    for (;;) {
        if ((rc = skip_filler(p)) < 0)
            return rc;
        if (p->at == p->n)
            return LX_OK;
        if (peek(p) == '[')
            rc = read_header(p);
        else if ((rc = read_key_value(p, p->table)) == LX_OK)
            rc = end_line(p);
        if (rc < 0)
            return rc;
    }
}

/* Depth is bounded by the parser, so the recursion is too: at most a header's 64 parts, then a
 * key's 64 and a value's 64. */
static void clear_origins(cJSON *value)
{
    cJSON *item;
    value->type &= ~ORIGIN;
    cJSON_ArrayForEach(item, value) clear_origins(item);
}

static int by_address(const void *pa, const void *pb)
{
    const lx_toml_place *a = pa, *b = pb;
    return (uintptr_t)a->value < (uintptr_t)b->value ? -1 : (uintptr_t)a->value >
                                                                (uintptr_t)b->value;
}

static int by_byte(const void *pa, const void *pb)
{
    const lx_toml_place *a = pa, *b = pb;
    return a->byte < b->byte ? -1 : a->byte > b->byte;
}

/* Lines and columns in one pass over the text. */
static void number_lines(const parser *p)
{
    size_t at = 0, start = 0;
    int line = 1;

    if (!p->places || !p->places->count)
        return;
    qsort(p->places->items, p->places->count, sizeof *p->places->items, by_byte);
    for (size_t i = 0; i < p->places->count; i++) {
        lx_toml_place *place = &p->places->items[i];
        for (; at < place->byte; at++)
            if (p->text[at] == '\n') {
                line++;
                start = at + 1;
            }
        place->line = line;
        place->column = (int)(place->byte - start) + 1;
    }
    lx_toml_places_sort(p->places);
}

int lx_toml_parse(cJSON **out, lx_toml_places *places, const char *text, size_t n,
                  lx_error *err)
{
    parser p = {.text = text, .n = n, .places = places, .err = err};
    int rc;

    *out = NULL;
    if (places)
        *places = (lx_toml_places){0};
    if (!(p.root = cJSON_CreateObject()))
        return lx_oom(err);
    p.table = p.root;
    rc = read_document(&p);
    lx_free(p.slots);
    if (rc < 0) {
        cJSON_Delete(p.root);
        if (places)
            lx_toml_places_release(places);
        return rc;
    }
    clear_origins(p.root);
    number_lines(&p);
    *out = p.root;
    return LX_OK;
}

const lx_toml_place *lx_toml_find_place(const lx_toml_places *places, const cJSON *value)
{
    lx_toml_place wanted = {.value = value};
    return places->count ? bsearch(&wanted, places->items, places->count, sizeof wanted, by_address)
                         : NULL;
}

void lx_toml_places_sort(lx_toml_places *places)
{
    if (places->count)
        qsort(places->items, places->count, sizeof *places->items, by_address);
}

void lx_toml_places_release(lx_toml_places *places)
{
    lx_free(places->items);
    *places = (lx_toml_places){0};
}
