/* data/scan - what the files of src/data share while a dataset is being made */
#ifndef LX_DATA_SCAN_H
#define LX_DATA_SCAN_H

#include "src/base/str.h"
#include "src/data/dataset.h"

/* Grows with lx_grow; moved into the dataset's arena when complete. */
typedef struct lx_scan {
    lx_dataset *dataset;
    lx_folder *folders;
    lx_image *images;
    lx_finding *findings;
    size_t folder_capacity, image_capacity, finding_capacity;
} lx_scan;

/* Text is copied. */
int lx_scan__find(lx_scan *scan, lx_finding_kind kind, const char *code, lx_error *err,
                  const char *fmt, ...) LX_PRINTF(5, 6);

/* Repeats and class tokens of "10_iwl 1girl": false when it has no number in front. */
bool lx_scan__folder_name(int64_t *repeats, const char **class_tokens, const char *name);
bool lx_scan__is_image_name(const char *name);

/* Reads one folder of images with their captions; reports per folder. */
int lx_scan__images(lx_scan *scan, size_t folder, lx_error *err);

/* How often something was seen, and where first; for one finding about many files. */
typedef struct lx_tally {
    size_t n;
    const char *example; /* in the arena */
} lx_tally;

#endif
