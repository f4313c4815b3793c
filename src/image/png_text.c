#include "src/image/png_text.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/alloc.h"

enum { SIGNATURE = 8, HEAD = 8, FRAME = 12 }; /* FRAME: length, type and CRC */

static bool read_at(void *out, int fd, size_t n, uint64_t at)
{
    for (size_t got = 0; got < n;) {
        ssize_t k = pread(fd, (char *)out + got, n - got, (off_t)(at + got));
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return false;
        got += (size_t)k;
    }
    return true;
}

static bool is_type(const uint8_t head[HEAD], const char *type)
{
    return memcmp(head + 4, type, 4) == 0;
}

static bool is_text(const uint8_t head[HEAD])
{
    return is_type(head, "tEXt") || is_type(head, "zTXt") || is_type(head, "iTXt");
}

typedef struct kept {
    uint8_t *to; /* NULL: only counted */
    size_t n, capacity;
} kept;

/* n bytes of the file. The heads are read twice, and someone may write meanwhile: then there may be more. */
static bool keep(kept *k, int fd, uint64_t n, uint64_t at)
{
    if (k->to && (n > k->capacity - k->n || !read_at(k->to + k->n, fd, (size_t)n, at)))
        return false;
    k->n += (size_t)n;
    return true;
}

/* Data in two parts is an error, and a text between them must not cease to be what parts them. */
static bool keep_gap(kept *k)
{
    static const uint8_t unknown[FRAME] = {0,   0,   0,    0,    'l',  'x',
                                           'T', 'x', 0x8A, 0x5F, 0xCF, 0x11};

    if (k->to && FRAME > k->capacity - k->n)
        return false;
    if (k->to)
        memcpy(k->to + k->n, unknown, FRAME);
    k->n += FRAME;
    return true;
}

/* Along the chunks of a file of `size` bytes. False: it could not be read. */
static bool walk(kept *k, bool *has_text, int fd, uint64_t size)
{
    uint64_t at = SIGNATURE;
    bool is_behind_data = false, is_end = false, is_good = keep(k, fd, SIGNATURE, 0);

    *has_text = false;
    while (is_good && !is_end && at < size) {
        uint8_t head[HEAD] = {0};
        uint64_t n = size - at;

        if (n >= FRAME && !read_at(head, fd, HEAD, at))
            return false;
        const uint64_t length = (uint64_t)head[0] << 24 | (uint64_t)head[1] << 16 |
                                (uint64_t)head[2] << 8 | head[3];
        const bool is_whole = n >= FRAME && length <= n - FRAME;
        const bool is_left_out = is_whole && is_text(head);
        if (is_whole)
            n = FRAME + length;
        if (!is_left_out)
            is_good = keep(k, fd, n, at);
        else if (is_behind_data)
            is_good = keep_gap(k);
        *has_text |= is_left_out;
        is_behind_data = is_type(head, "IDAT");
        is_end = !is_whole || is_type(head, "IEND");
        at += n;
    }
    return is_good;
}

bool lx_png_without_text(uint8_t **out, size_t *n, int fd)
{
    kept k = {0};
    struct stat st;
    bool has_text;

    *out = NULL;
    if (fstat(fd, &st) < 0 || st.st_size <= SIGNATURE ||
        !walk(&k, &has_text, fd, (uint64_t)st.st_size) || !has_text ||
        !(k.to = lx_alloc(k.n)))
        return false;
    *n = k.capacity = k.n;
    k.n = 0;
    if (walk(&k, &has_text, fd, (uint64_t)st.st_size) && k.n == *n) {
        *out = k.to;
        return true;
    }
    lx_free(k.to);
    return false;
}
