#include "cmd/run_folder.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "src/base/file.h"

/* What was called so from `before`. */
static int keep_path(const char **path, const char *before, lx_arena *arena,
                     lx_error *err)
{
    char now[PATH_MAX];

    if (!path || !*path || **path == '/' || !getcwd(now, sizeof now) ||
        strcmp(now, before) == 0)
        return LX_OK;
    *path = lx_arena_printf(arena, "%s/%s", before, *path);
    return *path ? LX_OK : lx_oom(err);
}

int lx_run_enter_folder(lx_cli *cli, const char **path, lx_store *store,
                        const lx_run_row *run, lx_error *err)
{
    char before[PATH_MAX];
    const bool is_known = getcwd(before, sizeof before) != NULL;
    lx_remark_row *facts;
    size_t n;
    int rc = lx_query_remarks(&facts, &n, store, run->seq, "fact", cli->arena, err);

    for (size_t i = 0; i < n && rc == LX_OK; i++)
        if (strcmp(facts[i].key, "cwd") == 0 && lx_file_is_dir(facts[i].value) &&
            chdir(facts[i].value) < 0)
            lx_message(cli, "note: it was started in %s, which cannot be entered\n",
                       lx_safe(cli, facts[i].value));
    return rc == LX_OK && is_known ? keep_path(path, before, cli->arena, err) : rc;
}
