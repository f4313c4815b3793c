#include "src/base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

ssize_t lx_proc_read(char *out, size_t size, const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t n = 0;
    ssize_t k = 0;
    int error;

    *out = '\0';
    if (fd < 0)
        return -1;
    while (n < size - 1 && (k = read(fd, out + n, size - 1 - n)) != 0) {
        if (k < 0 && errno != EINTR)
            break;
        n += k > 0 ? (size_t)k : 0;
    }
    error = errno;
    close(fd);
    errno = error;
    if (k < 0)
        n = 0;
    out[n] = '\0';
    return k < 0 ? -1 : (ssize_t)n;
}
