#include "src/import/history.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/str.h"

int lx_history_new(lx_history **out, lx_error *err)
{
    lx_history *h = lx_calloc(1, sizeof *h);

    *out = NULL;
    if (!h || !(h->arena = lx_arena_new())) {
        lx_free(h);
        return lx_oom(err);
    }
    *out = h;
    return LX_OK;
}

static void free_run(lx_history_run *run)
{
    for (size_t i = 0; i < run->n_curves; i++) {
        lx_free(run->curves[i].steps);
        lx_free(run->curves[i].values);
    }
    lx_free(run->curves);
    lx_free(run->files);
    lx_free(run->tags);
    lx_free(run->facts);
    lx_free(run->notes);
    cJSON_Delete(run->flags);
}

void lx_history_free(lx_history *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < h->count; i++)
        free_run(h->runs[i]);
    lx_free(h->runs);
    lx_free(h->problems);
    lx_arena_free(h->arena);
    lx_free(h);
}

int lx_history_check(const lx_history *h, lx_error *err)
{
    return h->failed ? lx_oom(err) : LX_OK;
}

lx_history_run *lx_history_add(lx_history *h, const char *source, const char *from)
{
    lx_history_run *run = lx_arena_calloc(h->arena, 1, sizeof *run);

    if (!run || !(run->flags = cJSON_CreateObject()) ||
        lx_grow(&h->runs, &h->capacity, h->count + 1, sizeof(lx_history_run *)) < 0) {
        if (run)
            cJSON_Delete(run->flags);
        h->failed = true;
        return NULL;
    }
    run->source = source;
    run->from = lx_history_text(h, from, strlen(from));
    run->status = "finished";
    h->runs[h->count++] = run;
    return run;
}

void lx_history_drop(lx_history *h)
{
    if (h->count)
        free_run(h->runs[--h->count]);
}

bool lx_history_is_link(lx_history *h, const char *path)
{
    if (!lx_file_is_link(path))
        return false;
    lx_history_problem(
        h, "%s: a link, which is not followed: copy what it leads to in its place", path);
    return true;
}

/* ---- texts ------------------------------------------------------------------------- */

const char *lx_history_text(lx_history *h, const void *bytes, size_t n)
{
    const char *p = bytes, *end = p + n;
    lx_str out = LX_STR_INIT;
    char *copy;

    if (n == 0)
        return "";
    while (p < end) {
        const char *from = p;
        uint32_t c = lx_utf8_next(&p, end);
        if (c == 0xffffffffu || c == 0)
            lx_str_put_utf8(&out, 0xfffd);
        else
            lx_str_append(&out, from, (size_t)(p - from));
    }
    copy = out.failed ? NULL : lx_arena_strdup(h->arena, lx_str_text(&out));
    lx_str_release(&out);
    h->failed = h->failed || !copy;
    return copy ? copy : "";
}

static const char *print(lx_history *h, const char *fmt, va_list args)
{
    char text[2048];

    vsnprintf(text, sizeof text, fmt, args);
    return lx_history_text(h, text, strlen(text));
}

const char *lx_history_printf(lx_history *h, const char *fmt, ...)
{
    const char *text;
    va_list args;

    va_start(args, fmt);
    text = print(h, fmt, args);
    va_end(args);
    return text;
}

void lx_history_problem(lx_history *h, const char *fmt, ...)
{
    va_list args;

    if (lx_grow(&h->problems, &h->problem_capacity, h->n_problems + 1, sizeof(char *)) <
        0) {
        h->failed = true;
        return;
    }
    va_start(args, fmt);
    h->problems[h->n_problems++] = print(h, fmt, args);
    va_end(args);
}

/* ---- curves ------------------------------------------------------------------------ */

static bool is_key(const char *key)
{
    size_t n = strlen(key);

    if (n == 0 || n >= LX_HISTORY_KEY || lx_utf8_check(key, n) != n)
        return false;
    for (; *key; key++)
        if ((unsigned char)*key < ' ' || *key == 0x7f)
            return false;
    return true;
}

/* Names come in the same order step after step: the search begins after the last one
 * found. */
static lx_history_curve *find_curve(lx_history_run *run, const char *key)
{
    for (size_t i = 0; i < run->n_curves; i++) {
        size_t at = (run->last_curve + 1 + i) % run->n_curves;
        if (strcmp(run->curves[at].key, key) == 0) {
            run->last_curve = at;
            return &run->curves[at];
        }
    }
    return NULL;
}

int lx_history_point(lx_history *h, lx_history_run *run, const char *key, int64_t step,
                     double value, lx_error *err)
{
    lx_history_curve *c = find_curve(run, key);

    if (!c) {
        if (!is_key(key))
            return LX_OK;
        if (run->n_curves == LX_HISTORY_CURVES)
            return lx_fail(err, LX_ELIMIT, "more than %d curves", LX_HISTORY_CURVES);
        if (lx_grow(&run->curves, &run->curve_capacity, run->n_curves + 1, sizeof *c) < 0)
            return lx_oom(err);
        run->last_curve = run->n_curves;
        c = &run->curves[run->n_curves++];
        *c = (lx_history_curve){.key = lx_history_text(h, key, strlen(key))};
    }
    if (lx_grow(&c->steps, &c->step_capacity, c->n + 1, sizeof *c->steps) < 0 ||
        lx_grow(&c->values, &c->value_capacity, c->n + 1, sizeof *c->values) < 0)
        return lx_oom(err);
    c->steps[c->n] = step;
    c->values[c->n++] = value;
    return LX_OK;
}

int lx_history_rewind(lx_history_run *run, int64_t step, lx_error *err)
{
    if (run->n_restarts++ == LX_HISTORY_RESTARTS)
        return lx_fail(err, LX_ELIMIT, "more than %d restarts", LX_HISTORY_RESTARTS);
    for (size_t i = 0; i < run->n_curves; i++) {
        lx_history_curve *c = &run->curves[i];
        size_t n = 0;
        for (size_t k = 0; k < c->n; k++)
            if (c->steps[k] < step) {
                c->steps[n] = c->steps[k];
                c->values[n++] = c->values[k];
            }
        c->n = n;
    }
    return LX_OK;
}

int64_t lx_history_last_step(const lx_history_run *run)
{
    int64_t last = -1;

    for (size_t i = 0; i < run->n_curves; i++)
        for (size_t k = 0; k < run->curves[i].n; k++)
            if (run->curves[i].steps[k] > last)
                last = run->curves[i].steps[k];
    return last;
}

size_t lx_history_points(const lx_history_run *run)
{
    size_t n = 0;

    for (size_t i = 0; i < run->n_curves; i++)
        n += run->curves[i].n;
    return n;
}

/* ---- files, remarks, flags --------------------------------------------------------- */

lx_history_file *lx_history_add_file(lx_history *h, lx_history_run *run, const char *role,
                                     const char *name)
{
    lx_history_file *file;

    if (lx_grow(&run->files, &run->file_capacity, run->n_files + 1, sizeof *file) < 0) {
        h->failed = true;
        return NULL;
    }
    file = &run->files[run->n_files++];
    *file = (lx_history_file){
        .role = role, .name = lx_history_text(h, name, strlen(name)), .step = -1};
    return file;
}

static void add_pair(lx_history *h, lx_history_pair **pairs, size_t *n, size_t *capacity,
                     const char *key, const char *value)
{
    for (size_t i = 0; i < *n; i++)
        if (strcmp((*pairs)[i].key, key) == 0) {
            (*pairs)[i].value = value;
            return;
        }
    if (lx_grow(pairs, capacity, *n + 1, sizeof **pairs) < 0) {
        h->failed = true;
        return;
    }
    (*pairs)[(*n)++] = (lx_history_pair){key, value};
}

void lx_history_tag(lx_history *h, lx_history_run *run, const char *key,
                    const char *value)
{
    add_pair(h, &run->tags, &run->n_tags, &run->tag_capacity, key, value);
}

void lx_history_fact(lx_history *h, lx_history_run *run, const char *key,
                     const char *value)
{
    add_pair(h, &run->facts, &run->n_facts, &run->fact_capacity, key, value);
}

void lx_history_note(lx_history *h, lx_history_run *run, const char *text)
{
    if (lx_grow(&run->notes, &run->note_capacity, run->n_notes + 1, sizeof(char *)) < 0)
        h->failed = true;
    else
        run->notes[run->n_notes++] = text;
}

void lx_history_flag_item(lx_history *h, lx_history_run *run, const char *key,
                          cJSON *value)
{
    if (run->n_flags > LX_HISTORY_FLAGS) { /* told */
        cJSON_Delete(value);
        return;
    }
    if (cJSON_GetObjectItemCaseSensitive(run->flags, key)) {
        cJSON_DeleteItemFromObjectCaseSensitive(run->flags, key);
    } else if (run->n_flags++ == LX_HISTORY_FLAGS) {
        lx_history_problem(h, "%s: has more than %d parameters; those behind are left out",
                           run->from, LX_HISTORY_FLAGS);
        cJSON_Delete(value);
        return;
    }
    if (!value || !cJSON_AddItemToObject(run->flags, key, value)) {
        cJSON_Delete(value);
        h->failed = true;
    }
}

void lx_history_flag(lx_history *h, lx_history_run *run, const char *key,
                     const char *value)
{
    cJSON *item = strcmp(value, "None") == 0    ? cJSON_CreateNull()
                  : strcmp(value, "True") == 0  ? cJSON_CreateBool(true)
                  : strcmp(value, "False") == 0 ? cJSON_CreateBool(false)
                                                : lx_json_word(key, value);

    lx_history_flag_item(h, run, key, item);
}
