/*
 * verify/captions_read - which caption files were read in training (rule A6)
 *
 * The trainer never says; but it counted the tags it read. The folder is read once with
 * each ending that people use; the one whose counts are those of ss_tag_frequency is the
 * one that was read, and the folder is the training set. Files edited since give no exact
 * match: the likeness (Jaccard over tags) is told instead.
 */
#ifndef LX_VERIFY_CAPTIONS_READ_H
#define LX_VERIFY_CAPTIONS_READ_H

#include "src/format/tensor_file.h"
#include "src/verify/images.h"

typedef struct lx_captions_read {
    const char
        *ending; /* that was read, by exact counts; "" = none was; NULL = not found out */
    const char
        *to_use;      /* with captions in the folder: `ending`, else that of most files */
    const char *most; /* the ending found in the folder, whatever was given; NULL = none */
    size_t n_files;   /* of `most` */
    double likeness;  /* of the best ending; NAN without counts in the file */
} lx_captions_read;

/* given: the user's ending or NULL. */
int lx_captions_read_of(lx_captions_read *out, const lx_tensor_file *lora,
                        const char *folder, const lx_dataset_config *config,
                        const char *given, lx_arena *arena, lx_error *err);

#endif
