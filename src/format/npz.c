#include "src/format/npz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/str.h"
#include "src/format/tensor_file_build.h"
#include "src/format/zip.h"
#include "src/format/zip_write.h"

/* numpy reads no longer header either unless told to. Members are inflated up to INFLATED in all. */
enum { MOST_HEADER = 10000, INFLATED = 1 << 30, ALIGNMENT = 64 };

static const char magic[] = "\x93NUMPY";
enum { MAGIC_SIZE = 6 };

static const struct {
    const char *descr;
    lx_dtype dtype;
} types[] = {{"<f4", LX_F32}, {"<f2", LX_F16}, {"<f8", LX_F64}, {"<i8", LX_I64},
             {"<i4", LX_I32}, {"<i2", LX_I16}, {"|i1", LX_I8},  {"<u8", LX_U64},
             {"<u4", LX_U32}, {"<u2", LX_U16}, {"|u1", LX_U8},  {"|b1", LX_BOOL},
             {"<c8", LX_C64}};
enum { N_TYPES = sizeof types / sizeof *types };

/* ---- the header's grammar --------------------------------------------------------- */

typedef struct header {
    const char *at, *end;
    lx_error *err;
    bool has_descr, has_order, has_shape;
} header;

static void skip_spaces(header *h)
{
    while (h->at < h->end && (*h->at == ' ' || *h->at == '\n'))
        h->at++;
}

static bool take(header *h, char c)
{
    skip_spaces(h);
    if (h->at == h->end || *h->at != c)
        return false;
    h->at++;
    return true;
}

static bool take_word(header *h, const char *word)
{
    const size_t n = strlen(word);

    skip_spaces(h);
    if ((size_t)(h->end - h->at) < n || memcmp(h->at, word, n))
        return false;
    h->at += n;
    return true;
}

static int fail_here(header *h, const char *wanted)
{
    return lx_fail(h->err, LX_EFORMAT, "header: %s wanted at \"%s\"", wanted,
                   lx_show(h->at, (size_t)(h->end - h->at)).text);
}

/* 'text' without escapes: none of the keys and types that are known has any. */
static int read_quoted(header *h, const char **text, size_t *n)
{
    char quote;

    skip_spaces(h);
    if (h->at == h->end || (*h->at != '\'' && *h->at != '"'))
        return fail_here(h, "a text");
    quote = *h->at++;
    *text = h->at;
    while (h->at < h->end && *h->at != quote && *h->at != '\\')
        h->at++;
    if (h->at == h->end || *h->at != quote)
        return fail_here(h, "the end of a text");
    *n = (size_t)(h->at++ - *text);
    return LX_OK;
}

static int read_descr(header *h, lx_dtype *dtype)
{
    const char *text;
    size_t n;
    int rc;

    skip_spaces(h);
    if (h->at < h->end && *h->at == '[')
        return lx_fail(h->err, LX_EUNSUPPORTED, "an array of structures");
    if ((rc = read_quoted(h, &text, &n)) < 0)
        return rc;
    if (n >= 1 && (text[0] == 'O' || (n >= 2 && text[1] == 'O')))
        return lx_fail(h->err, LX_EUNSUPPORTED,
                       "an array of objects, whose data is a pickle: it is not read, "
                       "since that could "
                       "run code");
    for (int i = 0; i < N_TYPES; i++)
        if (n == 3 && !memcmp(types[i].descr, text, 3)) {
            *dtype = types[i].dtype;
            return LX_OK;
        }
    return lx_fail(h->err, LX_EUNSUPPORTED, "elements of type '%s'%s",
                   lx_show(text, n).text, n && text[0] == '>' ? ", big-endian" : "");
}

static int read_order(header *h)
{
    if (take_word(h, "False"))
        return LX_OK;
    if (take_word(h, "True"))
        return lx_fail(h->err, LX_EUNSUPPORTED, "an array in Fortran order");
    return fail_here(h, "True or False");
}

static int read_size(header *h, int64_t *out)
{
    const char *begin;

    *out = 0;
    skip_spaces(h);
    for (begin = h->at; h->at < h->end && *h->at >= '0' && *h->at <= '9'; h->at++) {
        if (*out > (INT64_MAX - 9) / 10)
            return lx_fail(h->err, LX_EFORMAT, "a dimension past 2^63");
        *out = *out * 10 + (*h->at - '0');
    }
    return h->at > begin ? LX_OK : fail_here(h, "a size");
}

/* (), (4,), (4, 64, 64), (4, 64, 64,) */
static int read_shape(header *h, lx_tensor_view *view)
{
    bool more = true;
    int rc;

    if (!take(h, '('))
        return fail_here(h, "a tuple of sizes");
    for (view->n_dims = 0; !take(h, ')'); view->n_dims++) {
        if (!more)
            return fail_here(h, "',' or ')'");
        if (view->n_dims == LX_MAX_DIMS)
            return lx_fail(h->err, LX_ELIMIT, "more than %d dimensions", LX_MAX_DIMS);
        if ((rc = read_size(h, &view->shape[view->n_dims])) < 0)
            return rc;
        more = take(h, ',');
    }
    return view->n_dims == 1 && !more ? fail_here(h, "a tuple, (4,)") : LX_OK;
}

static int read_entry(header *h, lx_tensor_view *view)
{
    const char *key;
    bool *seen;
    size_t n;
    int rc;

    if ((rc = read_quoted(h, &key, &n)) < 0)
        return rc;
    if (n == 5 && !memcmp(key, "descr", n))
        seen = &h->has_descr;
    else if (n == 13 && !memcmp(key, "fortran_order", n))
        seen = &h->has_order;
    else if (n == 5 && !memcmp(key, "shape", n))
        seen = &h->has_shape;
    else
        return lx_fail(h->err, LX_EFORMAT, "header: unknown key \"%s\"",
                       lx_show(key, n).text);
    if (*seen)
        return lx_fail(h->err, LX_EFORMAT, "header: \"%s\" is there twice",
                       lx_show(key, n).text);
    *seen = true;
    if (!take(h, ':'))
        return fail_here(h, "':'");
    return seen == &h->has_descr   ? read_descr(h, &view->dtype)
           : seen == &h->has_order ? read_order(h)
                                   : read_shape(h, view);
}

static int read_header(lx_tensor_view *view, const char *text, size_t n, lx_error *err)
{
    header h = {.at = text, .end = text + n, .err = err};
    bool more = true;
    int rc;

    if (!take(&h, '{'))
        return fail_here(&h, "a dictionary");
    while (!take(&h, '}')) {
        if (!more)
            return fail_here(&h, "',' or '}'");
        if ((rc = read_entry(&h, view)) < 0)
            return rc;
        more = take(&h, ',');
    }
    skip_spaces(&h);
    if (h.at != h.end)
        return fail_here(&h, "the end");
    if (!h.has_descr || !h.has_order || !h.has_shape)
        return lx_fail(err, LX_EFORMAT, "header without descr, fortran_order or shape");
    return LX_OK;
}

/* ---- reading ---------------------------------------------------------------------- */

/* One .npy: its header read, its data found. */
static int read_array(lx_tensor_view *view, const unsigned char *bytes, size_t n,
                      lx_error *err)
{
    size_t length, begin;
    int rc;

    if (n < 10 || memcmp(bytes, magic, MAGIC_SIZE))
        return lx_fail(err, LX_EFORMAT, "is no numpy array");
    if (bytes[6] < 1 || bytes[6] > 3 || bytes[7] != 0)
        return lx_fail(err, LX_EUNSUPPORTED, "numpy's format %d.%d", bytes[6], bytes[7]);
    length = (size_t)bytes[8] | (size_t)bytes[9] << 8;
    begin = 10;
    if (bytes[6] > 1) {
        if (n < 12)
            return lx_fail(err, LX_EFORMAT, "is cut short");
        length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
        begin = 12;
    }
    if (length > n - begin)
        return lx_fail(err, LX_EFORMAT, "is cut short");
    if (length > MOST_HEADER)
        return lx_fail(err, LX_ELIMIT, "a header of %zu bytes; the most is %d", length,
                       MOST_HEADER);
    if ((rc = read_header(view, (const char *)bytes + begin, length, err)) < 0)
        return rc;
    begin += length;
    if (!lx_tensor_file__measure(view))
        return lx_fail(err, LX_EFORMAT, "a shape of more elements than can be");
    if (view->bytes != n - begin)
        return lx_fail(err, LX_EFORMAT, "%zu bytes of data where its shape takes %zu",
                       n - begin, view->bytes);
    view->data = bytes + begin;
    return LX_OK;
}

/* The member's bytes, CRC checked. */
static int read_member(const unsigned char **out, size_t *inflated, lx_tensor_file *file,
                       const lx_zip *zip, const lx_zip_entry *e, lx_error *err)
{
    void *copy;

    if (e->method == LX_ZIP_STORED) {
        *out = zip->bytes + e->data_at;
        return lx_zip_check(zip, e, err);
    }
    if (e->size > INFLATED - *inflated)
        return lx_fail(err, LX_ELIMIT, "zip: the members inflate to more than %d MiB",
                       INFLATED >> 20);
    *inflated += e->size;
    if (!(copy = lx_tensor_file__own(file, e->size)))
        return lx_oom(err);
    *out = copy;
    return lx_zip_inflate(copy, zip, e, err);
}

static int add_array(lx_tensor_file *file, size_t *inflated, const lx_zip *zip,
                     const lx_zip_entry *e, lx_error *err)
{
    const size_t n = strlen(e->name) - strlen(".npy");
    const unsigned char *bytes = NULL;
    lx_tensor_view view = {0};
    int rc;

    if (!(view.name = lx_arena_strndup(file->arena, e->name, n)))
        return lx_oom(err);
    if ((rc = read_member(&bytes, inflated, file, zip, e, err)) < 0)
        return rc;
    if ((rc = read_array(&view, bytes, e->size, err)) < 0) {
        lx_within(err, "array \"%s\"", lx_show(e->name, n).text);
        return rc;
    }
    return lx_tensor_file__add(file, &view, err);
}

bool lx_npz__fits(const unsigned char *data, size_t n)
{
    size_t name_n;

    if (n < 34 || memcmp(data, "PK\3\4", 4))
        return false;
    name_n = (size_t)data[26] | (size_t)data[27] << 8;
    return name_n >= 4 && name_n <= n - 30 && !memcmp(data + 30 + name_n - 4, ".npy", 4);
}

int lx_npz__read(lx_tensor_file *file, lx_error *err)
{
    size_t inflated = 0;
    lx_zip zip;
    int rc;

    file->format = "npz";
    rc = lx_zip_open(&zip, file->arena, file->map.data, file->map.size, err);
    for (size_t i = 0; rc == LX_OK && i < zip.count; i++) {
        const lx_zip_entry *e = &zip.entries[i];
        if (!lx_ends_with(e->name, ".npy"))
            return lx_fail(err, LX_EFORMAT, "zip: member \"%s\" is no array",
                           lx_show(e->name, strlen(e->name)).text);
        rc = add_array(file, &inflated, &zip, e, err);
    }
    return rc;
}

/* ---- writing ---------------------------------------------------------------------- */

/* Magic, version 1.0, the header; data begins at a multiple of 64 bytes of the member. */
static int build_header(lx_str *out, const lx_tensor_view *view, lx_error *err)
{
    lx_str text = LX_STR_INIT;
    const char *descr = NULL;
    size_t length;
    int rc;

    for (int i = 0; i < N_TYPES; i++)
        if (types[i].dtype == view->dtype)
            descr = types[i].descr;
    if (!descr)
        return lx_fail(err, LX_EUNSUPPORTED, "\"%s\": numpy has no %s",
                       lx_show(view->name, strlen(view->name)).text,
                       lx_dtype_name(view->dtype));
    lx_str_printf(&text, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int i = 0; i < view->n_dims; i++)
        lx_str_printf(&text, i ? ", %lld" : "%lld", (long long)view->shape[i]);
    lx_str_puts(&text, view->n_dims == 1 ? ",), }" : "), }");
    length = (10 + text.len + 1 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT - 10;
    lx_str_append(out, magic, MAGIC_SIZE);
    lx_str_append(out, "\1\0", 2);
    lx_str_putc(out, (char)(length & 0xFF));
    lx_str_putc(out, (char)(length >> 8));
    lx_str_printf(out, "%-*s\n", (int)length - 1, lx_str_text(&text));
    rc = lx_str_check(&text, err);
    lx_str_release(&text);
    return rc < 0 ? rc : lx_str_check(out, err);
}

static int write_array(lx_zip_writer *zip, const lx_tensor_view *view, lx_error *err)
{
    lx_str head = LX_STR_INIT, name = LX_STR_INIT;
    int rc = build_header(&head, view, err);

    lx_str_printf(&name, "%s.npy", view->name);
    if (rc == LX_OK && (rc = lx_str_check(&name, err)) == LX_OK)
        rc = lx_zip_writer_add(zip, name.data, head.data, head.len, view->data,
                               view->bytes, err);
    lx_str_release(&head);
    lx_str_release(&name);
    return rc;
}

int lx_npz_write(const char *path, const lx_tensor_view *tensors, size_t n, lx_error *err)
{
    const lx_tensor_view **sorted = lx_calloc(n + 1, sizeof *sorted);
    lx_zip_writer *zip = NULL;
    int rc;

    if (!sorted)
        return lx_oom(err);
    if ((rc = lx_tensor_file__order(sorted, tensors, n, err)) == LX_OK)
        rc = lx_zip_writer_open(&zip, path, err);
    for (size_t i = 0; i < n && rc == LX_OK; i++)
        rc = write_array(zip, sorted[i], err);
    if (rc == LX_OK)
        rc = lx_zip_writer_commit(zip, err);
    lx_zip_writer_close(zip);
    lx_free(sorted);
    return rc;
}
