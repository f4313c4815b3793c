#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/plain_run.h"
#include "src/format/safetensors.h"
#include "src/format/tensor_file_build.h"

int lx_safetensors_order(const lx_tensor_view *a, const lx_tensor_view *b)
{
    if (a->dtype != b->dtype)
        return a->dtype < b->dtype ? -1 : 1;
    return strcmp(a->name, b->name);
}

static int by_dtype_and_name(const void *a, const void *b)
{
    return lx_safetensors_order(*(const lx_tensor_view *const *)a,
                                *(const lx_tensor_view *const *)b);
}

static int by_key(const void *pa, const void *pb)
{
    return strcmp((*(const lx_metadata_entry *const *)pa)->key,
                  (*(const lx_metadata_entry *const *)pb)->key);
}

/* As serde_json writes it, so that the bytes are the reference's. */
static void put_text(lx_str *out, const char *text)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";

    const char *end = text + strlen(text);

    lx_str_putc(out, '"');
    for (; text < end; text++) {
        const char *rest = lx_plain_run(text, end), *at;
        lx_str_append(out, text, (size_t)(rest - text));
        if ((text = rest) == end)
            break;
        if ((at = strchr(from, *text))) {
            lx_str_putc(out, '\\');
            lx_str_putc(out, to[at - from]);
        } else if ((unsigned char)*text < 0x20) {
            lx_str_printf(out, "\\u%04x", (unsigned char)*text);
        } else {
            lx_str_putc(out, *text);
        }
    }
    lx_str_putc(out, '"');
}

static int put_metadata(lx_str *out, const lx_metadata_entry *metadata, size_t n,
                        lx_error *err)
{
    const lx_metadata_entry **sorted = lx_calloc(n, sizeof *sorted);
    int rc = LX_OK;

    if (!sorted)
        return lx_oom(err);
    for (size_t i = 0; i < n; i++)
        sorted[i] = &metadata[i];
    qsort(sorted, n, sizeof *sorted, by_key);
    lx_str_puts(out, "\"__metadata__\":{");
    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        if (i && !strcmp(sorted[i - 1]->key, sorted[i]->key))
            rc = lx_fail(err, LX_EFORMAT, "metadata \"%s\" twice",
                         lx_show(sorted[i]->key, strlen(sorted[i]->key)).text);
        else if ((rc = lx_tensor_file__check_text(sorted[i]->key, err)) == LX_OK)
            rc = lx_tensor_file__check_text(sorted[i]->value, err);
        if (i)
            lx_str_putc(out, ',');
        put_text(out, sorted[i]->key);
        lx_str_putc(out, ':');
        put_text(out, sorted[i]->value);
    }
    lx_str_putc(out, '}');
    lx_free(sorted);
    return rc;
}

/* *end is where the tensor's bytes begin, then where they end. */
static int put_tensor(lx_str *out, const lx_tensor_view *view, size_t *end, lx_error *err)
{
    size_t begin = *end;
    const int64_t *shape;
    int n_dims;

    if (!lx_add_size(end, begin, view->bytes))
        return lx_fail(err, LX_ELIMIT, "the tensors are larger than any file");
    put_text(out, view->name);
    lx_str_printf(out, ":{\"dtype\":\"%s\",\"shape\":[", lx_dtype_name(view->dtype));
    shape = lx_tensor_view_shape(&n_dims, view);
    for (int i = 0; i < n_dims; i++)
        lx_str_printf(out, "%s%lld", i ? "," : "", (long long)shape[i]);
    lx_str_printf(out, "],\"data_offsets\":[%zu,%zu]}", begin, *end);
    return LX_OK;
}

static int build_header(lx_str *out, const lx_tensor_view **sorted, size_t n,
                        const lx_metadata_entry *metadata, size_t n_metadata,
                        lx_error *err)
{
    size_t end = 0;
    int rc = LX_OK;

    lx_str_append(out, "\0\0\0\0\0\0\0\0", 8);
    lx_str_putc(out, '{');
    if (n_metadata && (rc = put_metadata(out, metadata, n_metadata, err)) < 0)
        return rc;
    for (size_t i = 0; i < n && rc == LX_OK; i++) {
        if (i || n_metadata)
            lx_str_putc(out, ',');
        rc = put_tensor(out, sorted[i], &end, err);
    }
    if (rc < 0)
        return rc;
    lx_str_putc(out, '}');
    while (out->len % 8 && !out->failed)
        lx_str_putc(out, ' ');
    if ((rc = lx_str_check(out, err)) < 0)
        return rc;
    for (int i = 0; i < 8; i++)
        out->data[i] = (char)((out->len - 8) >> (8 * i));
    return LX_OK;
}

int lx_safetensors_header(lx_str *out, const lx_tensor_view **sorted,
                          const lx_tensor_view *tensors, size_t n_tensors,
                          const lx_metadata_entry *metadata, size_t n_metadata,
                          lx_error *err)
{
    int rc = lx_tensor_file__order(sorted, tensors, n_tensors, err);

    if (rc < 0)
        return rc;
    if (n_tensors)
        qsort(sorted, n_tensors, sizeof *sorted, by_dtype_and_name);
    return build_header(out, sorted, n_tensors, metadata, n_metadata, err);
}

/* Where tensors' bytes come from; without a function, from the views. */
typedef struct byte_source {
    lx_tensor_bytes bytes;
    void *context;
} byte_source;

static int stream(lx_write_bytes write, void *context, size_t *header_bytes,
                  const byte_source *source, const lx_tensor_view *tensors,
                  size_t n_tensors, const lx_metadata_entry *metadata, size_t n_metadata,
                  lx_error *err)
{
    const lx_tensor_view **sorted = lx_calloc(n_tensors, sizeof *sorted);
    lx_str head = LX_STR_INIT;
    int rc;

    if (!sorted)
        return lx_oom(err);
    if ((rc = lx_safetensors_header(&head, sorted, tensors, n_tensors, metadata,
                                    n_metadata, err)) < 0)
        goto done;
    if (header_bytes)
        *header_bytes = head.len;
    rc = write(context, head.data, head.len, err);
    for (size_t i = 0; i < n_tensors && rc == LX_OK; i++) {
        const char *data = sorted[i]->data;
        const void *made = data;
        size_t bytes = sorted[i]->bytes;
        if (source->bytes)
            rc = source->bytes(&made, source->context, sorted[i], err);
        else
            while (i + 1 < n_tensors && sorted[i + 1]->data == data + bytes)
                bytes += sorted[++i]->bytes;
        if (rc == LX_OK && bytes)
            rc = write(context, made, bytes, err);
    }
done:
    lx_str_release(&head);
    lx_free(sorted);
    return rc;
}

int lx_safetensors_stream(lx_write_bytes write, void *context, size_t *header_bytes,
                          const lx_tensor_view *tensors, size_t n_tensors,
                          const lx_metadata_entry *metadata, size_t n_metadata,
                          lx_error *err)
{
    const byte_source own = {NULL, NULL};

    return stream(write, context, header_bytes, &own, tensors, n_tensors, metadata,
                  n_metadata, err);
}

static int to_file(void *context, const void *data, size_t n, lx_error *err)
{
    return lx_new_file_write(context, data, n, err);
}

int lx_safetensors_write_from(const char *path, const lx_tensor_view *tensors,
                              size_t n_tensors, const lx_metadata_entry *metadata,
                              size_t n_metadata, lx_tensor_bytes bytes, void *context,
                              lx_error *err)
{
    const byte_source source = {bytes, context};
    lx_new_file *file;
    int rc;

    if ((rc = lx_new_file_open(&file, path, err)) < 0)
        return rc;
    rc = stream(to_file, file, NULL, &source, tensors, n_tensors, metadata, n_metadata,
                err);
    if (rc == LX_OK)
        rc = lx_new_file_commit(file, err);
    lx_new_file_close(file);
    return rc;
}

int lx_safetensors_write(const char *path, const lx_tensor_view *tensors,
                         size_t n_tensors, const lx_metadata_entry *metadata,
                         size_t n_metadata, lx_error *err)
{
    return lx_safetensors_write_from(path, tensors, n_tensors, metadata, n_metadata, NULL,
                                     NULL, err);
}
