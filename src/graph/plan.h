/* graph/plan - what a plan is made of, for plan.c and execute.c */
#ifndef LX_GRAPH_PLAN_H
#define LX_GRAPH_PLAN_H

#include "src/graph/schedule.h"

/* Device memory shared by plans that never run at the same time. */
typedef struct lx_plan_arena {
    void *memory;
    size_t bytes;
    int n_users;
} lx_plan_arena;

typedef struct lx_plan_time {
    double seconds, cpu_seconds;
} lx_plan_time;

struct lx_plan {
    lx_graph *graph;
    lx_device *dev;
    bool is_dry;
    lx_schedule schedule;
    lx_placement placement;
    lx_plan_arena *arena;
    lx_call *calls;
    size_t n_calls, n_prepared;
    double *flops; /* by call */
    lx_plan_memory memory;
    lx_param **weights; /* that calls read as they are, of those with a source */
    size_t n_weights, n_held;
    bool has_run;
    void *recording; /* of all calls, where the device can; NULL = not yet */
    bool is_profiled;
    lx_plan_time *times; /* by call, while profiled; else NULL */
    size_t n_runs;       /* while profiled */
};

#endif
