#include "src/base/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"

enum { BLOCK_BYTES = 64 * 1024, MOST_KEPT = 4 * 1024 * 1024 };

static size_t first_block = BLOCK_BYTES;

typedef struct block {
    struct block *next;
    size_t size, used;
    _Alignas(16) unsigned char bytes[];
} block;

struct lx_arena {
    block *head;
    size_t block_bytes; /* of the next block */
};

void lx_arena_use_blocks(size_t bytes)
{
    first_block = bytes ? bytes : BLOCK_BYTES;
}

lx_arena *lx_arena_new(void)
{
    lx_arena *arena = lx_calloc(1, sizeof *arena);

    if (arena)
        arena->block_bytes = first_block;
    return arena;
}

void lx_arena_free(lx_arena *arena)
{
    if (!arena)
        return;
    for (block *b = arena->head, *next; b; b = next) {
        next = b->next;
        lx_free(b);
    }
    lx_free(arena);
}

/* What was needed once is likely to be needed again: the next block has room for all of it, and
 * from then on nothing is allocated. */
void lx_arena_reset(lx_arena *arena)
{
    block *keep = NULL;
    size_t used = 0;

    for (block *b = arena->head; b; b = b->next)
        used += b->used;
    used = (used + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
    if (used > arena->block_bytes)
        arena->block_bytes = used < MOST_KEPT ? used : MOST_KEPT;
    for (block *b = arena->head, *next; b; b = next) {
        next = b->next;
        if (!keep && b->size == arena->block_bytes) {
            keep = b;
            keep->used = 0;
            keep->next = NULL;
        } else {
            lx_free(b);
        }
    }
    arena->head = keep;
}

void *lx_arena_alloc(lx_arena *arena, size_t bytes)
{
    block *b = arena->head;
    size_t total;
    void *memory;

    if (!lx_add_size(&bytes, bytes, 15))
        return NULL;
    bytes &= ~(size_t)15;
    if (!b || b->size - b->used < bytes) {
        const size_t usual = arena->block_bytes;
        size_t size = bytes > usual / 4 && (b || bytes > usual) ? bytes : usual;
        if (!lx_add_size(&total, size, sizeof(block)) || !(b = lx_alloc(total)))
            return NULL;
        b->size = size;
        b->used = 0;
        if (size != usual && arena->head) { /* a large one goes behind the open block */
            b->next = arena->head->next;
            arena->head->next = b;
        } else {
            b->next = arena->head;
            arena->head = b;
        }
    }
    memory = b->bytes + b->used;
    b->used += bytes;
    return memory;
}

void *lx_arena_calloc(lx_arena *arena, size_t n, size_t bytes)
{
    size_t total;
    void *memory;
    if (!lx_mul_size(&total, n, bytes) || !(memory = lx_arena_alloc(arena, total)))
        return NULL;
    return memset(memory, 0, total);
}

char *lx_arena_strndup(lx_arena *arena, const char *text, size_t n)
{
    char *copy = lx_arena_alloc(arena, n + 1);
    if (copy) {
        memcpy(copy, text, n);
        copy[n] = '\0';
    }
    return copy;
}

int lx_arena_grow(lx_arena *arena, void *array_pointer, size_t *capacity, size_t needed,
                  size_t item)
{
    size_t want = *capacity > 8 ? *capacity : 8;
    void *array, *grown;

    if (needed <= *capacity)
        return LX_OK;
    while (want < needed) {
        if (want > SIZE_MAX / 2)
            return LX_ENOMEM;
        want *= 2;
    }
    if (!(grown = lx_arena_calloc(arena, want, item)))
        return LX_ENOMEM;
    memcpy(&array, array_pointer, sizeof array);
    if (*capacity)
        memcpy(grown, array, *capacity * item);
    memcpy(array_pointer, &grown, sizeof grown);
    *capacity = want;
    return LX_OK;
}

char *lx_arena_strdup(lx_arena *arena, const char *text)
{
    return lx_arena_strndup(arena, text, strlen(text));
}

/* Most texts fit the first room, so that they are formatted once. */
char *lx_arena_printf(lx_arena *arena, const char *fmt, ...)
{
    char room[256], *text;
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(room, sizeof room, fmt, args);
    va_end(args);
    if (n < 0 || !(text = lx_arena_alloc(arena, (size_t)n + 1)))
        return NULL;
    if ((size_t)n < sizeof room) {
        memcpy(text, room, (size_t)n + 1);
        return text;
    }
    va_start(args, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, args);
    va_end(args);
    return text;
}
