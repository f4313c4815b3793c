/* Calls as a device sees them before they have addresses, and which of them it does as one. */
#include "src/graph/schedule.h"

#include <string.h>

#include "src/base/alloc.h"

static lx_arg argument(const lx_schedule *s, const lx_tensor *t)
{
    lx_arg arg = {.n_dims = -1};

    if (!t)
        return arg;
    arg.dtype = t->dtype;
    arg.n_dims = t->n_dims;
    arg.id = 1 + lx_schedule__root(s, t);
    memcpy(arg.shape, t->shape, sizeof arg.shape);
    if (lx_full(t)->kind == LX_TENSOR_PARAM) {
        const lx_param *param = lx_full(t)->param;
        arg.is_frozen = !param->gradient;
        arg.source = param->source;
        arg.narrow = param->narrow;
        arg.narrow_dtype = param->narrow_dtype;
    }
    return arg;
}

lx_call lx_schedule__call(const lx_schedule *s, const lx_node *step)
{
    lx_call call = {
        .op = (lx_op_id)step->op,
        .n_in = step->n_in,
        .n_out = step->n_out,
        .attrs = step->attrs,
        .label = step->label,
    };
    for (int k = 0; k < LX_CALL_MAX_IN; k++)
        call.in[k] = argument(s, k < step->n_in ? step->in[k] : NULL);
    for (int k = 0; k < LX_CALL_MAX_OUT; k++)
        call.out[k] = argument(s, k < step->n_out ? step->out[k] : NULL);
    return call;
}

static int count_readers(const lx_schedule *s, lx_call *calls)
{
    int *uses = lx_calloc(s->n_tensors + 1, sizeof *uses);

    if (!uses)
        return LX_ENOMEM;
    for (size_t i = 0; i < s->n_steps; i++)
        for (int k = 0; k < calls[i].n_in; k++)
            if (calls[i].in[k].id)
                uses[calls[i].in[k].id - 1]++;
    for (size_t i = 0; i < s->n_steps; i++)
        for (int k = 0; k < calls[i].n_out; k++) {
            const int root = calls[i].out[k].id - 1;
            if (root >= 0)
                calls[i].out[k].n_readers = uses[root] + s->is_kept[root];
        }
    lx_free(uses);
    return LX_OK;
}

int lx_schedule__calls(lx_call **out, const lx_schedule *s, lx_error *err)
{
    lx_call *calls = lx_calloc(s->n_steps + 1, sizeof *calls);

    if (!calls)
        return lx_oom(err);
    for (size_t i = 0; i < s->n_steps; i++)
        calls[i] = lx_schedule__call(s, &s->steps[i]);
    if (count_readers(s, calls) < 0) {
        lx_free(calls);
        return lx_oom(err);
    }
    *out = calls;
    return LX_OK;
}

int lx_schedule__group(lx_schedule *s, lx_error *err)
{
    lx_call *calls;
    int rc;

    if (!s->joining)
        return LX_OK;
    lx_free(s->groups);
    if (!(s->groups = lx_calloc(s->n_steps + 1, sizeof *s->groups)))
        return lx_oom(err);
    if ((rc = lx_schedule__calls(&calls, s, err)) < 0)
        return rc;
    for (size_t i = 0, n; i < s->n_steps; i += n) {
        n = s->joining->count(calls + i, s->n_steps - i);
        for (size_t k = i; k < i + n; k++)
            s->groups[k] = (lx_step_group){(int)i, (int)(i + n - 1)};
    }
    lx_free(calls);
    return LX_OK;
}

int lx_schedule_join(lx_schedule *s, const lx_joining *joining, bool is_patient,
                     lx_error *err)
{
    int rc;

    if (!joining)
        return LX_OK;
    s->joining = joining;
    rc = lx_schedule__gather(s, is_patient, err);
    return rc < 0 ? rc : lx_schedule__group(s, err);
}
