/* Weights for the libraries, in their type and order, and what is kept of a product. */
#include "kernels/cuda/cuda.h"

#include "src/base/alloc.h"

enum { LAYOUT_TAG = 0x4355 << 16, BIAS_TAG = 0x4356 << 16 };
enum { STAGING = 4 << 20 }; /* bytes of a weight on their way */

lx_cuda_weight lx_cuda_weight_of(lx_call *call, lx_dtype dtype)
{
    const lx_arg *arg = &call->in[1];
    lx_cuda_weight w = {.N = arg->shape[0], .dtype = dtype, .taps = 1};
    size_t bytes;

    w.K = arg->n_dims > 1 ? arg->shape[1] : 1;
    for (int i = 2; i < arg->n_dims; i++)
        w.taps *= arg->shape[i];
    if (arg->dtype == dtype && (w.taps == 1 || w.K == 1))
        return w;
    if (arg->narrow && arg->narrow_dtype == dtype && (w.taps == 1 || w.K == 1)) {
        w.data = arg->narrow;
        return w;
    }
    bytes = (size_t)lx_arg_count(arg) * (size_t)lx_dtype_bits(dtype) / 8;
    if (arg->is_frozen) {
        w.layout = (uint64_t)LAYOUT_TAG | (uint64_t)dtype;
        call->packed_bytes = bytes;
        call->packed_layout = w.layout;
    } else {
        w.scratch_bytes = lx_cuda_round_up(bytes);
    }
    return w;
}

/*
 * Packs what is not on the device, rows of N at a time: memory that is gone again before the next weight. The
 * copies and the packing are in order, since the stream waits for the default one (device.c).
 */
static int pack_from_source(lx_device *dev, void *packed, const lx_cuda_weight *w,
                            const lx_arg *arg, lx_error *err)
{
    const int64_t row = w->K * w->taps;
    const size_t row_bytes = (size_t)row * (size_t)lx_dtype_bits(arg->dtype) / 8,
                 packed_row = (size_t)row * (size_t)lx_dtype_bits(w->dtype) / 8;
    const int64_t fit = (int64_t)(STAGING / row_bytes), most = fit < 1 ? 1 : fit;
    lx_arg some = *arg;
    int rc = dev->alloc_unset(dev, &some.data,
                              row_bytes * (size_t)(most < w->N ? most : w->N), err);

    if (rc < 0)
        return rc;
    for (int64_t n = 0; n < w->N && rc >= 0; n += some.shape[0]) {
        some.shape[0] = w->N - n < most ? w->N - n : most;
        rc = arg->source->read(arg->source, some.data, (size_t)(n * row),
                               (size_t)(some.shape[0] * row), err);
        if (rc >= 0)
            lx_cuda_pack_weight(dev, (char *)packed + (size_t)n * packed_row, w->dtype,
                                &some, some.shape[0], w->K, w->taps);
    }
    dev->free(dev, some.data);
    return rc;
}

int lx_cuda_weight_place(lx_device *dev, lx_cuda_weight *w, const lx_call *call,
                         lx_error *err)
{
    const lx_arg *arg = &call->in[1];
    void *packed;
    bool is_new;
    int rc;

    if (!w->layout) {
        if (!w->data)
            w->data = w->scratch_bytes ? NULL : arg->data;
        return LX_OK;
    }
    if ((rc = lx_pack_get(dev, arg, w->layout, call->packed_bytes, &packed, &is_new,
                          err)) < 0)
        return rc;
    if (is_new && !arg->data) {
        if ((rc = pack_from_source(dev, packed, w, arg, err)) < 0) {
            lx_pack_spoil(dev, arg, w->layout);
            return rc;
        }
    } else if (is_new) {
        lx_cuda_pack_weight(dev, packed, w->dtype, arg, w->N, w->K, w->taps);
    }
    w->data = packed;
    return LX_OK;
}

void lx_cuda_weight_release(lx_device *dev, const lx_cuda_weight *w, const lx_call *call)
{
    if (w->layout && w->data)
        lx_pack_put(dev, &call->in[1], w->layout);
}

const void *lx_cuda_weight_at(lx_device *dev, const lx_cuda_weight *w,
                              const lx_call *call, void *scratch)
{
    if (w->data)
        return w->data;
    lx_cuda_pack_weight(dev, scratch, w->dtype, &call->in[1], w->N, w->K, w->taps);
    return scratch;
}

/* The bias in y's type. Its few bytes are not in packed_bytes, which speaks of operand 1. */
static int pack_bias(lx_device *dev, lx_cuda_product *product, const lx_call *call,
                     lx_error *err)
{
    const lx_arg *bias = &call->in[2];
    const lx_dtype dtype = call->out[0].dtype;
    const int64_t n = lx_arg_count(bias);
    void *packed;
    bool is_new;
    int rc =
        lx_pack_get(dev, bias, (uint64_t)BIAS_TAG | (uint64_t)dtype,
                    (size_t)n * (size_t)lx_dtype_bits(dtype) / 8, &packed, &is_new, err);

    if (rc < 0)
        return rc;
    if (is_new)
        lx_cuda_pack_weight(dev, packed, dtype, bias, 1, n, 1);
    product->bias = packed;
    return LX_OK;
}

int lx_cuda_product_keep(lx_device *dev, lx_call *call, bool is_sizing,
                         lx_cuda_product product, size_t workspace, lx_error *err)
{
    lx_cuda_product *kept;
    int rc;

    if (is_sizing) {
        call->scratch_bytes =
            product.weight.scratch_bytes + product.gradient_bytes + workspace;
        return LX_OK;
    }
    if (!(kept = lx_alloc(sizeof *kept)))
        return lx_oom(err);
    if ((product.has_weight &&
         (rc = lx_cuda_weight_place(dev, &product.weight, call, err)) < 0) ||
        (product.packs_bias && (rc = pack_bias(dev, &product, call, err)) < 0)) {
        lx_cuda_weight_release(dev, &product.weight, call);
        lx_free(kept);
        return rc;
    }
    *kept = product;
    call->state = kept;
    return LX_OK;
}

void lx_cuda_product_release(lx_device *dev, lx_call *call)
{
    lx_cuda_product *kept = call->state;

    if (!kept)
        return;
    lx_cuda_weight_release(dev, &kept->weight, call);
    if (kept->packs_bias)
        lx_pack_put(dev, &call->in[2], (uint64_t)BIAS_TAG | (uint64_t)call->out[0].dtype);
    lx_free(kept);
    call->state = NULL;
}
