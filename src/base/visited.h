/*
 * base/visited - the folders that a walk has been in, or the files it has met, by device and inode
 *
 * So that links lead it neither in circles nor to one folder by many ways, of which there may be more than anyone can
 * count.
 */
#ifndef LX_BASE_VISITED_H
#define LX_BASE_VISITED_H

#include <stddef.h>
#include <sys/stat.h>

#include "src/base/error.h"

typedef struct lx_place {
    dev_t device;
    ino_t inode;
} lx_place;

/* Zeros are an empty one. */
typedef struct lx_visited {
    lx_place *slots; /* open addressing; inode 0 is free */
    size_t n, n_slots;
} lx_visited;

/* 1: it is new, and remembered. 0: the walk was there. LX_ENOMEM. */
int lx_visited_add(lx_visited *visited, const struct stat *folder, lx_error *err);
void lx_visited_release(lx_visited *visited);

#endif
