/*
 * lora/merge - LoRAs of any family into one, computed on what they change
 *
 * The default is the exact sum of the files' deltas (lora/delta), each times its strength. A sum of low-rank
 * updates is again one, with the factors side by side:
 *
 *     up = [c_1 up_1 | c_2 up_2 | ...],  down = [down_1; down_2; ...],  rank = sum of the ranks
 *     c_i = strength_i (alpha_i / rank_i) * rank / alpha
 *
 * alpha is chosen so that the largest |c_i| is 1: nothing is scaled down into the subnormals of F16,
 * and sources of equal scale keep their very bits. Products are formed in f64 and rounded once.
 *
 * A fixed rank, or an error, keeps the best approximation of the sum (lora/svd) and says what it loses.
 * Full differences and norms have no rank: without one asked for, the sum stays dense (`.diff`).
 *
 * Other methods work element by element on the deltas D_i, w_i being the strengths:
 *
 *     magnitude_prune  sum w_i P(D_i); P keeps the `density` share of largest |x|
 *     ties             P(D_i), then per element the sign of sum P(D_i) (0 counts as +) is elected, and the
 *                      mean of w_i P(D_i) over the files that agree is taken
 *     dare             sum w_i B_i(D_i); B keeps each element with probability `density` and divides by it
 *     dare_ties        ties with B in place of P
 *     knots            svd of [D_1 | D_2 | ...] = U S [V_1; V_2; ...]: ties on the V_i, U S (merged V)^T
 *
 * They destroy the low rank (but for knots, whose sum has the ranks' sum), so what they give is cut to a rank
 * again, the sum of the sources' unless told; the error of that is known and reported. Biases and norms are
 * summed. Random numbers are a function of (seed, file, module).
 *
 * Sources: Hu et al. 2021, arXiv:2106.09685, section 4.1; Yadav et al. 2023, arXiv:2306.01708 (TIES); Yu et al.
 * 2024, arXiv:2311.03099 (DARE); Stoica et al. 2024, arXiv:2410.19735 (KnOTS); definitions and the order of
 * election and weights as in PEFT's merge_utils.
 *
 * Order of use: lx_merge_new, lx_merge_add per file, lx_merge_finish (or lx_merge_begin, and lx_merge_make for every
 * piece), lx_merge_free.
 */
#ifndef LX_LORA_MERGE_H
#define LX_LORA_MERGE_H

#include "src/format/safetensors.h"
#include "src/lora/block_weights.h"
#include "src/lora/file.h"

typedef enum lx_merge_method {
    LX_MERGE_LINEAR,
    LX_MERGE_PRUNE,
    LX_MERGE_TIES,
    LX_MERGE_DARE,
    LX_MERGE_DARE_TIES,
    LX_MERGE_KNOTS,
    LX_MERGE_METHODS
} lx_merge_method;
extern const char *const lx_merge_method_names[LX_MERGE_METHODS];

typedef enum lx_merge_rank {
    LX_RANK_EQUAL, /* the sum of the ranks, which must be equal among the files */
    LX_RANK_EXACT, /* the sum of the ranks */
    LX_RANK_FIXED, /* `rank`, or `conv_rank` of 3x3 convolutions when that is not 0 */
    LX_RANK_ERROR /* the least whose relative error is at most `error`, module by module */
} lx_merge_rank;

typedef struct lx_merge_options {
    lx_merge_method method;
    lx_merge_rank rank_rule;
    size_t rank, conv_rank;
    double error, density; /* density in (0, 1] */
    uint64_t seed;
    lx_dtype dtype; /* of the factors: LX_F32, LX_F16 or LX_BF16. Alphas are F32. */
} lx_merge_options;

/* One file and how much of it. */
typedef struct lx_merge_source {
    const lx_lora_file *file;       /* outlives the merge */
    const char *label;              /* for messages; outlives the merge. NULL: who calls names the file */
    double unet, text;              /* strengths of the UNet and of the text encoders */
    const lx_block_weights *blocks; /* or NULL */
} lx_merge_source;

typedef struct lx_merge lx_merge;

int lx_merge_new(lx_merge **out, lx_error *err);
void lx_merge_free(lx_merge *merge);

/*
 *   LX_EMISMATCH     a layer has other sizes than in an earlier file
 *   LX_EUSAGE        block weights for another model
 *   LX_EUNSUPPORTED  a module whose change depends on the base model, or names that do not tell layers
 *   LX_EFORMAT       no modules, tensors that do not fit, values that are not finite, one layer under two names
 * Messages name the module, and of LX_EMISMATCH both files; otherwise the caller names the file. After an error
 * the merge can only be freed.
 */
int lx_merge_add(lx_merge *merge, const lx_merge_source *source, lx_error *err);

/* What became of one module. */
typedef struct lx_merge_module {
    const char *name;
    size_t sources;     /* how many files have it */
    int64_t rank;       /* of the result; 0 = dense */
    int64_t exact_rank; /* of the exact sum; 0 = dense */
    double norm,
        error; /* |sum| and the relative error of cutting it; 0 when nothing was cut */
} lx_merge_module;

typedef struct lx_merge_result {
    lx_tensor_view *tensors; /* owned by the merge, valid until it is freed */
    size_t n_tensors;
    lx_merge_module *modules;
    size_t n_modules, n_dense; /* n_dense: of no rank */
    int64_t rank;              /* of all modules, or 0 when they differ */
    double alpha;              /* likewise; 0 when they differ */
    double error;              /* relative, of all modules together */
    bool is_plain;             /* every module is a LoRA: sd-scripts reads it */
    size_t n_pieces;           /* of lx_merge_begin: what is yet to be made */
    const size_t *
        ends; /* with pieces 0 to i the first ends[i] bytes are there, of the tensors as a file has them */
} lx_merge_result;

/*
 * Names are spelled as the files spell them; when they differ among themselves, as sd-scripts does.
 *   LX_EMISMATCH     ranks differ and the rule is LX_RANK_EQUAL: one line that names both files
 *   LX_EUNSUPPORTED  spellings differ, and sd-scripts has no such layer (diffusers' parts of what it has fused)
 */
int lx_merge_finish(lx_merge_result *out, lx_merge *merge,
                    const lx_merge_options *options, lx_error *err);
/*
 * The same, but that factors side by side, whose sizes are known, have no values yet if all of the result is that: they
 * are made by lx_merge_make of every piece, each once, by any threads.
 */
int lx_merge_begin(lx_merge_result *out, lx_merge *merge, const lx_merge_options *options,
                   lx_error *err);
int lx_merge_make(lx_merge *merge, size_t piece, lx_error *err);

/*
 * What sd-scripts' merge_lora.py computes, bit for bit, which is not the sum of the deltas:
 *
 *     up = sum |s_i| up_i,  down = sum s_i down_i,  s_i = ratio_i sqrt(alpha_i / alpha_1)
 *
 * is_concat stacks the scaled factors instead and keeps alpha_1. is_shuffled permutes the ranks as torch does
 * after manual_seed(seed). merge_dtype: LX_F32 or LX_F16, the type every product and sum is rounded to (torch
 * computes halves in f32 and rounds each result); then all is cast to options->dtype.
 * Files must be as lx_merge_add takes them and plain LoRAs in sd-scripts' spelling; only `unet` strengths count.
 * LX_EMISMATCH: ranks that differ, without is_concat; alphas whose quotient has no square root (0 first, two signs).
 * Source: kohya-ss/sd-scripts networks/merge_lora.py, the order of its operations.
 */
typedef struct lx_merge_like {
    lx_dtype merge_dtype;
    bool is_concat, is_shuffled;
    uint64_t seed;
} lx_merge_like;
int lx_merge_finish_like(lx_merge_result *out, lx_merge *merge,
                         const lx_merge_options *options, const lx_merge_like *like,
                         lx_error *err);

#endif
