/*
 * conv2d and its gradients (kernels/conv2d.h), by a library. Weights are [Co, kh, kw, Ci] to it.
 *
 * Bias and add are written to y first, and the convolution is added to them. Weight gradients come
 * in the type of the images, the only one cuDNN gives for them, and are added to F32 or become it.
 */
#include "kernels/conv2d.h"

#include "kernels/cuda/library.h"

/* x [B,h,w,Ci], y [B,h',w',Co], w [Co,Ci,kh,kw]: shapes only. */
static lx_conv_spec spec_of(const lx_call *call, lx_conv_kind kind, const lx_arg *x,
                            const lx_arg *y, const lx_arg *w)
{
    return (lx_conv_spec){
        .kind = kind,
        .batch = x->shape[0],
        .h = x->shape[1],
        .w = x->shape[2],
        .channels_in = x->shape[3],
        .h_out = y->shape[1],
        .w_out = y->shape[2],
        .channels_out = y->shape[3],
        .kh = w->shape[2],
        .kw = w->shape[3],
        .stride = call->attrs.conv.stride,
        .pad_top = call->attrs.conv.pad_top,
        .pad_left = call->attrs.conv.pad_left,
        .pad_bottom = call->attrs.conv.pad_bottom,
        .pad_right = call->attrs.conv.pad_right,
        .in = call->in[0].dtype,
        .out = call->in[0].dtype,
    };
}

static int set_up(lx_device *dev, lx_call *call, bool is_sizing, const lx_conv_spec *spec,
                  lx_cuda_product product, lx_error *err)
{
    lx_cuda_library *lib = lx_cuda_context_of(dev)->library;
    size_t workspace;
    int rc;

    if (product.has_weight)
        product.weight = lx_cuda_weight_of(call, spec->in);
    if ((rc = lib->conv(lib, &product.plan, &workspace, spec, err)) < 0)
        return rc;
    return lx_cuda_product_keep(dev, call, is_sizing, product, workspace, err);
}

lx_conv_spec lx_cuda_conv_spec(const lx_call *call, bool adds)
{
    lx_conv_spec spec =
        spec_of(call, LX_CONV_FORWARD, &call->in[0], &call->out[0], &call->in[1]);

    spec.adds = adds;
    return spec;
}

static int prepare_conv2d(lx_device *dev, lx_call *call, bool is_sizing, lx_error *err)
{
    const bool adds = lx_in_present(call, 2) || lx_in_present(call, 3);
    const lx_conv_spec spec = lx_cuda_conv_spec(call, adds),
                       alone = lx_cuda_conv_spec(call, false);
    const lx_cuda_product product = {.has_weight = true};
    int rc = set_up(dev, call, is_sizing, &spec, product, err);

    /* Joined (norms.h) it adds nothing, and may want another workspace. */
    if (rc >= 0 && is_sizing && adds && call->in[0].dtype != LX_F32) {
        const size_t bytes = call->scratch_bytes;
        rc = set_up(dev, call, true, &alone, product, err);
        if (call->scratch_bytes < bytes)
            call->scratch_bytes = bytes;
    }
    return rc;
}

static void run_conv2d(lx_device *dev, const lx_call *call)
{
    lx_cuda_context *ctx = lx_cuda_context_of(dev);
    const lx_cuda_product *s = call->state;
    const void *w = lx_cuda_weight_at(dev, &s->weight, call, call->scratch);
    const void *add = lx_in_present(call, 3) ? call->in[3].data : NULL;
    lx_arg y = call->out[0];

    if (lx_in_present(call, 2) || (add && add != y.data))
        lx_cuda_start_rows(dev, &y, add, lx_in_present(call, 2) ? &call->in[2] : NULL);
    ctx->library->conv_run(ctx->library, s->plan, &ctx->queue, y.data, call->in[0].data,
                           w, (char *)call->scratch + s->weight.scratch_bytes);
}

static int prepare_conv2d_dx(lx_device *dev, lx_call *call, bool is_sizing, lx_error *err)
{
    const lx_conv_spec spec =
        spec_of(call, LX_CONV_DATA, &call->out[0], &call->in[0], &call->in[1]);

    return set_up(dev, call, is_sizing, &spec, (lx_cuda_product){.has_weight = true},
                  err);
}

static void run_conv2d_dx(lx_device *dev, const lx_call *call)
{
    lx_cuda_context *ctx = lx_cuda_context_of(dev);
    const lx_cuda_product *s = call->state;
    const void *w = lx_cuda_weight_at(dev, &s->weight, call, call->scratch);

    ctx->library->conv_run(ctx->library, s->plan, &ctx->queue, call->out[0].data,
                           call->in[0].data, w,
                           (char *)call->scratch + s->weight.scratch_bytes);
}

static int prepare_conv2d_dw(lx_device *dev, lx_call *call, bool is_sizing, lx_error *err)
{
    const lx_conv_spec spec =
        spec_of(call, LX_CONV_WEIGHT, &call->in[1], &call->in[0], &call->out[0]);
    const lx_cuda_product s = {.gradient_bytes = lx_cuda_round_up(
                                   (size_t)lx_arg_count(&call->out[0]) * sizeof(float))};

    return set_up(dev, call, is_sizing, &spec, s, err);
}

static void run_conv2d_dw(lx_device *dev, const lx_call *call)
{
    lx_cuda_context *ctx = lx_cuda_context_of(dev);
    const lx_cuda_product *s = call->state;
    const lx_arg *dw = &call->out[0];

    ctx->library->conv_run(ctx->library, s->plan, &ctx->queue, call->scratch,
                           call->in[0].data, call->in[1].data,
                           (char *)call->scratch + s->gradient_bytes);
    lx_cuda_add_unpacked(dev, dw->data, call->scratch, call->in[0].dtype, dw->shape[0],
                         dw->shape[1], dw->shape[2] * dw->shape[3],
                         call->attrs.conv.sets);
}

const lx_kernel lx_cuda_conv2d = {prepare_conv2d, run_conv2d, lx_cuda_product_release};
const lx_kernel lx_cuda_conv2d_dx = {prepare_conv2d_dx, run_conv2d_dx,
                                     lx_cuda_product_release};
const lx_kernel lx_cuda_conv2d_dw = {prepare_conv2d_dw, run_conv2d_dw,
                                     lx_cuda_product_release};
