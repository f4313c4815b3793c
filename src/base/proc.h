/*
 * base/proc - what the system says in small files of its own, as below /proc
 */
#ifndef LX_BASE_PROC_H
#define LX_BASE_PROC_H

#include <stddef.h>
#include <sys/types.h>

/*
 * The first size-1 bytes of a file, NUL behind them. Returns how many; -1 with errno and an empty text where it
 * cannot be read. Nothing is allocated: stdio, which finds no memory for a buffer, cannot be told from a file that is
 * not there.
 */
ssize_t lx_proc_read(char *out, size_t size, const char *path);

#endif
