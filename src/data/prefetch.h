/*
 * data/prefetch - pixels of the next images, made by a thread while the present ones are worked on
 *
 * Requests are answered in the order in which they were made, by lx_image_tensor as its caller would have
 * called it, so what comes is the same to the bit with and without. A request has a name; who wants
 * pixels asks for them by it and makes them himself when nobody else has.
 *
 * An error belongs to its request and comes with it; those of requests that nobody takes are dropped. The
 * thread blocks all signals. The VAE is not its business: on a CPU its arithmetic takes every core anyway.
 *
 * Order of use, all from one thread: lx_prefetch_new, then _ask and _take in turn, _free.
 */
#ifndef LX_DATA_PREFETCH_H
#define LX_DATA_PREFETCH_H

#include "src/data/pixels.h"

typedef struct lx_prefetch lx_prefetch;

/* How many requests may be open for batches of this size, and what they hold then: the next batch, two images
 * at least. */
int lx_prefetch_depth(size_t largest_batch);
size_t lx_prefetch_bytes(const lx_dataset *dataset);

/* For the pixels of `dataset`'s images, with a mask each if it has_masks. */
int lx_prefetch_new(lx_prefetch **out, const lx_dataset *dataset, lx_error *err);
/* After what is being decoded; NULL is fine. */
void lx_prefetch_free(lx_prefetch *prefetch);

typedef struct lx_prefetch_request {
    uint64_t name[2];
    const lx_image *image;
    lx_augment augment;
} lx_prefetch_request;

/* False: as many are open as may be. */
bool lx_prefetch_ask(lx_prefetch *prefetch, const lx_prefetch_request *request);

/*
 * If the oldest open request has this name, waits for it and copies its pixels [3, H, W] and (unless NULL) its
 * mask [H/8, W/8]. Else all open requests are dropped, and *found is false.
 * LX_OK, or the error of the request.
 */
int lx_prefetch_take(bool *found, lx_prefetch *prefetch, const uint64_t name[2],
                     float *pixels, float *mask, lx_error *err);

#endif
