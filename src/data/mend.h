/*
 * data/mend - what can be put right in a file without choosing anything
 *
 *     captions   other encodings to UTF-8, no byte order mark, lines that end in LF
 *     images     turned as EXIF says, CMYK to RGB as it is trained: the very pixels, as PNG
 *
 * Nothing is written here: bytes come out.
 */
#ifndef LX_DATA_MEND_H
#define LX_DATA_MEND_H

#include "src/base/str.h"
#include "src/image/decode.h"

/*
 * encoding: iconv's name of what the bytes are ("CP932", "UTF-16"); NULL: UTF-8, or what the bytes look like.
 * Replaces what is in *out. *was (may be NULL): what they were taken for.
 *
 *   LX_EFORMAT        no text of that encoding; the offset is named
 *   LX_EUNSUPPORTED   it cannot be told what they are, or iconv does not know it
 */
int lx_mend_caption(lx_str *out, const char **was, const char *bytes, size_t n,
                    const char *encoding, lx_error *err);

/* A PNG of the image's pixels as they are trained. LX_EUNSUPPORTED where some are transparent: what lies
 * under them would have to be chosen. */
int lx_mend_image(lx_str *out, lx_decoder *decoder, const char *path, lx_error *err);

#endif
