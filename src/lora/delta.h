/*
 * lora/delta - what one module of a LoRA file changes in the weight of its layer
 *
 * For every family of lora/file, in f64, as the trainers define it at strength 1 (s = alpha / rank):
 *
 *     LoRA, LoCon    s up down
 *     Tucker         s sum_pq up[o, p] mid[p, q, :] down[q, i]
 *     LoHa           s (w1_a w1_b) o (w2_a w2_b), each w_b with its t_ in front if there is one
 *     LoKr           s kron(w1, w2), w1 = w1_a w1_b, w2 = w2_a w2_b (or with t2); both whole: s = 1
 *     full, norm     the tensor itself
 *     GLoRA          s (W a + b), a = a1 a2, b = b1 b2 (an older order of the factors is told by shapes)
 *     IA3            W o w, along inputs or outputs
 *     OFT            (R - 1) W per block of rows; R^T = (1 + Q)(1 - Q)^-1, Q = B - B^T, whose norm is
 *                    limited to alpha * out when alpha > 0; times rescale
 *     BOFT           the same with m rotations of butterfly-permuted rows, R = (1 + Q)(1 - Q)^-1
 *     DoRA           m V / |V| - W, V = W + the delta of the rest; |V| and m per output row or input column
 *
 * The last four read the base weight W: they have no sum with others but in a checkpoint.
 *
 * A weight is [out, in] here, all dimensions behind the first taken together. The delta is linear in the
 * strength by decree: lx adds strength * delta (of DoRA, LyCORIS scales otherwise; docs/guide/merge.md).
 *
 * Everything is checked against each other first: shapes that do not fit are LX_EFORMAT, values that are
 * not finite too, naming the tensor.
 *
 * Sources: Hu et al. 2021, arXiv:2106.09685; Hyeon-Woo et al. 2021, arXiv:2108.06098 (LoHa); LyCORIS
 * (arXiv:2309.14859) lycoris/functional; Liu et al. 2022, arXiv:2205.05638 (IA3); Chavan et al. 2023,
 * arXiv:2306.07967 (GLoRA); Qiu et al. 2023, arXiv:2306.07280 (OFT) with sd-scripts networks/oft.py; Liu et
 * al. 2023, arXiv:2311.06243 (BOFT); Liu et al. 2024, arXiv:2402.09353 (DoRA).
 */
#ifndef LX_LORA_DELTA_H
#define LX_LORA_DELTA_H

#include <stdbool.h>

#include "src/lora/file.h"

/* The layer's weight as the module alone tells it. */
typedef struct lx_delta_shape {
    int n_dims; /* as the file has it: a LoHa of a convolution may say [out, in*kh*kw] */
    int64_t shape[LX_MAX_DIMS];
    size_t out,
        in; /* in: all but the first dimension; 0 of IA3 and OFT, which do not say it */
    size_t
        rank; /* of lx_delta_factors; 0 = it has none (full, norm, those that need the base) */
} lx_delta_shape;

/*
 * LX_EFORMAT       the module's own problem, tensors that do not fit, or a dtype that is no number
 *   LX_EUNSUPPORTED  a kind whose change is not defined here (oft_R)
 *   LX_ELIMIT        a layer that is larger than any
 */
int lx_delta_shape_of(lx_delta_shape *shape, const lx_lora_entry *module, lx_error *err);
/* Of the kinds that do not read the base: whether the tensors fit, by their headers alone. lora/file asks it. */
int lx_delta_check_shape(const lx_lora_entry *module, lx_error *err);
/* LX_ELIMIT when [out, in] is more than any layer has (2^28 values): who writes it out must ask first. */
int lx_delta_check_dense(const lx_lora_entry *module, const lx_delta_shape *shape,
                         lx_error *err);
/* Floats of any width: what can be multiplied and rounded. */
bool lx_delta_is_number(lx_dtype dtype);
bool lx_delta_needs_base(const lx_lora_entry *module);

/*
 * Exact factors: delta = up [out, rank] x down [rank, in], the scale in up. The shape is that of
 * lx_delta_shape_of, with rank > 0: LoRA and Tucker have their own, LoHa its square, LoKr the product of
 * its parts' (a part that is whole has its shorter side).
 */
int lx_delta_factors(double *up, double *down, const lx_lora_entry *module,
                     const lx_delta_shape *shape, lx_error *err);

/*
 * delta [out, in] of any module. base: the layer's weight as doubles, [out, in] in all, with the window of
 * its dimensions behind the second; needed as lx_delta_needs_base says, may be NULL otherwise. DoRA
 * without a base is LX_EUNSUPPORTED.
 */
typedef struct lx_delta_base {
    const double *values;
    size_t out, in, window; /* in: with the window; window: kh*kw, 1 of a linear */
} lx_delta_base;
int lx_delta_dense(double *delta, const lx_lora_entry *module,
                   const lx_delta_shape *shape, const lx_delta_base *base, lx_error *err);

/* The change of the layer's bias (lx_free): diff_b, b_norm, s lora_B.bias, of several the sum; *values is NULL without
 * one. */
int lx_delta_bias(double **values, size_t *n, const lx_lora_entry *module, lx_error *err);

/*
 * Are DoRA's magnitudes one an output row, or one an input channel? PEFT's are by rows, [out] or of a convolution
 * [1, out, 1, 1]; LyCORIS' `.dora_scale` is [out, 1, ...] or [1, in, ...].
 */
bool lx_delta_has_row_magnitudes(const lx_tensor_view *magnitudes, size_t out);

/* A tensor as doubles (lx_free); what is not finite is LX_EFORMAT with its place. */
int lx_delta_read(double **values, const lx_tensor_view *tensor, lx_error *err);

#endif
