/* Which calls around a GroupNorm are one with it: see norms.h. */
#include "kernels/cuda/norms.h"

#include <string.h>

#include "kernels/cuda/library.h"
#include "src/base/alloc.h"

/* What the calls of a forward group are; -1: there is none. The norm, or the shortcut, is the last. */
typedef struct members {
    int conv, add, concat, norm, shortcut;
} members;

static bool is_half(const lx_arg *arg)
{
    return arg->dtype == LX_F16 || arg->dtype == LX_BF16;
}

static bool is_there(const lx_call *call, int i)
{
    return lx_in_present(call, i);
}

/* A call that only this one's neighbour reads. */
static bool feeds(const lx_call *from, const lx_call *to, int k)
{
    return from->out[0].id == to->in[k].id && from->out[0].n_readers == 1;
}

/* [C] or [B, C] onto [B, .., C] */
static bool is_broadcast(const lx_call *add)
{
    const lx_arg *a = &add->in[0], *b = &add->in[1];
    const int64_t C = lx_arg_width(a), n = lx_arg_count(b);

    return a->n_dims > 2 && (n == C || n == C * a->shape[0]) && n != lx_arg_count(a);
}

static bool is_along_channels(const lx_call *concat)
{
    const lx_arg *a = &concat->in[0], *y = &concat->out[0];

    for (int i = 0; i + 1 < y->n_dims; i++)
        if (a->shape[i] != y->shape[i])
            return false;
    return a->dtype == concat->in[1].dtype;
}

/* A frozen product with a bias and without LoRA that is added to what the convolution alone before it makes. */
static bool is_shortcut(const lx_call *calls, size_t n)
{
    const lx_call *conv = &calls[0], *linear = &calls[1];

    if (n < 2 || linear->op != LX_OP_linear || !is_there(linear, 3) ||
        !feeds(conv, linear, 3) || is_there(conv, 3) || !is_there(conv, 2) ||
        !conv->in[2].is_frozen || !linear->in[1].is_frozen || !is_there(linear, 2) ||
        !linear->in[2].is_frozen)
        return false;
    for (size_t i = 2; i < n && i < 4; i++)
        if (calls[i].op == LX_OP_linear && calls[i].in[3].id == linear->out[0].id)
            return false;
    return true;
}

/* The forward group that begins with the first of n calls; false: there is none. */
static bool find_members(members *m, const lx_call *calls, size_t n)
{
    size_t i = 0;

    *m = (members){-1, -1, -1, -1, -1};
    if (!is_half(&calls[0].in[0]))
        return false;
    if (calls[0].op == LX_OP_conv2d) {
        if (!calls[0].in[1].is_frozen)
            return false;
        m->conv = (int)i++;
        if (is_shortcut(calls, n)) {
            m->shortcut = 1;
            return true;
        }
        if (i < n && calls[i].op == LX_OP_add && feeds(&calls[0], &calls[i], 0) &&
            !is_there(&calls[0], 3) && is_broadcast(&calls[i]))
            m->add = (int)i++;
    }
    if (i < n && calls[i].op == LX_OP_concat && is_along_channels(&calls[i]) &&
        (!i || feeds(&calls[i - 1], &calls[i], 0)))
        m->concat = (int)i++;
    if (!i || i >= n || calls[i].op != LX_OP_group_norm ||
        calls[i].in[0].id != calls[i - 1].out[0].id)
        return false;
    m->norm = (int)i;
    return true;
}

/* A gradient that only the slices behind it read, which together are all of it or the rest of which nobody wants. */
static size_t count_parts(const lx_call *calls, size_t n)
{
    const lx_arg *dx = &calls[0].out[0];
    size_t i = 1;
    int64_t at = 0;

    for (; i < n && i < 3 && calls[i].op == LX_OP_slice && calls[i].in[0].id == dx->id &&
           calls[i].attrs.slice.dim == dx->n_dims - 1 && calls[i].attrs.slice.begin == at;
         i++)
        at = calls[i].attrs.slice.end;
    return dx->n_readers == (int)i - 1 ? i : 1;
}

/* The operand of `add` that is not the norm's gradient; -1: it does not add to that. */
static int other_term(const lx_call *norm, const lx_call *add)
{
    const lx_arg *dx = &norm->out[0];

    if (add->op != LX_OP_add || dx->dtype != add->in[0].dtype ||
        dx->dtype != add->in[1].dtype ||
        lx_arg_count(&add->in[0]) != lx_arg_count(&add->in[1]))
        return -1;
    return add->in[0].id == dx->id ? 1 : add->in[1].id == dx->id ? 0 : -1;
}

bool lx_cuda_begins_norm(lx_op_id op)
{
    return op == LX_OP_conv2d || op == LX_OP_concat || op == LX_OP_group_norm_dx;
}

size_t lx_cuda_count_norm(const lx_call *calls, size_t n)
{
    members m;

    if (calls[0].op == LX_OP_group_norm_dx)
        return n > 1 && other_term(&calls[0], &calls[1]) >= 0 ? 2 : count_parts(calls, n);
    if (!find_members(&m, calls, n))
        return 1;
    return 1 + (size_t)(m.shortcut > 0 ? m.shortcut : m.norm);
}

/* ---- the device's ------------------------------------------------------------------- */

typedef struct around {
    members m;
    lx_cuda_plan *convolution, *product; /* NULL: none */
    lx_cuda_weight weight, of_shortcut;
    void *biases; /* of both */
    lx_cuda_norm_source source;
    lx_cuda_norm_parts parts;
} around;

void lx_cuda_release_norm(lx_device *dev, lx_call *calls, size_t n)
{
    around *a = calls[0].state;

    if (!a)
        return;
    lx_cuda_weight_release(dev, &a->weight, &calls[0]);
    lx_cuda_weight_release(dev, &a->of_shortcut, &calls[1]);
    dev->free(dev, a->biases);
    lx_free(a);
    calls[0].state = NULL;
}

/* Scratch was placed for what the calls want one by one (place.c): what they want together must fit in. */
static int check_workspace(const lx_call *calls, size_t n, size_t workspace,
                           lx_error *err)
{
    size_t most = 0;

    for (size_t i = 0; i < n; i++)
        if (most < calls[i].scratch_bytes)
            most = calls[i].scratch_bytes;
    return workspace <= most
               ? LX_OK
               : lx_fail(err, LX_EINTERNAL,
                         "joined, the call works in %zu bytes, and %zu are there",
                         workspace, most);
}

/* The convolution alone: what it is added to comes later. */
static int prepare_conv(lx_device *dev, around *a, lx_call *conv, size_t n, lx_error *err)
{
    lx_cuda_library *lib = lx_cuda_context_of(dev)->library;
    const lx_conv_spec spec = lx_cuda_conv_spec(conv, false);
    size_t workspace;
    int rc = lib->conv(lib, &a->convolution, &workspace, &spec, err);

    if (rc < 0 || (rc = check_workspace(conv, n, workspace, err)) < 0)
        return rc;
    a->weight = lx_cuda_weight_of(conv, spec.in);
    return lx_cuda_weight_place(dev, &a->weight, conv, err);
}

/* The sum of both biases, in y's type: they are frozen. */
static int add_biases(lx_device *dev, around *a, const lx_call *conv,
                      const lx_call *linear, lx_error *err)
{
    const int64_t N = lx_arg_width(&linear->out[0]);
    lx_arg sum = {.dtype = linear->out[0].dtype, .n_dims = 1, .shape = {N}};
    int rc = dev->alloc_unset(dev, &a->biases,
                              (size_t)N * (size_t)lx_dtype_bits(sum.dtype) / 8, err);

    if (rc < 0)
        return rc;
    sum.data = a->biases;
    lx_cuda_pack_weight(dev, sum.data, sum.dtype, &linear->in[2], 1, N, 1);
    lx_cuda_start_rows(dev, &sum, sum.data, &conv->in[2]);
    return LX_OK;
}

/* calls: the convolution, the product. */
static int prepare_shortcut(lx_device *dev, around *a, lx_call *calls, lx_error *err)
{
    const lx_call *conv = &calls[0];
    lx_call *linear = &calls[1];
    lx_cuda_library *lib = lx_cuda_context_of(dev)->library;
    const lx_arg *x = &linear->in[0];
    const lx_gemm_spec spec = {
        .m = lx_arg_rows(x),
        .n = linear->in[1].shape[0],
        .k = lx_arg_width(x),
        .is_b_transposed = true,
        .has_add = true,
        .has_bias = true,
        .in = x->dtype,
        .out = x->dtype,
    };
    size_t workspace;
    int rc = lib->gemm(lib, &a->product, &workspace, &spec, err);

    if (rc < 0 || (rc = check_workspace(calls, 2, workspace, err)) < 0)
        return rc;
    a->of_shortcut = lx_cuda_weight_of(linear, x->dtype);
    if ((rc = lx_cuda_weight_place(dev, &a->of_shortcut, linear, err)) < 0)
        return rc;
    return add_biases(dev, a, conv, linear, err);
}

static lx_cuda_norm_source source_of(const members *m, const lx_call *calls)
{
    const lx_call *conv = m->conv < 0 ? NULL : &calls[m->conv],
                  *add = m->add < 0 ? NULL : &calls[m->add],
                  *concat = m->concat < 0 ? NULL : &calls[m->concat];
    const lx_arg *a = conv ? &conv->out[0] : &concat->in[0];
    lx_cuda_norm_source s = {.a = a->data, .width = (int)lx_arg_width(a)};

    s.x = calls[m->norm].in[0].data;
    s.b = concat ? concat->in[1].data : NULL;
    if (conv && is_there(conv, 2)) {
        s.bias = conv->in[2].data;
        s.bias_dtype = (int)conv->in[2].dtype;
    }
    if (conv && is_there(conv, 3))
        s.plus = conv->in[3].data;
    if (add) {
        s.shift = add->in[1].data;
        s.shift_dtype = (int)add->in[1].dtype;
        s.shift_step = lx_arg_count(&add->in[1]) == s.width ? 0 : s.width;
    }
    return s;
}

static lx_cuda_norm_parts parts_of(const lx_call *calls, size_t n)
{
    if (calls[1].op == LX_OP_add)
        return (lx_cuda_norm_parts){
            .a = calls[0].out[0].n_readers == 1 ? NULL : calls[0].out[0].data,
            .width = (int)lx_arg_width(&calls[0].out[0]),
            .sum = calls[1].out[0].data,
            .more = calls[1].in[other_term(&calls[0], &calls[1])].data,
        };
    return (lx_cuda_norm_parts){
        .a = calls[1].out[0].data,
        .b = n > 2 ? calls[2].out[0].data : NULL,
        .width = (int)lx_arg_width(&calls[1].out[0]),
    };
}

int lx_cuda_prepare_norm(lx_device *dev, lx_call *calls, size_t n, lx_error *err)
{
    around *a = lx_calloc(1, sizeof *a);
    int rc = LX_OK;

    if (!a)
        return lx_oom(err);
    calls[0].state = a;
    if (calls[0].op == LX_OP_group_norm_dx) {
        a->parts = parts_of(calls, n);
        return LX_OK;
    }
    if (!find_members(&a->m, calls, n))
        rc = lx_fail(err, LX_EINTERNAL, "joined calls do not fit together");
    else if (a->m.conv >= 0)
        rc = prepare_conv(dev, a, calls, n, err);
    if (rc >= 0 && a->m.shortcut > 0)
        rc = prepare_shortcut(dev, a, calls, err);
    else if (rc >= 0)
        a->source = source_of(&a->m, calls);
    if (rc < 0)
        lx_cuda_release_norm(dev, calls, n);
    return rc;
}

void lx_cuda_run_norm(lx_device *dev, const lx_call *calls, size_t n)
{
    lx_cuda_context *ctx = lx_cuda_context_of(dev);
    const around *a = calls[0].state;

    if (calls[0].op == LX_OP_group_norm_dx) {
        lx_cuda_group_norm_dx_to(dev, &calls[0], calls[0].scratch, &a->parts);
        return;
    }
    if (a->convolution)
        ctx->library->conv_run(ctx->library, a->convolution, &ctx->queue,
                               calls[0].out[0].data, calls[0].in[0].data, a->weight.data,
                               calls[0].scratch);
    if (a->product)
        ctx->library->gemm_run(ctx->library, a->product, &ctx->queue,
                               calls[1].out[0].data, calls[1].in[0].data,
                               a->of_shortcut.data, calls[0].out[0].data, a->biases,
                               calls[1].attrs.linear.scale, calls[0].scratch);
    else
        lx_cuda_group_norm_of(dev, &calls[a->m.norm], calls[0].scratch, &a->source);
}
