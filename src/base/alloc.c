#include "src/base/alloc.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "src/base/error.h"

static _Atomic size_t n_asked;
static _Atomic size_t fail_at;
static _Atomic bool fail_forever;
static _Atomic bool has_failed;

static bool refuse(void)
{
    size_t n = atomic_fetch_add(&n_asked, 1) + 1;
    size_t at = atomic_load(&fail_at);
    return at && (n == at || (n > at && atomic_load(&fail_forever)));
}

/* What every function here returns. */
static void *note_failure(void *memory)
{
    if (!memory)
        atomic_store(&has_failed, true);
    return memory;
}

void lx_alloc_note_failure(void)
{
    note_failure(NULL);
}

bool lx_alloc_has_failed(void)
{
    return atomic_load(&has_failed);
}

void lx_alloc_fail_at(size_t n, bool forever)
{
    atomic_store(&n_asked, 0);
    if (n)
        atomic_store(&has_failed, false); /* a new trial */
    atomic_store(&fail_forever, forever);
    atomic_store(&fail_at, n);
}

size_t lx_alloc_count(void)
{
    return atomic_load(&n_asked);
}

void *lx_alloc(size_t bytes)
{
    return note_failure(refuse() ? NULL : malloc(bytes ? bytes : 1));
}

void *lx_calloc(size_t n, size_t bytes)
{
    return note_failure(refuse() ? NULL : calloc(n ? n : 1, bytes ? bytes : 1));
}

void *lx_realloc(void *old, size_t bytes)
{
    return note_failure(refuse() ? NULL : realloc(old, bytes ? bytes : 1));
}

void lx_free(void *memory)
{
    free(memory);
}

char *lx_strndup(const char *text, size_t n)
{
    char *copy = lx_alloc(n + 1);
    if (copy) {
        memcpy(copy, text, n);
        copy[n] = '\0';
    }
    return copy;
}

char *lx_strdup(const char *text)
{
    return lx_strndup(text, strlen(text));
}

void *lx_alloc_aligned(size_t bytes)
{
    if (refuse() || bytes > SIZE_MAX - 63)
        return note_failure(NULL);
    bytes = (bytes + 63) & ~(size_t)63;
    return note_failure(aligned_alloc(64, bytes ? bytes : 64));
}

void *lx_alloc_large(size_t bytes)
{
    enum { HUGE_PAGE = 2 << 20 };
    void *memory;

    if (bytes < HUGE_PAGE)
        return lx_alloc_aligned(bytes);
    if (refuse() || bytes > SIZE_MAX - HUGE_PAGE)
        return note_failure(NULL);
    bytes = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    memory = aligned_alloc(HUGE_PAGE, bytes);
#ifdef MADV_HUGEPAGE
    if (memory)
        (void)madvise(memory, bytes, MADV_HUGEPAGE); /* a wish */
#endif
    return note_failure(memory);
}

void lx_free_aligned(void *memory)
{
    free(memory);
}

bool lx_mul_size(size_t *out, size_t a, size_t b)
{
    size_t product;
    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *out = product;
    return true;
}

bool lx_add_size(size_t *out, size_t a, size_t b)
{
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *out = sum;
    return true;
}

int lx_grow(void *array_pointer, size_t *capacity, size_t needed, size_t item)
{
    void *array, *grown;
    size_t want = *capacity, bytes;

    if (needed <= want)
        return LX_OK;
    if (want < 8)
        want = 8;
    while (want < needed) {
        if (want > SIZE_MAX / 2)
            return LX_ENOMEM;
        want *= 2;
    }
    if (!lx_mul_size(&bytes, want, item))
        return LX_ENOMEM;
    memcpy(&array, array_pointer, sizeof array);
    grown = lx_realloc(array, bytes);
    if (!grown)
        return LX_ENOMEM;
    memcpy(array_pointer, &grown, sizeof grown);
    *capacity = want;
    return LX_OK;
}
