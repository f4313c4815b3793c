/*
 * lora/glance - what a LoRA file is, from its header alone
 *
 * For folders of many files: no weight is read. What follows from names and shapes is
 * found once per layout (format/header_cache) and only copied for the other files of it;
 * the caption verdict and the trainer come from each file's own metadata.
 *
 * What a glance cannot know: values (finite, untrained), the hash of the data, alphas
 * beyond the first of each part, which stands for them all.
 */
#ifndef LX_LORA_GLANCE_H
#define LX_LORA_GLANCE_H

#include "src/format/header_cache.h"
#include "src/lora/summary.h"

typedef struct lx_glance {
    lx_lora_summary summary; /* tags left out, hash absent, counts of values 0 */
    const char *family, *trainer;
    const char *model; /* of a whole checkpoint: which; NULL */
    const char *what;  /* "LoRA", "LoHa + norm", "embedding", "checkpoint", "no LoRA" */
    size_t n_unknown, n_embeddings, n_problems;
    const char *problem; /* of the first module that has one, with its name, or NULL */
    size_t file_bytes;
} lx_glance;

/* Texts in the arena. path: for a config of PEFT beside the file; may be NULL. */
int lx_glance_of(lx_glance *out, lx_tensor_file *file, const char *path, lx_arena *arena,
                 lx_error *err);

#endif
