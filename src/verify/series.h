/*
 * verify/series - the files of one call beside each other, by their weights (B9, B10)
 *
 * In the order given, against the last: cosine and subspaces (lora/kinship), and the step
 * from the file before. A file is settled when it points where the last does (cosine 0.99
 * or more) and the step to it was at most 5 % of its size.
 */
#ifndef LX_VERIFY_SERIES_H
#define LX_VERIFY_SERIES_H

#include "src/verify/verify.h"

/* Rows go into the ledgers of the results (of an open session), numbers into their
 * `cosine` and `step`. */
int lx_series_of(const lx_verify_result *const *results, size_t n, lx_error *err);

#endif
