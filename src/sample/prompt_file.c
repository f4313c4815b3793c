#include "src/sample/prompt_file.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/data/caption_file.h"
#include "src/format/toml.h"

enum { LIMIT = 64 << 20, LEAST_SIDE = 64, MOST_STEPS = 1000 };

/* Of a size or of steps, which are held far below where this stops. */
static int64_t read_digits(const char *s)
{
    int64_t x = 0;

    for (; isdigit((unsigned char)*s) && x < INT64_MAX / 16; s++)
        x = x * 10 + (*s - '0');
    return x;
}

static int side(int64_t x)
{
    x -= x % 8;
    return (int)(x < LEAST_SIDE ? LEAST_SIDE : x > 1 << 20 ? 1 << 20 : x);
}

static int steps(int64_t x)
{
    return (int)(x < 1 ? 1 : x > MOST_STEPS ? MOST_STEPS : x);
}

/* "w 512" -> the rest after the letters and one blank, when the option is `name`. */
static const char *value_of(const char *option, const char *name)
{
    size_t n = strlen(name);

    return strncasecmp(option, name, n) == 0 && option[n] == ' ' ? option + n + 1 : NULL;
}

static bool is_number(const char *v)
{
    return isdigit((unsigned char)*v);
}

/* As the peer's pattern has it: digits, whatever follows them. */
static int take_seed(lx_prompt_line *out, const char *digits, lx_error *err)
{
    errno = 0;
    out->seed = strtoull(digits, NULL, 10);
    out->has_seed = true;
    if (errno == ERANGE)
        return lx_fail(err, LX_EFORMAT,
                       "--d %.40s: a seed is at most 18446744073709551615", digits);
    return LX_OK;
}

/* "--n" with nothing behind it, as tools write it, and "--d -1" ask for nothing. */
static bool is_unsaid(const char *option)
{
    static const char *const names[] = {"w", "h", "d", "s", "l", "n", "ss", "cn"};
    const char *v;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcasecmp(option, names[i]) == 0 ||
            ((v = value_of(option, names[i])) && !*v))
            return true;
    return (v = value_of(option, "d")) && *v == '-' && is_number(v + 1);
}

/* Of other models: said once, as "--g --fs". */
static int note_ignored(lx_prompt_line *out, lx_arena *arena, const char *name,
                        lx_error *err)
{
    out->ignored = lx_arena_printf(arena, "%s%s--%s", out->ignored ? out->ignored : "",
                                   out->ignored ? " " : "", name);
    return out->ignored ? LX_OK : lx_oom(err);
}

static int take_option(lx_prompt_line *out, lx_arena *arena, const char *option,
                       bool *is_taken, lx_error *err)
{
    static const char *const others[] = {"g", "ctr", "rcfg", "fs"};
    const char *v;

    *is_taken = true;
    if (is_unsaid(option))
        return LX_OK;
    if ((v = value_of(option, "w")) && is_number(v))
        out->width = side(read_digits(v));
    else if ((v = value_of(option, "h")) && is_number(v))
        out->height = side(read_digits(v));
    else if ((v = value_of(option, "d")) && is_number(v))
        return take_seed(out, v, err);
    else if ((v = value_of(option, "s")) && is_number(v))
        out->steps = steps(read_digits(v));
    else if ((v = value_of(option, "l")) && (is_number(v) || *v == '.')) {
        out->cfg = strtod(v, NULL);
        out->has_cfg = true;
    } else if ((v = value_of(option, "n")) && *v)
        out->negative = v;
    else if ((v = value_of(option, "ss")) && *v)
        out->sampler = v;
    else if ((v = value_of(option, "cn")) && *v)
        return lx_fail(err, LX_EUNSUPPORTED, "--cn: ControlNet is not supported");
    else {
        for (size_t i = 0; i < 4; i++)
            if (value_of(option, others[i]))
                return note_ignored(out, arena, others[i], err);
        *is_taken = false;
    }
    return LX_OK;
}

int lx_prompt_line_parse(lx_prompt_line *out, lx_arena *arena, const char *line,
                         lx_error *err)
{
    char *copy = lx_arena_strdup(arena, line), *part, *next;
    bool is_taken, is_first = true;
    int rc;

    *out = (lx_prompt_line){0};
    if (!copy)
        return lx_oom(err);
    out->prompt = copy;
    for (part = copy; part; part = next, is_first = false) {
        if ((next = strstr(part, " --"))) {
            *next = '\0';
            next += 3;
        }
        if ((rc = take_option(out, arena, part, &is_taken, err)) < 0)
            return rc;
        if (!is_taken && !is_first)
            return lx_fail(err, LX_EFORMAT,
                           "\"--%.40s\" is no option of a prompt; there are --w "
                           "--h --d --s --l --n --ss",
                           part);
    }
    return LX_OK;
}

/* ---- files ------------------------------------------------------------------------- */

void lx_prompt_list_release(lx_prompt_list *list)
{
    lx_free(list->lines);
    *list = (lx_prompt_list){0};
}

static int add_line(lx_prompt_list *out, const lx_prompt_line *line, lx_error *err)
{
    if (lx_grow(&out->lines, &out->capacity, out->n + 1, sizeof *out->lines) < 0)
        return lx_oom(err);
    out->lines[out->n++] = *line;
    return LX_OK;
}

static int read_text(lx_prompt_list *out, lx_arena *arena, char *text, lx_error *err)
{
    int number = 0;

    for (char *line = text, *next; line; line = next) {
        lx_prompt_line parsed;
        char *end;
        int rc;

        number++;
        if ((next = strchr(line, '\n')))
            *next++ = '\0';
        if (*line == '#')
            continue;
        while (isspace((unsigned char)*line))
            line++;
        for (end = line + strlen(line); end > line && isspace((unsigned char)end[-1]);)
            *--end = '\0';
        if (!*line)
            continue;
        if ((rc = lx_prompt_line_parse(&parsed, arena, line, err)) < 0) {
            lx_within(err, "line %d", number);
            return rc;
        }
        if ((rc = add_line(out, &parsed, err)) < 0)
            return rc;
    }
    return LX_OK;
}

static const cJSON *member(const cJSON *object, const cJSON *defaults, const char *key)
{
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(object, key);

    return found || !defaults ? found : cJSON_GetObjectItemCaseSensitive(defaults, key);
}

static int copy_text(const char **out, lx_arena *arena, const cJSON *value,
                     const char *key, lx_error *err)
{
    if (!value || cJSON_IsNull(value))
        return LX_OK;
    if (!cJSON_IsString(value))
        return lx_fail(err, LX_EFORMAT, "%s must be a text", key);
    return (*out = lx_arena_strdup(arena, value->valuestring)) ? LX_OK : lx_oom(err);
}

static int copy_number(double *out, bool *is_there, const cJSON *value, const char *key,
                       lx_error *err)
{
    *is_there = value && !cJSON_IsNull(value);
    if (!*is_there)
        return LX_OK;
    if (!cJSON_IsNumber(value) || !isfinite(value->valuedouble) || value->valuedouble < 0)
        return lx_fail(err, LX_EFORMAT, "%s must be a number, not negative", key);
    *out = value->valuedouble;
    return LX_OK;
}

static int64_t whole(double x)
{
    return x > 9e15 ? (int64_t)9e15 : (int64_t)x;
}

static int from_object(lx_prompt_line *out, lx_arena *arena, const cJSON *o,
                       const cJSON *d, lx_error *err)
{
    double width = 0, height = 0, n_steps = 0, seed = 0;
    bool has_width, has_height, has_steps;
    const cJSON *control = member(o, d, "controlnet_image");
    int rc;

    *out = (lx_prompt_line){.prompt = ""};
    if (control && !cJSON_IsNull(control))
        return lx_fail(err, LX_EUNSUPPORTED,
                       "controlnet_image: ControlNet is not supported");
    if ((rc = copy_text(&out->prompt, arena, member(o, d, "prompt"), "prompt", err)) <
            0 ||
        (rc = copy_text(&out->negative, arena, member(o, d, "negative_prompt"),
                        "negative_prompt", err)) < 0 ||
        (rc = copy_text(&out->sampler, arena, member(o, d, "sample_sampler"),
                        "sample_sampler", err)) < 0 ||
        (rc = copy_number(&width, &has_width, member(o, d, "width"), "width", err)) < 0 ||
        (rc = copy_number(&height, &has_height, member(o, d, "height"), "height", err)) <
            0 ||
        (rc = copy_number(&n_steps, &has_steps, member(o, d, "sample_steps"),
                          "sample_steps", err)) < 0 ||
        (rc = copy_number(&out->cfg, &out->has_cfg, member(o, d, "scale"), "scale",
                          err)) < 0 ||
        (rc = copy_number(&seed, &out->has_seed, member(o, d, "seed"), "seed", err)) < 0)
        return rc;
    if (seed > 0x1p53)
        return lx_fail(err, LX_EFORMAT,
                       "seed must be at most 2^53 here; a line \"PROMPT --d SEED\" takes "
                       "larger ones");
    out->width = has_width ? side(whole(width)) : 0;
    out->height = has_height ? side(whole(height)) : 0;
    out->steps = has_steps ? steps(whole(n_steps)) : 0;
    out->seed = out->has_seed ? (uint64_t)whole(seed) : 0;
    return LX_OK;
}

static int from_list(lx_prompt_list *out, lx_arena *arena, const cJSON *list,
                     const cJSON *defaults, lx_error *err)
{
    int number = 0;

    if (!cJSON_IsArray(list))
        return lx_fail(err, LX_EFORMAT, "must be a list of prompts");
    for (const cJSON *o = list->child; o; o = o->next) {
        lx_prompt_line line;
        int rc;

        number++;
        if (cJSON_IsString(o))
            rc = lx_prompt_line_parse(&line, arena, o->valuestring, err);
        else if (cJSON_IsObject(o))
            rc = from_object(&line, arena, o, defaults, err);
        else
            rc = lx_fail(err, LX_EFORMAT, "must be a text or an object");
        if (rc < 0) {
            lx_within(err, "prompt %d", number);
            return rc;
        }
        if ((rc = add_line(out, &line, err)) < 0)
            return rc;
    }
    return LX_OK;
}

static int read_tree(lx_prompt_list *out, lx_arena *arena, const char *path,
                     const lx_str *text, lx_error *err)
{
    cJSON *root = NULL;
    const cJSON *prompt;
    int rc;

    if (strcmp(lx_path_ext(path), ".json") == 0) {
        if ((rc = lx_json_parse(&root, lx_str_text(text), text->len, err)) == LX_OK)
            rc = from_list(out, arena, root, NULL, err);
    } else if ((rc = lx_toml_parse(&root, NULL, lx_str_text(text), text->len, err)) ==
               LX_OK) {
        prompt = cJSON_GetObjectItemCaseSensitive(root, "prompt");
        if (cJSON_IsObject(prompt) && cJSON_GetObjectItemCaseSensitive(prompt, "subset"))
            rc = from_list(out, arena, cJSON_GetObjectItemCaseSensitive(prompt, "subset"),
                           prompt, err);
        else
            rc = lx_fail(err, LX_EFORMAT, "has no [[prompt.subset]]");
    }
    cJSON_Delete(root);
    return rc;
}

/* UTF-8 without a NUL, which would hide what is behind it. */
static int check_bytes(const lx_str *text, lx_error *err)
{
    const char *bytes = lx_str_text(text), *nul = text->len ? memchr(bytes, 0, text->len) : NULL;
    const size_t bad = lx_utf8_check(bytes, text->len);
    const size_t at = nul && (size_t)(nul - bytes) < bad ? (size_t)(nul - bytes) : bad;
    int line = 1;

    if (at >= text->len)
        return LX_OK;
    for (size_t i = 0; i < at; i++)
        line += bytes[i] == '\n';
    return lx_fail(err, LX_EFORMAT,
                   "line %d: byte 0x%02x at offset %zu is not UTF-8 text: it looks like %s; "
                   "save the file as UTF-8",
                   line, (unsigned char)bytes[at], at,
                   lx_caption_guess_encoding(bytes, text->len));
}

int lx_prompt_file_read(lx_prompt_list *out, lx_arena *arena, const char *path,
                        lx_error *err)
{
    const char *ending = lx_path_ext(path);
    lx_str text = LX_STR_INIT;
    int rc;

    *out = (lx_prompt_list){0};
    if ((rc = lx_file_read(&text, path, LIMIT, err)) < 0) {
        lx_str_release(&text);
        return rc;
    }
    if (strcmp(ending, ".toml") == 0 || strcmp(ending, ".json") == 0)
        rc = read_tree(out, arena, path, &text, err);
    else if ((rc = check_bytes(&text, err)) == LX_OK && text.len > 0)
        rc = read_text(out, arena, text.data, err);
    if (rc == LX_OK && out->n == 0)
        rc = lx_fail(err, LX_EFORMAT, "has no prompt in it");
    if (rc < 0) {
        lx_within(err, "%s", path);
        lx_prompt_list_release(out);
    }
    lx_str_release(&text);
    return rc;
}
