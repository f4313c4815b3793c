/*
 * format/picture_text - the settings text that web UIs leave in a picture
 *
 *     PNG    the "parameters" of a tEXt, zTXt or iTXt chunk
 *     JPEG   EXIF UserComment (UTF-16 or ASCII) in APP1
 *     WebP   the same in the EXIF chunk
 *
 * Nothing of the pixels is read. Lengths are checked against the file, chunks and
 * inflated text against a limit, so a picture of a few bytes cannot ask for memory it
 * does not have. Sources: PNG specification, third edition; EXIF 2.32; WebP container
 * specification. What is said with it: src/format/infotext.h.
 */
#ifndef LX_FORMAT_PICTURE_TEXT_H
#define LX_FORMAT_PICTURE_TEXT_H

#include "src/base/str.h"

enum {
    LX_PICTURE_TEXT_MAX = 16 << 20,
    LX_PICTURE_PACKED_MAX = 1 << 20, /* inflated; where Pillow stops too */
    LX_PICTURE_NOTES_MAX = 8         /* told one by one; the rest is counted */
};

/*
 * Appends sound UTF-8. *is_there false: a picture without such a text.
 *
 *   LX_EFORMAT  neither PNG, JPEG nor WebP, or broken before or in the text
 *   LX_ELIMIT   a text beyond LX_PICTURE_TEXT_MAX, or LX_PICTURE_PACKED_MAX
 */
int lx_picture_text_read(lx_str *out, bool *is_there, const char *path, lx_error *err);
/*
 * For whoever wants the picture and not the text: a text that is damaged or too large is left out,
 * and a line of `notes` says which, where and why. LX_EFORMAT only for what breaks the whole file.
 * notes NULL: as lx_picture_text_read.
 */
int lx_picture_text_look(lx_str *out, bool *is_there, lx_str *notes, const char *path,
                         lx_error *err);
/* lx_picture_text_read from bytes. */
int lx_picture_text_parse(lx_str *out, bool *is_there, const unsigned char *bytes,
                          size_t n, lx_error *err);

#endif
