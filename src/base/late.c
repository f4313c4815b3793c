#include "src/base/late.h"

#include <dlfcn.h>
#include <string.h>

#include "src/base/alloc.h"

int lx_late_load(void *table, const lx_late *l, lx_error *err)
{
    void **functions, *library = dlopen(l->soname, RTLD_NOW | RTLD_LOCAL);
    int rc = LX_OK;

    if (!library && l->plain)
        library = dlopen(l->plain, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return lx_fail(err, LX_EPLACE, "%s needs %s (apt-get install %s): %s", l->use,
                       l->soname, l->package, dlerror());
    if (!(functions = lx_calloc(l->n, sizeof *functions)))
        return lx_oom(err);
    for (size_t i = 0; i < l->n && rc == LX_OK; i++)
        if (!(functions[i] = dlsym(library, l->names[i])))
            rc =
                lx_fail(err, LX_EPLACE, "%s: %s on this machine has no %s: it is too old",
                        l->use, l->soname, l->names[i]);
    /* POSIX has data and function pointers of one size, and dlsym depends on it. */
    if (rc == LX_OK)
        memcpy(table, functions, l->n * sizeof *functions);
    lx_free(functions);
    return rc;
}
