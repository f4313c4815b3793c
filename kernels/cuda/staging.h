/*
 * kernels/cuda/staging - upload_queued, download_queued and take of the device (kernels/kernel.h)
 */
#ifndef LX_KERNELS_CUDA_STAGING_H
#define LX_KERNELS_CUDA_STAGING_H

#include "kernels/cuda/cuda.h"

typedef struct lx_cuda_staging lx_cuda_staging;

int lx_cuda_upload_queued(lx_device *dev, void *dst, const void *src, size_t bytes,
                          lx_error *err);
int lx_cuda_download_queued(lx_device *dev, uint64_t *ticket, const void *src,
                            size_t bytes, lx_error *err);
int lx_cuda_take(lx_device *dev, uint64_t ticket, void *dst, size_t bytes, lx_error *err);
void lx_cuda_staging_free(lx_cuda_staging *staging); /* when nothing is queued */

#endif
