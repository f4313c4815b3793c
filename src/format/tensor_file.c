#include "src/format/tensor_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/io.h"
#include "src/format/tensor_file_build.h"

int lx_tensor_file__add(lx_tensor_file *file, const lx_tensor_view *view, lx_error *err)
{
    if (lx_grow(&file->views, &file->capacity, file->count + 1, sizeof *file->views) < 0)
        return lx_oom(err);
    file->views[file->count++] = *view;
    return LX_OK;
}

int lx_tensor_file__note(lx_tensor_file *file, lx_error *err, const char *fmt, ...)
{
    enum { MOST = 100 }; /* the first hundred tell the story */
    char text[512], *copy;
    va_list args;

    if (file->n_notes == MOST)
        return LX_OK;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    copy = lx_arena_strdup(file->arena, text);
    if (!copy || lx_grow(&file->notes, &file->notes_capacity, file->n_notes + 1,
                         sizeof *file->notes) < 0)
        return lx_oom(err);
    file->notes[file->n_notes++] = copy;
    return LX_OK;
}

void *lx_tensor_file__own(lx_tensor_file *file, size_t bytes)
{
    void *memory;

    if (lx_grow(&file->owned, &file->owned_capacity, file->n_owned + 1,
                sizeof *file->owned) < 0)
        return NULL;
    memory = lx_alloc_aligned(bytes);
    if (memory)
        file->owned[file->n_owned++] = memory;
    return memory;
}

void lx_tensor_file__sort(void *items, size_t n, size_t item,
                          int (*compare)(const void *, const void *))
{
    const char *at = items;

    for (size_t i = 1; i < n; i++, at += item)
        if (compare(at, at + item) > 0) {
            qsort(items, n, item, compare);
            return;
        }
}

bool lx_tensor_file__measure(lx_tensor_view *view)
{
    size_t strides = 1, bits = (size_t)lx_dtype_bits(view->dtype);
    bool is_empty = false;

    for (int i = 0; i < view->n_dims; i++) {
        if (view->shape[i] == 0)
            is_empty = true;
        else if (!lx_mul_size(&strides, strides, (size_t)view->shape[i]))
            return false;
    }
    if (strides > INT64_MAX || !lx_mul_size(&bits, strides, bits) || bits % 8)
        return false;
    view->n_elements = is_empty ? 0 : strides;
    view->bytes = is_empty ? 0 : bits / 8;
    return true;
}

/* The product of some dimensions, zeros counted as one; *has_zero when there are any. */
static bool multiply(size_t *product, bool *has_zero, const int64_t *dims, int n)
{
    *product = 1;
    *has_zero = false;
    for (int i = 0; i < n; i++) {
        *has_zero |= dims[i] == 0;
        if (dims[i] && (!lx_mul_size(product, *product, (size_t)dims[i]) || *product > INT64_MAX))
            return false;
    }
    return true;
}

int lx_tensor_file__shape(lx_tensor_view *view, lx_tensor_file *file, const int64_t *dims, int n,
                          lx_error *err)
{
    enum { MOST_LONG_DIMS = 4 << 20 }; /* a pickle can name one tensor a million times */
    const int kept = n < LX_MAX_DIMS ? n : LX_MAX_DIMS;
    lx_long_shape *whole;
    bool has_zero;
    size_t product;

    view->n_dims = kept;
    if (kept)
        memcpy(view->shape, dims, (size_t)kept * sizeof *dims);
    if (n == kept)
        return LX_OK;
    if (!multiply(&product, &has_zero, dims, n))
        return 1;
    if ((file->n_long_dims += (size_t)n) > MOST_LONG_DIMS)
        return lx_fail(err, LX_ELIMIT, "the shapes of more than %d dimensions have more than %d numbers",
                       LX_MAX_DIMS, MOST_LONG_DIMS);
    multiply(&product, &has_zero, dims + kept - 1, n - kept + 1);
    view->shape[kept - 1] = has_zero ? 0 : (int64_t)product;
    if (!(whole = lx_arena_alloc(file->arena, sizeof *whole + (size_t)n * sizeof *dims)))
        return lx_oom(err);
    whole->n_dims = n;
    memcpy(whole->dims, dims, (size_t)n * sizeof *dims);
    view->whole = whole;
    return lx_tensor_file__note(file, err, "\"%s\" has %d dimensions: those from number %d on are taken as one",
                                lx_show(view->name, strlen(view->name)).text, n, LX_MAX_DIMS);
}

const int64_t *lx_tensor_view_shape(int *n, const lx_tensor_view *view)
{
    const bool is_long = view->n_dims == LX_MAX_DIMS && view->whole;

    *n = is_long ? view->whole->n_dims : view->n_dims;
    return is_long ? view->whole->dims : view->shape;
}

/* Of one name the first comes first. */
static int compare_views(const void *pa, const void *pb)
{
    const lx_tensor_view *a = *(const lx_tensor_view *const *)pa,
                         *b = *(const lx_tensor_view *const *)pb;
    const int order = strcmp(a->name, b->name);

    return order ? order : (a > b) - (a < b);
}

/* A name twice is refused. */
static int check_names(const lx_tensor_view *const *views, size_t n, lx_error *err)
{
    for (size_t i = 1; i < n; i++)
        if (!strcmp(views[i - 1]->name, views[i]->name))
            return lx_fail(err, LX_EFORMAT, "two tensors are named \"%s\"",
                           lx_show(views[i]->name, strlen(views[i]->name)).text);
    return LX_OK;
}

int lx_tensor_file__check_text(const char *text, lx_error *err)
{
    size_t n = strlen(text);
    if (lx_utf8_check(text, n) != n)
        return lx_fail(err, LX_EFORMAT, "\"%s\" is not UTF-8", lx_show(text, n).text);
    return LX_OK;
}

static int check_view(const lx_tensor_view *view, lx_error *err)
{
    lx_tensor_view measured = *view;
    int rc;

    if ((rc = lx_tensor_file__check_text(view->name, err)) < 0)
        return rc;
    if (!strcmp(view->name, "__metadata__"))
        return lx_fail(err, LX_EFORMAT, "a tensor cannot be named __metadata__");
    if (view->n_dims < 0 || view->n_dims > LX_MAX_DIMS ||
        !lx_tensor_file__measure(&measured) || measured.bytes != view->bytes)
        return lx_fail(err, LX_EINTERNAL, "\"%s\": %zu bytes do not fit the shape",
                       lx_show(view->name, strlen(view->name)).text, view->bytes);
    return LX_OK;
}

int lx_tensor_file__order(const lx_tensor_view **sorted, const lx_tensor_view *tensors,
                          size_t n, lx_error *err)
{
    int rc;

    for (size_t i = 0; i < n; i++) {
        if ((rc = check_view(&tensors[i], err)) < 0)
            return rc;
        sorted[i] = &tensors[i];
    }
    lx_tensor_file__sort(sorted, n, sizeof *sorted, compare_views);
    return check_names(sorted, n, err);
}

lx_shown lx_show(const char *text, size_t n)
{
    lx_shown out;
    size_t at = 0;

    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (at > sizeof out.text - 8) {
            memcpy(out.text + at, "...", 3);
            at += 3;
            break;
        }
        if (c >= 0x20 && c < 0x7F)
            out.text[at++] = (char)c;
        else
            at += (size_t)snprintf(out.text + at, 5, "\\x%02x", c);
    }
    out.text[at] = '\0';
    return out;
}

static uint64_t little_endian64(const unsigned char *p)
{
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--)
        value = value << 8 | p[i];
    return value;
}

static bool begins_with(const lx_mapping *map, size_t at, const char *magic, size_t n)
{
    return map->size >= at + n && !memcmp(map->data + at, magic, n);
}

bool lx_safetensors__fits(const unsigned char *data, size_t n, size_t size)
{
    return n > 8 && little_endian64(data) <= size - 8 && data[8] == '{';
}

/* PROTO. The length of a header that was cut off may begin so too, but it ends in zeros.
 */
static bool looks_like_pickle(const lx_mapping *map)
{
    return map->size >= 8 && map->data[0] == 0x80 && map->data[1] <= 16 &&
           little_endian64(map->data) >> 32 != 0;
}

static bool ends_like_zip(const lx_mapping *map)
{
    return map->size >= 22 && begins_with(map, map->size - 22, "PK\5\6", 4);
}

static bool is_pickle_name(const char *path)
{
    static const char *const endings[] = {".ckpt", ".pt", ".pth", ".bin", ".pkl"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (lx_ends_with(path, endings[i]))
            return true;
    return false;
}

/* Nothing but letters where a header's length would be, and behind it. */
static bool is_text(const lx_mapping *map)
{
    enum { LOOKED_AT = 256 };
    const size_t n = map->size < LOOKED_AT ? map->size : LOOKED_AT;

    for (size_t i = 0; i < n; i++)
        if (map->data[i] < 0x20 &&
            !strchr("\t\n\r\f\x1b", map->data[i] ? map->data[i] : 'x'))
            return false;
    return n > 0 && (lx_utf8_check((const char *)map->data, n) + 4 > n);
}

/* Of files that begin as no pickle and no safetensors header does. */
static const struct {
    const char *bytes, *what;
} magics[] = {
    {"\x89HDF\r\n\x1A\n", "is an HDF5 file (Keras' .h5?), not a model that lx reads"},
    {"GGUF", "is a GGUF file (of llama.cpp and the like), not a model that lx reads"},
    {"\x93NUMPY", "is a single array of numpy (.npy), not a model"},
    {"Rar!\x1A\x07", "is a RAR archive (unpack it first)"},
    {"BZh", "is bzip2-compressed (unpack it first)"},
    {"\xFD" "7zXZ", "is xz-compressed (unpack it first)"},
    {"\x28\xB5\x2F\xFD", "is zstd-compressed (unpack it first)"},
    {"\x89PNG\r\n\x1A\n", "is a PNG picture, not a model"},
    {"\xFF\xD8\xFF", "is a JPEG picture, not a model"},
    {"SQLite format 3", "is an SQLite database, not a model"},
    {"%PDF-", "is a PDF document, not a model"},
    {"\x7F" "ELF", "is a program, not a model"},
};

/* What people save under a model's name by mistake; NULL when it is none of them. */
static const char *known_stranger(const lx_mapping *map)
{
    if (!map->size)
        return "is empty (0 bytes)";
    if (begins_with(map, 0, "version https://git-lfs", 23))
        return "is a Git LFS pointer, not the file itself (fetch it with `git lfs pull`)";
    if (begins_with(map, 0, "<", 1))
        return "is a web page, not a model (the download failed; sign in and fetch it "
               "again)";
    if (begins_with(map, 0, "7z\xBC\xAF\x27\x1C", 6))
        return "is a 7z archive (unpack it first)";
    if (begins_with(map, 257, "ustar", 5))
        return "is a tar file: torch's form before version 0.1.10 is not read, and a "
               "bundle "
               "of runs is for `lx import`";
    if (begins_with(map, 0, "\x1F\x8B", 2))
        return "is gzip-compressed (unpack it first)";
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++)
        if (begins_with(map, 0, magics[i].bytes, strlen(magics[i].bytes)))
            return magics[i].what;
    return NULL;
}

static int read_by_content(lx_tensor_file *file, const char *path, lx_error *err)
{
    const lx_mapping *map = &file->map;
    const char *stranger = known_stranger(map);
    bool is_zip = begins_with(map, 0, "PK\3\4", 4) || begins_with(map, 0, "PK\5\6", 4);
    bool is_pickle = looks_like_pickle(map);

    if (lx_safetensors__fits(map->data, map->size, map->size))
        return lx_safetensors__read(file, err);
    if (stranger)
        return lx_fail(err, LX_EFORMAT, "%s at byte 0", stranger);
    /* The ending promises that nothing in the file can run; loaders trust it. */
    if ((is_zip || is_pickle) && lx_ends_with(path, ".safetensors"))
        return lx_fail(
            err, LX_EFORMAT,
            "is a %s named .safetensors, at byte 0 (if you trust where it is from, "
            "rename it to .ckpt: lx reads it without running anything)",
            is_zip ? "zip archive" : "pickle");
    if (lx_npz__fits(map->data, map->size))
        return lx_npz__read(file, err);
    if (is_zip || ends_like_zip(map))
        return lx_torch__read_zip(file, err);
    if (map->size >= 8 && is_text(map) &&
        !is_pickle_name(path)) /* the first pickles were text, too */
        return lx_fail(
            err, LX_EFORMAT,
            "is a text, not a model (a caption or a configuration beside it?), at "
            "byte 0");
    if (is_pickle || is_pickle_name(path))
        return lx_torch__read_legacy(file, err);
    return lx_safetensors__read(file, err);
}

int lx_tensor_file__sort_names(lx_tensor_file *file, lx_error *err)
{
    if (!(file->by_name = lx_calloc(file->count, sizeof *file->by_name)))
        return lx_oom(err);
    for (size_t i = 0; i < file->count; i++)
        file->by_name[i] = &file->views[i];
    lx_tensor_file__sort(file->by_name, file->count, sizeof *file->by_name,
                         compare_views);
    return LX_OK;
}

int lx_tensor_file__index(lx_tensor_file *file, lx_error *err)
{
    int rc;

    if (!file->by_name && (rc = lx_tensor_file__sort_names(file, err)) < 0)
        return rc;
    return check_names(file->by_name, file->count, err);
}

/* There may be no room to map a large file, and if its first bytes are no model's, that is what is
 * wrong with it. Zips and pickles are told by more than those. */
static int refuse_by_head(lx_tensor_file *file, int fd, size_t size, lx_error *err)
{
    int rc;

    unsigned char head[512];
    const ssize_t n = lx_io_get()->pread(fd, head, sizeof head, 0);
    const lx_mapping map = {head, n > 0 ? (size_t)n : 0};
    const char *stranger = known_stranger(&map);

    if (map.size < sizeof head || lx_safetensors__fits(head, map.size, size) ||
        begins_with(&map, 0, "PK", 2) || looks_like_pickle(&map))
        return LX_OK;
    if (stranger)
        return lx_fail(err, LX_EFORMAT, "%s at byte 0", stranger);
    file->map = map;
    file->size = size;
    rc = lx_safetensors__read(file, err); /* fails at the length or behind it */
    file->map = (lx_mapping){0};
    return rc;
}

static int map_file(lx_tensor_file *file, const char *path, lx_error *err)
{
    enum { LARGE = 64 << 20 };
    size_t size;
    int fd, rc;

    if ((rc = lx_file_open_regular(&fd, &size, path, err)) < 0)
        return rc;
    if (size >= LARGE && lx_ends_with(path, ".safetensors"))
        rc = refuse_by_head(file, fd, size, err);
    if (rc == LX_OK)
        rc = lx_file_map_fd(&file->map, fd, size, err);
    lx_io_get()->close(fd);
    return rc;
}

int lx_tensor_file_open(lx_tensor_file **out, const char *path, lx_error *err)
{
    lx_tensor_file *file = lx_calloc(1, sizeof *file);
    int rc;

    *out = NULL;
    if (!file)
        return lx_oom(err);
    file->fd = -1; /* a mapping needs none */
    if (!(file->arena = lx_arena_new()))
        rc = lx_oom(err);
    else if ((rc = map_file(file, path, err)) == LX_OK) {
        file->size = file->map.size;
        if ((rc = read_by_content(file, path, err)) == LX_OK)
            rc = lx_tensor_file__index(file, err);
    }
    if (rc < 0) {
        lx_tensor_file_close(file);
        return rc;
    }
    *out = file;
    return LX_OK;
}

void lx_tensor_file_let_go(const lx_tensor_file *file, const lx_tensor_view *view)
{
    const uintptr_t begin = (uintptr_t)file->map.data, at = (uintptr_t)view->data;

    if (!file->is_header && at >= begin && at < begin + file->map.size)
        lx_file_let_go(view->data, view->bytes);
}

lx_hash lx_tensor_file_hash(const lx_tensor_file *file)
{
    lx_assert(!file->is_header);
    return lx_sha256_of(file->map.data, file->map.size);
}

const void *lx_tensor_file_bytes(size_t *n, const lx_tensor_file *file)
{
    lx_assert(!file->is_header);
    *n = file->map.size;
    return file->map.data;
}

void lx_tensor_file_hash_two(lx_hash out[2], const lx_tensor_file *a,
                             const lx_tensor_file *b)
{
    const void *const data[2] = {a->map.data, b->map.data};
    const size_t n[2] = {a->map.size, b->map.size};

    lx_assert(!a->is_header && !b->is_header);
    lx_sha256_of_two(out, data, n);
}

void lx_tensor_file_close(lx_tensor_file *file)
{
    if (!file)
        return;
    for (size_t i = 0; i < file->n_owned; i++)
        lx_free_aligned(file->owned[i]);
    lx_free(file->owned);
    if (!file->layout) {
        lx_free(file->views);
        lx_free(file->by_name);
        lx_free(file->begins);
    }
    lx_free(file->metadata);
    lx_free(file->notes);
    if (!file->is_header) { /* else the cache's or the layout's */
        lx_arena_free(file->arena);
        lx_file_unmap(&file->map);
    }
    if (file->fd >= 0)
        lx_io_get()->close(file->fd);
    lx_free(file);
}

size_t lx_tensor_file_count(const lx_tensor_file *file)
{
    return file->count;
}

const lx_tensor_view *lx_tensor_file_at(const lx_tensor_file *file, size_t i)
{
    return &file->views[i];
}

const lx_tensor_view *lx_tensor_file_find(const lx_tensor_file *file, const char *name)
{
    size_t low = 0, high = file->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(file->by_name[middle]->name, name);
        if (!order)
            return file->by_name[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

size_t lx_tensor_file_metadata_count(const lx_tensor_file *file)
{
    return file->n_metadata;
}

void lx_tensor_file_metadata_at(const lx_tensor_file *file, size_t i, const char **key,
                                const char **value)
{
    *key = file->metadata[i].key;
    *value = file->metadata[i].value;
}

const char *lx_tensor_file_metadata(const lx_tensor_file *file, const char *key)
{
    const size_t n = strlen(key);

    for (size_t i = 0; i < file->n_metadata; i++) {
        const lx_tensor_metadata *m = &file->metadata[i];
        /* Keys begin alike ("ss_"): the last letter, or the end, tells more of them apart. */
        if (m->key_n == n && m->key[n - !!n] == key[n - !!n] && !memcmp(m->key, key, n))
            return m->value;
    }
    return NULL;
}

const char *lx_tensor_file_format(const lx_tensor_file *file)
{
    return file->format;
}

size_t lx_tensor_file_note_count(const lx_tensor_file *file)
{
    return file->n_notes;
}

const char *lx_tensor_file_note(const lx_tensor_file *file, size_t i)
{
    return file->notes[i];
}
