/*
 * format/npz - numpy's archives of arrays, as np.savez writes them
 *
 * A zip (format/zip, as strict) whose members NAME.npy are one array each: the magic "\x93NUMPY", a
 * version, the length of a header, the header as a Python literal
 *
 *     {'descr': '<f4', 'fortran_order': False, 'shape': (4, 64, 64), }
 *
 * and then the elements. Reading is lx_tensor_file_open's; names are without ".npy".
 *
 * The header is read by its grammar and never evaluated. Refused: arrays of objects (their data is a
 * pickle), structured and big-endian types, Fortran order, keys that are missing, unknown or there
 * twice, more than LX_MAX_DIMS dimensions, members whose size is not exactly that of the shape. Sizes
 * are checked before anything is allocated.
 *
 * Source: numpy's NEP 1 ("A simple file format for NumPy arrays"), numpy/lib/format.py (documentation).
 */
#ifndef LX_FORMAT_NPZ_H
#define LX_FORMAT_NPZ_H

#include "src/format/tensor_file.h"

/*
 * Stored members in the order of their names, no times: the same content gives the same bytes. Whole or not at
 * all. LX_EUNSUPPORTED: a dtype that numpy does not have; LX_ELIMIT: more than 4 GiB.
 */
int lx_npz_write(const char *path, const lx_tensor_view *tensors, size_t n_tensors,
                 lx_error *err);

#endif
