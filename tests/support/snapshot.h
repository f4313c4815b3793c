/*
 * support/snapshot - a folder with the bytes of its files, to compare with and to put back
 *
 * For a test that runs a command thousands of times in the same folder. A disk that fails ends the program.
 */
#ifndef LX_TEST_SNAPSHOT_H
#define LX_TEST_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

typedef struct lx_kept {
    char name[256]; /* below the folder */
    bool is_folder;
    bool is_borrowed; /* untouched since the base was taken: the bytes are the base's */
    struct stat st;
    char *bytes;
    size_t n;
} lx_kept;

/* Begins as zeros. Folders stand behind what they hold. */
typedef struct lx_snapshot {
    lx_kept items[4096];
    size_t count, next; /* next: where the one asked for may well stand */
} lx_snapshot;

/* What out had is given up. base: one taken before, whose untouched files are not read again; out itself for the first. */
void lx_snapshot_take(lx_snapshot *out, const char *folder, lx_snapshot *base);
/* NULL: no such name. */
lx_kept *lx_snapshot_find(lx_snapshot *s, const char *name);
/* The folder as base has it; room is taken for what it is now. */
void lx_snapshot_put_back(lx_snapshot *base, const char *folder, lx_snapshot *room);

/* A file whole, with a zero behind it; the caller's to free. */
char *lx_test_read(size_t *n, const char *path);
void lx_test_write(const char *path, const char *bytes, size_t n);

#endif
