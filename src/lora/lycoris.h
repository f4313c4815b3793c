/*
 * lora/lycoris - networks of LyCORIS: which layers they take, how LoHa and LoKr begin, what they compute
 *
 * A LoHa of a layer [out, in(, kh, kw)] has, with in counted with its window,
 *
 *     delta = alpha/rank * (w1_a w1_b) o (w2_a w2_b)     w_a [out, rank], w_b [rank, in]
 *
 * and a LoKr, whose out = a*b and in = c*d,
 *
 *     delta = s * kron(w1, w2)                            w1 [a, c], w2 [b, d(, kh, kw)]
 *
 * where w2 is a product w2_a w2_b of the rank unless that would be no smaller, and w1 one only when asked for.
 * s = alpha/rank; 1 when both are whole, whatever alpha is.
 *
 * A LoHa's delta is made by one op and multiplied with the layer's input. A LoKr's is never made: on x [.., c, d]
 * it is w1 over c and w2 over d, one after the other, which are small products.
 *
 * Sources: Hyeon-Woo et al. 2021, arXiv:2108.06098 (LoHa); Yeh et al. 2023, arXiv:2309.14859 (LyCORIS); names,
 * presets, first values and the cut of dimensions as in LyCORIS 3.4.0, lycoris/kohya.py, config.py,
 * modules/loha.py, modules/lokr.py and functional/general.py (factorization).
 */
#ifndef LX_LORA_LYCORIS_H
#define LX_LORA_LYCORIS_H

#include "src/lora/module.h"

/* Of a preset's name, -1 when there is none such; of a preset. */
int lx_lycoris_preset_of(const char *name);
const char *lx_lycoris_preset_name(lx_lycoris_preset preset);

/*
 * dimension = *small * *large, small <= large: by `factor` itself if that divides it, else the divisor up to
 * factor (-1: any) that brings the two nearest to each other.
 */
void lx_lokr_cut(int64_t *small, int64_t *large, int64_t dimension, int64_t factor);

/* The kind's module for a target that the network's preset takes; LX_OK without one for another. */
int lx_lycoris__add(lx_lora *lora, const lx_lora_target *target, const lx_lora_spec *spec,
                    lx_error *err);
/* First values of the host's copy: streams (seed, LX_RNG_INIT, factor, name). */
void lx_lycoris__initialise(lx_lora *lora, const lx_lora_module *module, uint64_t seed);

/* y + delta(x); alpha and multiplier in `scale`. dropout: by the rows of delta. */
lx_tensor *lx_lycoris__apply(lx_graph *g, lx_builder *b, const lx_layer *layer,
                             lx_lora_module *module, lx_tensor *x, lx_tensor *y,
                             float scale, const lx_lora_dropout *dropout);

#endif
