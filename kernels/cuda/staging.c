/*
 * Copies that nobody waits for, through pinned memory: a slot each, used again when its copy is
 * done. A training needs a dozen of them; they are made in its first steps.
 *
 * What goes to the GPU crosses the bus on a stream of its own, while the step before may still run, and lands
 * in memory of the slot; from there it is copied to its place in the order of what is queued. Where there is no
 * such memory, or it would be much, it crosses the bus in that order too.
 */
#include "kernels/cuda/staging.h"

#include <cuda_runtime_api.h>
#include <string.h>

#include "src/base/alloc.h"

enum { LEAST_BYTES = 4096, MOST_LANDED = 1 << 20 };

typedef struct slot {
    void *pinned;
    void *landing;       /* on the GPU; NULL = none */
    bool has_no_landing; /* and there will be none */
    size_t bytes;
    cudaEvent_t done, landed;
    uint64_t ticket; /* of a download that has not been taken; 0 = free once `done` */
} slot;

struct lx_cuda_staging {
    slot *slots;
    size_t n_slots, capacity;
    uint64_t last_ticket;
    cudaStream_t bus;
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
    if (!s->bus) {
        const int error = cudaStreamCreateWithFlags(&s->bus, cudaStreamNonBlocking);
        if (error)
            return fail(err, "a stream for copies", error);
    }
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

/* Memory for what crosses the bus early. That there is none is no error. */
static void make_landing(lx_device *dev, slot *one)
{
    lx_error unused = {0};

    if (one->landing || one->has_no_landing)
        return;
    if (one->bytes <= MOST_LANDED &&
        cudaEventCreateWithFlags(&one->landed, cudaEventDisableTiming) == cudaSuccess) {
        if (dev->alloc_unset(dev, &one->landing, one->bytes, &unused) == LX_OK)
            return;
        one->landing = NULL;
        cudaEventDestroy(one->landed);
    }
    one->has_no_landing = true;
}

/* From a slot to dst, in the order of the queue. */
static int copy_from(lx_cuda_context *ctx, const slot *one, void *dst, size_t bytes)
{
    cudaStream_t queue = ctx->queue.stream, bus = ctx->staging->bus;
    int error;

    if (!one->landing)
        return cudaMemcpyAsync(dst, one->pinned, bytes, cudaMemcpyHostToDevice, queue);
    error =
        cudaMemcpyAsync(one->landing, one->pinned, bytes, cudaMemcpyHostToDevice, bus);
    if (!error)
        error = cudaEventRecord(one->landed, bus);
    if (!error)
        error = cudaStreamWaitEvent(queue, one->landed, 0);
    if (!error)
        error =
            cudaMemcpyAsync(dst, one->landing, bytes, cudaMemcpyDeviceToDevice, queue);
    return error;
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
    make_landing(dev, one);
    error = copy_from(ctx, one, dst, bytes);
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
        if (s->slots[i].landing) /* its memory goes with the device's */
            cudaEventDestroy(s->slots[i].landed);
        cudaFreeHost(s->slots[i].pinned);
    }
    if (s->bus)
        cudaStreamDestroy(s->bus);
    lx_free(s->slots);
    lx_free(s);
}
