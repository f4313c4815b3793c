#include "src/format/header_cache.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/io.h"
#include "src/format/tensor_file_build.h"

enum {
    MOST_LAYOUTS = 1024,
    MOST_BEGUN =
        16, /* caches whose layouts others wait for; those of more read them themselves */
    MOST_BYTES = 64 << 20, /* of the layouts' texts; more are parsed each time */
    FIRST_READ = 4096,     /* bytes: the header's length and what is short enough */
    SLACK = 512            /* behind a header: its first tensors, mostly an alpha */
};

struct lx_layout {
    lx_arena *arena; /* names and notes */
    char *rest;
    size_t n, data_size;
    lx_tensor_view *views;
    const lx_tensor_view **by_name;
    size_t *begins;
    size_t count;
    const char **notes; /* on the tensors, in the arena */
    size_t n_notes;
    _Atomic(void *) attached; /* set once, after release */
    void (*release)(void *);
    atomic_bool is_fresh; /* whoever read it is still at what he will attach */
};

/* Layouts are only added, so that they are found without a lock, and live as long as any cache of the pool. */
typedef struct pool {
    pthread_mutex_t mutex; /* of who adds and attaches */
    size_t n_caches, bytes;
    atomic_size_t n;
    lx_layout *layouts[MOST_LAYOUTS];
    lx_layout *begun[MOST_BEGUN]; /* those that are being read; NULL: room */
} pool;

struct lx_header_cache {
    unsigned char *bytes; /* the header of the open file, and what was read behind it */
    size_t n_bytes, capacity;
    lx_arena *arena; /* metadata of the open file */
    pool *pool;
    lx_layout *begun; /* of the open file, not yet known to be sound */
    lx_layout *own;   /* of the open file, for which the pool had no room */
    lx_layout *fresh; /* of the open file, in the pool */
    size_t n_notes;   /* of the open file, before its tensors */
    bool defers;
};

static void free_layout(lx_layout *l)
{
    if (!l)
        return;
    if (l->release)
        l->release(atomic_load(&l->attached));
    lx_arena_free(l->arena);
    lx_free(l->rest);
    lx_free(l->views);
    lx_free(l->by_name);
    lx_free(l->begins);
    lx_free(l);
}

static pool *new_pool(void)
{
    pool *p = lx_calloc(1, sizeof *p);

    if (p && pthread_mutex_init(&p->mutex, NULL) != 0) {
        lx_free(p);
        return NULL;
    }
    return p;
}

static void leave_pool(pool *p)
{
    size_t left;

    if (!p)
        return;
    pthread_mutex_lock(&p->mutex);
    left = --p->n_caches;
    pthread_mutex_unlock(&p->mutex);
    if (left)
        return;
    for (size_t i = 0; i < atomic_load(&p->n); i++)
        free_layout(p->layouts[i]);
    pthread_mutex_destroy(&p->mutex);
    lx_free(p);
}

int lx_header_cache_new(lx_header_cache **out, lx_header_cache *sharing, lx_error *err)
{
    lx_header_cache *c = lx_calloc(1, sizeof *c);

    *out = NULL;
    if (!c || !(c->arena = lx_arena_new()) ||
        !(c->pool = sharing ? sharing->pool : new_pool())) {
        if (c)
            lx_arena_free(c->arena);
        lx_free(c);
        return lx_oom(err);
    }
    pthread_mutex_lock(&c->pool->mutex);
    c->pool->n_caches++;
    pthread_mutex_unlock(&c->pool->mutex);
    *out = c;
    return LX_OK;
}

/* `becomes` takes the place of a layout among those that are being read; either may be NULL. */
static void replace_begun(pool *p, const lx_layout *l, lx_layout *becomes)
{
    size_t i = 0;

    pthread_mutex_lock(&p->mutex);
    while (i < MOST_BEGUN && p->begun[i] != l)
        i++;
    if (i < MOST_BEGUN)
        p->begun[i] = becomes;
    pthread_mutex_unlock(&p->mutex);
}

/* What the cache knows of the file that was open. */
static void leave_file(lx_header_cache *c)
{
    if (c->begun)
        replace_begun(c->pool, c->begun, NULL);
    if (c->fresh)
        atomic_store(&c->fresh->is_fresh, false);
    free_layout(c->begun);
    free_layout(c->own);
    c->begun = c->own = c->fresh = NULL;
}

void lx_header_cache_defer(lx_header_cache *c, bool defers)
{
    c->defers = defers;
}

void lx_header_cache_free(lx_header_cache *c)
{
    if (!c)
        return;
    leave_file(c);
    leave_pool(c->pool);
    lx_arena_free(c->arena);
    lx_free(c->bytes);
    lx_free(c);
}

/* ---- layouts ------------------------------------------------------------- */

/* Padding depends on the metadata before it. */
static size_t without_padding(const char *rest, size_t n)
{
    while (n && rest[n - 1] == ' ')
        n--;
    return n;
}

static int adopt(lx_tensor_file *file, lx_layout *l, lx_error *err)
{
    if (lx_grow(&file->notes, &file->notes_capacity, file->n_notes + l->n_notes,
                sizeof *file->notes) < 0)
        return lx_oom(err);
    if (l->n_notes)
        memcpy(file->notes + file->n_notes, l->notes, l->n_notes * sizeof *l->notes);
    file->n_notes += l->n_notes;
    file->layout = l;
    file->views = l->views;
    file->by_name = l->by_name;
    file->begins = l->begins;
    file->count = l->count;
    return LX_OK;
}

static bool is_same(const lx_layout *l, const char *rest, size_t n, size_t data_size)
{
    return l->n == n && l->data_size == data_size && memcmp(l->rest, rest, n) == 0;
}

static bool is_being_read(pool *p, const char *rest, size_t n, size_t data_size)
{
    bool is = false;

    pthread_mutex_lock(&p->mutex);
    for (size_t i = 0; i < MOST_BEGUN && !is; i++)
        is = p->begun[i] && is_same(p->begun[i], rest, n, data_size);
    pthread_mutex_unlock(&p->mutex);
    return is;
}

int lx_header_cache__find(lx_tensor_file *file, const char *rest, size_t n,
                          size_t data_size, lx_error *err)
{
    const lx_header_cache *c = file->cache;
    const size_t n_layouts = atomic_load(&c->pool->n);
    bool is_busy = false;
    int rc;

    n = without_padding(rest, n);
    for (size_t i = 0; i < n_layouts && !is_busy; i++) {
        lx_layout *l = c->pool->layouts[i];
        if (!is_same(l, rest, n, data_size))
            continue;
        is_busy = c->defers && atomic_load(&l->is_fresh);
        if (!is_busy)
            return (rc = adopt(file, l, err)) < 0 ? rc : 1;
    }
    if (is_busy || (c->defers && is_being_read(c->pool, rest, n, data_size)))
        return lx_fail(err, LX_EBUSY, "another thread reads such a header");
    return 0;
}

/* From here on names go to the layout's arena, which outlives the file. */
void lx_header_cache__begin(lx_tensor_file *file, const char *rest, size_t n,
                            size_t data_size)
{
    lx_header_cache *c = file->cache;
    lx_layout *l = lx_calloc(1, sizeof *l);

    n = without_padding(rest, n);
    if (!l || !(l->arena = lx_arena_new()) || !(l->rest = lx_alloc(n))) {
        free_layout(l);
        return;
    }
    memcpy(l->rest, rest, n);
    l->n = n;
    l->data_size = data_size;
    c->begun = l;
    replace_begun(c->pool, NULL, l);
    c->n_notes = file->n_notes;
    file->arena = l->arena;
}

void lx_header_cache__keep(lx_tensor_file *file)
{
    if (file->cache && file->cache->begun)
        file->layout = file->cache->begun; /* once its names are in order: see settle */
}

/* False when there is no room, or another thread was faster: then the layout is the file's alone. */
static bool add_to_pool(pool *p, lx_layout *l)
{
    bool is_new = true;
    size_t n;

    pthread_mutex_lock(&p->mutex);
    n = atomic_load(&p->n);
    for (size_t i = 0; i < n && is_new; i++)
        is_new = !is_same(p->layouts[i], l->rest, l->n, l->data_size);
    is_new = is_new && n < MOST_LAYOUTS && l->n <= MOST_BYTES - p->bytes;
    if (is_new) {
        p->layouts[n] = l;
        p->bytes += l->n;
        atomic_store(&p->n, n + 1);
    }
    pthread_mutex_unlock(&p->mutex);
    return is_new;
}

/* The file is open: its views are the layout's now. Notes beyond the first hundred of a file
 * are not made, so a layout that met them may lack some, as the file does. */
static void settle(lx_tensor_file *file)
{
    lx_header_cache *c = file->cache;
    lx_layout *l = c->begun;

    l->n_notes = file->n_notes - c->n_notes;
    l->notes = lx_arena_calloc(l->arena, l->n_notes, sizeof *l->notes);
    if (!l->notes) { /* then the file keeps what it has, and the layout is no other's */
        l->n_notes = 0;
        l->n = 0;
    } else if (l->n_notes) {
        memcpy(l->notes, file->notes + c->n_notes, l->n_notes * sizeof *l->notes);
    }
    l->views = file->views;
    l->by_name = file->by_name;
    l->begins = file->begins;
    l->count = file->count;
    c->begun = NULL;
    atomic_store(&l->is_fresh, true);
    *(add_to_pool(c->pool, l) ? &c->fresh : &c->own) = l;
    replace_begun(c->pool, l, NULL);
}

/* ---- reading ------------------------------------------------------------- */

/* Bytes [c->n_bytes, n) of the file into the buffer; fewer where it ends. */
static int read_up_to(lx_header_cache *c, int fd, size_t n, lx_error *err)
{
    if (n > c->capacity) {
        unsigned char *more = lx_realloc(c->bytes, n);
        if (!more)
            return lx_oom(err);
        c->bytes = more;
        c->capacity = n;
    }
    while (c->n_bytes < n) {
        ssize_t got = lx_io_get()->pread(fd, c->bytes + c->n_bytes, n - c->n_bytes,
                                         (off_t)c->n_bytes);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return lx_fail_errno(err, errno, "cannot read");
        if (got == 0)
            break;
        c->n_bytes += (size_t)got;
    }
    return LX_OK;
}

static size_t header_end(const unsigned char *bytes)
{
    uint64_t n = 0;

    for (int i = 7; i >= 0; i--)
        n = n << 8 | bytes[i];
    return 8 + (size_t)n;
}

/* 1: the header is in the buffer. 0: no safetensors file, or one over the limit, for another reader. */
static int read_header(lx_header_cache *c, int fd, size_t size, lx_error *err)
{
    size_t end;
    int rc;

    c->n_bytes = 0;
    if ((rc = read_up_to(c, fd, size < FIRST_READ ? size : FIRST_READ, err)) < 0)
        return rc;
    if (!lx_safetensors__fits(c->bytes, c->n_bytes, size))
        return 0;
    end = header_end(c->bytes);
    if (end - 8 > LX_SAFETENSORS_HEADER)
        return 0;
    if (c->n_bytes < end &&
        (rc = read_up_to(c, fd, size - end < SLACK ? size : end + SLACK, err)) < 0)
        return rc;
    if (c->n_bytes < end)
        return lx_fail(err, LX_EIO, "became shorter while it was read, at byte %zu",
                       c->n_bytes);
    return 1;
}

static int parse(lx_tensor_file *file, lx_header_cache *c, size_t size, lx_error *err)
{
    int rc;

    file->cache = c;
    file->is_header = true;
    file->arena = c->arena;
    file->size = size;
    file->map = (lx_mapping){c->bytes, header_end(c->bytes)};
    if ((rc = lx_safetensors__read(file, err)) == LX_OK && (!file->layout || c->begun))
        rc = lx_tensor_file__index(file, err);
    if (rc == LX_OK && c->begun && file->layout == c->begun)
        settle(file);
    else if (rc < 0 && c->begun)
        file->layout = NULL;
    return rc;
}

int lx_tensor_file_open_header(lx_tensor_file **out, lx_header_cache *c, const char *path,
                               lx_error *err)
{
    lx_tensor_file *file;
    size_t size;
    int fd, rc;

    *out = NULL;
    leave_file(c);
    lx_arena_reset(c->arena);
    if ((rc = lx_file_open_regular(&fd, &size, path, err)) < 0)
        return rc;
    if ((rc = read_header(c, fd, size, err)) <= 0) {
        lx_io_get()->close(fd);
        return rc < 0 ? rc : lx_tensor_file_open(out, path, err);
    }
    if (!(file = lx_calloc(1, sizeof *file))) {
        lx_io_get()->close(fd);
        return lx_oom(err);
    }
    file->fd = fd;
    if ((rc = parse(file, c, size, err)) < 0) {
        lx_tensor_file_close(file);
        return rc;
    }
    *out = file;
    return LX_OK;
}

/* ---- beside the views ---------------------------------------------------- */

size_t lx_tensor_file_size(const lx_tensor_file *file)
{
    return file->size;
}

void *lx_tensor_file_attached(const lx_tensor_file *file)
{
    return file->layout ? atomic_load(&file->layout->attached) : NULL;
}

bool lx_tensor_file_attach(lx_tensor_file *file, void *data, void (*release)(void *))
{
    lx_layout *l = file->layout;
    bool is_first;

    if (!l)
        return false;
    pthread_mutex_lock(&file->cache->pool->mutex);
    if ((is_first = !atomic_load(&l->attached))) {
        l->release = release;
        atomic_store(&l->attached, data);
    }
    pthread_mutex_unlock(&file->cache->pool->mutex);
    return is_first;
}

static int read_bytes(void *out, const lx_tensor_file *file, size_t at, size_t n,
                      lx_error *err)
{
    const lx_header_cache *c = file->cache;
    ssize_t got;

    if (at + n <= c->n_bytes) {
        memcpy(out, c->bytes + at, n);
        return LX_OK;
    }
    do
        got = lx_io_get()->pread(file->fd, out, n, (off_t)at);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return lx_fail_errno(err, errno, "cannot read");
    return (size_t)got == n ? LX_OK
                            : lx_fail(err, LX_EIO, "ends at byte %zu", at + (size_t)got);
}

int lx_tensor_file_number(double *out, const lx_tensor_file *file,
                          const lx_tensor_view *view, lx_error *err)
{
    unsigned char bytes[16];
    const void *data = view->data;
    int rc;

    if (view->n_elements != 1 || view->bytes > sizeof bytes)
        return lx_fail(err, LX_EFORMAT, "must be one number, has %zu elements",
                       view->n_elements);
    if (!data) {
        const size_t at = file->map.size + file->begins[view - file->views];
        if ((rc = read_bytes(bytes, file, at, view->bytes, err)) < 0)
            return rc;
        data = bytes;
    }
    if ((rc = lx_to_f64(out, data, view->dtype, 1)) < 0)
        return lx_fail(err, rc, "is no real number (%s)", lx_dtype_name(view->dtype));
    return LX_OK;
}
