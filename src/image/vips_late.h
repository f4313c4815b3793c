/*
 * image/vips_late - libvips, loaded when an image is to be decoded and not before
 *
 * Linked in, it and the hundred libraries below it cost every start of lx 30 ms, and every command
 * but training needs none of them. The headers give the types; the functions are looked up by name.
 */
#ifndef LX_IMAGE_VIPS_LATE_H
#define LX_IMAGE_VIPS_LATE_H

#include <vips/vips.h>

#include "src/base/error.h"

#define LX_VIPS_FUNCTIONS(F)                                                             \
    F(vips_init)                                                                         \
    F(vips_shutdown)                                                                     \
    F(vips_cache_set_max)                                                                \
    F(vips_error_buffer)                                                                 \
    F(vips_error_clear)                                                                  \
    F(vips_source_new_from_descriptor)                                                   \
    F(vips_source_new_from_memory)                                                       \
    F(vips_pngload_source)                                                               \
    F(vips_jpegload_source)                                                              \
    F(vips_webpload_source)                                                              \
    F(vips_region_new)                                                                   \
    F(vips_region_prepare)                                                               \
    F(g_object_unref)

typedef struct lx_vips {
#define LX_VIPS_MEMBER(name) __typeof__(name) *name;
    LX_VIPS_FUNCTIONS(LX_VIPS_MEMBER)
#undef LX_VIPS_MEMBER
} lx_vips;

/* Loaded and started once per process. LX_EPLACE: the library is not on this machine. */
int lx_vips_load(const lx_vips **out, lx_error *err);

#endif
