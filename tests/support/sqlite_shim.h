/*
 * A SQLite file system before the true one: everything passes through but what a test
 * changes, to fail calls or to watch them. It becomes the default of the process.
 */
#ifndef LX_TESTS_SQLITE_SHIM_H
#define LX_TESTS_SQLITE_SHIM_H

#include <sqlite3.h>
#include <stdbool.h>

typedef struct shim_file {
    sqlite3_file base;
    sqlite3_file *real; /* the true VFS's */
    char path[128];
    int number; /* these two are the test's */
    bool mark;
} shim_file;

typedef struct shim_changes {
    /* Called in the place of the true file's, which shim_real(f)->pMethods has; NULL: not
     * changed. xClose, and what belongs to mmap, are not to be changed. */
    sqlite3_io_methods methods;
    int (*may_open)(void);   /* not SQLITE_OK: refused with it; NULL = always */
    int (*may_delete)(void); /* the same */
    /* After success; NULL = nothing. was_there: the file existed before. */
    void (*opened)(shim_file *f, int flags, bool was_there);
    void (*deleted)(const char *name, bool syncs);
    bool never_syncs; /* deletions do not sync the folder */
} shim_changes;

sqlite3_file *shim_real(sqlite3_file *f);
void shim_install(const shim_changes *changes);
void shim_remove(void); /* the true one is the default again */

#endif
