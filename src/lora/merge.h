/*
 * lora/merge - LoRAs into one LoRA, as the exact sum of their deltas
 *
 * A module is a low-rank update of one weight:
 *
 *     delta = strength * (alpha / rank) * up x down
 *
 * A sum of such updates is again one, with the factors side by side:
 *
 *     up = [c_1 up_1 | c_2 up_2 | ...],  down = [down_1; down_2; ...],  rank = sum of the ranks
 *     c_i = strength_i (alpha_i / rank_i) * rank / alpha
 *
 * alpha is chosen so that the largest |c_i| is 1: nothing is scaled down into the subnormals of F16,
 * and sources of equal scale keep their very bits. Products are formed in f64 and rounded once.
 *
 * sd-scripts' merge_lora multiplies the ratio onto up and down, so one LoRA at 0.5 comes out at a
 * quarter and two carry cross terms (docs/guide/merge.md); this does not.
 *
 * Order of use: lx_merge_new, lx_merge_add per file, lx_merge_write, lx_merge_free.
 * Source: Hu et al. 2021, arXiv:2106.09685, section 4.1.
 */
#ifndef LX_LORA_MERGE_H
#define LX_LORA_MERGE_H

#include "src/format/safetensors.h"
#include "src/lora/file.h"

typedef struct lx_merge lx_merge;

/* allows_unequal_ranks: concatenate whatever the ranks (`--rank exact`). */
int lx_merge_new(lx_merge **out, bool allows_unequal_ranks, lx_error *err);
void lx_merge_free(lx_merge *merge);

/*
 * Borrows the file, which outlives the merge. `label` names it in messages.
 *   LX_EMISMATCH     a module has another rank than in an earlier file (both are named), or other
 *                    sizes, or the spellings of the two files differ
 *   LX_EUNSUPPORTED  a module that is no plain LoRA, named
 *   LX_EFORMAT       no modules, or values that are not finite
 */
int lx_merge_add(lx_merge *merge, const lx_lora_file *file, const char *label, double strength,
                 lx_error *err);

typedef struct lx_merge_result {
    lx_tensor_view *tensors; /* names as the sources spell them; owned by the merge, valid until it is freed */
    size_t n_tensors, n_modules;
    int64_t rank;            /* of all modules, or 0 when they differ */
    double alpha;            /* likewise; 0 when they differ */
} lx_merge_result;

/* dtype of the factors: LX_F32, LX_F16 or LX_BF16. Alphas are F32. */
int lx_merge_finish(lx_merge_result *out, lx_merge *merge, lx_dtype dtype, lx_error *err);

#endif
