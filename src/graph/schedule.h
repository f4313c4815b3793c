/*
 * graph/schedule - the steps of a plan, and where their tensors live
 *
 * lx_schedule_init takes from a graph the nodes whose results anyone reads, without views
 * and with sums folded into the op before them; lx_placement_init gives every tensor its
 * bytes. Between the two, lx_schedule_recompute may trade time for memory. All of it is
 * arithmetic on sizes: no device memory is touched, and nothing depends on addresses.
 *
 * Tensors are known by id. Ids from the graph's n_tensors on are the schedule's own:
 * copies of a tensor that is computed twice, and views in another shape.
 */
#ifndef LX_GRAPH_SCHEDULE_H
#define LX_GRAPH_SCHEDULE_H

#include "src/graph/node.h"

/* Steps that a device does as one, both included; one step alone is its own. */
typedef struct lx_step_group {
    int first, last;
} lx_step_group;

typedef struct lx_schedule {
    lx_arena *arena;      /* of its own tensors */
    lx_arena *base_arena; /* of the schedule this was rewritten from */
    lx_node *steps;       /* nodes, adapted */
    size_t n_steps, steps_capacity;
    size_t n_forward; /* steps before the reverse pass */
    size_t *scratch;  /* bytes, by step; NULL until the device was asked */
    size_t n_recomputed;
    const lx_joining *joining; /* the device's; NULL: it does steps one by one */
    lx_step_group *groups;     /* by step; NULL: each is alone */
    lx_tensor **tensors;       /* by id */
    int *root;     /* by id: the tensor whose bytes it shows, itself if none */
    bool *is_kept; /* by id of a root: readable after the run */
    size_t n_tensors, tensors_capacity, root_capacity, kept_capacity;
} lx_schedule;

int lx_schedule_init(lx_schedule *s, const lx_graph *g, lx_error *err);
void lx_schedule_release(lx_schedule *s);
int lx_schedule__fold(lx_schedule *s, lx_error *err);

/*
 * For a device that joins calls: steps that it could do as one are moved together, as far as what they read
 * and who reads them allows, and grouped. Before scratch is asked for. is_patient: memory that is free
 * late in the run may be used for the sake of it.
 */
int lx_schedule_join(lx_schedule *s, const lx_joining *joining, bool is_patient,
                     lx_error *err);
/* Only the groups, of steps where they stand. */
int lx_schedule__group(lx_schedule *s, lx_error *err);
/* Only the moves (gather.c). */
int lx_schedule__gather(lx_schedule *s, bool is_patient, lx_error *err);

/* A call with everything but addresses. */
lx_call lx_schedule__call(const lx_schedule *s, const lx_node *step);
/* Of all steps, with what lx_joining looks at; the caller's to free. */
int lx_schedule__calls(lx_call **out, const lx_schedule *s, lx_error *err);

static inline lx_step_group lx_schedule__group_of(const lx_schedule *s, int step)
{
    return s->groups ? s->groups[step] : (lx_step_group){step, step};
}

/* A tensor of its own, like t but in the shape of `shape`; root -1: bytes of its own. */
lx_tensor *lx_schedule__tensor(lx_schedule *s, const lx_tensor *t, const lx_tensor *shape,
                               int root);

static inline int lx_schedule__root(const lx_schedule *s, const lx_tensor *t)
{
    return s->root[t->id];
}

/* Root ids in the arena: activations and inputs, not parameters and their gradients. */
bool lx_schedule__is_placed(const lx_schedule *s, int root);

/*
 * Recomputes activations in the reverse pass until the arena has at most max_bytes.
 * LX_ELIMIT, with the bytes that are missing, when no more can be won. With max_bytes 0:
 * as long as that costs at most `spare` of a run's operations.
 */
int lx_schedule_recompute(lx_schedule *s, size_t max_bytes, double spare, lx_error *err);

/*
 * The schedule without the values in `is_dropped` (by id of a root): they die after their
 * last use in the forward pass, and the reverse pass computes them again, each once,
 * right before the first step that needs it. `s` must outlive the result.
 */
int lx_schedule__without(lx_schedule *out, const lx_schedule *s, const bool *is_dropped,
                         lx_error *err);

/* Bytes that are alive from step `first` to step `last`, both included. */
typedef struct lx_buffer {
    size_t bytes, offset;
    int first, last;
} lx_buffer;

typedef struct lx_placement {
    lx_buffer *buffers;
    size_t n_buffers, buffers_capacity;
    int *buffer_of;         /* by id of a root: index or -1 */
    int *scratch_buffer_of; /* by step: index or -1 */
    size_t bytes;           /* of the arena */
    size_t live_bytes;      /* the most that is alive at once: no placement needs less */
} lx_placement;

enum { LX_ARENA_ALIGNMENT = 64 };

int lx_placement_init(lx_placement *p, const lx_schedule *s, lx_error *err);
void lx_placement_release(lx_placement *p);
/* The bytes alone that it has, or `limit` where they are no fewer, which is found sooner. */
int lx_placement_bytes(size_t *bytes, const lx_schedule *s, size_t limit, lx_error *err);
/* Only the buffers and live_bytes: what the search for segments to recompute asks. */
int lx_placement_lifetimes(lx_placement *p, const lx_schedule *s, lx_error *err);

#endif
