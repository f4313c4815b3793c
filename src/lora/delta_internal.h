/*
 * lora/delta_internal - what delta.c (the file alone) and delta_base.c (with the base weight) share
 */
#ifndef LX_LORA_DELTA_INTERNAL_H
#define LX_LORA_DELTA_INTERNAL_H

#include "src/lora/delta.h"

int64_t lx_delta__dim(const lx_tensor_view *tensor, int i); /* 1 beyond the last */
size_t
lx_delta__rest(const lx_tensor_view *tensor); /* elements behind the first dimension */

/* Fills out, in and shape of the kinds that read W. */
int lx_delta__base_shape(lx_delta_shape *shape, const lx_lora_entry *e, lx_error *err);

/* GLoRA, IA3 and OFT. */
int lx_delta__from_base(double *delta, const lx_lora_entry *e, const lx_delta_base *base,
                        lx_error *err);
/* delta becomes m V / |V| - W, V = W + delta. */
int lx_delta__decompose(double *delta, const lx_lora_entry *e, const lx_delta_base *base,
                        lx_error *err);

#endif
