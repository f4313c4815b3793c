#include "src/format/point_line.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/base/json.h"

/* nan, inf and infinity, with a sign or without, in any letters. */
static bool parse_word(double *out, const char *text)
{
    const char *word = text + (*text == '-' || *text == '+');
    double sign = *text == '-' ? -1 : 1;

    if (strcasecmp(word, "nan") == 0)
        *out = (double)NAN;
    else if (strcasecmp(word, "inf") == 0 || strcasecmp(word, "infinity") == 0)
        *out = sign * (double)INFINITY;
    else
        return false;
    return true;
}

/* The whole text, but nothing else that strtod knows. */
static bool parse_value(double *out, const char *text)
{
    const char *digits = text + (*text == '-' || *text == '+');
    char *end;

    if (parse_word(out, text))
        return true;
    if (!*digits || text[strspn(text, "0123456789+-.eE")])
        return false;
    *out = strtod(text, &end);
    return !*end && isfinite(*out);
}

static bool is_whole(double x)
{
    return x >= 0 && x <= 9007199254740992.0 && x == floor(x);
}

static int add(lx_point_line *out, const char *key, double value, lx_arena *arena,
               lx_error *err)
{
    if (strcmp(key, "step") == 0) {
        if (!is_whole(value))
            return lx_fail(err, LX_EFORMAT, "step is no whole number from 0 on");
        out->has_step = true;
        out->step = (int64_t)value;
        return LX_OK;
    }
    if (lx_arena_grow(arena, &out->points, &out->capacity, out->n + 1,
                      sizeof *out->points) < 0)
        return lx_oom(err);
    out->points[out->n++] = (lx_point){key, value};
    return LX_OK;
}

static int check_key(const char *key, lx_error *err)
{
    size_t n = strlen(key);

    if (!n)
        return lx_fail(err, LX_EFORMAT, "a value without a name");
    if (n > LX_POINT_KEY_BYTES)
        return lx_fail(err, LX_EFORMAT, "a name of more than %d bytes",
                       LX_POINT_KEY_BYTES);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)key[i] < ' ' || key[i] == 127)
            return lx_fail(err, LX_EFORMAT, "a name with a control character");
    return lx_utf8_check(key, n) == n
               ? LX_OK
               : lx_fail(err, LX_EFORMAT, "a name that is not UTF-8");
}

int lx_point_pair_parse(lx_point_line *out, const char *text, size_t n, lx_arena *arena,
                        lx_error *err)
{
    const char *equals = memchr(text, '=', n), *key, *value;
    double x;
    int rc;

    if (!equals)
        return lx_fail(err, LX_EFORMAT, "\"%.*s\" is no key=value", n > 60 ? 60 : (int)n,
                       text);
    key = lx_arena_strndup(arena, text, (size_t)(equals - text));
    value = lx_arena_strndup(arena, equals + 1, n - (size_t)(equals + 1 - text));
    if (!key || !value)
        return lx_oom(err);
    if ((rc = check_key(key, err)) < 0)
        return rc;
    if (!parse_value(&x, value))
        return lx_fail(err, LX_EFORMAT, "%s: \"%.60s\" is no number", key, value);
    return add(out, key, x, arena, err);
}

/* Python's json and JavaScript's libraries write numbers that JSON cannot say as bare words, others as
 * texts: here all are texts. NUL-terminated; NULL without memory. */
static char *quote_words(const char *text, size_t *n, lx_arena *arena)
{
    static const char *const words[] = {"NaN", "Infinity", "-Infinity"};
    char *out = lx_arena_alloc(arena, *n * 2 + 1);
    size_t used = 0;
    bool is_text = false;

    for (size_t i = 0; out && i < *n;) {
        size_t word = 0;
        for (size_t k = 0; !is_text && !word && k < sizeof words / sizeof *words; k++)
            if (*n - i >= strlen(words[k]) && memcmp(text + i, words[k], strlen(words[k])) == 0)
                word = strlen(words[k]);
        if (word) {
            used += (size_t)sprintf(out + used, "\"%.*s\"", (int)word, text + i);
            i += word;
            continue;
        }
        if (is_text && text[i] == '\\' && i + 1 < *n)
            out[used++] = text[i++];
        else if (text[i] == '"')
            is_text = !is_text;
        out[used++] = text[i++];
    }
    if (out)
        out[*n = used] = '\0';
    return out;
}

static int parse_item(double *out, const cJSON *item, const char *key, lx_error *err)
{
    if (cJSON_IsNumber(item))
        *out = item->valuedouble;
    else if (cJSON_IsNull(item))
        *out = (double)NAN;
    else if (!cJSON_IsString(item) || !parse_word(out, item->valuestring))
        return lx_fail(err, LX_EFORMAT, "%.60s is no number", key);
    return LX_OK;
}

static int parse_json(lx_point_line *out, const char *text, size_t n, lx_arena *arena,
                      lx_error *err)
{
    const char *strict = quote_words(text, &n, arena);
    cJSON *root = NULL;
    const cJSON *item;
    double value;
    int rc = strict ? lx_json_parse(&root, strict, n, err) : lx_oom(err);

    if (rc == LX_OK)
        cJSON_ArrayForEach(item, root)
        {
            const char *key = lx_arena_strdup(arena, item->string ? item->string : "");
            if (!key)
                rc = lx_oom(err);
            else if ((rc = parse_item(&value, item, key, err)) == LX_OK &&
                     (rc = check_key(key, err)) == LX_OK)
                rc = add(out, key, value, arena, err);
            if (rc < 0)
                break;
        }
    cJSON_Delete(root);
    return rc;
}

static bool is_gap(char c)
{
    return c == ' ' || c == '\t' || c == ',' || c == '\r' || c == '\n';
}

int lx_point_line_parse(lx_point_line *out, const char *text, size_t n, lx_arena *arena,
                        lx_error *err)
{
    int rc = LX_OK;

    *out = (lx_point_line){0};
    if (n > LX_POINT_LINE_BYTES)
        return lx_fail(err, LX_ELIMIT, "a line of more than %d bytes",
                       LX_POINT_LINE_BYTES);
    if (memchr(text, '\0', n))
        return lx_fail(err, LX_EFORMAT, "a NUL byte");
    while (n && is_gap(*text))
        text++, n--;
    if (!n || *text == '#')
        return LX_OK;
    if (*text == '{')
        return parse_json(out, text, n, arena, err);
    while (n && rc == LX_OK) {
        size_t used = 0;
        while (used < n && !is_gap(text[used]))
            used++;
        rc = lx_point_pair_parse(out, text, used, arena, err);
        while (used < n && is_gap(text[used]))
            used++;
        text += used;
        n -= used;
    }
    return rc;
}
