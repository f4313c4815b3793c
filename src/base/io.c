#include "src/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

static int system_open(const char *path, int flags, mode_t mode)
{
    return open(path, flags | O_CLOEXEC, mode);
}

/* Open-file-description locks: they belong to the descriptor, so closing another descriptor of
 * the same file in this process does not drop them (as POSIX record locks would). */
static int set_lock(int fd, short type, int wait)
{
    struct flock whole = {.l_type = type, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0};
    return fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &whole);
}

static int system_lock(int fd, int exclusive, int wait)
{
    return set_lock(fd, exclusive ? F_WRLCK : F_RDLCK, wait);
}

static int system_unlock(int fd)
{
    return set_lock(fd, F_UNLCK, 0);
}

/* Without a flag that waits the call neither reports nor swallows an error of the disk: fsync does. */
static int system_begin_sync(int fd)
{
#ifdef SYNC_FILE_RANGE_WRITE
    return sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
#else
    (void)fd;
    return 0;
#endif
}

/* stat and fstat are macros or inline in some C libraries; these have an address everywhere. */
static int system_stat(const char *path, struct stat *out)
{
    return stat(path, out);
}

static int system_fstat(int fd, struct stat *out)
{
    return fstat(fd, out);
}

const lx_io lx_io_system = {
    .open = system_open,
    .close = close,
    .read = read,
    .pread = pread,
    .write = write,
    .pwrite = pwrite,
    .sync = fsync,
    .begin_sync = system_begin_sync,
    .truncate = ftruncate,
    .rename = rename,
    .link = link,
    .unlink = unlink,
    .mkdir = mkdir,
    .stat = system_stat,
    .fstat = system_fstat,
    .lock = system_lock,
    .unlock = system_unlock,
};

static _Atomic(const lx_io *) current = &lx_io_system;

const lx_io *lx_io_get(void)
{
    return atomic_load(&current);
}

void lx_io_set(const lx_io *io)
{
    atomic_store(&current, io ? io : &lx_io_system);
}
