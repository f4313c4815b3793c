#include "src/compare/code.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/json.h"

typedef struct part {
    const char *file, *text;
    size_t n;
} part;

static const char head[] = "diff --git ";

static const char *next_part(const char *text)
{
    const char *at = lx_starts_with(text, head) ? text : strstr(text, "\ndiff --git ");
    return !at || at == text ? at : at + 1;
}

/* "b/src/x.c" of "diff --git a/src/x.c b/src/x.c": the half behind " b/". */
static const char *file_of(const char *line, lx_arena *arena)
{
    size_t n = strcspn(line, "\r\n");
    const char *name = line + sizeof head - 1, *found = NULL;

    for (const char *p = name; p + 3 < line + n; p++)
        if (memcmp(p, " b/", 3) == 0)
            found = p + 3;
    if (!found)
        found = name;
    return lx_arena_strndup(arena, found, (size_t)(line + n - found));
}

static int by_file(const void *a, const void *b)
{
    return strcmp(((const part *)a)->file, ((const part *)b)->file);
}

static int split(part **out, size_t *n, const char *diff, lx_arena *arena, lx_error *err)
{
    size_t most = 1;

    *n = 0;
    diff = diff ? diff : "";
    for (const char *p = next_part(diff); p; p = next_part(p + 1))
        most++;
    if (!(*out = lx_arena_calloc(arena, most, sizeof **out)))
        return lx_oom(err);
    for (const char *p = next_part(diff), *next; p; p = next) {
        next = next_part(p + 1);
        (*out)[*n] = (part){file_of(p, arena), p, next ? (size_t)(next - p) : strlen(p)};
        if (!(*out)[(*n)++].file)
            return lx_oom(err);
    }
    qsort(*out, *n, sizeof **out, by_file);
    return LX_OK;
}

static int tell(lx_code_change *out, const part *a, const part *b, lx_arena *arena,
                lx_error *err)
{
    *out = (lx_code_change){.file = a ? a->file : b->file,
                            .side = !b   ? 'a'
                                    : !a ? 'b'
                                         : '*'};
    if ((a && !(out->a = lx_arena_strndup(arena, a->text, a->n))) ||
        (b && !(out->b = lx_arena_strndup(arena, b->text, b->n))))
        return lx_oom(err);
    return LX_OK;
}

int lx_compare_diffs(lx_code_change **out, size_t *count, const char *a, const char *b,
                     lx_arena *arena, lx_error *err)
{
    part *x, *y;
    size_t n_x, n_y, i = 0, k = 0;
    int rc;

    *count = 0;
    if ((rc = split(&x, &n_x, a, arena, err)) < 0 ||
        (rc = split(&y, &n_y, b, arena, err)) < 0)
        return rc;
    if (!(*out = lx_arena_calloc(arena, n_x + n_y + 1, sizeof **out)))
        return lx_oom(err);
    for (int order; i < n_x || k < n_y; i += order <= 0, k += order >= 0) {
        order = i == n_x ? 1 : k == n_y ? -1 : strcmp(x[i].file, y[k].file);
        if (order == 0 && x[i].n == y[k].n && memcmp(x[i].text, y[k].text, x[i].n) == 0)
            continue;
        if ((rc = tell(&(*out)[(*count)++], order <= 0 ? &x[i] : NULL,
                       order >= 0 ? &y[k] : NULL, arena, err)) < 0)
            return rc;
    }
    return LX_OK;
}

void lx_compare_code_text(lx_str *out, const cJSON *git, const char *diff)
{
    const cJSON *file;

    lx_str_printf(out, "%s\n", diff ? diff : "");
    cJSON_ArrayForEach(file, cJSON_GetObjectItemCaseSensitive(git, "untracked"))
    {
        const char *path = lx_json_text(file, "path"),
                   *object = lx_json_text(file, "object");
        if (path && object)
            lx_str_printf(out, "diff --git a/%s b/%s\nuntracked %s\n", path, path,
                          object);
    }
}
