#include "src/base/visited.h"

#include <stdint.h>

#include "src/base/alloc.h"

enum { FIRST_SLOTS = 64 };

/* Fibonacci hashing: inodes of one folder are often neighbours. */
static size_t slot_of(const lx_place *slots, size_t n_slots, const lx_place *p)
{
    const uint64_t key =
        ((uint64_t)p->inode ^ (uint64_t)p->device << 32) * 0x9E3779B97F4A7C15u;
    size_t at = (size_t)(key >> 32) & (n_slots - 1);

    while (slots[at].inode &&
           (slots[at].inode != p->inode || slots[at].device != p->device))
        at = (at + 1) & (n_slots - 1);
    return at;
}

static int grow(lx_visited *v, lx_error *err)
{
    const size_t n_slots = v->n_slots ? 2 * v->n_slots : FIRST_SLOTS;
    lx_place *slots = lx_calloc(n_slots, sizeof *slots);

    if (!slots)
        return lx_oom(err);
    for (size_t i = 0; i < v->n_slots; i++)
        if (v->slots[i].inode)
            slots[slot_of(slots, n_slots, &v->slots[i])] = v->slots[i];
    lx_free(v->slots);
    v->slots = slots;
    v->n_slots = n_slots;
    return LX_OK;
}

int lx_visited_add(lx_visited *v, const struct stat *folder, lx_error *err)
{
    const lx_place place = {folder->st_dev, folder->st_ino};
    size_t at;
    int rc;

    if (!place.inode) /* a file system that has none */
        return 1;
    if (2 * (v->n + 1) > v->n_slots && (rc = grow(v, err)) < 0)
        return rc;
    at = slot_of(v->slots, v->n_slots, &place);
    if (v->slots[at].inode)
        return 0;
    v->slots[at] = place;
    v->n++;
    return 1;
}

void lx_visited_release(lx_visited *v)
{
    lx_free(v->slots);
    *v = (lx_visited){0};
}
