#include "src/image/vips_late.h"

#include <dlfcn.h>
#include <string.h>

static lx_vips table;

static int find_functions(void *library, lx_error *err)
{
    static const char *const names[] = {
#define LX_VIPS_NAME(name) #name,
        LX_VIPS_FUNCTIONS(LX_VIPS_NAME)
#undef LX_VIPS_NAME
    };
    void *functions[sizeof names / sizeof *names];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!(functions[i] = dlsym(library, names[i])))
            return lx_fail(err, LX_EPLACE, "libvips on this machine has no %s; 8.9 or later is "
                                           "needed", names[i]);
    /* POSIX has data and function pointers of one size, and dlsym depends on it. */
    memcpy(&table, functions, sizeof table);
    return LX_OK;
}

int lx_vips_load(const lx_vips **out, lx_error *err)
{
    /* The name has been the same since 8.0; a later one is found by the plain name. */
    void *library = dlopen("libvips.so.42", RTLD_NOW | RTLD_LOCAL);
    int rc;

    if (!library && !(library = dlopen("libvips.so", RTLD_NOW | RTLD_LOCAL)))
        return lx_fail(err, LX_EPLACE,
                       "decoding images needs libvips (apt-get install libvips42): %s", dlerror());
    if (!table.vips_init && (rc = find_functions(library, err)) < 0)
        return rc;
    if (table.vips_init("lx"))
        return lx_fail(err, LX_EPLACE, "libvips does not start: %s", table.vips_error_buffer());
    *out = &table;
    return LX_OK;
}
