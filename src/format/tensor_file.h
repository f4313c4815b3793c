/*
 * format/tensor_file - named tensors of any container
 *
 * One read-only view over .safetensors, .ckpt/.pt/.bin (zip or legacy pickle) and .npz. Data is borrowed
 * from the mapping (or, for compressed or strided storages, from a copy the file owns) and may lie
 * at any address: convert with lx_to_f32 or memcpy.
 *
 * Of a pickle the tensors in its state_dict (module, model, model_state_dict, params, params_ema,
 * ema) are shown by their own keys, and a note names the wrapper; without one, the keys of nested
 * dictionaries are joined with dots. A list of tensors is named by its places, "0", "1" ...
 * Nothing in a pickle is ever called or imported.
 */
#ifndef LX_FORMAT_TENSOR_FILE_H
#define LX_FORMAT_TENSOR_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/dtype.h"
#include "src/base/error.h"
#include "src/base/sha256.h"

/* A shape of more than LX_MAX_DIMS dimensions. */
typedef struct lx_long_shape {
    int n_dims;
    int64_t dims[];
} lx_long_shape;

typedef struct lx_tensor_view {
    const char *name; /* NUL-terminated; names with a NUL byte are refused on reading */
    lx_dtype dtype;
    int n_dims;
    int64_t shape[LX_MAX_DIMS]; /* the last is the product of those behind it, where there are more */
    size_t n_elements;
    const void *data; /* C order, little endian; NULL in a file opened by its header */
    size_t bytes;
    const lx_long_shape *whole; /* all dimensions where they are more than LX_MAX_DIMS, else NULL */
} lx_tensor_view;

/* The shape as it stands in the file, *n numbers: what is written again. */
const int64_t *lx_tensor_view_shape(int *n, const lx_tensor_view *view);

typedef struct lx_tensor_file lx_tensor_file;

/* By content, not by extension. The error names the byte offset or the key, not the path. */
int lx_tensor_file_open(lx_tensor_file **out, const char *path, lx_error *err);
void lx_tensor_file_close(lx_tensor_file *file);
/* A tensor's data is not wanted for now: what of it is mapped leaves memory, to be read again when
 * it is wanted. Nothing happens to data that is not of this file or not mapped. */
void lx_tensor_file_let_go(const lx_tensor_file *file, const lx_tensor_view *view);

size_t lx_tensor_file_count(const lx_tensor_file *file);
const lx_tensor_view *lx_tensor_file_at(const lx_tensor_file *file, size_t i); /* file order */
const lx_tensor_view *lx_tensor_file_find(const lx_tensor_file *file, const char *name);

/* safetensors' __metadata__; zero entries for other containers. Key order of the file. */
size_t lx_tensor_file_metadata_count(const lx_tensor_file *file);
void lx_tensor_file_metadata_at(const lx_tensor_file *file, size_t i, const char **key,
                                const char **value);
const char *lx_tensor_file_metadata(const lx_tensor_file *file, const char *key);

/* SHA-256 of the whole file, of the very bytes that the views are of. Not of a header alone. */
lx_hash lx_tensor_file_hash(const lx_tensor_file *file);
/* Those bytes, for who hashes them beside something else. */
const void *lx_tensor_file_bytes(size_t *n, const lx_tensor_file *file);
/* Of two files in the time of the longer one (lx_sha256_of_two). */
void lx_tensor_file_hash_two(lx_hash out[2], const lx_tensor_file *a,
                             const lx_tensor_file *b);
/* "safetensors", "torch zip", "torch legacy", "npz" */
const char *lx_tensor_file_format(const lx_tensor_file *file);

/* Things worth telling that are no error (duplicate keys, unknown pickle globals skipped). */
size_t lx_tensor_file_note_count(const lx_tensor_file *file);
const char *lx_tensor_file_note(const lx_tensor_file *file, size_t i);

#endif
