#include "src/data/marks.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"

void lx_name_escape(lx_str *out, const char *name)
{
    const char *p = name, *end = name + strlen(name);

    while (p < end) {
        const char *from = p;
        const uint32_t c = lx_utf8_next(&p, end);
        if (c == '\\')
            lx_str_puts(out, "\\\\");
        else if (c == 0xFFFFFFFF || lx_is_unsafe_point(c))
            for (; from < p; from++)
                lx_str_printf(out, "\\x%02x", (unsigned char)*from);
        else
            lx_str_append(out, from, (size_t)(p - from));
    }
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int lx_name_unescape(char **out, const char *text, size_t n, lx_arena *arena,
                     lx_error *err)
{
    char *to = lx_arena_alloc(arena, n + 1);

    if (!(*out = to))
        return lx_oom(err);
    for (size_t i = 0; i < n; i++) {
        if (text[i] != '\\') {
            *to++ = text[i];
        } else if (i + 1 < n && text[i + 1] == '\\') {
            *to++ = '\\';
            i++;
        } else if (i + 3 < n && text[i + 1] == 'x' && hex_digit(text[i + 2]) >= 0 &&
                   hex_digit(text[i + 3]) >= 0) {
            *to++ = (char)(hex_digit(text[i + 2]) * 16 + hex_digit(text[i + 3]));
            i += 3;
        } else {
            return lx_fail(err, LX_EFORMAT, "a backslash that is neither \\\\ nor \\xNN");
        }
        if (to[-1] == '\0')
            return lx_fail(err, LX_EFORMAT, "a NUL is no part of a name");
    }
    *to = '\0';
    return LX_OK;
}

bool lx_name_is_inside(const char *name)
{
    if (!*name)
        return false;
    for (const char *part = name;; part++) {
        const size_t n = strcspn(part, "/");
        if (n == 0 || (n == 1 && part[0] == '.') ||
            (n == 2 && part[0] == '.' && part[1] == '.'))
            return false;
        part += n;
        if (!*part)
            return true;
    }
}

/* The mark's own text, or NULL. */
static const char *known_mark(const char *text, size_t n)
{
    static const char *const marks[] = {"keep", "drop", "move"};

    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (strlen(marks[i]) == n && memcmp(marks[i], text, n) == 0)
            return marks[i];
    return NULL;
}

static int parse_line(lx_mark *out, const char *line, size_t n, lx_arena *arena,
                      lx_error *err)
{
    const char *tab = memchr(line, '\t', n);
    char *path;
    int rc;

    if (!tab || !(out->mark = known_mark(line, (size_t)(tab - line))))
        return lx_fail(err, LX_EFORMAT, "a line is keep, drop or move, a tab and a name");
    if ((rc = lx_name_unescape(&path, tab + 1, n - (size_t)(tab + 1 - line), arena,
                               err)) < 0)
        return rc;
    if (!lx_name_is_inside(path))
        return lx_fail(
            err, LX_EFORMAT,
            "the name leads out of the folder: names are relative and have no . or ..");
    out->path = path;
    return LX_OK;
}

static int by_path(const void *a, const void *b)
{
    const lx_mark *x = a, *y = b;
    const int order = strcmp(x->path, y->path);

    return order ? order : (x->line > y->line) - (x->line < y->line);
}

static int unite(lx_marks *marks, lx_error *err)
{
    size_t n = 0;

    if (marks->count)
        qsort(marks->items, marks->count, sizeof *marks->items, by_path);
    for (size_t i = 0; i < marks->count; i++) {
        const lx_mark *m = &marks->items[i];
        if (n && strcmp(marks->items[n - 1].path, m->path) == 0) {
            if (marks->items[n - 1].mark != m->mark)
                return lx_fail(
                    err, LX_EFORMAT, "lines %zu and %zu mark one image as %s and as %s",
                    marks->items[n - 1].line, m->line, marks->items[n - 1].mark, m->mark);
        } else {
            marks->items[n++] = *m;
        }
    }
    marks->count = n;
    return LX_OK;
}

int lx_marks_parse(lx_marks *out, const char *text, size_t n, lx_arena *arena,
                   lx_error *err)
{
    const char *p = text, *end = text + n;
    size_t n_lines = 1;
    int rc = LX_OK;

    *out = (lx_marks){0};
    for (size_t i = 0; i < n; i++)
        n_lines += text[i] == '\n';
    if (!lx_mul_size(&(size_t){0}, n_lines, sizeof *out->items) ||
        !(out->items = lx_arena_calloc(arena, n_lines, sizeof *out->items)))
        return lx_oom(err);
    for (size_t number = 1; p < end && rc == LX_OK; number++) {
        const char *line = p, *nl = memchr(p, '\n', (size_t)(end - p));
        size_t length = (size_t)((nl ? nl : end) - p);
        p = nl ? nl + 1 : end;
        if (length && line[length - 1] == '\r')
            length--;
        if (!length || line[0] == '#')
            continue;
        out->items[out->count].line = number;
        if ((rc = parse_line(&out->items[out->count], line, length, arena, err)) < 0)
            lx_within(err, "line %zu", number);
        out->count += rc == LX_OK;
    }
    return rc < 0 ? rc : unite(out, err);
}
