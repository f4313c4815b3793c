/*
 * data/facts - a dataset as the peer's metadata tells it
 *
 * JSON texts in Python's json.dumps spelling (", " and ": " between, non-ASCII as \u escapes), as
 * sd-scripts writes them into a LoRA. Goldens: data/dataset/parse, e2e.
 */
#ifndef LX_DATA_FACTS_H
#define LX_DATA_FACTS_H

#include "src/data/dataset.h"

/* Texts live in the arena given. */
typedef struct lx_dataset_facts {
    int64_t n_train_images;       /* sum of repeats x images, reg left out */
    int64_t n_reg_images;         /* reg images times their folder's repeats, not the balanced number */
    const char *dataset_dirs;     /* {"2_sks girl": {"n_repeats": 2, "img_count": 3}} */
    const char *reg_dataset_dirs;
    const char *tag_frequency;    /* {"2_sks girl": {"red hair": 1}} */
    const char *datasets;         /* [{"is_dreambooth": true, ..., "subsets": [...]}]: every part */
    const char *bucket_info;      /* {"buckets": {...}, "mean_img_ar_error": 0.1}, "null" without */
} lx_dataset_facts;

int lx_dataset_facts_of(lx_dataset_facts *out, const lx_dataset *dataset, lx_arena *arena,
                        lx_error *err);

#endif
