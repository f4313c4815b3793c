/*
 * support/convert - conversions of LoRA files for tests, and what they came to
 *
 * Order of use: lx_conversion_run (or lx_conversion_of), whatever it returned lx_conversion_drop.
 */
#ifndef LX_TESTS_CONVERT_H
#define LX_TESTS_CONVERT_H

#include "src/lora/convert.h"

typedef struct lx_conversion {
    lx_lora_file *file;
    lx_convert *convert;
    lx_convert_result r;
} lx_conversion;

int lx_conversion_run(lx_conversion *d, const char *path, const lx_convert_options *o,
                      lx_error *err);
void lx_conversion_drop(lx_conversion *d);

/* What lx convert writes, one part after the other, in a new folder; PEFT's with their config beside them. */
void lx_conversion_save(char paths[LX_CONVERT_PARTS][400], const lx_conversion *d,
                        char *folder);
void lx_conversion_clean(char paths[LX_CONVERT_PARTS][400], size_t n, const char *folder);

/* NULL when the result has no such key. */
const lx_tensor_view *lx_conversion_find(const lx_convert_result *r, const char *name);
/* All keys of b are the first part's of a, to the bit. */
void lx_conversion_assert_same(const lx_convert_result *a, const lx_convert_result *b,
                               const char *what);

/* A file of a few numbers. */
#define LX_SMALL_STEM "lora_unet_mid_block_attentions_0_proj_in"
typedef struct lx_small_tensor {
    const char *name;
    lx_dtype dtype;
    int64_t shape[4];
    int n_dims;
    float values[8];
} lx_small_tensor;

int lx_conversion_of(lx_conversion *d, const lx_small_tensor *tensors, size_t n,
                     const lx_convert_options *o, lx_error *err);

#endif
