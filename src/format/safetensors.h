/*
 * format/safetensors - writing .safetensors (reading: tensor_file.h)
 *
 * Canonical: tensors by dtype (alignment order) then name, metadata keys sorted, compact JSON,
 * header padded with spaces to 8 bytes. The same content gives the same bytes. Written to a
 * temporary file, synced, renamed.
 */
#ifndef LX_FORMAT_SAFETENSORS_H
#define LX_FORMAT_SAFETENSORS_H

#include "src/base/str.h"
#include "src/format/tensor_file.h"

typedef struct lx_metadata_entry {
    const char *key, *value;
} lx_metadata_entry;

/* Sorts nothing in place: tensors and metadata may come in any order. Names must be unique. */
int lx_safetensors_write(const char *path, const lx_tensor_view *tensors, size_t n_tensors,
                         const lx_metadata_entry *metadata, size_t n_metadata,
                         lx_error *err);

/*
 * The same for tensors whose bytes are made as they are written, one at a time in the order of the file:
 * `bytes` sets *data to view->bytes bytes that live until its next call. The views' own data are not read.
 */
typedef int (*lx_tensor_bytes)(const void **data, void *context, const lx_tensor_view *view,
                               lx_error *err);
int lx_safetensors_write_from(const char *path, const lx_tensor_view *tensors, size_t n_tensors,
                              const lx_metadata_entry *metadata, size_t n_metadata,
                              lx_tensor_bytes bytes, void *context, lx_error *err);

/* The order of tensors in a file, as qsort asks: by dtype, then by name. */
int lx_safetensors_order(const lx_tensor_view *a, const lx_tensor_view *b);

/*
 * The file's first bytes, up to the tensors': the header's length and the header; and the tensors in the order of
 * the file (sorted has room for n_tensors), whose bytes follow one another without a gap.
 */
int lx_safetensors_header(lx_str *out, const lx_tensor_view **sorted,
                          const lx_tensor_view *tensors, size_t n_tensors,
                          const lx_metadata_entry *metadata, size_t n_metadata,
                          lx_error *err);

/*
 * The very bytes that lx_safetensors_write would write, in order, to a callback (hashes, pipes). Tensors that lie
 * behind one another in memory as they do in the file come in one call.
 * *header_bytes (8 + header) is set before the first call.
 */
typedef int (*lx_write_bytes)(void *context, const void *data, size_t n, lx_error *err);
int lx_safetensors_stream(lx_write_bytes write, void *context, size_t *header_bytes,
                          const lx_tensor_view *tensors, size_t n_tensors,
                          const lx_metadata_entry *metadata, size_t n_metadata,
                          lx_error *err);

#endif
