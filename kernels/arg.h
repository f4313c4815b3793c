/*
 * kernels/arg - the shape of an operand, for the kernels of every device (C and C++)
 */
#ifndef LX_KERNELS_ARG_H
#define LX_KERNELS_ARG_H

#include "kernels/kernel.h"

static inline bool lx_arg_present(const lx_arg *arg)
{
    return arg->n_dims >= 0;
}

/* Input i of a call, which may have fewer. */
static inline bool lx_in_present(const lx_call *call, int i)
{
    return i < call->n_in && lx_arg_present(&call->in[i]);
}

static inline int64_t lx_arg_count(const lx_arg *arg)
{
    int64_t n = 1;
    for (int i = 0; i < arg->n_dims; i++)
        n *= arg->shape[i];
    return n;
}

/* The last dimension; 1 for a scalar. */
static inline int64_t lx_arg_width(const lx_arg *arg)
{
    return arg->n_dims > 0 ? arg->shape[arg->n_dims - 1] : 1;
}

/* All dimensions but the last, as one. */
static inline int64_t lx_arg_rows(const lx_arg *arg)
{
    int64_t n = 1;
    for (int i = 0; i + 1 < arg->n_dims; i++)
        n *= arg->shape[i];
    return n;
}

#endif
