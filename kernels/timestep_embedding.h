/*
 * kernels/timestep_embedding - sines and cosines of a timestep
 *
 *   timestep_embedding  t i64 or f32 [B] -> y [B,dim], half = dim / 2
 *                       y[i] = cos(t f_i), y[half + i] = sin(t f_i), f_i = exp(-ln(10000) i / half)
 *                       an odd last element is 0
 *
 * Samplers evaluate between the trained timesteps, hence f32. No attributes. The frequencies and t f_i are rounded to f32 as PyTorch does, since at t = 999 an
 * argument's last bit is worth 3e-5.
 * Source: Vaswani et al. 2017, arXiv:1706.03762; cos first as in latent-diffusion.
 */
#ifndef LX_KERNELS_TIMESTEP_EMBEDDING_H
#define LX_KERNELS_TIMESTEP_EMBEDDING_H

#include "kernels/kernel.h"

extern const lx_kernel lx_cpu_timestep_embedding;

#endif
