/* How long a plan would run, from a call of each kind (graph.h). */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/base/alloc.h"
#include "src/graph/plan.h"

/* Calls that differ in nothing but their addresses. */
typedef struct kind {
    size_t call; /* the first */
    size_t n;
    double
        work; /* of one, in seconds of an imagined machine: for the order and for the rates */
    double mean, low, high; /* seconds of one; mean 0 = not timed */
    double wall, processor; /* of all its runs */
} kind;

/* Memory for the operands of one call. */
typedef struct bench {
    const lx_plan *plan;
    char *memory;
    size_t bytes;
    float *pattern; /* what is put where floats are read */
} bench;

enum { PATTERN = 1 << 18, MOST_RUNS = 5 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Of all threads of the process. */
static double processor_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool is_same_arg(const lx_arg *a, const lx_arg *b)
{
    return a->n_dims == b->n_dims &&
           (a->n_dims < 0 ||
            (a->dtype == b->dtype && a->is_frozen == b->is_frozen &&
             memcmp(a->shape, b->shape, (size_t)a->n_dims * sizeof *a->shape) == 0));
}

static bool is_same_kind(const lx_call *a, const lx_call *b)
{
    bool same = a->op == b->op && a->n_in == b->n_in && a->n_out == b->n_out;

    for (int k = 0; k < LX_CALL_MAX_IN && same; k++)
        same = is_same_arg(&a->in[k], &b->in[k]);
    for (int k = 0; k < LX_CALL_MAX_OUT && same; k++)
        same = is_same_arg(&a->out[k], &b->out[k]);
    /* A stride or a number of heads changes the work; names of dropout's streams do not. */
    return same &&
           (a->op == LX_OP_dropout || memcmp(&a->attrs, &b->attrs, sizeof a->attrs) == 0);
}

static size_t bytes_of(const lx_arg *arg)
{
    size_t n = arg->n_dims < 0 ? 0 : (size_t)lx_dtype_bits(arg->dtype) / 8;

    for (int i = 0; i < arg->n_dims; i++)
        n *= (size_t)arg->shape[i];
    return (n + LX_ARENA_ALIGNMENT - 1) / LX_ARENA_ALIGNMENT * LX_ARENA_ALIGNMENT;
}

static size_t bytes_of_call(const lx_plan *plan, size_t i)
{
    const lx_call *call = &plan->calls[i];
    size_t bytes = plan->schedule.scratch[i] + LX_ARENA_ALIGNMENT;

    for (int k = 0; k < LX_CALL_MAX_IN; k++)
        bytes += bytes_of(&call->in[k]);
    for (int k = 0; k < LX_CALL_MAX_OUT; k++)
        bytes += bytes_of(&call->out[k]);
    return bytes;
}

/* 50 GFLOP/s and 10 GB/s: any machine will do, the measured rates correct it. */
static double work_of(const lx_plan *plan, size_t i)
{
    const lx_call *call = &plan->calls[i];
    size_t bytes = 0;

    for (int k = 0; k < LX_CALL_MAX_IN; k++)
        bytes += bytes_of(&call->in[k]);
    for (int k = 0; k < LX_CALL_MAX_OUT; k++)
        bytes += bytes_of(&call->out[k]);
    return plan->flops[i] / 50e9 + (double)bytes / 10e9 + 1e-6;
}

static size_t find_kinds(kind *kinds, const lx_plan *plan)
{
    size_t n = 0;

    for (size_t i = 0; i < plan->n_calls; i++) {
        size_t k = 0;
        while (k < n && !is_same_kind(&plan->calls[kinds[k].call], &plan->calls[i]))
            k++;
        if (k == n)
            kinds[n++] = (kind){.call = i, .work = work_of(plan, i)};
        kinds[k].n++;
    }
    return n;
}

static int by_work(const void *a, const void *b)
{
    const kind *x = a, *y = b;
    double left = x->work * (double)x->n, right = y->work * (double)y->n;

    if (left != right)
        return left < right ? 1 : -1;
    return x->call < y->call ? -1 : 1;
}

/* Small floats, which neither overflow nor vanish in a few operations; zeros where indices are read. */
static int fill(const bench *b, const lx_arg *arg, lx_error *err)
{
    lx_device *dev = b->plan->dev;
    const size_t whole = bytes_of(arg), most = PATTERN * sizeof *b->pattern;
    const float value = arg->dtype == LX_F32 ? 0.01f : 0.0f;
    int rc = LX_OK;

    for (size_t i = 0; i < PATTERN; i++)
        b->pattern[i] = i % 2 ? -value : value;
    for (size_t at = 0; at < whole && rc == LX_OK; at += most)
        rc = dev->upload(dev, (char *)arg->data + at, b->pattern,
                         whole - at < most ? whole - at : most, err);
    return rc;
}

/* The parameter that operand k is; NULL: it is none. */
static lx_param *param_of(const lx_plan *plan, size_t index, int k)
{
    const lx_schedule *s = &plan->schedule;
    const lx_tensor *t = s->steps[index].in[k];
    const lx_tensor_full *root = t ? lx_full(s->tensors[lx_schedule__root(s, t)]) : NULL;

    return root && root->kind == LX_TENSOR_PARAM ? root->param : NULL;
}

/* Of the first n operands. */
static void let_go(const lx_plan *plan, size_t index, int n)
{
    for (int k = 0; k < n; k++) {
        lx_param *param = param_of(plan, index, k);
        if (param)
            lx_param_let_go(param, plan->dev);
    }
}

static int hold(const lx_plan *plan, size_t index, lx_error *err)
{
    for (int k = 0; k < plan->schedule.steps[index].n_in; k++) {
        lx_param *param = param_of(plan, index, k);
        const int rc = param ? lx_param_hold(param, plan->dev, err) : LX_OK;
        if (rc < 0) {
            let_go(plan, index, k);
            return rc;
        }
    }
    return LX_OK;
}

/* Weights are the real ones, everything else lies in the bench's memory. */
static int place(const bench *b, lx_call *call, size_t index, lx_error *err)
{
    const lx_schedule *s = &b->plan->schedule;
    const lx_node *step = &s->steps[index];
    char *at = b->memory;
    int rc = LX_OK;

    for (int k = 0; k < step->n_in && rc == LX_OK; k++) {
        const lx_param *param = param_of(b->plan, index, k);
        if (!step->in[k])
            continue;
        call->in[k].data = param ? param->value : at;
        if (!param) {
            rc = fill(b, &call->in[k], err);
            at += bytes_of(&call->in[k]);
        }
    }
    for (int k = 0; k < step->n_out && rc == LX_OK; k++)
        if (step->out[k]) {
            call->out[k].data = at;
            rc = fill(b, &call->out[k], err); /* some are added to */
            at += bytes_of(&call->out[k]);
        }
    call->scratch_bytes = s->scratch[index];
    call->scratch = call->scratch_bytes ? at : NULL;
    return rc;
}

/* Again until it has been timed well enough: the first run of a short one only warms up. */
static int run_kind(kind *k, const bench *b, const lx_kernel *kernel, lx_call *call,
                    lx_error *err)
{
    lx_device *dev = b->plan->dev;
    double sum = 0;
    int n = 0, rc = LX_OK;

    for (int i = 0; i < MOST_RUNS && rc == LX_OK && sum < 0.02; i++) {
        double start = now(), before = processor_now(), took;
        kernel->run(dev, call);
        rc = dev->sync(dev, err);
        took = now() - start;
        k->wall += took;
        k->processor += processor_now() - before;
        if (i == 0 && took < 0.02)
            continue;
        k->low = n ? fmin(k->low, took) : took;
        k->high = fmax(k->high, took);
        sum += took;
        n++;
    }
    k->mean = n ? sum / n : 0;
    return rc;
}

static int time_kind(kind *k, const bench *b, lx_error *err)
{
    lx_call call = b->plan->calls[k->call];
    const lx_kernel *kernel = &b->plan->dev->kernels[call.op];
    int rc;

    if ((rc = hold(b->plan, k->call, err)) < 0)
        return rc;
    if ((rc = place(b, &call, k->call, err)) < 0 ||
        (kernel->prepare && (rc = kernel->prepare(b->plan->dev, &call, false, err)) < 0))
        goto done;
    rc = run_kind(k, b, kernel, &call, err);
    if (kernel->release)
        kernel->release(b->plan->dev, &call);
done:
    let_go(b->plan, k->call, b->plan->schedule.steps[k->call].n_in);
    return rc;
}

static void sum_up(lx_plan_timing *out, const lx_plan *plan, const kind *kinds, size_t n)
{
    double work[LX_OP_COUNT] = {0}, seconds[LX_OP_COUNT] = {0}, all_work = 0, all = 0;
    double wall = 0, processor = 0;

    for (size_t i = 0; i < n; i++) {
        const lx_op_id op = plan->calls[kinds[i].call].op;
        const double calls = (double)kinds[i].n;
        if (!(kinds[i].mean > 0))
            continue;
        out->n_timed++;
        wall += kinds[i].wall;
        processor += kinds[i].processor;
        out->low += calls * kinds[i].low;
        out->high += calls * kinds[i].high;
        all += calls * kinds[i].mean;
        all_work += calls * kinds[i].work;
        seconds[op] += calls * kinds[i].mean;
        work[op] += calls * kinds[i].work;
    }
    out->seconds = all;
    for (size_t i = 0; i < n && all_work > 0; i++) {
        const lx_op_id op = plan->calls[kinds[i].call].op;
        const double rate = work[op] > 0 ? seconds[op] / work[op] : all / all_work;
        const double guess = (double)kinds[i].n * kinds[i].work * rate;
        if (kinds[i].mean > 0)
            continue;
        out->seconds += guess;
        out->low += 0.5 * guess;
        out->high += 2 * guess;
    }
    out->share = out->seconds > 0 ? all / out->seconds : 0;
    /* Threads that compute take a processor's second each second, or others were given it. */
    if (plan->dev->uses_host_memory && processor < 0.8 * wall) {
        out->is_busy = true;
        out->low *= processor / wall;
    }
}

int lx_plan_measure(lx_plan_timing *out, const lx_plan *plan, double budget,
                    lx_error *err)
{
    kind *kinds = lx_calloc(plan->n_calls + 1, sizeof *kinds);
    bench b = {.plan = plan, .pattern = lx_calloc(PATTERN, sizeof *b.pattern)};
    void *memory = NULL;
    const double begun = now();
    int rc = LX_OK;

    *out = (lx_plan_timing){0};
    if (!kinds || !b.pattern) {
        rc = lx_oom(err);
        goto done;
    }
    out->n_kinds = find_kinds(kinds, plan);
    qsort(kinds, out->n_kinds, sizeof *kinds, by_work);
    for (size_t i = 0; i < out->n_kinds; i++)
        if (b.bytes < bytes_of_call(plan, kinds[i].call))
            b.bytes = bytes_of_call(plan, kinds[i].call);
    if ((rc = plan->dev->alloc(plan->dev, &memory, b.bytes, err)) < 0)
        goto done;
    b.memory = memory;
    for (size_t i = 0; i < out->n_kinds && rc == LX_OK; i++)
        if (i == 0 || now() - begun < budget)
            rc = time_kind(&kinds[i], &b, err);
    if (rc == LX_OK)
        sum_up(out, plan, kinds, out->n_kinds);
done:
    lx_pack_trim(plan->dev);
    if (memory)
        plan->dev->free(plan->dev, memory);
    lx_free(b.pattern);
    lx_free(kinds);
    return rc;
}
