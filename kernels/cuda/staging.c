/*
 * Copies that nobody waits for, through pinned memory: a slot each, used again when its copy is
 * done. A training needs a dozen of them; they are made in its first steps.
 */
#include "kernels/cuda/staging.h"

#include <cuda_runtime_api.h>
#include <string.h>

#include "src/base/alloc.h"

enum { LEAST_BYTES = 4096 };

typedef struct slot {
    void *pinned;
    size_t bytes;
    cudaEvent_t done;
    uint64_t ticket; /* of a download that has not been taken; 0 = free once `done` */
} slot;

struct lx_cuda_staging {
    slot *slots;
    size_t n_slots, capacity;
    uint64_t last_ticket;
};

static int fail(lx_error *err, const char *what, int error)
{
    return lx_fail(err, LX_EINTERNAL, "%s: %s", what,
                   cudaGetErrorString((cudaError_t)error));
}

static int new_slot(slot **out, lx_cuda_staging *s, size_t bytes, lx_error *err)
{
    slot one = {.bytes = bytes < LEAST_BYTES ? LEAST_BYTES : bytes};
    int error;

    if (lx_grow(&s->slots, &s->capacity, s->n_slots + 1, sizeof one) < 0)
        return lx_oom(err);
    if ((error = cudaMallocHost(&one.pinned, one.bytes)))
        return fail(err, "pinned memory for copies", error);
    if ((error = cudaEventCreateWithFlags(&one.done, cudaEventDisableTiming))) {
        cudaFreeHost(one.pinned);
        return fail(err, "an event on the GPU", error);
    }
    *out = &s->slots[s->n_slots++];
    **out = one;
    return LX_OK;
}

/* The smallest free one that holds so much. */
static int find_slot(slot **out, lx_cuda_context *ctx, size_t bytes, lx_error *err)
{
    lx_cuda_staging *s = ctx->staging;

    if (!s && !(s = ctx->staging = lx_calloc(1, sizeof *s)))
        return lx_oom(err);
    *out = NULL;
    for (size_t i = 0; i < s->n_slots; i++) {
        slot *one = &s->slots[i];
        if (!one->ticket && one->bytes >= bytes &&
            (!*out || one->bytes < (*out)->bytes) &&
            cudaEventQuery(one->done) == cudaSuccess)
            *out = one;
    }
    return *out ? LX_OK : new_slot(out, s, bytes, err);
}

int lx_cuda_upload_queued(lx_device *dev, void *dst, const void *src, size_t bytes,
                          lx_error *err)
{
    lx_cuda_context *ctx = lx_cuda_context_of(dev);
    slot *one;
    int error, rc;

    if (!bytes)
        return LX_OK;
    if ((rc = find_slot(&one, ctx, bytes, err)) < 0)
        return rc;
    memcpy(one->pinned, src, bytes);
    error = cudaMemcpyAsync(dst, one->pinned, bytes, cudaMemcpyHostToDevice,
                            ctx->queue.stream);
    if (!error)
        error = cudaEventRecord(one->done, ctx->queue.stream);
    return error ? fail(err, "copying to the GPU", error) : LX_OK;
}

int lx_cuda_download_queued(lx_device *dev, uint64_t *ticket, const void *src,
                            size_t bytes, lx_error *err)
{
    lx_cuda_context *ctx = lx_cuda_context_of(dev);
    slot *one;
    int error, rc;

    if ((rc = find_slot(&one, ctx, bytes, err)) < 0)
        return rc;
    error = cudaMemcpyAsync(one->pinned, src, bytes, cudaMemcpyDeviceToHost,
                            ctx->queue.stream);
    if (!error)
        error = cudaEventRecord(one->done, ctx->queue.stream);
    if (error)
        return fail(err, "copying from the GPU", error);
    *ticket = one->ticket = ++ctx->staging->last_ticket;
    return LX_OK;
}

int lx_cuda_take(lx_device *dev, uint64_t ticket, void *dst, size_t bytes, lx_error *err)
{
    lx_cuda_context *ctx = lx_cuda_context_of(dev);
    lx_cuda_staging *s = ctx->staging;
    int error, rc = lx_cuda_tell_refused(ctx, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; s && i < s->n_slots; i++) {
        slot *one = &s->slots[i];
        if (one->ticket != ticket)
            continue;
        if ((error = cudaEventSynchronize(one->done)))
            return fail(err, "the GPU stopped", error);
        memcpy(dst, one->pinned, bytes);
        one->ticket = 0;
        return LX_OK;
    }
    return lx_fail(err, LX_EINTERNAL,
                   "nothing is on its way from the GPU under that ticket");
}

void lx_cuda_staging_free(lx_cuda_staging *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_slots; i++) {
        cudaEventDestroy(s->slots[i].done);
        cudaFreeHost(s->slots[i].pinned);
    }
    lx_free(s->slots);
    lx_free(s);
}
