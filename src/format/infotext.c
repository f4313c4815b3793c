#include "src/format/infotext.h"

#include <ctype.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/json.h"

static bool is_key_byte(unsigned char c)
{
    return isalnum(c) || c == '_' || c >= 0x80;
}

/* One "Key: value" at *s, up to the comma; false when it is none, *s then being behind
 * the comma. */
static bool next_pair(const char **s, const char *end, const char *key[2],
                      const char *value[2])
{
    const char *p = *s, *stop;

    while (p < end && isspace((unsigned char)*p))
        p++;
    key[0] = p;
    while (p < end && (is_key_byte((unsigned char)*p) || strchr(" -/", *p)))
        p++;
    key[1] = p;
    if (p == key[0] || p == end || *p != ':' || !is_key_byte((unsigned char)*key[0])) {
        stop = memchr(p, ',', (size_t)(end - p));
        *s = stop ? stop + 1 : end;
        return false;
    }
    for (p++; p < end && isspace((unsigned char)*p);)
        p++;
    value[0] = p;
    if (p < end && *p == '"') {
        for (p++; p < end && *p != '"'; p++)
            p += *p == '\\' && p + 1 < end;
        if (p < end) {
            value[1] = ++p;
            *s = p < end && *p == ',' ? p + 1 : p;
            return true;
        }
        p = value[0]; /* a quote that never closes is a plain character */
    }
    stop = memchr(p, ',', (size_t)(end - p));
    value[1] = stop ? stop : end;
    *s = stop ? stop + 1 : end;
    return true;
}

/* The text that a quoted value means; as A1111 reads it, what is no JSON means itself. */
static int unquote(const char **value, lx_arena *arena, lx_error *err)
{
    const char *text = *value;
    const size_t n = strlen(text);
    cJSON *json = NULL;
    int rc;

    if (n < 2 || text[0] != '"' || text[n - 1] != '"')
        return LX_OK;
    if ((rc = lx_json_parse(&json, text, n, NULL)) < 0)
        return rc == LX_ENOMEM ? lx_oom(err) : LX_OK;
    *value = lx_arena_strdup(arena, json->valuestring);
    cJSON_Delete(json);
    return *value ? LX_OK : lx_oom(err);
}

static int read_settings(lx_infotext *out, lx_arena *arena, const char *line,
                         const char *end, lx_error *err)
{
    const char *s = line, *key[2], *value[2];
    size_t most = 1;

    for (const char *p = line; p < end; p++)
        most += *p == ',' || *p == '"';
    if (!(out->settings = lx_arena_calloc(arena, most, sizeof *out->settings)))
        return lx_oom(err);
    while (s < end) {
        lx_infotext_pair *pair = &out->settings[out->n_settings];
        int rc;
        if (!next_pair(&s, end, key, value) || out->n_settings == most)
            continue;
        while (value[1] > value[0] && isspace((unsigned char)value[1][-1]))
            value[1]--;
        pair->key = lx_arena_strndup(arena, key[0], (size_t)(key[1] - key[0]));
        pair->value = lx_arena_strndup(arena, value[0], (size_t)(value[1] - value[0]));
        if (!pair->key || !pair->value)
            return lx_oom(err);
        if ((rc = unquote(&pair->value, arena, err)) < 0)
            return rc;
        out->n_settings++;
    }
    return LX_OK;
}

static void trim(const char **from, const char **to)
{
    while (*from < *to && isspace((unsigned char)**from))
        (*from)++;
    while (*to > *from && isspace((unsigned char)(*to)[-1]))
        (*to)--;
}

/* Lines [from, to) into prompt and negative prompt. */
static int read_prompts(lx_infotext *out, lx_arena *arena, const char *from,
                        const char *to, lx_error *err)
{
    static const char mark[] = "Negative prompt:";
    const char *negative = NULL, *negative_end = to;

    for (const char *line = from; line < to && !negative;) {
        const char *next = memchr(line, '\n', (size_t)(to - line));
        const char *start = line;
        while (start < to && (*start == ' ' || *start == '\t' || *start == '\r'))
            start++;
        if ((size_t)(to - start) >= strlen(mark) &&
            memcmp(start, mark, strlen(mark)) == 0) {
            negative = start + strlen(mark);
            to = line;
            break;
        }
        line = next ? next + 1 : to;
    }
    trim(&from, &to);
    out->prompt = lx_arena_strndup(arena, from, (size_t)(to - from));
    if (negative)
        trim(&negative, &negative_end);
    out->negative =
        negative ? lx_arena_strndup(arena, negative, (size_t)(negative_end - negative))
                 : "";
    return out->prompt && out->negative ? LX_OK : lx_oom(err);
}

int lx_infotext_parse(lx_infotext *out, lx_arena *arena, const char *text, lx_error *err)
{
    enum { LEAST_SETTINGS = 3 };
    const char *from = text, *to = text + strlen(text), *last;
    int rc;

    *out = (lx_infotext){.prompt = "", .negative = ""};
    trim(&from, &to);
    for (last = to; last > from && last[-1] != '\n';)
        last--;
    if ((rc = read_settings(out, arena, last, to, err)) < 0)
        return rc;
    if (out->n_settings < LEAST_SETTINGS)
        out->n_settings = 0;
    else
        to = last;
    return read_prompts(out, arena, from, to, err);
}

const char *lx_infotext_get(const lx_infotext *info, const char *key)
{
    for (size_t i = 0; i < info->n_settings; i++)
        if (strcmp(info->settings[i].key, key) == 0)
            return info->settings[i].value;
    return NULL;
}

void lx_infotext_write(lx_str *out, const lx_infotext *info)
{
    lx_str_puts(out, info->prompt);
    if (*info->negative)
        lx_str_printf(out, "\nNegative prompt: %s", info->negative);
    for (size_t i = 0; i < info->n_settings; i++) {
        const lx_infotext_pair *pair = &info->settings[i];
        lx_str_printf(out, "%s%s: ", i ? ", " : "\n", pair->key);
        if (strpbrk(pair->value, ",:\n"))
            lx_escape_json(out, pair->value, strlen(pair->value));
        else
            lx_str_puts(out, pair->value);
    }
}
