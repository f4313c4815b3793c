/*
 * conv2d and its gradients (kernels/conv2d.h), by a library. Weights are [Co, kh, kw, Ci] to it.
 *
 * Bias and add are written to y first, and the convolution is added to them. Weight gradients come
 * in the type of the images, the only one cuDNN gives for them, and are added to F32.
 */
#include "kernels/conv2d.h"

#include "kernels/cuda/library.h"
#include "src/base/alloc.h"

typedef struct state {
    lx_cuda_plan *plan;
    lx_cuda_weight weight;
    size_t gradient_bytes; /* of dw in the library's order, in scratch */
} state;

static bool is_there(const lx_call *call, int i)
{
    return i < call->n_in && call->in[i].n_dims >= 0;
}

static void release(lx_device *dev, lx_call *call)
{
    state *s = call->state;

    if (!s)
        return;
    lx_cuda_weight_drop(dev, &s->weight, call);
    lx_free(s);
    call->state = NULL;
}

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
                  state s, lx_error *err)
{
    lx_cuda_library *lib = lx_cuda_context_of(dev)->library;
    const bool has_weight = spec->kind != LX_CONV_WEIGHT;
    size_t workspace;
    state *kept;
    int rc;

    if (has_weight)
        s.weight = lx_cuda_weight_of(call, spec->in);
    if ((rc = lib->conv(lib, &s.plan, &workspace, spec, err)) < 0)
        return rc;
    if (is_sizing) {
        call->scratch_bytes = s.weight.scratch_bytes + s.gradient_bytes + workspace;
        return LX_OK;
    }
    if (!(kept = lx_alloc(sizeof *kept)))
        return lx_oom(err);
    if (has_weight && (rc = lx_cuda_weight_place(dev, &s.weight, call, err)) < 0) {
        lx_free(kept);
        return rc;
    }
    *kept = s;
    call->state = kept;
    return LX_OK;
}

static int prepare_conv2d(lx_device *dev, lx_call *call, bool is_sizing, lx_error *err)
{
    lx_conv_spec spec =
        spec_of(call, LX_CONV_FORWARD, &call->in[0], &call->out[0], &call->in[1]);

    spec.adds = is_there(call, 2) || is_there(call, 3);
    return set_up(dev, call, is_sizing, &spec, (state){0}, err);
}

static void run_conv2d(lx_device *dev, const lx_call *call)
{
    lx_cuda_context *ctx = lx_cuda_context_of(dev);
    const state *s = call->state;
    const void *w = lx_cuda_weight_at(dev, &s->weight, call, call->scratch);
    const void *add = is_there(call, 3) ? call->in[3].data : NULL;
    lx_arg y = call->out[0];

    if (is_there(call, 2) || (add && add != y.data))
        lx_cuda_start_rows(dev, &y, add, is_there(call, 2) ? &call->in[2] : NULL);
    ctx->library->conv_run(ctx->library, s->plan, &ctx->queue, y.data, call->in[0].data,
                           w, (char *)call->scratch + s->weight.scratch_bytes);
}

static int prepare_conv2d_dx(lx_device *dev, lx_call *call, bool is_sizing, lx_error *err)
{
    const lx_conv_spec spec =
        spec_of(call, LX_CONV_DATA, &call->out[0], &call->in[0], &call->in[1]);

    return set_up(dev, call, is_sizing, &spec, (state){0}, err);
}

static void run_conv2d_dx(lx_device *dev, const lx_call *call)
{
    lx_cuda_context *ctx = lx_cuda_context_of(dev);
    const state *s = call->state;
    const void *w = lx_cuda_weight_at(dev, &s->weight, call, call->scratch);

    ctx->library->conv_run(ctx->library, s->plan, &ctx->queue, call->out[0].data,
                           call->in[0].data, w,
                           (char *)call->scratch + s->weight.scratch_bytes);
}

static int prepare_conv2d_dw(lx_device *dev, lx_call *call, bool is_sizing, lx_error *err)
{
    const lx_conv_spec spec =
        spec_of(call, LX_CONV_WEIGHT, &call->in[1], &call->in[0], &call->out[0]);
    const state s = {.gradient_bytes = lx_cuda_round_up(
                         (size_t)lx_cuda_count(&call->out[0]) * sizeof(float))};

    return set_up(dev, call, is_sizing, &spec, s, err);
}

static void run_conv2d_dw(lx_device *dev, const lx_call *call)
{
    lx_cuda_context *ctx = lx_cuda_context_of(dev);
    const state *s = call->state;
    const lx_arg *dw = &call->out[0];

    ctx->library->conv_run(ctx->library, s->plan, &ctx->queue, call->scratch,
                           call->in[0].data, call->in[1].data,
                           (char *)call->scratch + s->gradient_bytes);
    lx_cuda_add_unpacked(dev, dw->data, call->scratch, call->in[0].dtype, dw->shape[0],
                         dw->shape[1], dw->shape[2] * dw->shape[3]);
}

const lx_kernel lx_cuda_conv2d = {prepare_conv2d, run_conv2d, release};
const lx_kernel lx_cuda_conv2d_dx = {prepare_conv2d_dx, run_conv2d_dx, release};
const lx_kernel lx_cuda_conv2d_dw = {prepare_conv2d_dw, run_conv2d_dw, release};
