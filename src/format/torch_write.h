/*
 * format/torch_write - writing .ckpt and .pt as torch.save does (reading: tensor_file.h)
 *
 * A zip of stored members: NAME/data.pkl, a pickle (protocol 2) of one plain dictionary
 * from names to tensors, NAME/data/0, 1, 2 ... with one storage each, and NAME/version.
 * NAME is "archive", as torch's own when it writes to a stream. Storages begin at
 * multiples of 64 bytes. Members that torch added later (byteorder, serialization_id) are
 * left out: every version reads the file without them, and some programs allow only the
 * oldest names.
 *
 * Canonical: tensors by name, no times. The same content gives the same bytes. Written to
 * a temporary file, synced, renamed. There is no place for metadata.
 *
 * Source: torch/serialization.py, caffe2/serialize/inline_container.cc (the layout);
 * CPython's Lib/pickletools.py; PKWARE APPNOTE 6.3.10.
 */
#ifndef LX_FORMAT_TORCH_WRITE_H
#define LX_FORMAT_TORCH_WRITE_H

#include "src/format/tensor_file.h"

/*
 * Names must be unique; the tensors may come in any order and are in C order.
 *
 *   LX_EUNSUPPORTED   a dtype for which torch has no storage class
 *   LX_ELIMIT         more than 4 GiB or 65,000 tensors
 */
int lx_torch_write(const char *path, const lx_tensor_view *tensors, size_t n_tensors,
                   lx_error *err);

#endif
