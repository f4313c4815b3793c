/*
 * linear and its gradients (kernels/linear.h), by a library: rows of x are rows of one product.
 *
 * A bias of another type than y, which a library does not take, is written to y beforehand and
 * added as `add` is.
 */
#include "kernels/linear.h"

#include "kernels/cuda/library.h"
#include "src/base/alloc.h"

typedef struct state {
    lx_cuda_plan *plan;
    lx_cuda_weight weight;
    bool begins_with_bias; /* y is add + bias before the product */
} state;

static bool is_there(const lx_call *call, int i)
{
    return i < call->n_in && call->in[i].n_dims >= 0;
}

static int64_t width_of(const lx_arg *arg)
{
    return arg->n_dims > 0 ? arg->shape[arg->n_dims - 1] : 1;
}

static int64_t rows_of(const lx_arg *arg)
{
    return width_of(arg) ? lx_cuda_count(arg) / width_of(arg) : 0;
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

/* The plan, the weight and the scratch of a call. has_weight: operand 1 is one. */
static int set_up(lx_device *dev, lx_call *call, bool is_sizing, const lx_gemm_spec *spec,
                  state s, bool has_weight, lx_error *err)
{
    lx_cuda_library *lib = lx_cuda_context_of(dev)->library;
    size_t workspace;
    state *kept;
    int rc;

    if (has_weight)
        s.weight = lx_cuda_weight_of(call, spec->in);
    if ((rc = lib->gemm(lib, &s.plan, &workspace, spec, err)) < 0)
        return rc;
    if (is_sizing) {
        call->scratch_bytes = s.weight.scratch_bytes + workspace;
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

static int prepare_linear(lx_device *dev, lx_call *call, bool is_sizing, lx_error *err)
{
    const lx_arg *x = &call->in[0], *bias = &call->in[2];
    const bool has_bias = is_there(call, 2), has_add = is_there(call, 3);
    const state s = {.begins_with_bias = has_bias && bias->dtype != x->dtype};
    const lx_gemm_spec spec = {
        .m = rows_of(x),
        .n = call->in[1].shape[0],
        .k = width_of(x),
        .is_b_transposed = true,
        .has_add = has_add || s.begins_with_bias,
        .has_bias = has_bias && !s.begins_with_bias,
        .in = x->dtype,
        .out = x->dtype,
        .is_b_loose = !call->in[1].is_frozen && call->in[1].dtype == x->dtype,
    };

    return set_up(dev, call, is_sizing, &spec, s, true, err);
}

static void run_linear(lx_device *dev, const lx_call *call)
{
    lx_cuda_context *ctx = lx_cuda_context_of(dev);
    const state *s = call->state;
    const void *w = lx_cuda_weight_at(dev, &s->weight, call, call->scratch);
    const void *bias = is_there(call, 2) ? call->in[2].data : NULL;
    const void *add = is_there(call, 3) ? call->in[3].data : NULL;
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
        .m = rows_of(dy),
        .n = width_of(&call->out[0]),
        .k = width_of(dy),
        .has_add = is_there(call, 2),
        .in = dy->dtype,
        .out = dy->dtype,
        .is_b_loose = !call->in[1].is_frozen && call->in[1].dtype == dy->dtype,
    };

    return set_up(dev, call, is_sizing, &spec, (state){0}, true, err);
}

static void run_linear_dx(lx_device *dev, const lx_call *call)
{
    lx_cuda_context *ctx = lx_cuda_context_of(dev);
    const state *s = call->state;
    const void *w = lx_cuda_weight_at(dev, &s->weight, call, call->scratch);

    ctx->library->gemm_run(
        ctx->library, s->plan, &ctx->queue, call->out[0].data, call->in[0].data, w,
        is_there(call, 2) ? call->in[2].data : NULL, NULL, call->attrs.linear.scale,
        (char *)call->scratch + s->weight.scratch_bytes);
}

static int prepare_linear_dw(lx_device *dev, lx_call *call, bool is_sizing, lx_error *err)
{
    const lx_arg *dy = &call->in[0], *x = &call->in[1];
    const lx_gemm_spec spec = {
        .m = width_of(dy),
        .n = width_of(x),
        .k = rows_of(dy),
        .is_a_transposed = true,
        .has_add = true,
        .in = dy->dtype,
        .out = LX_F32,
        .is_d_loose = true,
    };

    return set_up(dev, call, is_sizing, &spec, (state){0}, false, err);
}

static void run_linear_dw(lx_device *dev, const lx_call *call)
{
    lx_cuda_context *ctx = lx_cuda_context_of(dev);
    const state *s = call->state;
    void *dw = call->out[0].data;

    ctx->library->gemm_run(ctx->library, s->plan, &ctx->queue, dw, call->in[0].data,
                           call->in[1].data, dw, NULL, call->attrs.linear.scale,
                           call->scratch);
}

const lx_kernel lx_cuda_linear = {prepare_linear, run_linear, release};
const lx_kernel lx_cuda_linear_dx = {prepare_linear_dx, run_linear_dx, release};
const lx_kernel lx_cuda_linear_dw = {prepare_linear_dw, run_linear_dw, release};
