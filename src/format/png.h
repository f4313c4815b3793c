/*
 * format/png - 8-bit RGB pictures with a text, written
 *
 * One IDAT, rows filtered by the least sum of absolute differences, deflated by zlib at
 * its default level. The text goes into a tEXt chunk when Latin-1 can say it, else into
 * iTXt (UTF-8), as web UIs and Pillow do. The same pixels, text and zlib give the same
 * bytes. Source: PNG specification, third edition (W3C 2023), sections 9 and 11.
 */
#ifndef LX_FORMAT_PNG_H
#define LX_FORMAT_PNG_H

#include <stdint.h>

#include "src/base/str.h"

/* Appends the file to out. rgb [height][width][3]; keyword and text may be NULL. */
int lx_png_encode(lx_str *out, const unsigned char *rgb, int64_t width, int64_t height,
                  const char *keyword, const char *text, lx_error *err);

#endif
