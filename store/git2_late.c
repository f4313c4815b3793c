#include "store/git2_late.h"

#include <string.h>

#include "src/base/late.h"

store__git2_functions store__git2;

int store__git2_load(lx_error *err)
{
    static const char *const names[] = {
#define STORE_GIT2_NAME(name) "git_" #name,
        STORE_GIT2_FUNCTIONS(STORE_GIT2_NAME)
#undef STORE_GIT2_NAME
    };
    /* Its structs grow from version to version: only the one of the headers will do. */
    static const lx_late library = {.soname = LX_LIBGIT2,
                                    .use = "reading git repositories",
                                    .package = "libgit2-dev",
                                    .names = names,
                                    .n = sizeof names / sizeof *names};

    return store__git2.libgit2_init ? LX_OK : lx_late_load(&store__git2, &library, err);
}

bool store__git2_is_of_another(int code)
{
    const git_error *last = code < 0 ? store__git2.error_last() : NULL;

    return code == GIT_EOWNER || (last && last->message &&
                                  (strstr(last->message, "safe.directory") ||
                                   strstr(last->message, "not owned by current user")));
}
