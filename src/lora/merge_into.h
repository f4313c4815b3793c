/*
 * lora/merge_into - a merge's LoRAs added to the weights of a checkpoint
 *
 *     W' = W + sum over files of strength * delta
 *
 * summed in f64 and rounded once to the type W has, or the one that is asked for. Tensors that no LoRA changes
 * keep their bytes. One tensor at a time is in memory beside the mapped base; the output is complete or not
 * there.
 *
 * DoRA, IA3, GLoRA and OFT read W here. Several files are added to the same W: each is what it is alone.
 */
#ifndef LX_LORA_MERGE_INTO_H
#define LX_LORA_MERGE_INTO_H

#include "src/format/tensor_file.h"
#include "src/lora/merge.h"

typedef struct lx_merge_into {
    const lx_tensor_file *base;
    const char *prefix; /* of the base's keys (lora/model_files); NULL: none */
    const char *output; /* .safetensors */
    bool has_dtype;     /* cast all weights to: */
    lx_dtype dtype;
    bool allows_missing; /* leave out modules that the base has no layer for */
    const lx_metadata_entry *metadata;
    size_t n_metadata;
} lx_merge_into;

typedef struct lx_merge_into_result {
    size_t n_changed, n_tensors; /* tensors */
    size_t n_missing;            /* modules that were left out */
    const char *first_missing;   /* of the merge; or NULL */
} lx_merge_into_result;

/*
 *   LX_EMISMATCH  a layer has other sizes, or the base has none for a module (named)
 *   LX_ELIMIT     a sum is beyond the type's range
 */
int lx_merge_write_into(lx_merge_into_result *out, lx_merge *merge,
                        const lx_merge_into *into, lx_error *err);
/* The same for a model of several files, a diffusers folder: a module is missing when none of them has its layer.
 * All are planned before the first is written. */
int lx_merge_write_files(lx_merge_into_result *out, lx_merge *merge,
                         const lx_merge_into *files, size_t n, lx_error *err);
/* The same checks and counts, and nothing written. */
int lx_merge_check_files(lx_merge_into_result *out, lx_merge *merge,
                         const lx_merge_into *files, size_t n, lx_error *err);

#endif
