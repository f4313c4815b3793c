/*
 * data/prefetch - the next images, made ready by a thread while the present ones are worked on
 *
 * Requests are answered in the order in which they were made, by lx_image_tensor as its caller would have
 * called it, so what comes is the same to the bit with and without. A request has a name; who wants
 * pixels asks for them by it and makes them himself when nobody else has. With an encoder the thread goes one
 * step further: what comes is what the VAE makes of the pixels, which then nobody keeps.
 *
 * An error belongs to its request and comes with it; those of requests that nobody takes are dropped. The
 * thread blocks all signals.
 *
 * Order of use, all from one thread: lx_prefetch_new, then _ask and _take in turn, _free.
 */
#ifndef LX_DATA_PREFETCH_H
#define LX_DATA_PREFETCH_H

#include "src/data/pixels.h"

typedef struct lx_prefetch lx_prefetch;

/* x [3, H, W] f32 in -1..1 -> mean and logvar [4, H/8, W/8]. */
typedef int (*lx_encode_image)(void *context, const float *x, int width, int height, float *mean,
                               float *logvar, lx_error *err);

/* How many requests may be open for batches of this size, and what they hold then: the next batch, two images
 * at least. */
int lx_prefetch_depth(size_t largest_batch);
size_t lx_prefetch_bytes(const lx_dataset *dataset, bool is_encoded);

/* For `dataset`'s images, with a mask each if it has_masks. encode NULL: for their pixels; else it is called by
 * the thread alone, from the first request on. */
int lx_prefetch_new(lx_prefetch **out, const lx_dataset *dataset, lx_encode_image encode,
                    void *encode_context, lx_error *err);
/* After what is being made; NULL is fine. */
void lx_prefetch_free(lx_prefetch *prefetch);

typedef struct lx_prefetch_request {
    uint64_t name[2];
    const lx_image *image;
    lx_augment augment;
} lx_prefetch_request;

/* False: as many are open as may be. */
bool lx_prefetch_ask(lx_prefetch *prefetch, const lx_prefetch_request *request);

/*
 * If the oldest open request has this name, waits for it and copies its pixels [3, H, W], or mean and logvar
 * [2, 4, H/8, W/8], and (unless NULL) its mask [H/8, W/8]. Else all open requests are dropped, and *found is false.
 * LX_OK, or the error of the request.
 */
int lx_prefetch_take(bool *found, lx_prefetch *prefetch, const uint64_t name[2],
                     float *values, float *mask, lx_error *err);

#endif
