#include "src/graph/plan.h"

#include <string.h>

#include "src/base/alloc.h"

static const lx_kernel *kernel_of(const lx_plan *plan, const lx_call *call)
{
    return &plan->dev->kernels[call->op];
}

/* ---- calls ------------------------------------------------------------------------- */

static int prepare(lx_plan *plan, lx_call *call, bool is_sizing, lx_error *err)
{
    const lx_kernel *kernel = kernel_of(plan, call);
    int rc;

    if (!kernel->run)
        return lx_fail(err, LX_EUNSUPPORTED, "%s: %s: not available on %s", call->label,
                       lx_op_name(call->op), plan->dev->name);
    if (!kernel->prepare)
        return LX_OK;
    rc = kernel->prepare(plan->dev, call, is_sizing, err);
    if (rc < 0)
        lx_within(err, "%s: %s", call->label, lx_op_name(call->op));
    return rc;
}

/* A weight packed one way, to count it once; the frozen weight is always operand 1. */
typedef struct packed {
    int tensor;
    uint64_t layout;
} packed;

static bool is_new_pack(packed *seen, size_t *n, packed one)
{
    for (size_t i = 0; i < *n; i++)
        if (seen[i].tensor == one.tensor && seen[i].layout == one.layout)
            return false;
    seen[(*n)++] = one;
    return true;
}

static void list_weight(lx_plan *plan, lx_param *param)
{
    for (size_t i = 0; i < plan->n_weights; i++)
        if (plan->weights[i] == param)
            return;
    plan->weights[plan->n_weights++] = param;
    plan->memory.weight_bytes += lx_param_bytes(param);
}

/* Weights that a call reads otherwise than through a packed copy. */
static void list_weights(lx_plan *plan, const lx_node *step, const lx_call *call)
{
    for (int k = 0; k < step->n_in; k++) {
        const lx_tensor_full *t;
        if (!step->in[k] || (k == 1 && call->packed_bytes))
            continue;
        t = lx_full(
            plan->schedule.tensors[lx_schedule__root(&plan->schedule, step->in[k])]);
        if (t->kind == LX_TENSOR_PARAM && t->param->source)
            list_weight(plan, t->param);
    }
}

/* Asks the device for the scratch and the packed weights of every step. */
static int size_steps(lx_plan *plan, lx_error *err)
{
    lx_schedule *s = &plan->schedule;
    packed *seen = lx_calloc(s->n_steps + 1, sizeof *seen);
    size_t n_seen = 0;
    int rc = LX_OK;

    s->scratch = lx_calloc(s->n_steps + 1, sizeof *s->scratch);
    lx_free(plan->weights);
    plan->weights = lx_calloc(plan->graph->n_params + 1, sizeof(lx_param *));
    plan->n_weights = 0;
    if (!s->scratch || !seen || !plan->weights)
        rc = lx_oom(err);
    for (size_t i = 0; i < s->n_steps && rc == LX_OK; i++) {
        lx_call call = lx_schedule__call(s, &s->steps[i]);
        rc = prepare(plan, &call, true, err);
        s->scratch[i] = call.scratch_bytes;
        list_weights(plan, &s->steps[i], &call);
        if (call.packed_bytes && s->steps[i].in[1] &&
            is_new_pack(
                seen, &n_seen,
                (packed){lx_schedule__root(s, s->steps[i].in[1]), call.packed_layout}))
            plan->memory.packed_bytes += call.packed_bytes;
    }
    lx_free(seen);
    return rc;
}

/* ---- memory ------------------------------------------------------------------------ */

static void *address(const lx_plan *plan, const lx_tensor *t)
{
    int root = lx_schedule__root(&plan->schedule, t);
    const lx_tensor_full *full = lx_full(plan->schedule.tensors[root]);

    if (full->kind == LX_TENSOR_PARAM)
        return full->param->value;
    if (full->kind == LX_TENSOR_PARAM_GRADIENT)
        return full->param->gradient;
    if (plan->placement.buffer_of[root] < 0) /* an output no step writes */
        return NULL;
    return (char *)plan->arena->memory +
           plan->placement.buffers[plan->placement.buffer_of[root]].offset;
}

/* An arena that is large enough is shared; for a larger plan a second one is made. */
static int take_arena(lx_plan *plan, lx_plan *other, lx_error *err)
{
    if (other && other->arena && other->arena->bytes >= plan->placement.bytes) {
        plan->arena = other->arena;
        plan->arena->n_users++;
        return LX_OK;
    }
    if (!(plan->arena = lx_calloc(1, sizeof *plan->arena)))
        return lx_oom(err);
    plan->arena->n_users = 1;
    plan->arena->bytes = plan->placement.bytes;
    return plan->dev->alloc(plan->dev, &plan->arena->memory, plan->placement.bytes, err);
}

static void drop_arena(lx_plan *plan)
{
    if (!plan->arena || --plan->arena->n_users > 0)
        return;
    plan->dev->free(plan->dev, plan->arena->memory);
    lx_free(plan->arena);
}

static int place_operand(const lx_plan *plan, const lx_call *call, const lx_tensor *t,
                         lx_arg *arg, lx_error *err)
{
    if (!t)
        return LX_OK;
    arg->data = address(plan, t);
    if (!arg->data && !arg->source)
        return lx_fail(err, LX_EINTERNAL, "%s: %s: parameter %s has no memory",
                       call->label, lx_op_name(call->op), t->label);
    return LX_OK;
}

static int place_call(lx_plan *plan, size_t i, lx_error *err)
{
    const lx_node *step = &plan->schedule.steps[i];
    lx_call *call = &plan->calls[i];
    int rc = LX_OK, scratch = plan->placement.scratch_buffer_of[i];

    for (int k = 0; k < step->n_in && rc == LX_OK; k++)
        rc = place_operand(plan, call, step->in[k], &call->in[k], err);
    for (int k = 0; k < step->n_out && rc == LX_OK; k++)
        rc = place_operand(plan, call, step->out[k], &call->out[k], err);
    call->scratch_bytes = plan->schedule.scratch[i];
    if (scratch >= 0)
        call->scratch =
            (char *)plan->arena->memory + plan->placement.buffers[scratch].offset;
    return rc;
}

/* Call i and those that are done with it. */
static int prepare_together(lx_plan *plan, size_t i, lx_error *err)
{
    lx_call *call = &plan->calls[i];
    int rc;

    if (!call->n_joined)
        return prepare(plan, call, false, err);
    rc = plan->dev->joining->prepare(plan->dev, call, 1 + call->n_joined, err);
    if (rc < 0)
        lx_within(err, "%s: %s", call->label, lx_op_name(call->op));
    return rc;
}

static int prepare_calls(lx_plan *plan, lx_error *err)
{
    size_t held = plan->dev->bytes_now;
    int rc;

    for (size_t i = 0; i < plan->n_calls; i++)
        if ((rc = place_call(plan, i, err)) < 0)
            return rc;
    for (size_t i = 0; i < plan->n_calls; i = plan->n_prepared) {
        if ((rc = prepare_together(plan, i, err)) < 0)
            return rc;
        plan->n_prepared += 1 + plan->calls[i].n_joined;
    }
    plan->memory.packed_bytes = plan->dev->bytes_now - held;
    return LX_OK;
}

static int hold_weights(lx_plan *plan, lx_error *err)
{
    for (; plan->n_held < plan->n_weights; plan->n_held++) {
        const int rc = lx_param_hold(plan->weights[plan->n_held], plan->dev, err);
        if (rc < 0)
            return rc;
    }
    return LX_OK;
}

/* ---- a plan's life ----------------------------------------------------------------- */

static int make_calls(lx_plan *plan, lx_error *err)
{
    const lx_schedule *s = &plan->schedule;
    int rc;

    plan->n_calls = s->n_steps;
    plan->flops = lx_calloc(s->n_steps + 1, sizeof *plan->flops);
    if (!plan->flops)
        return lx_oom(err);
    if ((rc = lx_schedule__calls(&plan->calls, s, err)) < 0)
        return rc;
    for (size_t i = 0; i < s->n_steps; i++) {
        if (s->groups && s->groups[i].first == (int)i)
            plan->calls[i].n_joined = (size_t)(s->groups[i].last - s->groups[i].first);
        plan->flops[i] = lx_op__flops(&s->steps[i]);
        plan->memory.flops += plan->flops[i];
        if (plan->memory.scratch_bytes < s->scratch[i])
            plan->memory.scratch_bytes = s->scratch[i];
    }
    plan->memory.arena_bytes = plan->placement.bytes;
    plan->memory.n_calls = plan->n_calls;
    plan->memory.n_recomputed = s->n_recomputed;
    return LX_OK;
}

/* Of the arena: on a device of its own memory, weights are beside it. */
static size_t arena_limit(const lx_plan *plan, const lx_plan_options *options)
{
    const size_t beside = plan->dev->uses_host_memory
                              ? 0
                              : plan->memory.packed_bytes + plan->memory.weight_bytes;

    return options->max_bytes > beside ? options->max_bytes - beside
                                       : options->max_bytes != 0;
}

static int make_schedule(lx_plan *plan, bool is_patient, lx_error *err)
{
    int rc;

    if ((rc = lx_schedule_init(&plan->schedule, plan->graph, err)) < 0 ||
        (rc = lx_schedule_join(&plan->schedule, plan->dev->joining, is_patient, err)) < 0)
        return rc;
    plan->memory.packed_bytes = plan->memory.weight_bytes = 0;
    return size_steps(plan, err);
}

/* Steps in their order. What would not fit without computing anything again is made to take less first. */
static int schedule(lx_plan *plan, const lx_plan_options *options, lx_error *err)
{
    const bool is_patient = options->spare <= 0;
    size_t bytes;
    int rc;

    if ((rc = make_schedule(plan, is_patient, err)) < 0 || !options->max_bytes ||
        !plan->dev->joining || !is_patient)
        return rc;
    if ((rc = lx_placement_bytes(&bytes, &plan->schedule, SIZE_MAX, err)) < 0 ||
        bytes <= arena_limit(plan, options))
        return rc;
    lx_schedule_release(&plan->schedule);
    return make_schedule(plan, false, err);
}

int lx_plan_new(lx_plan **out, lx_graph *g, lx_device *dev,
                const lx_plan_options *options, lx_error *err)
{
    lx_plan *plan;
    int rc;

    if ((rc = lx_graph_check(g, err)) < 0)
        return rc;
    if (!(plan = lx_calloc(1, sizeof *plan)))
        return lx_oom(err);
    plan->graph = g;
    plan->dev = dev;
    if ((rc = schedule(plan, options, err)) < 0 ||
        ((options->max_bytes || options->spare > 0) &&
         (rc = lx_schedule_recompute(&plan->schedule, arena_limit(plan, options),
                                     options->spare, err)) < 0) ||
        (rc = lx_placement_init(&plan->placement, &plan->schedule, err)) < 0 ||
        (rc = make_calls(plan, err)) < 0)
        goto done;
    plan->is_dry = true;
    if (!options->dry_run && (rc = lx_plan_take(plan, options->arena_of, err)) < 0)
        goto done;
    *out = plan;
    plan = NULL;
done:
    lx_plan_free(plan);
    return rc;
}

int lx_plan_take(lx_plan *plan, lx_plan *arena_of, lx_error *err)
{
    int rc;

    lx_assert(plan->is_dry && !plan->arena);
    if ((rc = hold_weights(plan, err)) < 0 ||
        (rc = take_arena(plan, arena_of, err)) < 0 || (rc = prepare_calls(plan, err)) < 0)
        return rc;
    plan->is_dry = false;
    lx_pack_trim(plan->dev); /* what only plans before had */
    return LX_OK;
}

void lx_plan_free(lx_plan *plan)
{
    if (!plan)
        return;
    if (plan->recording)
        plan->dev->record_free(plan->dev, plan->recording);
    for (size_t i = 0; i < plan->n_prepared; i += 1 + plan->calls[i].n_joined) {
        lx_call *call = &plan->calls[i];
        const lx_kernel *kernel = kernel_of(plan, call);
        if (call->n_joined)
            plan->dev->joining->release(plan->dev, call, 1 + call->n_joined);
        else if (kernel->release)
            kernel->release(plan->dev, call);
    }
    drop_arena(plan);
    while (plan->n_held > 0)
        lx_param_let_go(plan->weights[--plan->n_held], plan->dev);
    lx_free(plan->weights);
    lx_placement_release(&plan->placement);
    lx_schedule_release(&plan->schedule);
    lx_free(plan->calls);
    lx_free(plan->flops);
    lx_free(plan->times);
    lx_free(plan);
}

lx_plan_memory lx_plan_memory_of(const lx_plan *plan)
{
    return plan->memory;
}

/* ---- inputs and outputs ------------------------------------------------------------ */

static const lx_tensor *find(const lx_graph_name *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i].name, name) == 0)
            return names[i].tensor;
    return NULL;
}

static int check_transfer(const lx_plan *plan, const char *what, const char *name,
                          const lx_tensor *t, size_t bytes, lx_error *err)
{
    char text[LX_SHAPE_TEXT];

    if (!t)
        return lx_fail(err, LX_EINTERNAL, "the plan has no %s %s", what, name);
    if (plan->is_dry)
        return lx_fail(err, LX_EINTERNAL, "%s %s: a dry run has no memory", what, name);
    if (bytes != lx_tensor__bytes(t))
        return lx_fail(err, LX_EMISMATCH, "%s %s is %s, %zu bytes: %zu bytes are given",
                       what, name, lx_tensor__text(text, t), lx_tensor__bytes(t), bytes);
    if (!address(plan, t))
        return lx_fail(err, LX_EINTERNAL, "%s %s has no memory", what, name);
    return LX_OK;
}

int lx_plan_set(lx_plan *plan, const char *input, const void *data, size_t bytes,
                lx_error *err)
{
    const lx_tensor *t = find(plan->graph->inputs, plan->graph->n_inputs, input);
    lx_device *dev = plan->dev;
    int rc = check_transfer(plan, "input", input, t, bytes, err);

    if (rc < 0)
        return rc;
    return (dev->upload_queued ? dev->upload_queued : dev->upload)(dev, address(plan, t),
                                                                   data, bytes, err);
}

void *lx_plan_input(const lx_plan *plan, const char *input)
{
    const lx_tensor *t = find(plan->graph->inputs, plan->graph->n_inputs, input);
    return t && !plan->is_dry ? address(plan, t) : NULL;
}

int lx_plan_get_queued(lx_plan *plan, const char *output, size_t bytes, uint64_t *ticket,
                       lx_error *err)
{
    const lx_tensor *t = lx_plan_output(plan, output);
    int rc = check_transfer(plan, "output", output, t, bytes, err);

    return rc < 0 ? rc
                  : plan->dev->download_queued(plan->dev, ticket, address(plan, t), bytes,
                                               err);
}

int lx_plan_get(lx_plan *plan, const char *output, void *data, size_t bytes,
                lx_error *err)
{
    const lx_tensor *t = lx_plan_output(plan, output);
    int rc = check_transfer(plan, "output", output, t, bytes, err);
    return rc < 0 ? rc
                  : plan->dev->download(plan->dev, data, address(plan, t), bytes, err);
}

const lx_tensor *lx_plan_output(const lx_plan *plan, const char *output)
{
    return find(plan->graph->outputs, plan->graph->n_outputs, output);
}
