/*
 * base/arena - memory that is freed all at once
 *
 * For things that share a lifetime: a command's options, a parsed header, a model's names.
 * Nothing is freed one by one. NULL means out of memory.
 */
#ifndef LX_BASE_ARENA_H
#define LX_BASE_ARENA_H

#include <stddef.h>

#include "src/base/error.h"

typedef struct lx_arena lx_arena;

lx_arena *lx_arena_new(void);
void lx_arena_free(lx_arena *arena); /* and all that came from it; NULL is fine */
void lx_arena_reset(
    lx_arena *arena); /* as new, keeping one block that holds what was needed */

void *lx_arena_alloc(lx_arena *arena, size_t bytes); /* 16-byte aligned, uninitialised */
void *lx_arena_calloc(lx_arena *arena, size_t n, size_t bytes);
/* As lx_grow (base/alloc) for an array in the arena: what is new is zero, and the smaller array stays there. */
int lx_arena_grow(lx_arena *arena, void *array_pointer, size_t *capacity, size_t needed,
                  size_t item);
char *lx_arena_strdup(lx_arena *arena, const char *text);
char *lx_arena_strndup(lx_arena *arena, const char *text, size_t n);
char *lx_arena_printf(lx_arena *arena, const char *fmt, ...) LX_PRINTF(2, 3);

/* Tests: how large the blocks of arenas made from now on are; with 1 each piece is an allocation of its own, which can
 * fail. 0: as usual. */
void lx_arena_use_blocks(size_t bytes);

#endif
