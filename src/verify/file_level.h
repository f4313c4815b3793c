/*
 * verify/file_level - what the file says by itself: metadata (A) and weights (B)
 *
 * Rules and their limits: docs/verify.md, levels a and b. Silence of the metadata is
 * never a fault.
 */
#ifndef LX_VERIFY_FILE_LEVEL_H
#define LX_VERIFY_FILE_LEVEL_H

#include "src/verify/verify.h"

/* What a base model says of itself. */
typedef struct lx_base_facts {
    const char *path;
    int context_size;                          /* 0 = no base model */
    char old_hash[9], sha256[LX_HASH_HEX + 1]; /* "" for a folder */
} lx_base_facts;

typedef struct lx_file_input {
    const lx_lora_file *file;
    const lx_lora_summary *summary;
    const lx_lora_weights *weights;
    const lx_training_facts *training;
    const lx_base_facts *base;
    const lx_tokenizer *tokenizer;
    const char *identifier; /* as given, or NULL */
    bool ignores_metadata;
    lx_arena *arena;
} lx_file_input;

/* Adds rows; sets facts.is_untrained, captions_proven_unread, is_other_architecture, the
 * answers to Q1 and Q2, and the flag IDENTIFIER NOT SEPARABLE by the caller from
 * *n_constant: tags that every training image has. */
int lx_file_evidence(lx_verify_result *result, size_t *n_constant,
                     const lx_file_input *in, lx_error *err);

#endif
