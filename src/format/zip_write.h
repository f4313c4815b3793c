/*
 * format/zip_write - zip archives of stored members (reading: format/zip.h)
 *
 * Canonical: no times, nothing compressed, so the same content gives the same bytes. The data of every
 * member begins at a multiple of 64 bytes; an extra field "FB", as torch's, fills the gap. No zip64:
 * up to 4 GiB. Source: PKWARE APPNOTE 6.3.10.
 *
 * Order of use: lx_zip_writer_open, _add per member, _commit, _close. Nothing is seen under the path
 * before the commit (base/file).
 */
#ifndef LX_FORMAT_ZIP_WRITE_H
#define LX_FORMAT_ZIP_WRITE_H

#include <stddef.h>

#include "src/base/error.h"

typedef struct lx_zip_writer lx_zip_writer;

int lx_zip_writer_open(lx_zip_writer **out, const char *path, lx_error *err);
/* The data of one member are those of two places one after the other; the second may be NULL and 0.
 * LX_ELIMIT past 4 GiB or 65,535 members. */
int lx_zip_writer_add(lx_zip_writer *writer, const char *name, const void *data, size_t n,
                      const void *more, size_t n_more, lx_error *err);
/* Durable when it returns 0. */
int lx_zip_writer_commit(lx_zip_writer *writer, lx_error *err);
/* Removes what was not committed; NULL is fine. */
void lx_zip_writer_close(lx_zip_writer *writer);

#endif
