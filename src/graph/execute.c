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

#include "src/base/alloc.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int run_profiled(lx_plan *plan, lx_error *err)
{
    lx_device *dev = plan->dev;
    int rc = dev->sync(dev, err);

    for (size_t i = 0; i < plan->n_calls && rc == LX_OK; i++) {
        double start = now();
        dev->kernels[plan->calls[i].op].run(dev, &plan->calls[i]);
        rc = dev->sync(dev, err);
        plan->seconds[i] += now() - start;
    }
    plan->n_runs++;
    return rc;
}

static void run_calls(lx_plan *plan)
{
    for (size_t i = 0; i < plan->n_calls; i++)
        plan->dev->kernels[plan->calls[i].op].run(plan->dev, &plan->calls[i]);
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

int lx_plan_run(lx_plan *plan, lx_error *err)
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
        return dev->sync(dev, err);
    }
    if (!plan->recording)
        rc = record(plan, err);
    if (rc >= 0)
        rc = dev->replay(dev, plan->recording, err);
    return rc < 0 ? rc : dev->sync(dev, err);
}

int lx_plan_profile(lx_plan *plan, bool is_on, lx_error *err)
{
    if (is_on && !plan->seconds &&
        !(plan->seconds = lx_calloc(plan->n_calls + 1, sizeof *plan->seconds)))
        return lx_oom(err);
    if (is_on && !plan->is_profiled) {
        memset(plan->seconds, 0, plan->n_calls * sizeof *plan->seconds);
        plan->n_runs = 0;
    }
    plan->is_profiled = is_on;
    return LX_OK;
}

lx_profile_row lx_plan_profile_row(const lx_plan *plan, size_t i)
{
    const lx_call *call = &plan->calls[i];
    return (lx_profile_row){
        .op = call->op,
        .label = call->label,
        .n_calls = 1,
        .n_runs = plan->n_runs,
        .seconds = plan->seconds ? plan->seconds[i] : 0,
        .flops = plan->flops[i] * (double)plan->n_runs,
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
        row->flops += one.flops;
    }
}
