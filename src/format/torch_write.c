#include "src/format/torch_write.h"

#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/str.h"
#include "src/format/pickle.h"
#include "src/format/tensor_file_build.h"
#include "src/format/zip_write.h"

enum { MOST_TENSORS = 65000 };

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
    uint64_t strides[LX_MAX_FILE_DIMS], stride = 1;
    int n_dims;
    const int64_t *shape = lx_tensor_view_shape(&n_dims, view);

    lx_str_putc(out, '(');
    for (int i = 0; i < n_dims; i++)
        put_int(out, (uint64_t)shape[i]);
    lx_str_putc(out, 't');
    for (int i = n_dims - 1; i >= 0; i--) {
        strides[i] = stride;
        stride *= shape[i] ? (uint64_t)shape[i] : 1;
    }
    lx_str_putc(out, '(');
    for (int i = 0; i < n_dims; i++)
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

static int write_members(lx_zip_writer *zip, const lx_str *pickle, const lx_tensor_view **sorted,
                         size_t n, lx_error *err)
{
    char name[48];
    int rc = lx_zip_writer_add(zip, "archive/data.pkl", pickle->data, pickle->len, NULL, 0, err);

    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        snprintf(name, sizeof name, "archive/data/%zu", i);
        rc = lx_zip_writer_add(zip, name, sorted[i]->data, sorted[i]->bytes, NULL, 0, err);
    }
    if (rc == LX_OK)
        rc = lx_zip_writer_add(zip, "archive/version", "3\n", 2, NULL, 0, err);
    return rc == LX_OK ? lx_zip_writer_commit(zip, err) : rc;
}

int lx_torch_write(const char *path, const lx_tensor_view *tensors, size_t n_tensors,
                   lx_error *err)
{
    const lx_tensor_view **sorted = NULL;
    lx_zip_writer *zip = NULL;
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
        (rc = lx_zip_writer_open(&zip, path, err)) < 0)
        goto done;
    rc = write_members(zip, &pickle, sorted, n_tensors, err);
    if (rc == LX_ELIMIT)
        rc = lx_fail(err, LX_ELIMIT,
                     "torch's format is written up to 4 GiB; save as safetensors instead");
    lx_zip_writer_close(zip);
done:
    lx_str_release(&pickle);
    lx_free(sorted);
    return rc;
}
