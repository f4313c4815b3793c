/*
 * The loops of kernels/cpu/isa.h for one instruction set. The file that includes this defines
 *
 *   VL, VLOG           floats in a vector and its logarithm
 *   MR                 rows of the register tile; its columns are 2*VL
 *   FMA(a, b, c)       a*b + c on vectors, rounded once where the machine can
 *   ISA                the lx_isa to define, ISA_NAME its name
 *
 * Vectors are the compilers' vector types. The rest of a row is done by the same vector code on a
 * padded copy, so that an element's arithmetic does not depend on its place.
 */
#include "kernels/cpu/isa.h"

#include <math.h>
#include <string.h>

#include "src/base/dtype.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

#include "kernels/cpu/isa_vector.h" /* the others are made of it */

#include "kernels/cpu/isa_activation.h"
#include "kernels/cpu/isa_pack.h"
#include "kernels/cpu/isa_product.h"
#include "kernels/cpu/isa_rows.h"
#include "kernels/cpu/isa_thin.h"
#include "kernels/cpu/isa_winograd.h"

const lx_isa ISA = {
    .name = ISA_NAME,
    .mr = MR,
    .nr = 2 * VL,
    .product = isa_product,
    .bf16_bytes = BF16_BYTES,
    .narrow_bf16 = isa_narrow_bf16,
    .pair_bf16 = isa_pair_bf16,
    .product_bf16 = isa_product_bf16,
    .pairs_turned = PAIRS_TURNED,
    .pairs_straight = PAIRS_STRAIGHT,
    .store = isa_store,
    .pack_turned = isa_pack_turned,
    .pack_spread = isa_pack_spread,
    .pack_windows = isa_pack_windows,
    .widen_f16 = isa_widen_f16,
    .winograd_input = isa_winograd_input,
    .winograd_weights = isa_winograd_weights,
    .winograd_output = isa_winograd_output,
    .thin_reduce = isa_thin_reduce,
    .thin_expand = isa_thin_expand,
    .thin_outer = isa_thin_outer,
    .row_max = isa_row_max,
    .row_dot = isa_row_dot,
    .row_exp = isa_row_exp,
    .row_exp_each = isa_row_exp_each,
    .row_score_slope = isa_row_score_slope,
    .row_scale = isa_row_scale,
    .silu = isa_silu,
    .silu_dx = isa_silu_dx,
    .gelu = isa_gelu,
    .gelu_dx = isa_gelu_dx,
    .quick_gelu = isa_quick_gelu,
    .quick_gelu_dx = isa_quick_gelu_dx,
    .geglu = isa_geglu,
    .geglu_dx = isa_geglu_dx,
    .column_sum = isa_column_sum,
    .column_moments = isa_column_moments,
    .norm_row = isa_norm_row,
    .norm_sums = isa_norm_sums,
    .norm_finish = isa_norm_finish,
    .layer_norm_row = isa_layer_norm_row,
    .layer_norm_dx_row = isa_layer_norm_dx_row,
    .softmax_dx_row = isa_softmax_dx_row,
    .add = isa_add,
};
