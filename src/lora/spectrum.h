/*
 * lora/spectrum - singular values of a low-rank update, never of the full matrix
 *
 * The values of lora/svd for factors in f32, padded to the rank.
 */
#ifndef LX_LORA_SPECTRUM_H
#define LX_LORA_SPECTRUM_H

#include <stddef.h>

#include "src/base/error.h"

/*
 * sigma [rank], descending, of up [out, rank] times down [rank, in]. right [rank, in]
 * (may be NULL): the right singular vectors as rows; a row of a zero singular value may
 * be zero. LX_ENOMEM only.
 */
int lx_spectrum(double *sigma, double *right, const float *up, const float *down,
                size_t out, size_t rank, size_t in, lx_error *err);

#endif
