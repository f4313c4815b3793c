/* Which calls begin or end a step as one: see ends.h. */
#include "kernels/cuda/ends.h"

#include "src/base/alloc.h"

static bool is_half(const lx_arg *arg)
{
    return arg->dtype == LX_F16 || arg->dtype == LX_BF16;
}

/* Calls that only calls[i] reads, as operand k. */
static bool feeds(const lx_call *from, int o, const lx_call *to, int k)
{
    return from->out[o].id == to->in[k].id && from->out[o].n_readers == 1;
}

/* [B, C, h, w] f32 with the channels last. */
static bool is_to_channels_last(const lx_call *call)
{
    const int *dims = call->attrs.permute.dims;

    return call->op == LX_OP_permute && call->in[0].n_dims == 4 &&
           call->in[0].dtype == LX_F32 && dims[0] == 0 && dims[1] == 2 && dims[2] == 3 &&
           dims[3] == 1;
}

static bool is_cast_of(const lx_call *cast, const lx_call *x, int o)
{
    return cast->op == LX_OP_cast && is_half(&cast->out[0]) && feeds(x, o, cast, 0);
}

static size_t count_noisy(const lx_call *c, size_t n)
{
    if (n < 3 || !is_to_channels_last(&c[0]) || !is_to_channels_last(&c[1]) ||
        c[2].op != LX_OP_mul_add || !lx_in_present(&c[2], 2) ||
        !feeds(&c[0], 0, &c[2], 1) || c[1].out[0].id != c[2].in[3].id)
        return 1;
    return n > 3 && is_cast_of(&c[3], &c[2], 0) ? 4 : 3;
}

static size_t count_embedding(const lx_call *c, size_t n)
{
    return n > 2 && c[0].op == LX_OP_embedding && c[1].op == LX_OP_add &&
                   c[0].out[0].dtype == LX_F32 && feeds(&c[0], 0, &c[1], 0) &&
                   is_cast_of(&c[2], &c[1], 0)
               ? 3
               : 1;
}

static size_t count_loss(const lx_call *c, size_t n)
{
    return n > 2 && c[0].op == LX_OP_cast && is_half(&c[0].in[0]) &&
                   c[1].op == LX_OP_loss && feeds(&c[0], 0, &c[1], 0) &&
                   is_cast_of(&c[2], &c[1], 1) && c[2].out[0].dtype == c[0].in[0].dtype
               ? 3
               : 1;
}

static size_t count_rows(const lx_call *c, size_t n)
{
    const lx_call *p = &c[0];

    return n > 1 && p->op == LX_OP_linear && c[1].op == LX_OP_silu &&
                   is_half(&p->in[0]) && p->in[0].dtype == p->out[0].dtype &&
                   p->in[1].is_frozen && p->in[1].n_dims == 2 &&
                   p->in[1].shape[1] % 8 == 0 &&
                   lx_arg_rows(&p->in[0]) <= LX_CUDA_FEW_ROWS && !lx_in_present(p, 3) &&
                   p->attrs.linear.scale == 1 && c[1].in[0].id == p->out[0].id &&
                   c[1].out[0].dtype == p->out[0].dtype
               ? 2
               : 1;
}

size_t lx_cuda_count_end(const lx_call *calls, size_t n)
{
    switch (calls[0].op) {
    case LX_OP_permute:
        return count_noisy(calls, n);
    case LX_OP_embedding:
        return count_embedding(calls, n);
    case LX_OP_timestep_embedding:
        return n > 1 && is_cast_of(&calls[1], &calls[0], 0) ? 2 : 1;
    case LX_OP_cast:
        return count_loss(calls, n);
    case LX_OP_linear:
        return count_rows(calls, n);
    default:
        return 1;
    }
}

bool lx_cuda_begins_end(const lx_call *calls, size_t n)
{
    return lx_cuda_count_end(calls, n) > 1;
}

/* ---- the device's ------------------------------------------------------------------- */

typedef struct end {
    lx_call loss; /* with the prediction, and its gradient, in 16 bits */
    lx_cuda_weight weight;
} end;

void lx_cuda_release_end(lx_device *dev, lx_call *calls, size_t n)
{
    end *e = calls[0].state;

    if (!e)
        return;
    if (e->loss.state)
        lx_cuda_loss.release(dev, &e->loss);
    lx_cuda_weight_release(dev, &e->weight, &calls[0]);
    lx_free(e);
    calls[0].state = NULL;
}

int lx_cuda_prepare_end(lx_device *dev, lx_call *calls, size_t n, lx_error *err)
{
    end *e;
    int rc = LX_OK;

    if (calls[0].op != LX_OP_cast && calls[0].op != LX_OP_linear)
        return LX_OK;
    if (!(calls[0].state = e = lx_calloc(1, sizeof *e)))
        return lx_oom(err);
    if (calls[0].op == LX_OP_linear) {
        e->weight = lx_cuda_weight_of(&calls[0], calls[0].in[0].dtype);
        rc = lx_cuda_weight_place(dev, &e->weight, &calls[0], err);
    } else {
        e->loss = calls[1];
        e->loss.in[0] = calls[0].in[0];
        e->loss.out[1] = calls[2].out[0];
        e->loss.scratch = calls[0].scratch;
        rc = lx_cuda_loss.prepare(dev, &e->loss, false, err);
    }
    if (rc < 0)
        lx_cuda_release_end(dev, calls, n);
    return rc;
}

static void run_noisy(lx_device *dev, const lx_call *calls, size_t n)
{
    const lx_arg *x = &calls[0].in[0];
    const lx_cuda_noisy noisy = {
        .latents = x->data,
        .from = calls[1].in[0].data,
        .signal = calls[2].in[0].data,
        .sigma = calls[2].in[2].data,
        .noise = calls[1].out[0].n_readers > 1 ? calls[1].out[0].data : NULL,
        .noisy = n > 3 ? NULL : calls[2].out[0].data,
        .B = x->shape[0],
        .C = x->shape[1],
        .P = x->shape[2] * x->shape[3],
    };

    lx_cuda_make_noisy(dev, &noisy, n > 3 ? &calls[3].out[0] : NULL);
}

void lx_cuda_run_end(lx_device *dev, const lx_call *calls, size_t n)
{
    const end *e = calls[0].state;
    lx_call rounded = calls[0];

    switch (calls[0].op) {
    case LX_OP_permute:
        run_noisy(dev, calls, n);
        break;
    case LX_OP_embedding:
        lx_cuda_embed(dev, &calls[0], &calls[1], &calls[2].out[0]);
        break;
    case LX_OP_timestep_embedding:
        rounded.out[0] = calls[1].out[0];
        lx_cuda_timestep_embedding.run(dev, &rounded);
        break;
    case LX_OP_cast:
        lx_cuda_loss.run(dev, &e->loss);
        break;
    default:
        lx_cuda_few_rows(dev, &calls[0], e->weight.data,
                         calls[0].out[0].n_readers > 1 ? calls[0].out[0].data : NULL,
                         &calls[1].out[0]);
    }
}
