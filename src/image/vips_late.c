#include "src/image/vips_late.h"

#include "src/base/late.h"

static lx_vips table;

int lx_vips_load(const lx_vips **out, lx_error *err)
{
    static const char *const names[] = {
#define LX_VIPS_NAME(name) #name,
        LX_VIPS_FUNCTIONS(LX_VIPS_NAME)
#undef LX_VIPS_NAME
    };
    /* The soname has been the same since 8.0; a later one is found by the plain name. */
    static const lx_late library = {.soname = "libvips.so.42",
                                    .plain = "libvips.so",
                                    .use = "decoding images",
                                    .package = "libvips42",
                                    .names = names,
                                    .n = sizeof names / sizeof *names};
    int rc;

    if (!table.vips_init && (rc = lx_late_load(&table, &library, err)) < 0)
        return rc;
    if (table.vips_init("lx"))
        return lx_fail(err, LX_EPLACE, "libvips does not start: %s",
                       table.vips_error_buffer());
    *out = &table;
    return LX_OK;
}
