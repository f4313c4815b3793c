/*
 * kernels/attention - softmax(scale q k^T) v per head, without storing the scores
 *
 *   attention      q [B,T,N*d], k [B,S,N*d], v [B,S,N*d] -> o [B,T,N*d], lse [B,N,T]?
 *                  s[t,j] = scale * q_t . k_j        (causal: only j <= t)
 *                  lse[t] = log sum over j of exp(s[t,j])
 *                  o_t    = sum over j of exp(s[t,j] - lse[t]) v_j
 *   attention_bwd  q, k, v, o, lse, do -> dq?, dk?, dv?
 *                  p  = exp(s - lse),  D[t] = do_t . o_t
 *                  ds = p (do v^T - D) scale
 *                  dq = ds k,  dk = ds^T q,  dv = p^T do
 *                  with one key (S = 1) dq and dk are zero to the bit
 *
 * In bf16 (kernel.h) q, k, v and do are rounded as operands, and p and ds where they are; D, softmax and
 * lse are of f32. p is rounded before it is divided by its sum.
 *
 * Attributes: attention. f32, sums in f32 in an order that does not depend on the number of
 * threads (f64 in the plain ones). Heads are slices of the last dimension: head n is
 * [n*d, (n+1)*d). Absent outputs are not computed.
 * Source: Dao et al. 2022, arXiv:2205.14135 (tiles with a running maximum, scores recomputed for
 * the gradient); Milakov and Gimelshein 2018, arXiv:1805.02867.
 */
#ifndef LX_KERNELS_ATTENTION_H
#define LX_KERNELS_ATTENTION_H

#include "kernels/kernel.h"

extern const lx_kernel lx_cpu_attention, lx_cpu_attention_bwd;

#endif
