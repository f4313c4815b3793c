/*
 * store/tar - archives of plain files, strictly
 *
 * POSIX ustar as it was meant for interchange, and less of it: regular files with
 * relative names of letters, digits, '.', '_', '-' and '/'. Links, devices, FIFOs,
 * folders, extended headers, names that begin with '/' or have a part that is "..", ".",
 * empty or ".git" in any case, sizes that are not octal or go past the end: all refused,
 * with the byte where it stands. Nothing is ever written to a name from an archive; a
 * member is bytes in the archive's memory.
 *
 *     lx_tar tar = lx_tar_of(data, n);
 *     while ((rc = lx_tar_next(&member, &tar, err)) > 0) ...
 *
 * Source: IEEE Std 1003.1-2017, pax, "ustar Interchange Format".
 */
#ifndef LX_STORE_TAR_H
#define LX_STORE_TAR_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"

enum { LX_TAR_BLOCK = 512, LX_TAR_NAME = 100 };

typedef struct lx_tar {
    const unsigned char *data;
    size_t n, at;
} lx_tar;

typedef struct lx_tar_member {
    char name[LX_TAR_NAME + 1];
    const unsigned char *data; /* in the archive */
    size_t n;
    size_t offset; /* of its header */
} lx_tar_member;

lx_tar lx_tar_of(const void *data, size_t n);

/* 1: a member; 0: the end, marked as such and with nothing behind it; LX_EFORMAT. */
int lx_tar_next(lx_tar_member *out, lx_tar *tar, lx_error *err);

/* Is this the first block of a ustar archive? n bytes of it are there. */
int lx_tar_is(const void *data, size_t n);

/*
 * Writing. The header of a member of `size` bytes (below 8 GiB; LX_ELIMIT); equal members
 * have equal headers, as owner, mode and time are fixed. Behind the bytes come
 * lx_tar_padding zeros, behind the last member two blocks of zeros.
 */
int lx_tar_header(unsigned char out[LX_TAR_BLOCK], const char *name, uint64_t size,
                  lx_error *err);
size_t lx_tar_padding(uint64_t size);

#endif
