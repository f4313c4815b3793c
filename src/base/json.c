#include "src/base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/json_reader.h"

/*
 * cJSON_Add... without memory leaves the member out, and few look at what it returns. So that no
 * document is written with a hole, the thread remembers that an allocation failed until someone is
 * told: the next tree that is written or read.
 */
static _Thread_local bool has_failed;

static void *allocate(size_t bytes)
{
    void *memory = lx_alloc(bytes);
    has_failed |= !memory;
    return memory;
}

static int tell_failure(lx_error *err)
{
    has_failed = false;
    return lx_oom(err);
}

int lx_json_check(lx_error *err)
{
    return has_failed ? tell_failure(err) : LX_OK;
}

/* Before main, so that every cJSON of the process is ours, whoever creates it first. */
__attribute__((constructor)) static void use_our_allocator(void)
{
    cJSON_Hooks hooks = {.malloc_fn = allocate, .free_fn = lx_free};
    cJSON_InitHooks(&hooks);
}

/* A key and the object it is in (objects are numbered in the order they open). */
typedef struct member_key {
    size_t object;
    const char *text;
    size_t n, offset;
} member_key;

typedef struct key_list {
    member_key *items;
    size_t count, capacity;
} key_list;

static int compare_keys(const void *pa, const void *pb)
{
    const member_key *a = pa, *b = pb;
    int order;

    if (a->object != b->object)
        return a->object < b->object ? -1 : 1;
    if ((order = lx_json_compare(a->text, a->n, b->text, b->n)))
        return order;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* Sorting, and not hashing: no choice of keys makes it slow. */
static int check_unique(key_list *keys, lx_error *err)
{
    const member_key *first = NULL;

    if (keys->count)
        qsort(keys->items, keys->count, sizeof *keys->items, compare_keys);
    for (size_t i = 1; i < keys->count; i++) {
        const member_key *a = &keys->items[i - 1], *b = &keys->items[i];
        if (a->object == b->object && !lx_json_compare(a->text, a->n, b->text, b->n) &&
            (!first || b->offset < first->offset))
            first = b;
    }
    if (first)
        return lx_fail(err, LX_EFORMAT, "JSON: duplicate key \"%.*s\" at byte %zu",
                       first->n < 200 ? (int)first->n : 200, first->text, first->offset);
    return LX_OK;
}

/* cJSON reads numbers through a buffer of 64 bytes and turns what overflows into infinity. */
static int check_number(const lx_json_reader *r, lx_error *err)
{
    char copy[64];

    if (r->token_n >= sizeof copy)
        return lx_fail(err, LX_ELIMIT, "JSON: number of %zu characters at byte %zu", r->token_n,
                       r->offset);
    memcpy(copy, r->token, r->token_n);
    copy[r->token_n] = '\0';
    if (!isfinite(strtod(copy, NULL)))
        return lx_fail(err, LX_EFORMAT, "JSON: number out of range at byte %zu", r->offset);
    return LX_OK;
}

/* cJSON's texts end at the first NUL. */
static int check_text(const lx_json_reader *r, lx_error *err)
{
    size_t nul = lx_json_find_nul(r);

    if (nul < r->n)
        return lx_fail(err, LX_EFORMAT, "JSON: NUL in a text at byte %zu", nul);
    return LX_OK;
}

static int check_document(key_list *keys, const char *text, size_t n, lx_error *err)
{
    lx_json_reader r = lx_json_reader_of(text, n);
    size_t inside[LX_JSON_DEPTH + 1] = {0}, n_objects = 0, n_values = 0;
    int kind, rc = LX_OK;

    while ((kind = lx_json_next(&r, err)) > 0) {
        n_values += kind != LX_JSON_KEY && kind != LX_JSON_OBJECT_END && kind != LX_JSON_ARRAY_END;
        if (n_values > LX_JSON_VALUES)
            return lx_fail(err, LX_ELIMIT, "JSON: more than %d values at byte %zu", LX_JSON_VALUES,
                           r.offset);
        switch (kind) {
        case LX_JSON_OBJECT:
            inside[r.depth] = ++n_objects;
            break;
        case LX_JSON_KEY:
            if (lx_grow(&keys->items, &keys->capacity, keys->count + 1, sizeof *keys->items) < 0)
                return lx_oom(err);
            keys->items[keys->count++] = (member_key){inside[r.depth], r.token, r.token_n, r.offset};
            rc = check_text(&r, err);
            break;
        case LX_JSON_STRING:
            rc = check_text(&r, err);
            break;
        case LX_JSON_NUMBER:
            rc = check_number(&r, err);
            break;
        default:
            break;
        }
        if (rc < 0)
            return rc;
    }
    return kind < 0 ? kind : check_unique(keys, err);
}

int lx_json_parse(cJSON **out, const char *text, size_t n, lx_error *err)
{
    key_list keys = {0};
    int rc;

    *out = NULL;
    if ((rc = check_document(&keys, text, n, err)) == LX_OK) {
        *out = cJSON_ParseWithLength(text, n);
        if (!*out) /* the text is sound, so there is but one reason */
            rc = tell_failure(err);
    }
    lx_free(keys.items);
    return rc;
}

/* Digits and exponent of the shortest decimal: x = 0.d1d2d3... * 10^*exponent. */
static int shortest_digits(char digits[20], int *exponent, double x)
{
    /* 15 digits identify every decimal of up to 15, so only subnormals have fewer to try. */
    int precision = x < 0x1p-1022 ? 1 : 15, n = 0;
    char text[40];
    const char *e;

    for (; precision < 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision - 1, x);
        if (strtod(text, NULL) == x)
            break;
    }
    if (precision == 17)
        snprintf(text, sizeof text, "%.16e", x);
    e = strchr(text, 'e');
    for (const char *p = text; p < e; p++)
        if (*p >= '0' && *p <= '9')
            digits[n++] = *p;
    while (n > 1 && digits[n - 1] == '0')
        n--;
    *exponent = atoi(e + 1) + 1;
    return n;
}

/* As Python's repr: plain from 1e-4 to below 1e16, exponents of at least two digits outside. */
void lx_format_double(char out[32], double x)
{
    char digits[20];
    int exponent, n;

    if (!isfinite(x)) {
        snprintf(out, 32, "%s", isnan(x) ? "NaN" : x < 0 ? "-Infinity" : "Infinity");
        return;
    }
    if (signbit(x))
        *out++ = '-';
    if (x == 0) {
        strcpy(out, "0");
        return;
    }
    if (fabs(x) < 1e15 && x == floor(x)) { /* the usual case, and all its digits count */
        sprintf(out, "%lld", (long long)fabs(x));
        return;
    }
    n = shortest_digits(digits, &exponent, fabs(x));
    if (exponent < -3 || exponent > 16) {
        out += sprintf(out, "%c", digits[0]);
        if (n > 1)
            out += sprintf(out, ".%.*s", n - 1, digits + 1);
        sprintf(out, "e%c%02d", exponent > 0 ? '+' : '-', abs(exponent - 1));
    } else if (exponent <= 0) {
        sprintf(out, "0.%.*s%.*s", -exponent, "000", n, digits);
    } else if (n <= exponent) {
        sprintf(out, "%.*s%.*s", n, digits, exponent - n, "0000000000000000");
    } else {
        sprintf(out, "%.*s.%.*s", exponent, digits, n - exponent, digits + exponent);
    }
}

/* How a value is written; both forms share the walk. */
typedef struct writer {
    lx_str *out;
    bool is_canonical;
    lx_error *err;
} writer;

static int write_value(writer *w, const cJSON *value, int depth);

static void new_line(writer *w, int depth)
{
    if (w->is_canonical)
        return;
    lx_str_putc(w->out, '\n');
    for (int i = 0; i < depth; i++)
        lx_str_puts(w->out, "  ");
}

static int write_number(writer *w, double x)
{
    char text[32];

    if (!isfinite(x) && w->is_canonical) /* a name must not stand for two values */
        return lx_fail(w->err, LX_EFORMAT, "JSON has no way to write %s",
                       isnan(x) ? "NaN" : "infinity");
    if (!isfinite(x)) {
        lx_str_puts(w->out, "null");
        return LX_OK;
    }
    lx_format_double(text, x == 0 ? 0.0 : x); /* 0 and -0 are equal, so are their bytes */
    lx_str_puts(w->out, text);
    return LX_OK;
}

static int compare_members(const void *a, const void *b)
{
    return strcmp((*(const cJSON *const *)a)->string, (*(const cJSON *const *)b)->string);
}

static int write_member(writer *w, const cJSON *member, bool is_first, int depth)
{
    if (!is_first)
        lx_str_putc(w->out, ',');
    new_line(w, depth + 1);
    if (member->string) {
        lx_escape_json(w->out, member->string, strlen(member->string));
        lx_str_puts(w->out, w->is_canonical ? ":" : ": ");
    }
    return write_value(w, member, depth + 1);
}

static int write_sorted(writer *w, const cJSON *object, int depth)
{
    const cJSON **members, *member;
    size_t n = 0;
    int rc = LX_OK;

    cJSON_ArrayForEach(member, object) n++;
    if (!(members = lx_calloc(n, sizeof *members)))
        return lx_oom(w->err);
    n = 0;
    cJSON_ArrayForEach(member, object) members[n++] = member;
    if (n)
        qsort(members, n, sizeof *members, compare_members);
    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        if (i && !strcmp(members[i - 1]->string, members[i]->string))
            rc = lx_fail(w->err, LX_EINTERNAL, "JSON: key \"%s\" twice in one object",
                         members[i]->string);
        else
            rc = write_member(w, members[i], i == 0, depth);
    }
    lx_free(members);
    return rc;
}

static int write_in_order(writer *w, const cJSON *value, int depth)
{
    const cJSON *member;
    int rc;

    cJSON_ArrayForEach(member, value)
        if ((rc = write_member(w, member, member == value->child, depth)) < 0)
            return rc;
    return LX_OK;
}

static int write_container(writer *w, const cJSON *value, int depth)
{
    bool is_object = cJSON_IsObject(value);
    int rc;

    if (depth >= LX_JSON_DEPTH)
        return lx_fail(w->err, LX_ELIMIT, "JSON: nested deeper than %d", LX_JSON_DEPTH);
    lx_str_putc(w->out, is_object ? '{' : '[');
    rc = is_object && w->is_canonical ? write_sorted(w, value, depth)
                                      : write_in_order(w, value, depth);
    if (value->child)
        new_line(w, depth);
    lx_str_putc(w->out, is_object ? '}' : ']');
    return rc;
}

static int write_value(writer *w, const cJSON *value, int depth)
{
    if (cJSON_IsObject(value) || cJSON_IsArray(value))
        return write_container(w, value, depth);
    if (cJSON_IsNumber(value))
        return write_number(w, value->valuedouble);
    if (cJSON_IsString(value))
        lx_escape_json(w->out, value->valuestring, strlen(value->valuestring));
    else if (cJSON_IsBool(value))
        lx_str_puts(w->out, cJSON_IsTrue(value) ? "true" : "false");
    else
        lx_str_puts(w->out, "null");
    return LX_OK;
}

static int write_document(lx_str *out, const cJSON *value, bool is_canonical, lx_error *err)
{
    writer w = {out, is_canonical, err};
    int rc;

    if (!value || has_failed)
        return tell_failure(err);
    rc = write_value(&w, value, 0);
    return rc < 0 ? rc : lx_str_check(out, err);
}

int lx_json_canonical(lx_str *out, const cJSON *value, lx_error *err)
{
    return write_document(out, value, true, err);
}

int lx_json_pretty(lx_str *out, const cJSON *value, lx_error *err)
{
    return write_document(out, value, false, err);
}

const char *lx_json_text(const cJSON *object, const char *key)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
}

double lx_json_number(const cJSON *object, const char *key, double otherwise)
{
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNumber(member) ? member->valuedouble : otherwise;
}

int64_t lx_json_whole(double x)
{
    const double beyond = 9223372036854775808.0; /* 2^63 */

    if (isnan(x))
        return 0;
    return x >= beyond ? INT64_MAX : x < -beyond ? INT64_MIN : (int64_t)x;
}

int64_t lx_json_integer(const cJSON *object, const char *key, int64_t otherwise)
{
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNumber(member) ? lx_json_whole(member->valuedouble) : otherwise;
}

bool lx_json_bool(const cJSON *object, const char *key, bool otherwise)
{
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsBool(member) ? cJSON_IsTrue(member) : otherwise;
}

/* Digits with a point and an exponent or without, as JSON has them, but for ".5" and "5.": no more of them than a
 * double holds, and no zero that is made of others. */
static bool says_number(double *out, const char *text)
{
    const char *p = text + (*text == '-'), *first = p + strspn(p, "0.");
    size_t whole = strspn(p, "0123456789"), part = 0, significant = 0, n = whole;

    if (p[n] == '.')
        n += 1 + (part = strspn(p + n + 1, "0123456789"));
    for (const char *d = first; d < p + n; d++)
        significant += *d != '.';
    if (!(whole + part) || (whole > 1 && *p == '0') || significant > 17)
        return false;
    if (p[n] == 'e' || p[n] == 'E') {
        size_t digits;
        n += 1 + (p[n + 1] == '-' || p[n + 1] == '+');
        if (!(digits = strspn(p + n, "0123456789")))
            return false;
        n += digits;
    }
    *out = strtod(text, NULL);
    return !p[n] && isfinite(*out) && (*out != 0 || !significant) &&
           (p[whole] || fabs(*out) <= 0x1p53);
}

static bool is_name(const char *key)
{
    static const char *const ends[] = {"vae",  "name", "path",    "dir",     "hash",
                                       "file", "id",   "version", "comment", "title"};
    size_t n = strlen(key);

    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t end = strlen(ends[i]);
        if (n >= end && strcmp(key + n - end, ends[i]) == 0 && (n == end || key[n - end - 1] == '_'))
            return true;
    }
    return false;
}

cJSON *lx_json_word(const char *key, const char *text)
{
    double x;

    return says_number(&x, text) && !(key && is_name(key)) ? cJSON_CreateNumber(x)
                                                           : cJSON_CreateString(text);
}
