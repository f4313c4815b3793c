/* data/check_internal - what the files of data/check share */
#ifndef LX_DATA_CHECK_INTERNAL_H
#define LX_DATA_CHECK_INTERNAL_H

#include "src/data/check.h"
#include "src/text/tokenizer.h"

enum { LX_CHECK_OF_ALL = -1 };

/* A check under way. Running out of memory for a finding is remembered in `failed`. */
typedef struct lx_checking {
    lx_data_check *out;
    const lx_check_options *options;
    const lx_dataset *dataset;
    lx_tokenizer *tokenizer;
    size_t capacity; /* of out->findings */
    bool failed;
} lx_checking;

/* image: LX_CHECK_OF_ALL, or its index. file and remedy are borrowed for the life of the check. */
void lx_check__find(lx_checking *k, lx_severity severity, const char *code, int64_t image,
                    const char *file, const char *remedy, const char *fmt, ...)
    LX_PRINTF(7, 8);
/* The finding that was just made is one that --fix mends. */
void lx_check__fixable(lx_checking *k);

/* One of the dataset's own, unless it is told here with more to say. */
void lx_check__scanned(lx_checking *k, const lx_finding *finding);

/* Bytes and pixels of all images, by several threads. */
int lx_check__look(lx_checking *k, lx_error *err);
void lx_check__images(lx_checking *k);
int lx_check__duplicates(lx_checking *k, lx_error *err);
/* The files of the captions, one by one. */
int lx_check__captions(lx_checking *k, lx_error *err);
/* All captions together. */
int lx_check__tags(lx_checking *k, lx_error *err);
int lx_check__identifiers(lx_checking *k, lx_error *err);
/* Buckets, what they crop, and regularisation images. */
int lx_check__plan(lx_checking *k, lx_error *err);

#endif
