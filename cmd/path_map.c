#include "cmd/path_map.h"

#include <ctype.h>
#include <string.h>

#include "src/base/file.h"

bool lx_path_is_windows(const char *path)
{
    return (isalpha((unsigned char)path[0]) && path[1] == ':' &&
            (path[2] == '\\' || path[2] == '/' || !path[2])) ||
           (path[0] == '\\' && path[1] == '\\');
}

static bool is_slash(char c)
{
    return c == '/' || c == '\\';
}

/* How much of `path` the prefix covers, 0 when it does not begin with it. */
static size_t covered(const char *path, const char *prefix, size_t n)
{
    bool folds = lx_path_is_windows(prefix);

    while (n > 1 && is_slash(prefix[n - 1]))
        n--;
    for (size_t i = 0; i < n; i++) {
        char a = path[i], b = prefix[i];
        if (a == b)
            continue;
        if (!folds || !a || !((is_slash(a) && is_slash(b)) ||
                              tolower((unsigned char)a) == tolower((unsigned char)b)))
            return 0;
    }
    return !path[n] || is_slash(path[n]) || is_slash(prefix[n - 1]) ? n : 0;
}

/* front, a slash, and rest with its backslashes turned when `turns`. */
static int join(const char **out, const char *front, const char *rest, bool turns,
                lx_arena *arena, lx_error *err)
{
    size_t n = strlen(front);
    char *path;

    while (n > 1 && front[n - 1] == '/')
        n--;
    while (is_slash(*rest))
        rest++;
    path = lx_arena_printf(arena, "%.*s%s%s", (int)n, front,
                           *rest && n && front[n - 1] != '/' ? "/" : "", rest);
    if (!path)
        return lx_oom(err);
    for (char *p = path + n; turns && *p; p++)
        if (*p == '\\')
            *p = '/';
    *out = path;
    return LX_OK;
}

static int fail_unmapped(const char *path, lx_error *err)
{
    if (path[0] == '\\') {
        size_t n = 2 + strcspn(path + 2, "\\");
        n += path[n] ? 1 + strcspn(path + n + 1, "\\") : 0;
        return lx_fail(err, LX_EUSAGE,
                       "'%s' is a Windows path; say where its share is mounted here, as in "
                       "--path-map '%.*s=/mnt/share'", path, (int)n, path);
    }
    return lx_fail(err, LX_EUSAGE,
                   "'%s' is a Windows path; say where %c: is on this machine, as in "
                   "--path-map '%c:\\=/mnt/%c'", path, path[0], path[0],
                   tolower((unsigned char)path[0]));
}

int lx_path_map(const char **out, const char *path, const lx_words *maps, lx_arena *arena,
                lx_error *err)
{
    const char *best = NULL;
    size_t longest = 0;

    for (size_t i = 0; i < maps->count; i++) {
        const char *equals = strchr(maps->items[i], '=');
        size_t n;
        if (!equals || equals == maps->items[i] || !equals[1])
            return lx_fail(err, LX_EUSAGE,
                           "'%s' is not A=B, as in --path_map 'H:\\=/mnt/h'",
                           maps->items[i]);
        n = covered(path, maps->items[i], (size_t)(equals - maps->items[i]));
        if (n > longest) {
            longest = n;
            best = equals + 1;
        }
    }
    *out = path;
    if (best)
        return join(out, best, path + longest, lx_path_is_windows(path), arena, err);
    if (lx_path_is_windows(path))
        return fail_unmapped(path, err);
    if (strchr(path, '\\') && !lx_file_exists(path))
        return join(out, "", path, true, arena, err);
    return LX_OK;
}
