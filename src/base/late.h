/*
 * base/late - a library that is loaded when something of it is needed, and not before
 *
 * What is linked in is loaded, relocated and initialised at every start, with all that it needs itself: libvips brings
 * a hundred libraries, libgit2 and libmicrohttpd another twenty, and most commands use none of them. Their headers give
 * the types; the functions are looked up by name into a table of pointers, which an X macro declares:
 *
 *     #define THING_FUNCTIONS(F) F(open) F(close)
 *     struct thing { THING_FUNCTIONS(MEMBER) };     __typeof__(thing_open) *open; ...
 */
#ifndef LX_BASE_LATE_H
#define LX_BASE_LATE_H

#include <stddef.h>

#include "src/base/error.h"

typedef struct lx_late {
    const char *soname; /* the one whose headers lx was built with */
    const char
        *plain;      /* another name to try, or NULL: for libraries that keep their ABI */
    const char *use; /* of the message: "decoding images" */
    const char *package;      /* likewise: what apt-get installs */
    const char *const *names; /* of the functions, in the order of the table */
    size_t n;
} lx_late;

/*
 * Fills the table with n pointers; the library stays until the process ends. LX_EPLACE: it is not on this machine, or
 * lacks a function. Nothing is remembered: whoever calls looks into the table first.
 */
int lx_late_load(void *table, const lx_late *library, lx_error *err);

#endif
