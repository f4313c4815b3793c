/*
 * data/caption_file - the caption beside an image, as sd-scripts reads it
 *
 * First existing file wins: the image's name with its extension replaced; then, when the name ends
 * in four parts cut by `_` (the face rectangles of a cropping tool), the name without them. Text is
 * UTF-8. Without wildcards the first line counts, stripped; with them all lines that are not
 * blank, stripped, joined by '\n'. A file of no bytes is an empty caption here, for the caller to
 * warn of; the peer stops. A blank first line is an empty caption there too.
 *
 * Better than the peer on purpose: a byte order mark is taken off (the peer glues U+FEFF to the
 * first tag), a NUL byte is refused, and text that is not UTF-8 is named with its offset and the
 * encoding it looks like. The four parts are looked for in the file's name only (the peer counts
 * the `_` of the folders too, and may read a file of another folder).
 * Source: sd-scripts library/train_util.py, read_caption; goldens data/dataset.
 */
#ifndef LX_DATA_CAPTION_FILE_H
#define LX_DATA_CAPTION_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/error.h"
#include "src/base/str.h"

enum { LX_CAPTION_BYTES = 1 << 20 }; /* a larger file is no caption */

typedef struct lx_caption_text {
    lx_str text;        /* the caption; release with lx_str_release */
    bool is_empty;      /* a file of no bytes, but perhaps a byte order mark */
    bool has_bom;       /* a byte order mark was taken off */
    bool has_cr;        /* lines end in CR LF or CR */
    bool is_odd;        /* control or invisible characters, HTML that runs, or a spreadsheet's formula */
    size_t unread_lines; /* lines with text after the one that is read (0 with wildcards) */
} lx_caption_text;

/*
 * The text of a caption from its bytes. LX_EFORMAT: not UTF-8 (with offset and guess), or a NUL.
 * The message has no path: the caller knows it.
 */
int lx_caption_decode(lx_caption_text *out, const char *bytes, size_t n, bool enable_wildcard,
                      lx_error *err);

/* What text that is not UTF-8 looks like: "UTF-16", "Shift-JIS", "Latin-1" ... never NULL. */
const char *lx_caption_guess_encoding(const char *bytes, size_t n);

/*
 * Reads a caption file. LX_ENOTFOUND if there is none; other errors carry the path, safe to show.
 * The text is released by the caller whatever the result.
 */
int lx_caption_read(lx_caption_text *out, const char *path, bool enable_wildcard, lx_error *err);

#endif
