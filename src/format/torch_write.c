#include "src/format/torch_write.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/format/pickle.h"
#include "src/format/tensor_file_build.h"

enum { ALIGNMENT = 64, MOST_TENSORS = 65000 };

/* The archive so far: what was written goes to the file, the directory is kept for its
 * end. */
typedef struct archive {
    lx_new_file *file;
    lx_str directory;
    size_t at, n_members;
} archive;

/* Little endian. */
static void put(lx_str *out, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++, value >>= 8)
        lx_str_putc(out, (char)value);
}

/* ---- the pickle ------------------------------------------------------------------- */

static void put_text(lx_str *out, const char *text)
{
    lx_str_putc(out, 'X'); /* BINUNICODE */
    put(out, strlen(text), 4);
    lx_str_puts(out, text);
}

static void put_int(lx_str *out, uint64_t value)
{
    if (value <= UINT8_MAX) {
        lx_str_putc(out, 'K'); /* BININT1 */
        put(out, value, 1);
    } else if (value <= INT32_MAX) {
        lx_str_putc(out, 'J'); /* BININT */
        put(out, value, 4);
    } else {
        lx_str_append(out, "\x8a\x08", 2); /* LONG1 of 8 bytes */
        put(out, value, 8);
    }
}

static void put_class(lx_str *out, const char *module, const char *name)
{
    lx_str_printf(out, "c%s\n%s\n", module, name); /* GLOBAL */
}

/* ("storage", class, key, "cpu", numel) as a persistent id */
static void put_storage(lx_str *out, const lx_tensor_view *view, size_t index)
{
    char key[24];

    snprintf(key, sizeof key, "%zu", index);
    lx_str_putc(out, '('); /* MARK */
    put_text(out, "storage");
    put_class(out, "torch", lx_pickle_storage_class(view->dtype));
    put_text(out, key);
    put_text(out, "cpu");
    put_int(out, view->n_elements);
    lx_str_puts(out, "tQ"); /* TUPLE, BINPERSID */
}

static void put_size_and_strides(lx_str *out, const lx_tensor_view *view)
{
    uint64_t strides[LX_MAX_DIMS], stride = 1;

    lx_str_putc(out, '(');
    for (int i = 0; i < view->n_dims; i++)
        put_int(out, (uint64_t)view->shape[i]);
    lx_str_putc(out, 't');
    for (int i = view->n_dims - 1; i >= 0; i--) {
        strides[i] = stride;
        stride *= view->shape[i] ? (uint64_t)view->shape[i] : 1;
    }
    lx_str_putc(out, '(');
    for (int i = 0; i < view->n_dims; i++)
        put_int(out, strides[i]);
    lx_str_putc(out, 't');
}

/* name: _rebuild_tensor_v2(storage, 0, size, strides, False, OrderedDict()) */
static void put_tensor(lx_str *out, const lx_tensor_view *view, size_t index)
{
    put_text(out, view->name);
    put_class(out, "torch._utils", "_rebuild_tensor_v2");
    lx_str_putc(out, '(');
    put_storage(out, view, index);
    put_int(out, 0);
    put_size_and_strides(out, view);
    lx_str_putc(out, '\x89'); /* NEWFALSE */
    put_class(out, "collections", "OrderedDict");
    lx_str_puts(out, ")RtR"); /* EMPTY_TUPLE, REDUCE, TUPLE, REDUCE */
}

static int build_pickle(lx_str *out, const lx_tensor_view **sorted, size_t n,
                        lx_error *err)
{
    lx_str_append(out, "\x80\x02}(", 4); /* PROTO 2, EMPTY_DICT, MARK */
    for (size_t i = 0; i < n; i++) {
        if (!lx_pickle_storage_class(sorted[i]->dtype))
            return lx_fail(err, LX_EUNSUPPORTED,
                           "\"%s\": %s has no storage class in torch",
                           lx_show(sorted[i]->name, strlen(sorted[i]->name)).text,
                           lx_dtype_name(sorted[i]->dtype));
        put_tensor(out, sorted[i], i);
    }
    lx_str_puts(out, "u."); /* SETITEMS, STOP */
    return lx_str_check(out, err);
}

/* ---- the archive ------------------------------------------------------------------ */

static int write_bytes(archive *a, const void *data, size_t n, lx_error *err)
{
    if (n > UINT32_MAX - a->at)
        return lx_fail(
            err, LX_ELIMIT,
            "torch's format is written up to 4 GiB; save as safetensors instead");
    a->at += n;
    return n ? lx_new_file_write(a->file, data, n, err) : LX_OK;
}

/* What the local header and the directory say of a member in the same words. */
static void put_facts(lx_str *out, uint32_t crc, size_t n, const char *name)
{
    put(out, 20, 2);       /* version that reads it: 2.0 */
    put(out, 0, 2 + 2);    /* flags; method: stored */
    put(out, 0x210000, 4); /* 1980-01-01 00:00: no times */
    put(out, crc, 4);
    put(out, n, 4);
    put(out, n, 4);
    put(out, strlen(name), 2);
}

/* The data begins at a multiple of ALIGNMENT: an extra field "FB", as torch's, fills the
 * gap. */
static int add_member(archive *a, const char *name, const void *data, size_t n,
                      lx_error *err)
{
    size_t begin = a->at + 30 + strlen(name),
           fill = (ALIGNMENT - (begin + 4) % ALIGNMENT) % ALIGNMENT;
    uint32_t crc = (uint32_t)crc32_z(crc32_z(0, NULL, 0), data, n);
    lx_str head = LX_STR_INIT;
    int rc;

    lx_str_puts(&head, "PK\3\4");
    put_facts(&head, crc, n, name);
    put(&head, 4 + fill, 2);
    lx_str_puts(&head, name);
    lx_str_puts(&head, "FB");
    put(&head, fill, 2);
    for (size_t i = 0; i < fill; i++)
        lx_str_putc(&head, 'Z');

    lx_str_puts(&a->directory, "PK\1\2");
    put(&a->directory, 20, 2); /* version that made it */
    put_facts(&a->directory, crc, n, name);
    put(&a->directory, 0, 2 + 2 + 2 + 2 + 4); /* extra, comment, disk, attributes */
    put(&a->directory, a->at, 4);
    lx_str_puts(&a->directory, name);
    a->n_members++;

    if ((rc = lx_str_check(&head, err)) == LX_OK &&
        (rc = write_bytes(a, head.data, head.len, err)) == LX_OK)
        rc = write_bytes(a, data, n, err);
    lx_str_release(&head);
    return rc;
}

static int finish(archive *a, lx_error *err)
{
    const size_t begin = a->at, n = a->directory.len;
    int rc;

    lx_str_puts(&a->directory, "PK\5\6");
    put(&a->directory, 0, 2 + 2); /* disks */
    put(&a->directory, a->n_members, 2);
    put(&a->directory, a->n_members, 2);
    put(&a->directory, n, 4);
    put(&a->directory, begin, 4);
    put(&a->directory, 0, 2); /* comment */
    if ((rc = lx_str_check(&a->directory, err)) < 0)
        return rc;
    return write_bytes(a, a->directory.data, a->directory.len, err);
}

static int write_members(archive *a, const lx_str *pickle, const lx_tensor_view **sorted,
                         size_t n, lx_error *err)
{
    char name[48];
    int rc = add_member(a, "archive/data.pkl", pickle->data, pickle->len, err);

    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        snprintf(name, sizeof name, "archive/data/%zu", i);
        rc = add_member(a, name, sorted[i]->data, sorted[i]->bytes, err);
    }
    if (rc == LX_OK && (rc = add_member(a, "archive/version", "3\n", 2, err)) == LX_OK)
        rc = finish(a, err);
    return rc;
}

int lx_torch_write(const char *path, const lx_tensor_view *tensors, size_t n_tensors,
                   lx_error *err)
{
    const lx_tensor_view **sorted = NULL;
    archive a = {.directory = LX_STR_INIT};
    lx_str pickle = LX_STR_INIT;
    int rc;

    if (n_tensors > MOST_TENSORS)
        return lx_fail(err, LX_ELIMIT,
                       "%zu tensors are too many for torch's format; save as "
                       "safetensors instead",
                       n_tensors);
    if (!(sorted = lx_calloc(n_tensors + 1, sizeof *sorted)))
        return lx_oom(err);
    if ((rc = lx_tensor_file__order(sorted, tensors, n_tensors, err)) < 0 ||
        (rc = build_pickle(&pickle, sorted, n_tensors, err)) < 0 ||
        (rc = lx_new_file_open(&a.file, path, err)) < 0)
        goto done;
    if ((rc = write_members(&a, &pickle, sorted, n_tensors, err)) == LX_OK)
        rc = lx_new_file_commit(a.file, err);
    lx_new_file_close(a.file);
done:
    lx_str_release(&a.directory);
    lx_str_release(&pickle);
    lx_free(sorted);
    return rc;
}
