/*
 * format/zip - the zip archives that torch.save writes, read strictly
 *
 * A reader of our own and not libzip, because libzip shows neither local headers nor offsets, and
 * the tricks that pass scanners live exactly there. The central directory says what is in the
 * archive; every local header must say the same. Refused: bytes before the first member, members
 * that overlap or share a header, names twice, names that leave the folder, encryption, methods
 * other than stored and deflate, members inflating more than 200 times (beyond 1 MiB), several
 * disks. Sizes and offsets come from the central directory (torch leaves them zero in the local
 * headers) with zip64 extensions. Source: PKWARE APPNOTE 6.3.10.
 */
#ifndef LX_FORMAT_ZIP_H
#define LX_FORMAT_ZIP_H

#include <stdint.h>

#include "src/base/arena.h"
#include "src/base/error.h"

typedef struct lx_zip_entry {
    const char *name;
    uint16_t flags, method;
    uint32_t crc;
    size_t at;               /* of its local header */
    size_t data_at, packed, size;
    const unsigned char *data; /* free for the caller: the member once read, else NULL */
} lx_zip_entry;

typedef struct lx_zip {
    const unsigned char *bytes;
    size_t n;
    lx_zip_entry *entries; /* sorted by name */
    size_t count;
} lx_zip;

/* Borrows bytes; entries live in the arena. Errors name the member or the byte. */
int lx_zip_open(lx_zip *out, lx_arena *arena, const unsigned char *bytes, size_t n,
                lx_error *err);
lx_zip_entry *lx_zip_find(const lx_zip *zip, const char *name);

/* A stored member's CRC. */
int lx_zip_check(const lx_zip *zip, const lx_zip_entry *entry, lx_error *err);
/* A deflated member to entry->size bytes at dst, CRC checked. */
int lx_zip_inflate(void *dst, const lx_zip *zip, const lx_zip_entry *entry, lx_error *err);

enum { LX_ZIP_STORED = 0, LX_ZIP_DEFLATED = 8 };

#endif
