#include "cmd/inspect_files.h"

#include <errno.h>
#include <glob.h>
#include <string.h>
#include <sys/stat.h>
#include <strings.h>

#include "cmd/inspect_picture.h"
#include "src/base/file.h"
#include "src/base/io.h"
#include "src/base/visited.h"

enum { MOST_DEPTH = 64 }; /* folders in folders */

static bool is_model_name(const char *name)
{
    static const char *const endings[] = {".safetensors", ".sft", ".ckpt",
                                          ".pt",          ".pth", ".bin"};

    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(lx_path_ext(name), endings[i]) == 0)
            return true;
    return false;
}

static int add(lx_file_list *l, lx_cli *cli, const char *path, lx_error *err)
{
    if (!path)
        return lx_oom(err);
    if (lx_arena_grow(cli->arena, &l->paths, &l->capacity, l->count + 1,
                      sizeof *l->paths) < 0)
        return lx_oom(err);
    l->paths[l->count++] = path;
    return LX_OK;
}

/* What the system refuses is told, and the rest is shown all the same. */
static void tell_refusal(lx_cli *cli, const lx_error *problem)
{
    lx_message(cli, "lx inspect: %s\n", lx_safe(cli, problem->text));
    if (problem->code == LX_EIO)
        cli->exit_status = lx_exit_status(problem->code);
}

static bool is_folder(lx_cli *cli, const char *path)
{
    lx_error problem;
    struct stat st;

    if (lx_io_get()->stat(path, &st) == 0)
        return S_ISDIR(st.st_mode);
    if (errno == EIO) {
        lx_fail_errno(&problem, errno, "%s", path);
        tell_refusal(cli, &problem);
    }
    return false;
}

/* Whether the walk was there, for a link may lead back. A folder that cannot be asked is left to be listed. */
static int is_known(lx_visited *visited, const char *folder, lx_error *err)
{
    struct stat st;
    int rc;

    if (lx_io_get()->stat(folder, &st) < 0)
        return 0;
    rc = lx_visited_add(visited, &st, err);
    return rc < 0 ? rc : !rc;
}

/* Hidden names are left out, as a shell does. */
static int walk(lx_file_list *l, lx_cli *cli, const char *folder, int depth,
                lx_visited *visited, lx_error *err)
{
    const size_t n = strlen(folder);
    lx_error problem;
    lx_dir dir = {0};
    int rc;

    if (depth > MOST_DEPTH) {
        lx_message(cli, "lx inspect: %s: more than %d folders deep; not looked at\n",
                   lx_safe(cli, folder), MOST_DEPTH);
        return LX_OK;
    }
    if ((rc = is_known(visited, folder, err)))
        return rc < 0 ? rc : LX_OK;
    if ((rc = lx_dir_list(&dir, folder, &problem)) < 0) {
        tell_refusal(cli, &problem);
        return rc == LX_ENOMEM ? lx_oom(err) : LX_OK;
    }
    l->has_links |= dir.has_links;
    for (size_t i = 0; i < dir.count && rc == LX_OK; i++) {
        const char *name = dir.names[i], *path;
        if (name[0] == '.')
            continue;
        if (lx_is_picture_name(name)) {
            l->n_pictures++;
            continue;
        }
        path = strcmp(folder, ".") == 0
                   ? lx_arena_strdup(cli->arena, name)
                   : lx_arena_printf(cli->arena, "%s%s%s", folder,
                                     n && folder[n - 1] == '/' ? "" : "/", name);
        if (!path)
            rc = lx_oom(err);
        else if (is_model_name(name))
            rc = add(l, cli, path, err);
        else if (is_folder(cli, path))
            rc = walk(l, cli, path, depth + 1, visited, err);
    }
    lx_dir_free(&dir);
    return rc;
}

/* One walk a word: who names a folder and one in it sees the latter's files twice. */
static int walk_from(lx_file_list *l, lx_cli *cli, const char *folder, lx_error *err)
{
    lx_visited visited = {0};
    int rc = walk(l, cli, folder, 0, &visited, err);

    lx_visited_release(&visited);
    return rc;
}

static int add_pattern(lx_file_list *l, lx_cli *cli, const char *word, lx_error *err)
{
    glob_t found = {0};
    int rc = LX_OK, status = glob(word, GLOB_NOSORT, NULL, &found);

    l->n_folders++;
    l->has_patterns = true;
    if (status == GLOB_NOSPACE)
        rc = lx_oom(err);
    else if (status != 0)
        rc = lx_fail(err, LX_ENOTFOUND, "%s: no file fits the pattern", word);
    for (size_t i = 0; i < found.gl_pathc && rc == LX_OK; i++)
        rc = lx_file_is_dir(found.gl_pathv[i])
                 ? walk_from(l, cli, found.gl_pathv[i], err)
                 : add(l, cli, lx_arena_strdup(cli->arena, found.gl_pathv[i]), err);
    globfree(&found);
    return rc;
}

int lx_inspect_files(lx_file_list *l, lx_cli *cli, const lx_words *words, lx_error *err)
{
    int rc = LX_OK;

    *l = (lx_file_list){0};
    for (size_t i = 0; i < words->count && rc == LX_OK; i++) {
        const char *word = words->items[i];
        if (is_folder(cli, word)) {
            l->n_folders++;
            rc = walk_from(l, cli, word, err);
        } else if (!lx_file_exists(word) && strpbrk(word, "*?[")) {
            rc = add_pattern(l, cli, word, err);
        } else {
            rc = add(l, cli, word, err);
        }
    }
    return rc;
}
