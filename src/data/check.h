/*
 * data/check - what is wrong with a dataset, image by image, before anything is trained on it
 *
 * All that the scan of a training finds (data/dataset), and beyond it what only the pixels, the bytes of
 * the captions and all captions together tell: pictures that are there twice, transparency that is
 * used, what is cut off a caption, tags that nothing tells apart, pixels lost to the buckets. A finding
 * has its file, what it means for the training, and a remedy.
 *
 *     lx_data_check *check;
 *     rc = lx_data_check_run(&check, &options, err);
 *     for (i = 0; i < check->n_findings; i++) ...
 *     lx_data_check_free(check);
 */
#ifndef LX_DATA_CHECK_H
#define LX_DATA_CHECK_H

#include "src/base/str.h"
#include "src/data/dataset.h"
#include "src/image/header.h"
#include "src/image/phash.h"

typedef enum lx_severity {
    LX_SEVERITY_ERROR,   /* stops a training or spoils it */
    LX_SEVERITY_WARNING, /* trains something else than was meant */
    LX_SEVERITY_NOTE     /* worth knowing */
} lx_severity;
extern const char *const lx_severity_names[]; /* "error", "warning", "note" */

typedef struct lx_check_finding {
    lx_severity severity;
    const char *code;   /* "caption-trap", "duplicate", "cut" ... */
    const char *file;   /* image, caption or folder; NULL: it is about all of them */
    const char *text;   /* what it is and what it means */
    const char *remedy; /* what to do; NULL where the text says it */
    size_t image;       /* in images; SIZE_MAX = of no single one */
    bool is_fixable;    /* lx data check --fix mends it */
} lx_check_finding;

/* What was seen of one image; the n-th of dataset->images. */
typedef struct lx_check_image {
    lx_image_header header;
    lx_hash hash;     /* of the file's bytes */
    lx_error problem; /* code < 0: the pixels cannot be read, and why */
    lx_phash looks;
    double transparent; /* share of pixels that are not opaque */
    size_t n_tokens;    /* of the caption; of the longest line with wildcards */
    int64_t cropped;    /* pixels lost to the bucket, of width x height */
    lx_str
        thumbnail; /* JPEG, where options->thumbnail is set and the image can be read */
    int thumbnail_w, thumbnail_h;
} lx_check_image;

typedef struct lx_check_options {
    const lx_dataset_config *data;
    int max_token_length;   /* 75, 150 or 225 */
    const char *identifier; /* NULL: the first word of each folder's class tokens */
    int near; /* pictures within so many bits are near duplicates; below 0: none are looked for */
    int thumbnail; /* longer side of thumbnails; 0 = none are made */
} lx_check_options;

enum { LX_CHECK_NEAR = 6 }; /* of 64 bits */

typedef struct lx_data_check {
    lx_arena *arena;
    lx_dataset *dataset; /* read by the ending that captions have, whatever was asked */
    const char *caption_extension; /* ... this one */
    lx_check_image *images;
    lx_check_finding *findings; /* by severity, code and file */
    size_t n_findings;
    size_t counts[3]; /* of findings, by severity */
    bool is_planned;  /* buckets are known */
} lx_data_check;

/* LX_EUSAGE where the flags do not fit together, else only what keeps it from looking. */
int lx_data_check_run(lx_data_check **out, const lx_check_options *options,
                      lx_error *err);
void lx_data_check_free(lx_data_check *check);

/*
 * The dataset as a training would scan it; when its captions have another ending than the flags say
 * (the caption trap), as it would be with that ending. *trap (may be NULL) is then the finding of the
 * first scan, in the arena. The ending used is (*out)->config.caption_extension.
 */
int lx_dataset_scan_any(lx_dataset **out, lx_finding *trap,
                        const lx_dataset_config *config, lx_arena *arena, lx_error *err);

#endif
