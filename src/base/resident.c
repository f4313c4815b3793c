#include "src/base/resident.h"

#include <stdio.h>
#include <unistd.h>

#include "src/base/proc.h"

lx_resident lx_resident_now(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned long all = 0, shared = 0;
    char text[256];

    if (lx_proc_read(text, sizeof text, "/proc/self/statm") < 0 ||
        sscanf(text, "%*u %lu %lu", &all, &shared) != 2 || all < shared)
        return (lx_resident){0};
    return (lx_resident){.anonymous = (all - shared) * page, .file = shared * page};
}
