/*
 * support/alike - what two runs of one command have in common
 *
 * Numbers, times and hashes differ from run to run; what stands around them does not.
 */
#ifndef LX_TEST_ALIKE_H
#define LX_TEST_ALIKE_H

#include "tests/support/snapshot.h"

/* The same bytes, but for runs of digits (hexadecimal ones, too) and dots. */
bool lx_is_alike(const char *a, size_t na, const char *b, size_t nb);
/* As that, and of a LoRA the same tensors under metadata that are alike. */
bool lx_is_alike_file(const lx_kept *a, const lx_kept *b);
/* The one of the same name, or else of a name that is alike; NULL: none. */
lx_kept *lx_find_alike(lx_snapshot *s, const lx_kept *k);
/* A header, and after it as many bytes as its last tensor ends at. */
bool lx_is_whole_safetensors(const lx_kept *k);

#endif
