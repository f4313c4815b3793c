/*
 * base/io - the one table through which lx touches files
 *
 * Every write, sync, rename and lock of lx goes through lx_io, so that a test can make the n-th
 * one fail, drop what was not synced, or cut the power. Calls have the meaning and the return
 * values of their POSIX namesakes (-1 and errno); lx_io_system is the real thing. A failed sync is
 * final: nobody retries it.
 */
#ifndef LX_BASE_IO_H
#define LX_BASE_IO_H

#include <sys/stat.h>
#include <sys/types.h>

typedef struct lx_io {
    int (*open)(const char *path, int flags, mode_t mode); /* O_CLOEXEC is added */
    int (*close)(int fd);
    ssize_t (*read)(int fd, void *data, size_t n);
    ssize_t (*pread)(int fd, void *data, size_t n, off_t at);
    ssize_t (*write)(int fd, const void *data, size_t n);
    ssize_t (*pwrite)(int fd, const void *data, size_t n, off_t at);
    int (*sync)(int fd); /* fsync */
    int (*begin_sync)(int fd); /* what is dirty goes on its way; promises nothing */
    int (*truncate)(int fd, off_t size);
    int (*rename)(const char *from, const char *to);
    int (*link)(const char *from, const char *to);
    int (*unlink)(const char *path);
    int (*mkdir)(const char *path, mode_t mode);
    int (*stat)(const char *path, struct stat *out);
    int (*fstat)(int fd, struct stat *out);
    int (*lock)(int fd, int exclusive, int wait); /* OFD lock on the whole file */
    int (*unlock)(int fd);
} lx_io;

extern const lx_io lx_io_system;

const lx_io *lx_io_get(void);
void lx_io_set(const lx_io *io); /* tests; NULL restores lx_io_system */

#endif
