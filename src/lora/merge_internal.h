/*
 * lora/merge_internal - what the files of a merge share: which modules change which layer
 */
#ifndef LX_LORA_MERGE_INTERNAL_H
#define LX_LORA_MERGE_INTERNAL_H

#include "src/lora/delta.h"
#include "src/lora/flux.h"
#include "src/lora/merge.h"

/* One module of one source. */
typedef struct lx_merge_part {
    struct lx_merge_part *next;
    const lx_lora_entry *entry;
    const lx_merge_source *source;
    lx_delta_shape shape;
    double strength; /* of the file, the network and the block */
    size_t n_source; /* which file */
} lx_merge_part;

/* One layer. */
typedef struct lx_merge_target {
    const char *layer; /* lora/layer's name */
    const char *name;  /* in the result */
    lx_merge_part *first, *last;
    size_t n_parts;
    size_t rank;   /* sum of the parts' exact ranks */
    bool is_dense; /* a part has no exact factors */
    bool has_bias, is_norm;
    lx_delta_shape shape; /* of the part that tells most of it */
} lx_merge_target;

struct lx_svd; /* lora/svd */

struct lx_merge {
    lx_arena *arena;
    lx_merge_source *sources;
    size_t n_sources, sources_capacity;
    size_t n_unet, n_in_blocks; /* layers of the last one in the UNet, and in blocks that a list may name */
    lx_merge_target *targets;
    size_t n_targets, capacity;
    uint32_t *slots; /* open addressing over layers; index + 1 */
    size_t n_slots;
    bool is_mixed; /* files of different spellings, or one that has to be respelled */
    bool is_sdxl;  /* one of the files is for it */
    lx_fused network; /* that one of the files is for */
    void **buffers;     /* of the result; one a tensor that is not in the block */
    size_t n_buffers;
    char *block; /* factors side by side, whose sizes are known beforehand: lx_free_aligned */
    size_t block_bytes;
    struct lx_merge_output **pieces; /* those that are yet to be made, as they lie in the block */
    lx_dtype dtype;                  /* of them */
};

/* What one target becomes; the views' data are lx_alloc'd. */
typedef struct lx_merge_output {
    lx_merge_target *target;
    lx_merge_module *module;
    lx_tensor_view *views; /* up to LX_MERGE_VIEWS; unused ones have no name */
    double lost;           /* squared */
    float alpha;
} lx_merge_output;

enum { LX_MERGE_VIEWS = 5 }; /* down, up, alpha, diff (or w_norm), bias */
enum { LX_VIEW_DOWN, LX_VIEW_UP, LX_VIEW_ALPHA, LX_VIEW_DENSE, LX_VIEW_BIAS };

/* All that is made before the numbers: results without values, one output a target. */
int lx_merge__prepare(lx_merge_result *result, lx_merge_output **outs, lx_merge *merge,
                      lx_error *err);
/* After the numbers, whether they failed or not: the merge owns the views' memory. */
void lx_merge__keep(lx_merge *merge, lx_merge_output *outs);
/* The views that were filled, one after the other. */
void lx_merge__gather(lx_merge_result *result, const lx_merge *merge,
                      const lx_merge_output *outs);

/*
 * With LoHa or LoKr in it: are the exact ranks together more than the layer's shorter side? Then the factors side by
 * side would be larger than what they stand for, from a few kB on: the sum itself is made, and beside it a unit matrix
 * where factors are wanted. LoRAs alone have their factors in the file, and keep their bits.
 */
bool lx_merge__is_excessive(const lx_merge_target *target);
/* The rank that holds the sum without loss; 0 of a dense one. */
size_t lx_merge__exact_rank(const lx_merge_target *target);
/* Puts the file's name before the error of one of its modules, where it has a label; returns rc. */
int lx_merge__within(int rc, const lx_merge_part *part, lx_error *err);

/* The network of one more file. */
void lx_merge__learn_network(lx_merge *merge, lx_fused network);
/* Before layers are named: can files that name them in two ways have names that belong together? LX_EUNSUPPORTED. */
int lx_merge__check_names(lx_merge *merge, lx_error *err);
/* Names of all views that the target may have, made before threads start. Suffixes by family. */
int lx_merge__name_views(lx_merge *merge, lx_merge_output *out, lx_error *err);
bool lx_merge__has_alphas(const lx_merge *merge);

/* Gives a view its type, shape and size. */
int lx_merge__describe_view(lx_tensor_view *view, lx_dtype dtype, int n_dims,
                            const int64_t *shape, lx_error *err);
/* The same, and memory of its own. */
int lx_merge__shape_view(lx_tensor_view *view, lx_dtype dtype, int n_dims,
                         const int64_t *shape, lx_error *err);

/* Views of up, down and (where the family has them) alpha for that rank. */
int lx_merge__shape_factors(lx_merge_output *out, const lx_merge *merge, size_t rank,
                            float alpha, lx_dtype dtype, lx_error *err);
/* The sum of the parts' biases, if any. */
int lx_merge__put_bias(lx_merge_output *out, lx_dtype dtype, lx_error *err);

/* The best factors of that rank, and what they lose. alpha: such that alpha / rank is the factor that
 * the values of `svd` were divided by. */
int lx_merge__put_svd(lx_merge_output *out, const lx_merge *merge,
                      const struct lx_svd *svd, size_t rank, float alpha, lx_dtype dtype,
                      lx_error *err);
/* All parts' factors side by side in f64, each with its strength: up [out, rank], down [rank, in]; lx_free. */
int lx_merge__factors(double **up, double **down, const lx_merge_target *target,
                      lx_error *err);
/* The sum as one dense tensor. */
int lx_merge__put_dense(lx_merge_output *out, const double *sum, lx_dtype dtype,
                        lx_error *err);

/* Factors side by side: parts that all have exact ones. First the sizes of its views, then, in memory that the
 * caller gives them, the values. */
int lx_merge__describe_stack(lx_merge_output *out, const lx_merge *merge, lx_dtype dtype,
                             lx_error *err);
void lx_merge__put_alpha(lx_merge_output *out);
int lx_merge__stack(lx_merge_output *out, lx_dtype dtype, lx_error *err);
/* All else: cut sums, dense sums, methods. */
int lx_merge__combine(lx_merge_output *out, const lx_merge *merge,
                      const lx_merge_options *options, lx_error *err);

/* All targets as the peer merges them. */
int lx_merge__run_like(lx_merge_output *outs, lx_merge *merge, lx_dtype dtype,
                       const lx_merge_like *like, lx_error *err);

/* sum [out, in] = strength * what the target's parts change, in f64; bases as lx_delta_dense. */
int lx_merge__sum(double *sum, const lx_merge_target *target, const lx_delta_base *base,
                  lx_error *err);
/* The bias's change [n], or NULL. */
int lx_merge__sum_bias(double **sum, size_t *n, const lx_merge_target *target,
                       lx_error *err);

const lx_merge_target *lx_merge__find(const lx_merge *merge, const char *layer);

#endif
