/*
 * base/alloc - the one allocator
 *
 * All memory of lx that outlives a function comes from here, so that a test can fail the n-th
 * allocation (tests/fault). NULL means out of memory; the caller says so with lx_oom.
 */
#ifndef LX_BASE_ALLOC_H
#define LX_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

void *lx_alloc(size_t bytes); /* uninitialised; lx_alloc(0) is a valid pointer */
void *lx_calloc(size_t n, size_t bytes);
void *lx_realloc(void *old, size_t bytes);
void lx_free(void *memory); /* NULL is fine */
char *lx_strdup(const char *text);
char *lx_strndup(const char *text, size_t n);

/* 64-byte aligned, for tensors; freed with lx_free_aligned. */
void *lx_alloc_aligned(size_t bytes);
void lx_free_aligned(void *memory);
/* The same for what is large and written once from end to end: on huge pages where the system has them, which
 * saves the five hundred page faults of every 2 MB. */
void *lx_alloc_large(size_t bytes);

/* Has any of these ever returned NULL in this process? Whoever answers for the whole of what was done asks
 * at its end: some text may have been left out where no error could be returned. */
bool lx_alloc_has_failed(void);
/* Memory that a library asked for was refused: as if one of these had failed. */
void lx_alloc_note_failure(void);

/* false if a*b does not fit a size_t (then *out is untouched). */
bool lx_mul_size(size_t *out, size_t a, size_t b);
bool lx_add_size(size_t *out, size_t a, size_t b);

/*
 * Grows an array to hold at least `needed` items of `item` bytes; doubles, checks overflow.
 * 0, or LX_ENOMEM with the array as it was.
 */
int lx_grow(void *array_pointer, size_t *capacity, size_t needed, size_t item);

/* Tests: the n-th allocation from now (1 is the next) fails; with `forever` all later ones too.
 * 0 turns it off. lx_alloc_count is how many were asked for since. */
void lx_alloc_fail_at(size_t n, bool forever);
size_t lx_alloc_count(void);

#endif
