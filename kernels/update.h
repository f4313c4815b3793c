/*
 * kernels/update - from gradients to new values, on a device that queues
 *
 * What is trained, its gradients and the states of its optimizer stay in the device's memory. One
 * update is queued behind the step that made the gradients and asks the host for nothing:
 *
 *     norm   = |gradients|, and whether all are finite
 *     update of every value by its rule (src/train/optimizer.h), gradients times the clip factor, unless
 *     one was not finite; gradients are then 0
 *
 * What the norm was can be asked for later. The bits are those of the CPU's optimizers: scalars of a
 * step are computed by the host, in f64, as they are there (lx_update_rates).
 *
 * Order of use: open, send; per update queue, and some time later result; fetch before the host looks at
 * values or states; close.
 */
#ifndef LX_KERNELS_UPDATE_H
#define LX_KERNELS_UPDATE_H

#include "kernels/kernel.h"

typedef enum lx_update_rule { LX_UPDATE_ADAMW, LX_UPDATE_LION } lx_update_rule;

/* One tensor that has a gradient. m and v are the host's copies of its states, of which a rule may
 * lack v: n f32, or n codes with the largest magnitude of every 256 (m_most, v_most). */
typedef struct lx_update_tensor {
    float *value, *gradient; /* on the device */
    float *host_value;
    void *narrow; /* on the device: where new values also go, as narrow_dtype; NULL = nowhere */
    lx_dtype narrow_dtype;
    size_t n;
    void *m, *v;
    float *m_most, *v_most; /* NULL: the states are f32 */
    int group;              /* whose rates it takes */
} lx_update_tensor;

/*
 * Of losses, and so of gradients, that are too small for F16, as torch.amp.GradScaler has it: a gradient
 * that is not finite halves the scale and its update is left out; 2000 updates in a row double it. What was
 * left out is not counted where a rule counts updates.
 */
typedef struct lx_update_scaling {
    double scale, n_in_a_row, n_left_out;
} lx_update_scaling;

typedef struct lx_update_spec {
    lx_update_rule rule;
    const lx_update_tensor *tensors; /* borrowed while opening */
    size_t n_tensors;
    int n_groups;
    double betas[2], eps;
    double max_norm; /* gradients are clipped to it; 0 = not */
    const float (
        *maps)[256]; /* signed, unsigned: of states of 8 bits; NULL without any */
    lx_update_scaling
        *scaling; /* the host's copy, sent and fetched as states; NULL = none */
} lx_update_spec;

/* Of one group:  adamw  keep = 1 - lr decay, step = lr / (1 - beta1^n), root = sqrt(1 - beta2^n)
 *                lion   keep = 1 - lr decay, step = lr
 * Under scaling adamw's are step = lr, root = n: the device knows how many were left out. */
typedef struct lx_update_rates {
    float keep, step, root;
} lx_update_rates;

typedef struct lx_update_result {
    double norm; /* before clipping */
    bool is_finite;
    double scale; /* of its losses; 1 without scaling */
} lx_update_result;

typedef struct lx_update lx_update;

typedef struct lx_updates {
    /* Everything is allocated here. */
    int (*open)(lx_device *dev, lx_update **out, const lx_update_spec *spec,
                lx_error *err);
    void (*close)(lx_update *update);               /* NULL is fine */
    int (*send)(lx_update *update, lx_error *err);  /* states, host to device */
    int (*fetch)(lx_update *update, lx_error *err); /* values and states; waits */
    /* Queues: n weights of losses, on the device, times the scale. Nothing without scaling. */
    void (*scale_loss)(lx_update *update, float *weights, size_t n);
    /* Rates of every group. *ticket is for result. */
    int (*queue)(lx_update *update, const lx_update_rates *rates, uint64_t *ticket,
                 lx_error *err);
    /* Of that update; waits for it and for nothing that was queued behind it. */
    int (*result)(lx_update *update, uint64_t ticket, lx_update_result *out,
                  lx_error *err);
} lx_updates;

#endif
