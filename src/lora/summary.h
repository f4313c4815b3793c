/*
 * lora/summary - what a LoRA file is, in facts
 *
 * Ranks, alphas and dtypes per part, the base model by shapes, values that are not finite, modules
 * whose update is zero, the hash the trainer wrote against the data now in the file.
 */
#ifndef LX_LORA_SUMMARY_H
#define LX_LORA_SUMMARY_H

#include "src/base/sha256.h"
#include "src/lora/file.h"
#include "src/lora/verdict.h"

typedef struct lx_part_summary {
    size_t n_modules;
    int64_t rank_min, rank_max; /* of the modules that have a rank, and so the alphas */
    double alpha_min, alpha_max;
    size_t n_without_alpha;
    size_t n_kinds[LX_KIND_COUNT];
    size_t n_dora;
    size_t n_untrained; /* the factor that starts at zero is still all zero */
} lx_part_summary;

typedef enum lx_hash_state {
    LX_HASH_ABSENT,  /* the trainer wrote none */
    LX_HASH_MATCHES, /* the data is what was written with it: by the trainer, or by a merge and the like */
    LX_HASH_DIFFERS  /* rewritten after that */
} lx_hash_state;

typedef struct lx_lora_summary {
    lx_part_summary parts[LX_LORA_PART_COUNT];
    size_t n_modules, n_tensors;
    size_t n_dtypes[LX_DTYPE_COUNT]; /* tensors of each, alphas left out */
    const char *base;       /* "SD 1.x", "SDXL", ... or "unknown"; by shapes */
    const char *base_note;  /* metadata that disagree with the shapes; NULL = none */
    size_t n_not_finite;    /* elements */
    const char *first_not_finite; /* name of the first such tensor */
    size_t n_untrained;
    lx_hash_state hash;
    char data_hash[LX_HASH_HEX + 1]; /* SHA-256 of the tensor area; "" for pickles */
    size_t data_bytes;
    lx_verdict verdict;
    lx_tag_list tags;
} lx_lora_summary;

/* "LoRA", "LoCon", "LoHa + norm", "LoRA (DoRA)"; "textual inversion", "checkpoint", "training state",
 * "no LoRA".
 * `model`: what lx_model_kind says of a file without modules. In the arena; NULL without memory. */
const char *lx_lora_what(const lx_lora_file *file, const char *model, lx_arena *arena);

/* The two halves that read no values: all but base_note, verdict and tags, and those but the tags. */
int lx_lora_summarise_shapes(lx_lora_summary *out, const lx_lora_file *file, lx_arena *arena,
                             lx_error *err);
int lx_lora_summarise_metadata(lx_lora_summary *out, const lx_tensor_file *file,
                               lx_arena *arena, lx_error *err);

/* reads_values: also scan every element (finite, zero) and hash the data. Texts live in the arena. */
int lx_lora_summarise(lx_lora_summary *out, const lx_lora_file *file, bool reads_values,
                      lx_arena *arena, lx_error *err);

#endif
