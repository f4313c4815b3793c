/*
 * kernels/cuda/train - what a training step does beside the graph: noise, gradients, updates
 *
 * All of it is launched on the device's stream and reads what changes from step to step out of device
 * memory, so that it can be captured once and replayed. Pointers are to device memory but for `dev`.
 * A step is:
 *
 *   lx_cuda_noise, then the graph (mul_add makes the noisy latents), then
 *   lx_cuda_gradient_norm      norm, whether all is finite, and what gradients are to be multiplied by
 *   lx_cuda_adamw or _lion     the update, unless a gradient was not finite; gradients become 0
 *
 * Formulas and states are those of src/train/optimizer*, operation by operation, so that an update
 * has the CPU's bits. A launch that is refused is kept in the queue (cuda.h).
 */
#ifndef LX_KERNELS_CUDA_TRAIN_H
#define LX_KERNELS_CUDA_TRAIN_H

#include "kernels/cuda/cuda.h"

enum {
    LX_CUDA_CHUNK = 1024, /* elements of a tensor that one block works on */
    LX_CUDA_CODES = 256   /* of an 8-bit state, a block of numbers each */
};

/* One trainable tensor. Its first moments are f32 (m) or codes (m_codes, m_most per 256), and so are
 * the second ones; what an optimizer does not use is NULL. */
typedef struct lx_cuda_tensor {
    float *value, *gradient;
    float *m, *v;
    uint8_t *m_codes, *v_codes;
    float *m_most, *v_most;
    void *
        narrow; /* where the new value also goes, as F16 or BF16 (narrow_dtype); or NULL */
    int narrow_dtype;
    int group; /* index of its lx_cuda_rates */
    int64_t n;
} lx_cuda_tensor;

/* Elements [chunk * LX_CUDA_CHUNK, ..) of a tensor. */
typedef struct lx_cuda_chunk {
    int32_t tensor, chunk;
} lx_cuda_chunk;

/* All of them: one launch works on every chunk. Tensors without a gradient have no chunks. */
typedef struct lx_cuda_trainables {
    const lx_cuda_tensor *tensors;
    const lx_cuda_chunk *chunks;
    int n_chunks;
} lx_cuda_trainables;

/* Of one group and step, computed by the host in f64 and rounded once:
 *   adamw   keep = 1 - lr decay, step = lr / (1 - beta1^n), root = sqrt(1 - beta2^n)
 *   lion    keep = 1 - lr decay, step = lr */
typedef struct lx_cuda_rates {
    float keep, step, root;
} lx_cuda_rates;

typedef struct lx_cuda_betas {
    float b1, one_less_b1, b2, one_less_b2, eps;
} lx_cuda_betas;

/* What gradient_norm finds. */
typedef struct lx_cuda_gradients {
    double norm; /* after unscaling */
    float by;    /* of every gradient: clip / loss scale */
    int is_finite;
    float scale; /* of the loss */
} lx_cuda_gradients;

/* One sample's stream, out of lx_rng_stream: key, and counter[1..3]. */
typedef struct lx_cuda_draw {
    uint32_t key[2], counter[3];
} lx_cuda_draw;

/* out [B, n] f32: standard normals, the numbers of lx_rng_normal from `first` = 0 on. */
void lx_cuda_noise(lx_device *dev, float *out, const lx_cuda_draw *draws, int B,
                   int64_t n);

/*
 * The L2 norm of all gradients, divided by *loss_scale (NULL: 1), summed in f64 in a fixed order, and
 * by = min(1, max_norm / (norm + 1e-6)) / loss scale; max_norm 0 does not clip. scratch has
 * n_chunks doubles.
 */
void lx_cuda_gradient_norm(lx_device *dev, lx_cuda_gradients *out,
                           const lx_cuda_trainables *t, const float *loss_scale,
                           float max_norm, double *scratch);

/*
 * Dynamic loss scaling, as torch.amp.GradScaler: after `interval` finite steps in a row the scale
 * doubles, after one that was not it halves. steps[0] counts those in a row, steps[1] those that were
 * not finite; all are the device's.
 */
void lx_cuda_scale_update(lx_device *dev, float *loss_scale, int *steps,
                          const lx_cuda_gradients *found, int interval);

/* Rates of adamw out of step = lr and root = n, without the steps that steps[1] has counted. */
void lx_cuda_adamw_rates(lx_device *dev, lx_cuda_rates *rates, int n, double b1, double b2,
                         const int *steps);

/* One update of every tensor; gradients are then 0. Does nothing but that if found->is_finite is 0.
 * maps: the signed and the unsigned map of lx_eight_bit_map, [2][256]; NULL without 8-bit states. */
void lx_cuda_adamw(lx_device *dev, const lx_cuda_trainables *t,
                   const lx_cuda_rates *rates, lx_cuda_betas betas,
                   const lx_cuda_gradients *found, const float *maps);
void lx_cuda_lion(lx_device *dev, const lx_cuda_trainables *t, const lx_cuda_rates *rates,
                  lx_cuda_betas betas, const lx_cuda_gradients *found, const float *maps);

/* x *= *factor, x of n F32, F16 or BF16: the loss's gradient by the loss scale. */
void lx_cuda_scale_by(lx_device *dev, void *x, lx_dtype dtype, int64_t n,
                      const float *factor);

#endif
