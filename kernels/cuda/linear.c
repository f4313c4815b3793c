/*
 * linear and its gradients (kernels/linear.h), by a library: rows of x are rows of one product.
 *
 * A bias of another type than y, which a library does not take, is copied once if it is frozen, else
 * written to y beforehand and added as `add` is.
 */
#include "kernels/linear.h"

#include "kernels/cuda/library.h"

/*
 * Read where it lies, perhaps at a multiple of 4 bytes only: the factors of a LoRA, trained or not, stand back to
 * back. Weights of the model, which have a source, each have memory of their own.
 */
static bool is_loose(const lx_arg *w, lx_dtype dtype)
{
    return w->dtype == dtype && !w->source;
}

static int set_up(lx_device *dev, lx_call *call, bool is_sizing, const lx_gemm_spec *spec,
                  lx_cuda_product product, lx_error *err)
{
    lx_cuda_library *lib = lx_cuda_context_of(dev)->library;
    size_t workspace;
    int rc;

    if (product.has_weight)
        product.weight = lx_cuda_weight_of(call, spec->in);
    if ((rc = lib->gemm(lib, &product.plan, &workspace, spec, err)) < 0)
        return rc;
    return lx_cuda_product_keep(dev, call, is_sizing, product, workspace, err);
}

static int prepare_linear(lx_device *dev, lx_call *call, bool is_sizing, lx_error *err)
{
    const lx_arg *x = &call->in[0], *bias = &call->in[2];
    const bool has_bias = lx_in_present(call, 2), has_add = lx_in_present(call, 3);
    const bool differs = has_bias && bias->dtype != x->dtype;
    const lx_cuda_product s = {.has_weight = true,
                               .begins_with_bias = differs && !bias->is_frozen,
                               .packs_bias = differs && bias->is_frozen};
    const lx_gemm_spec spec = {
        .m = lx_arg_rows(x),
        .n = call->in[1].shape[0],
        .k = lx_arg_width(x),
        .is_b_transposed = true,
        .has_add = has_add || s.begins_with_bias,
        .has_bias = has_bias && !s.begins_with_bias,
        .in = x->dtype,
        .out = x->dtype,
        .is_b_loose = is_loose(&call->in[1], x->dtype),
    };

    return set_up(dev, call, is_sizing, &spec, s, err);
}

static void run_linear(lx_device *dev, const lx_call *call)
{
    lx_cuda_context *ctx = lx_cuda_context_of(dev);
    const lx_cuda_product *s = call->state;
    const void *w = lx_cuda_weight_at(dev, &s->weight, call, call->scratch);
    const void *bias = s->packs_bias            ? s->bias
                       : lx_in_present(call, 2) ? call->in[2].data
                                                : NULL;
    const void *add = lx_in_present(call, 3) ? call->in[3].data : NULL;
    lx_arg y = call->out[0];

    if (s->begins_with_bias) {
        lx_cuda_start_rows(dev, &y, add, &call->in[2]);
        add = y.data;
        bias = NULL;
    }
    ctx->library->gemm_run(ctx->library, s->plan, &ctx->queue, y.data, call->in[0].data,
                           w, add, bias, call->attrs.linear.scale,
                           (char *)call->scratch + s->weight.scratch_bytes);
}

static int prepare_linear_dx(lx_device *dev, lx_call *call, bool is_sizing, lx_error *err)
{
    const lx_arg *dy = &call->in[0];
    const lx_gemm_spec spec = {
        .m = lx_arg_rows(dy),
        .n = lx_arg_width(&call->out[0]),
        .k = lx_arg_width(dy),
        .has_add = lx_in_present(call, 2),
        .in = dy->dtype,
        .out = dy->dtype,
        .is_b_loose = is_loose(&call->in[1], dy->dtype),
    };

    return set_up(dev, call, is_sizing, &spec, (lx_cuda_product){.has_weight = true},
                  err);
}

static void run_linear_dx(lx_device *dev, const lx_call *call)
{
    lx_cuda_context *ctx = lx_cuda_context_of(dev);
    const lx_cuda_product *s = call->state;
    const void *w = lx_cuda_weight_at(dev, &s->weight, call, call->scratch);

    ctx->library->gemm_run(
        ctx->library, s->plan, &ctx->queue, call->out[0].data, call->in[0].data, w,
        lx_in_present(call, 2) ? call->in[2].data : NULL, NULL, call->attrs.linear.scale,
        (char *)call->scratch + s->weight.scratch_bytes);
}

static int prepare_linear_dw(lx_device *dev, lx_call *call, bool is_sizing, lx_error *err)
{
    const lx_arg *dy = &call->in[0], *x = &call->in[1];
    const lx_gemm_spec spec = {
        .m = lx_arg_width(dy),
        .n = lx_arg_width(x),
        .k = lx_arg_rows(dy),
        .is_a_transposed = true,
        .has_add = !call->attrs.linear.sets,
        .in = dy->dtype,
        .out = LX_F32,
        .is_d_loose = true,
    };

    return set_up(dev, call, is_sizing, &spec, (lx_cuda_product){0}, err);
}

static void run_linear_dw(lx_device *dev, const lx_call *call)
{
    lx_cuda_context *ctx = lx_cuda_context_of(dev);
    const lx_cuda_product *s = call->state;
    void *dw = call->out[0].data;

    ctx->library->gemm_run(ctx->library, s->plan, &ctx->queue, dw, call->in[0].data,
                           call->in[1].data, call->attrs.linear.sets ? NULL : dw, NULL,
                           call->attrs.linear.scale, call->scratch);
}

const lx_kernel lx_cuda_linear = {prepare_linear, run_linear, lx_cuda_product_release};
const lx_kernel lx_cuda_linear_dx = {prepare_linear_dx, run_linear_dx,
                                     lx_cuda_product_release};
const lx_kernel lx_cuda_linear_dw = {prepare_linear_dw, run_linear_dw,
                                     lx_cuda_product_release};
