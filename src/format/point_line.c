#include "src/format/point_line.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/base/json.h"

/* The whole text; "nan" and "inf" too, but nothing else that strtod knows. */
static bool parse_value(double *out, const char *text)
{
    const char *digits = text + (*text == '-' || *text == '+');
    char *end;

    if (strcasecmp(digits, "nan") == 0 || strcasecmp(digits, "inf") == 0) {
        *out = *digits == 'n' || *digits == 'N' ? (double)NAN
               : *text == '-'                   ? -(double)INFINITY
                                                : (double)INFINITY;
        return true;
    }
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

static int parse_json(lx_point_line *out, const char *text, size_t n, lx_arena *arena,
                      lx_error *err)
{
    cJSON *root = NULL;
    const cJSON *item;
    int rc = lx_json_parse(&root, text, n, err);

    if (rc == LX_OK)
        cJSON_ArrayForEach(item, root)
        {
            const char *key = lx_arena_strdup(arena, item->string ? item->string : "");
            if (!key)
                rc = lx_oom(err);
            else if (!cJSON_IsNumber(item) && !cJSON_IsNull(item))
                rc = lx_fail(err, LX_EFORMAT, "%.60s is no number", key);
            else if ((rc = check_key(key, err)) == LX_OK)
                rc = add(out, key, cJSON_IsNull(item) ? (double)NAN : item->valuedouble,
                         arena, err);
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
