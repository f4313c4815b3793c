/*
 * Reading safetensors: u64 length N, N bytes of JSON, the tensors' bytes.
 *
 * The rules are those of the reference (huggingface/safetensors 0.4.5 and 0.8.0): sorted by their
 * offsets the tensors fill the data area without hole, overlap or rest, and each has the bytes of
 * its shape. lx refuses a little more, where readers disagree about what a file means: space
 * before the '{', and any key twice. The header is read token by token, never as a tree: offsets
 * have 64 bits, and messages name the byte of the file.
 */
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/json_reader.h"
#include "src/format/tensor_file_build.h"

/* One tensor of the header, as many as views: where its key stands and its bytes in the data area. */
typedef struct entry {
    const char *name;
    size_t offset, begin, end;
} entry;

typedef struct header {
    lx_tensor_file *file;
    lx_json_reader r;
    size_t data_at;
    entry *entries;
    size_t count, capacity;
    bool is_known; /* the tensors are those of a header read before */
    bool is_mixed; /* metadata stand between tensors */
    lx_error *err;
} header;

static int refuse(const header *h, const char *name, const char *what, size_t at)
{
    return lx_fail(h->err, LX_EFORMAT, "\"%s\": %s at byte %zu",
                   lx_show(name, strlen(name)).text, what, at);
}

static bool token_is(const lx_json_reader *r, const char *text)
{
    return !lx_json_compare(r->token, r->token_n, text, strlen(text));
}

/* The last key or string as a text of the file's arena. */
static int intern(const char **out, bool *is_printable, header *h)
{
    char *copy = lx_arena_alloc(h->file->arena, h->r.token_n + 8);
    size_t n;

    if (!copy)
        return lx_oom(h->err);
    n = lx_json_copy(copy, is_printable, &h->r);
    if (!*is_printable && memchr(copy, 0, n))
        return lx_fail(h->err, LX_EFORMAT, "header: NUL in a text at byte %zu",
                       lx_json_find_nul(&h->r));
    *out = copy;
    return LX_OK;
}

/* Whether a terminal or a page would show what is there and nothing else. */
static int find_plain(bool *is_plain, const char *text, lx_error *err)
{
    lx_str shown = LX_STR_INIT;
    int rc;

    lx_escape_terminal(&shown, text, strlen(text), false);
    if ((rc = lx_str_check(&shown, err)) == LX_OK)
        *is_plain = !strcmp(lx_str_text(&shown), text);
    lx_str_release(&shown);
    return rc;
}

/* The text that the reader copied; the next goes behind it. */
static int take_text(const char **out, size_t *n, bool *is_plain, header *h)
{
    lx_json_reader *r = &h->r;

    if (!r->is_printable && memchr(r->out, 0, r->copied_n))
        return lx_fail(h->err, LX_EFORMAT, "header: NUL in a text at byte %zu",
                       lx_json_find_nul(r));
    *out = r->out;
    *n = r->copied_n;
    *is_plain = true;
    r->out += r->copied_n + 1;
    return r->is_printable ? LX_OK : find_plain(is_plain, *out, h->err);
}

static int read_pair(header *h)
{
    lx_tensor_file *f = h->file;
    lx_tensor_metadata m = {.offset = h->r.offset};
    bool key_is_plain, value_is_plain;
    size_t n;
    int kind, rc;

    if ((rc = take_text(&m.key, &m.key_n, &key_is_plain, h)) < 0)
        return rc;
    if ((kind = lx_json_next(&h->r, h->err)) < 0)
        return kind;
    if (kind != LX_JSON_STRING)
        return refuse(h, m.key, "metadata that is not a text", h->r.offset);
    if ((rc = take_text(&m.value, &n, &value_is_plain, h)) < 0)
        return rc;
    if (!key_is_plain || !value_is_plain)
        rc = lx_tensor_file__note(f, h->err, "metadata \"%s\" has control characters",
                                  lx_show(m.key, strlen(m.key)).text);
    if (rc < 0)
        return rc;
    if (lx_grow(&f->metadata, &f->metadata_capacity, f->n_metadata + 1,
                sizeof *f->metadata) < 0)
        return lx_oom(h->err);
    f->metadata[f->n_metadata++] = m;
    return LX_OK;
}

static int read_metadata(header *h)
{
    int kind = lx_json_next(&h->r, h->err), rc;

    if (kind == LX_JSON_NULL)
        return lx_tensor_file__note(h->file, h->err, "__metadata__ is null");
    if (kind < 0)
        return kind;
    if (kind != LX_JSON_OBJECT)
        return lx_fail(h->err, LX_EFORMAT, "__metadata__ is not an object at byte %zu",
                       h->r.offset);
    if (!(h->r.out = lx_arena_alloc(h->file->arena, h->r.n - h->r.at + 8)))
        return lx_oom(h->err);
    while ((kind = lx_json_next(&h->r, h->err)) == LX_JSON_KEY)
        if ((rc = read_pair(h)) < 0)
            return rc;
    h->r.out = NULL;
    return kind < 0 ? kind : LX_OK;
}

static int read_dtype(lx_tensor_view *view, header *h)
{
    int kind = lx_json_next(&h->r, h->err), dtype;

    if (kind < 0)
        return kind;
    if (kind != LX_JSON_STRING)
        return refuse(h, view->name, "dtype is not a text", h->r.offset);
    dtype = lx_dtype_from_name(h->r.token, h->r.token_n);
    for (int i = 0; i < LX_DTYPE_COUNT && dtype < 0; i++) /* some of its letters may be escaped */
        if (token_is(&h->r, lx_dtype_name((lx_dtype)i)))
            dtype = i;
    if (dtype < 0)
        return lx_fail(h->err, LX_EFORMAT, "\"%s\": unknown dtype \"%s\" at byte %zu",
                       lx_show(view->name, strlen(view->name)).text,
                       lx_show(h->r.token, h->r.token_n).text, h->r.offset);
    view->dtype = (lx_dtype)dtype;
    return LX_OK;
}

/* An array of whole numbers; *count may end up larger than `most`, only `most` are stored. */
static int read_numbers(uint64_t *out, size_t *count, size_t most, const char *name,
                        const char *what, header *h)
{
    int kind = lx_json_next(&h->r, h->err);
    uint64_t value;

    *count = 0;
    if (kind >= 0 && kind != LX_JSON_ARRAY)
        return refuse(h, name, what, h->r.offset);
    while (kind >= 0 && (kind = lx_json_next(&h->r, h->err)) != LX_JSON_ARRAY_END) {
        if (kind < 0)
            break;
        if (kind != LX_JSON_NUMBER || !lx_json_u64(&value, &h->r) || value > INT64_MAX)
            return refuse(h, name, what, h->r.offset);
        if (*count < most)
            out[*count] = value;
        ++*count;
    }
    return kind < 0 ? kind : LX_OK;
}

static int read_shape(lx_tensor_view *view, header *h)
{
    int64_t dims[LX_MAX_FILE_DIMS];
    size_t count, at = h->r.offset;
    int rc = read_numbers((uint64_t *)dims, &count, LX_MAX_FILE_DIMS, view->name,
                          "shape is not an array of whole numbers below 2^63", h);

    if (rc < 0)
        return rc;
    if (count > LX_MAX_FILE_DIMS)
        return lx_fail(
            h->err, LX_ELIMIT, "\"%s\": %zu dimensions, more than %d, at byte %zu",
            lx_show(view->name, strlen(view->name)).text, count, LX_MAX_FILE_DIMS, at);
    rc = lx_tensor_file__shape(view, h->file, dims, (int)count, h->err);
    return rc > 0 ? refuse(h, view->name, "the size of the shape overflows", at) : rc;
}

static int read_offsets(entry *e, header *h)
{
    uint64_t offsets[2];
    size_t count, at = h->r.offset;
    int rc = read_numbers(offsets, &count, 2, e->name,
                          "data_offsets are not two whole numbers below 2^63", h);

    if (rc < 0)
        return rc;
    if (count != 2)
        return refuse(h, e->name, "data_offsets are not two whole numbers", at);
    e->begin = offsets[0];
    e->end = offsets[1];
    return LX_OK;
}

/* The members of a tensor's object, in any order, each once. */
static int read_fields(entry *e, lx_tensor_view *view, header *h)
{
    static const char *const names[] = {"dtype", "shape", "data_offsets"};
    unsigned seen = 0;
    int kind, rc = LX_OK;

    while ((kind = lx_json_next(&h->r, h->err)) == LX_JSON_KEY) {
        int field = 0;
        while (field < 3 && !token_is(&h->r, names[field]))
            field++;
        if (field < 3 && seen & 1u << field)
            return refuse(h, e->name, "one field twice", h->r.offset);
        seen |= 1u << field;
        if (field == 0) {
            rc = read_dtype(view, h);
        } else if (field == 1) {
            rc = read_shape(view, h);
        } else if (field == 2) {
            rc = read_offsets(e, h);
        } else {
            rc = lx_tensor_file__note(h->file, h->err,
                                      "\"%s\": unknown field \"%s\" skipped",
                                      lx_show(e->name, strlen(e->name)).text,
                                      lx_show(h->r.token, h->r.token_n).text);
            if (rc == LX_OK && (rc = lx_json_next(&h->r, h->err)) > 0)
                rc = lx_json_skip(&h->r, rc, h->err);
        }
        if (rc < 0)
            return rc;
    }
    if (kind < 0)
        return kind;
    for (int i = 0; i < 3; i++)
        if (!(seen & 1u << i))
            return lx_fail(h->err, LX_EFORMAT, "\"%s\": no %s at byte %zu",
                           lx_show(e->name, strlen(e->name)).text, names[i], e->offset);
    return LX_OK;
}

/* Letters, digits, '_', '-' and single dots inside: nearly every name there is. */
static bool is_ordinary(const char *name)
{
    const char *p = name;

    if (*p == '.')
        return false;
    for (; *p; p++) {
        bool is_letter =
            (unsigned char)((*p | 32) - 'a') < 26 || (unsigned char)(*p - '0') < 10;
        if (!is_letter && *p != '_' && *p != '-' && (*p != '.' || p[1] == '.'))
            return false;
    }
    return p > name;
}

/* Legal names that would mislead whoever prints or unpacks them. */
static int note_odd_name(const header *h, const char *name)
{
    const char *what;
    bool is_plain = true;
    int rc;

    if (is_ordinary(name))
        return LX_OK;
    if ((rc = find_plain(&is_plain, name, h->err)) < 0)
        return rc;
    what = !*name                                 ? "is empty"
           : !is_plain                            ? "has control characters"
           : strpbrk(name, "<>&")                 ? "has characters of HTML"
           : name[0] == '/' || strstr(name, "..") ? "looks like a path"
                                                  : NULL;
    /* "<s1>" is how cloneofsimo's files name embeddings. */
    if (!what || (name[0] == '<' && lx_ends_with(name, ">") && strlen(name) < 16))
        return LX_OK;
    return lx_tensor_file__note(h->file, h->err, "the name \"%s\" %s",
                                lx_show(name, strlen(name)).text, what);
}

static int read_tensor(header *h)
{
    lx_tensor_view view = {0};
    entry e = {.offset = h->r.offset};
    size_t data_size = h->file->size - h->data_at;
    bool is_printable;
    int kind, rc;

    if ((rc = intern(&e.name, &is_printable, h)) < 0)
        return rc;
    view.name = e.name;
    if ((kind = lx_json_next(&h->r, h->err)) < 0)
        return kind;
    if (kind != LX_JSON_OBJECT)
        return refuse(h, e.name, "is not an object", h->r.offset);
    if ((rc = read_fields(&e, &view, h)) < 0)
        return rc;
    if (!lx_tensor_file__measure(&view))
        return refuse(h, e.name, "the size of the shape overflows", e.offset);
    if (e.end < e.begin || e.end - e.begin != view.bytes)
        return lx_fail(
            h->err, LX_EFORMAT,
            "\"%s\": data_offsets [%zu, %zu] do not hold the %zu bytes of the shape, "
            "at byte %zu",
            lx_show(e.name, strlen(e.name)).text, e.begin, e.end, view.bytes, e.offset);
    if (e.end > data_size)
        return lx_fail(h->err, LX_EFORMAT,
                       "\"%s\": ends at byte %zu, the file at byte %zu (cut short?)",
                       lx_show(e.name, strlen(e.name)).text, h->data_at + e.end,
                       h->file->size);
    if (!h->file->is_header) {
        view.data = h->file->map.data + h->data_at + e.begin;
    } else {
        if (lx_grow(&h->file->begins, &h->file->begins_capacity, h->file->count + 1,
                    sizeof *h->file->begins) < 0)
            return lx_oom(h->err);
        h->file->begins[h->file->count] = e.begin;
    }
    if (lx_grow(&h->entries, &h->capacity, h->count + 1, sizeof *h->entries) < 0)
        return lx_oom(h->err);
    h->entries[h->count++] = e;
    if ((rc = note_odd_name(h, e.name)) < 0)
        return rc;
    return lx_tensor_file__add(h->file, &view, h->err);
}

/* The tensors' part of the header begins at `at`: is it that of a header read before? */
static int look_up(header *h, size_t at)
{
    const char *rest = h->r.text + at;
    size_t n = h->r.n - at, data_size = h->file->size - h->data_at;
    int found = lx_header_cache__find(h->file, rest, n, data_size, h->err);

    h->is_known = found > 0;
    if (found == 0)
        lx_header_cache__begin(h->file, rest, n, data_size);
    return found < 0 ? found : LX_OK;
}

/* Whether what follows can be of a sound header: without its comma it would be the rest of one without metadata. */
static bool goes_on(const lx_json_reader *r)
{
    size_t at = r->at;

    while (at < r->n && memchr(" \t\r\n", r->text[at], 4))
        at++;
    return at < r->n && (r->text[at] == ',' || r->text[at] == '}');
}

/* One member of the header. Metadata after tensors make a header that no other is like. */
static int read_member(header *h, bool *has_metadata, bool is_first)
{
    int rc;

    if (token_is(&h->r, "__metadata__")) {
        if (*has_metadata)
            return lx_fail(h->err, LX_EFORMAT, "__metadata__ twice at byte %zu",
                           h->r.offset);
        *has_metadata = true;
        h->is_mixed = !is_first;
        if ((rc = read_metadata(h)) < 0 || !is_first || !h->file->cache ||
            !goes_on(&h->r))
            return rc;
        return look_up(h, h->r.at);
    }
    if (is_first && h->file->cache) {
        if ((rc = look_up(h, h->r.offset)) < 0 || h->is_known)
            return rc;
    }
    return read_tensor(h);
}

static int read_header(header *h)
{
    bool has_metadata = false, is_first = true;
    int kind, rc = LX_OK;

    if ((kind = lx_json_next(&h->r, h->err)) < 0)
        return kind;
    while ((kind = lx_json_next(&h->r, h->err)) == LX_JSON_KEY) {
        if ((rc = read_member(h, &has_metadata, is_first)) < 0 || h->is_known)
            return rc;
        is_first = false;
    }
    return kind < 0 ? kind : lx_json_next(&h->r, h->err);
}

static int by_begin(const void *pa, const void *pb)
{
    const entry *a = pa, *b = pb;
    if (a->begin != b->begin)
        return a->begin < b->begin ? -1 : 1;
    return a->end < b->end ? -1 : a->end > b->end;
}

/* Any order brings equal keys together; lengths mostly decide. */
static int by_key(const void *pa, const void *pb)
{
    const lx_tensor_metadata *a = *(const lx_tensor_metadata *const *)pa,
                             *b = *(const lx_tensor_metadata *const *)pb;
    int order = a->key_n != b->key_n ? (a->key_n < b->key_n ? -1 : 1)
                                     : memcmp(a->key, b->key, a->key_n);
    return order ? order : a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* Whether no two keys can be equal, for no two fall on one of many places: so with some fifty keys, nearly always. */
static bool are_told_apart(const lx_tensor_file *f)
{
    enum { PLACES = 1 << 15, MOST = 256 };
    uint64_t taken[PLACES / 64] = {0};

    for (size_t i = 0; i < f->n_metadata && i < MOST; i++) {
        const lx_tensor_metadata *m = &f->metadata[i];
        uint64_t hash = m->key_n, last = 0, bit;
        size_t place;
        for (size_t at = 0; at < m->key_n; at += 8) {
            memcpy(&last, m->key + at, m->key_n - at < 8 ? m->key_n - at : 8);
            hash = (hash ^ last) * 0x9E3779B97F4A7C15u;
            hash ^= hash >> 32;
        }
        place = hash % PLACES;
        bit = 1ull << place % 64;
        if (taken[place / 64] & bit)
            return false;
        taken[place / 64] |= bit;
    }
    return f->n_metadata <= MOST;
}

static int check_unique_metadata(const header *h)
{
    const lx_tensor_file *f = h->file;
    const lx_tensor_metadata **sorted;
    int rc = LX_OK;

    if (are_told_apart(f))
        return LX_OK;
    sorted = lx_calloc(f->n_metadata, sizeof *sorted);
    if (!sorted)
        return lx_oom(h->err);
    for (size_t i = 0; i < f->n_metadata; i++)
        sorted[i] = &f->metadata[i];
    lx_tensor_file__sort(sorted, f->n_metadata, sizeof *sorted, by_key);
    for (size_t i = 1; i < f->n_metadata && rc == LX_OK; i++)
        if (sorted[i - 1]->key_n == sorted[i]->key_n &&
            !memcmp(sorted[i - 1]->key, sorted[i]->key, sorted[i]->key_n))
            rc = refuse(h, sorted[i]->key, "duplicate metadata key", sorted[i]->offset);
    lx_free(sorted);
    return rc;
}

static int check_layout(header *h)
{
    const size_t data_size = h->file->size - h->data_at;
    lx_tensor_file *f = h->file;
    size_t end = 0;
    int rc;

    if ((rc = lx_tensor_file__sort_names(f, h->err)) < 0)
        return rc;
    for (size_t i = 1; i < f->count; i++)
        if (!strcmp(f->by_name[i - 1]->name, f->by_name[i]->name))
            return refuse(h, f->by_name[i]->name, "duplicate name",
                          h->entries[f->by_name[i] - f->views].offset);
    lx_tensor_file__sort(h->entries, h->count, sizeof *h->entries, by_begin);
    for (size_t i = 0; i < h->count; i++) {
        const entry *e = &h->entries[i];
        if (e->begin != end)
            return lx_fail(
                h->err, LX_EFORMAT,
                "\"%s\": begins at byte %zu, the tensor before it ends at byte %zu (%s)",
                lx_show(e->name, strlen(e->name)).text, h->data_at + e->begin,
                h->data_at + end, e->begin > end ? "a hole" : "an overlap");
        end = e->end;
    }
    if (end != data_size)
        return lx_fail(h->err, LX_EFORMAT, "%zu bytes after the last tensor at byte %zu",
                       data_size - end, h->data_at + end);
    return LX_OK;
}

int lx_safetensors__read(lx_tensor_file *file, lx_error *err)
{
    const unsigned char *data = file->map.data;
    header h = {.file = file, .err = err};
    uint64_t n = 0;
    int rc;

    if (file->size < 8)
        return lx_fail(err, LX_EFORMAT, "has %zu bytes, too few for any model, at byte 0",
                       file->size);
    for (int i = 7; i >= 0; i--)
        n = n << 8 | data[i];
    if (n == 0)
        return lx_fail(err, LX_EFORMAT, "the header's length is 0 at byte 0");
    if (n > file->size - 8)
        return lx_fail(
            err, LX_EFORMAT,
            "not a safetensors file (or cut short): the header's length would be %llu, "
            "%zu bytes follow, at byte 0",
            (unsigned long long)n, file->size - 8);
    if (n > LX_SAFETENSORS_HEADER)
        return lx_fail(err, LX_ELIMIT,
                       "the header's length %llu is over the limit of %d at byte 0",
                       (unsigned long long)n, LX_SAFETENSORS_HEADER);
    if (data[8] != '{')
        return lx_fail(err, LX_EFORMAT, "the header does not begin with '{' at byte 8");
    file->format = "safetensors";
    h.data_at = 8 + (size_t)n;
    h.r = lx_json_reader_of((const char *)data, h.data_at);
    h.r.at = 8; /* so that offsets are those of the file */
    if ((rc = read_header(&h)) == LX_OK && (rc = check_unique_metadata(&h)) == LX_OK &&
        !h.is_known && (rc = check_layout(&h)) == LX_OK && !h.is_mixed)
        lx_header_cache__keep(file);
    lx_free(h.entries);
    return rc;
}
