/*
 * format/header_cache - the headers of many safetensors files, quickly
 *
 * Only the header is read, never a weight: its first 4096 bytes, then what is missing.
 * Names, shapes and metadata are there as in a file opened by lx_tensor_file_open, and the
 * same files are refused; `data` of a view is NULL, a single number is had by
 * lx_tensor_file_number.
 *
 * Files of one trainer and one rank have the same tensors, so the same text stands in
 * their headers behind the metadata. Such a text is parsed once: where it comes again,
 * byte for byte and with as much data, the views of the first are used. The caller may
 * keep what it found out about them with the layout.
 *
 * A cache belongs to one thread, and one file of it is open at a time. Caches of several threads may share their
 * layouts: what one has parsed the others know.
 */
#ifndef LX_FORMAT_HEADER_CACHE_H
#define LX_FORMAT_HEADER_CACHE_H

#include <stdbool.h>

#include "src/format/tensor_file.h"

typedef struct lx_header_cache lx_header_cache;

/* sharing: another cache, whose layouts this one uses and adds to, or NULL. In any order they are freed. */
int lx_header_cache_new(lx_header_cache **out, lx_header_cache *sharing, lx_error *err);
void lx_header_cache_free(lx_header_cache *cache);

/* With it opening a file fails with LX_EBUSY while another thread is at a layout like its own, from reading it to what
 * is attached to it: the file is better left for later. */
void lx_header_cache_defer(lx_header_cache *cache, bool defers);

/* As lx_tensor_file_open, which reads what is no safetensors file (pickles: their storages
 * are mapped and not touched). */
int lx_tensor_file_open_header(lx_tensor_file **out, lx_header_cache *cache,
                               const char *path, lx_error *err);

/* Bytes of the file; of all tensors. */
size_t lx_tensor_file_size(const lx_tensor_file *file);

/*
 * What the caller keeps with the layout of this file's tensors, and how it is freed. attached is NULL when there is
 * none yet; attach returns false (and frees nothing) when the file has no layout that is kept, or something is
 * attached already, as by another thread a moment ago.
 */
void *lx_tensor_file_attached(const lx_tensor_file *file);
bool lx_tensor_file_attach(lx_tensor_file *file, void *data, void (*release)(void *));

/* The one number of a tensor, read from the file where it must be. LX_EFORMAT when it has not
 * one element; LX_EUNSUPPORTED a dtype that is no real number; LX_EIO. */
int lx_tensor_file_number(double *out, const lx_tensor_file *file,
                          const lx_tensor_view *view, lx_error *err);

#endif
