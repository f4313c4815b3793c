/*
 * graph/execute - run the calls of a plan, in order
 *
 * Nothing here allocates or fails before the sync that ends the run (graph.h, invariant
 * 3). While a profile is taken, each call is followed by a sync of its own, so its time
 * is its own.
 *
 * A device that queues may keep what is queued (kernel.h): the first run of a plan is a plain one, in
 * which libraries load what they need, the second is recorded, and all others replay the recording.
 */
#include "src/graph/plan.h"

#include <string.h>
#include <time.h>

#include "kernels/arg.h"
#include "src/base/alloc.h"

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Call i and those that are done with it. */
static void run_together(const lx_plan *plan, size_t i)
{
    lx_device *dev = plan->dev;
    const lx_call *call = &plan->calls[i];

    if (call->n_joined)
        dev->joining->run(dev, call, 1 + call->n_joined);
    else
        dev->kernels[call->op].run(dev, call);
}

static int run_profiled(lx_plan *plan, lx_error *err)
{
    lx_device *dev = plan->dev;
    int rc = dev->sync(dev, err);

    for (size_t i = 0; i < plan->n_calls && rc == LX_OK;
         i += 1 + plan->calls[i].n_joined) {
        const double start = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
        run_together(plan, i);
        rc = dev->sync(dev, err);
        plan->times[i].seconds += now(CLOCK_MONOTONIC) - start;
        plan->times[i].cpu_seconds += now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    }
    plan->n_runs++;
    return rc;
}

static void run_calls(lx_plan *plan)
{
    for (size_t i = 0; i < plan->n_calls; i += 1 + plan->calls[i].n_joined)
        run_together(plan, i);
}

static int record(lx_plan *plan, lx_error *err)
{
    lx_device *dev = plan->dev;
    int rc = dev->record_begin(dev, err);

    if (rc < 0)
        return rc;
    run_calls(plan);
    return dev->record_end(dev, &plan->recording, err);
}

int lx_plan_queue(lx_plan *plan, lx_error *err)
{
    lx_device *dev = plan->dev;
    int rc = LX_OK;

    if (plan->is_dry)
        return lx_fail(err, LX_EINTERNAL, "a plan made for a dry run cannot run");
    if (plan->is_profiled)
        return run_profiled(plan, err);
    if (!dev->record_begin || !plan->has_run) {
        plan->has_run = true;
        run_calls(plan);
        return LX_OK;
    }
    if (!plan->recording)
        rc = record(plan, err);
    return rc < 0 ? rc : dev->replay(dev, plan->recording, err);
}

int lx_plan_run(lx_plan *plan, lx_error *err)
{
    const int rc = lx_plan_queue(plan, err);
    return rc < 0 ? rc : plan->dev->sync(plan->dev, err);
}

int lx_plan_profile(lx_plan *plan, bool is_on, lx_error *err)
{
    if (is_on && !plan->times &&
        !(plan->times = lx_calloc(plan->n_calls + 1, sizeof *plan->times)))
        return lx_oom(err);
    if (is_on && !plan->is_profiled) {
        memset(plan->times, 0, plan->n_calls * sizeof *plan->times);
        plan->n_runs = 0;
    }
    plan->is_profiled = is_on;
    return LX_OK;
}

lx_profile_row lx_plan_profile_row(const lx_plan *plan, size_t i)
{
    const lx_call *call = &plan->calls[i];
    const lx_plan_time time = plan->times ? plan->times[i] : (lx_plan_time){0};

    return (lx_profile_row){
        .op = call->op,
        .label = call->label,
        .n_calls = 1,
        .n_runs = plan->n_runs,
        .seconds = time.seconds,
        .cpu_seconds = time.cpu_seconds,
        .flops = plan->flops[i] * (double)plan->n_runs,
        .bytes = lx_call_bytes(call) * (double)plan->n_runs,
    };
}

void lx_plan_profile_by_op(const lx_plan *plan, lx_profile_row rows[LX_OP_COUNT])
{
    for (int op = 0; op < LX_OP_COUNT; op++)
        rows[op] =
            (lx_profile_row){.op = (lx_op_id)op, .label = "", .n_runs = plan->n_runs};
    for (size_t i = 0; i < plan->n_calls; i++) {
        lx_profile_row one = lx_plan_profile_row(plan, i), *row = &rows[one.op];
        row->n_calls++;
        row->seconds += one.seconds;
        row->cpu_seconds += one.cpu_seconds;
        row->bytes += one.bytes;
        row->flops += one.flops;
    }
}
