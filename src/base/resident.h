/*
 * base/resident - what this process has in memory now
 */
#ifndef LX_BASE_RESIDENT_H
#define LX_BASE_RESIDENT_H

#include <stddef.h>

/* Bytes. `file`: of mapped files, the program and its libraries among them. */
typedef struct lx_resident {
    size_t anonymous, file;
} lx_resident;

/* Zeros where the system does not say. */
lx_resident lx_resident_now(void);

#endif
