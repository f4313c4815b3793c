/*
 * graph/place - who may share bytes with whom
 *
 * A buffer is alive from the step that writes it to the last one that reads it (through
 * any view); two buffers whose lives touch get bytes apart. An op that may work in place
 * and whose operand dies there continues the operand's buffer. Scratch is a buffer alive
 * during one step, so it lies in whatever is free just then. Steps that a device does as one
 * count as one step: what any of them reads or writes is alive for all of them.
 *
 * Offsets are chosen greedily, largest buffer first, each into the tightest gap between
 * those that are alive with it (the "greedy by size" of Pisarchyk and Lee 2020,
 * arXiv:2001.03288, who found it within a few percent of the lower bound on networks).
 * The lower bound, live_bytes, is computed as well; a second order (by life, then size)
 * is tried when the first one misses it.
 */
#include "src/graph/schedule.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"

void lx_placement_release(lx_placement *p)
{
    lx_free(p->buffers);
    lx_free(p->buffer_of);
    lx_free(p->scratch_buffer_of);
    *p = (lx_placement){0};
}

static size_t aligned(size_t bytes)
{
    return (bytes + LX_ARENA_ALIGNMENT - 1) / LX_ARENA_ALIGNMENT * LX_ARENA_ALIGNMENT;
}

static int new_buffer(lx_placement *p, size_t bytes, int first, int last)
{
    if (lx_grow(&p->buffers, &p->buffers_capacity, p->n_buffers + 1, sizeof *p->buffers) <
        0)
        return -1;
    p->buffers[p->n_buffers] = (lx_buffer){aligned(bytes), 0, first, last};
    return (int)p->n_buffers++;
}

/* By id of a root: the last step that reads it; -1 for none. */
static void find_last_uses(const lx_schedule *s, int *last)
{
    for (size_t id = 0; id < s->n_tensors; id++)
        last[id] = s->is_kept[id] ? (int)s->n_steps : -1;
    for (size_t i = 0; i < s->n_steps; i++)
        for (int k = 0; k < s->steps[i].n_in; k++)
            if (s->steps[i].in[k]) {
                int root = lx_schedule__root(s, s->steps[i].in[k]);
                int end = lx_schedule__group_of(s, (int)i).last;
                if (last[root] < end)
                    last[root] = end;
            }
}

/* Within a group only what one of its steps made for this one alone may be written over. */
static bool is_made_for(const lx_placement *p, const lx_schedule *s, int i, int buffer)
{
    const lx_step_group g = lx_schedule__group_of(s, i);

    if (g.first == g.last)
        return true;
    for (int other = g.first; other <= g.last; other++)
        for (int k = 0; k < s->steps[other].n_in && other != i; k++)
            if (s->steps[other].in[k] &&
                p->buffer_of[lx_schedule__root(s, s->steps[other].in[k])] == buffer)
                return false;
    return p->buffers[buffer].first == g.first;
}

/* The buffer of operand k if out[0] of step i may go on in it, else -1. */
static int inherited(const lx_placement *p, const lx_schedule *s, int i, int k,
                     unsigned mask)
{
    const lx_node *step = &s->steps[i];
    int root = lx_schedule__root(s, step->in[k]), buffer = p->buffer_of[root];

    if (buffer < 0 || lx_full(s->tensors[root])->kind != LX_TENSOR_ACTIVATION ||
        p->buffers[buffer].last != lx_schedule__group_of(s, i).last ||
        !is_made_for(p, s, i, buffer) ||
        lx_tensor__bytes(step->in[k]) != lx_tensor__bytes(step->out[0]))
        return -1;
    for (int other = 0; other < step->n_in; other++)
        if (step->in[other] && !(mask & 1u << other) &&
            p->buffer_of[lx_schedule__root(s, step->in[other])] == buffer)
            return -1;
    return buffer;
}

static int buffer_of_result(lx_placement *p, const lx_schedule *s, int i, int k, int last)
{
    const lx_node *step = &s->steps[i];
    const lx_step_group group = lx_schedule__group_of(s, i);
    unsigned mask = k == 0 ? lx_op__overwritable(step) : 0;

    lx_assert(p->buffers);
    if (last < group.last) /* nobody reads it, but it is written */
        last = group.last;
    for (int from = 0; from < step->n_in; from++) {
        int buffer;
        if (!(mask & 1u << from) || !step->in[from] ||
            (buffer = inherited(p, s, i, from, mask)) < 0)
            continue;
        p->buffers[buffer].last = last;
        return buffer;
    }
    return new_buffer(p, lx_tensor__bytes(step->out[k]), group.first, last);
}

/* Steps that are done as one have that of the one that wants the most, if the device says so. */
static int place_scratch(lx_placement *p, const lx_schedule *s, int i)
{
    const lx_step_group g = lx_schedule__group_of(s, i);
    size_t bytes = 0;

    if (!s->scratch || g.first != i ||
        (g.first != g.last && (!s->joining->has_scratch ||
                               !s->joining->has_scratch((lx_op_id)s->steps[i].op))))
        return LX_OK;
    for (int k = g.first; k <= g.last; k++)
        if (bytes < s->scratch[k])
            bytes = s->scratch[k];
    if (!bytes)
        return LX_OK;
    p->scratch_buffer_of[i] = new_buffer(p, bytes, g.first, g.last);
    return p->scratch_buffer_of[i] < 0 ? LX_ENOMEM : LX_OK;
}

static int place_results(lx_placement *p, const lx_schedule *s, int i, const int *last)
{
    const lx_node *step = &s->steps[i];

    for (int k = 0; k < step->n_out; k++) {
        int root;
        if (!step->out[k])
            continue;
        root = lx_schedule__root(s, step->out[k]);
        if (lx_full(s->tensors[root])->kind != LX_TENSOR_ACTIVATION)
            continue;
        lx_assert(p->buffer_of[root] < 0);
        p->buffer_of[root] = buffer_of_result(p, s, i, k, last[root]);
        if (p->buffer_of[root] < 0)
            return LX_ENOMEM;
    }
    return place_scratch(p, s, i);
}

/* Inputs stay for the whole plan, so that one that does not change is set once. */
static int place_inputs(lx_placement *p, const lx_schedule *s)
{
    for (size_t id = 0; id < s->n_tensors; id++) {
        if (lx_full(s->tensors[id])->kind != LX_TENSOR_INPUT)
            continue;
        p->buffer_of[id] =
            new_buffer(p, lx_tensor__bytes(s->tensors[id]), 0, (int)s->n_steps);
        if (p->buffer_of[id] < 0)
            return LX_ENOMEM;
    }
    return LX_OK;
}

static int measure_live(lx_placement *p, const lx_schedule *s)
{
    /* change[i]: bytes born at step i less bytes that died before it */
    size_t *born = lx_calloc(s->n_steps + 2, sizeof *born);
    size_t *died = lx_calloc(s->n_steps + 3, sizeof *died);
    size_t now = 0;

    if (!born || !died) {
        lx_free(born);
        lx_free(died);
        return LX_ENOMEM;
    }
    for (size_t b = 0; b < p->n_buffers; b++) {
        born[p->buffers[b].first] += p->buffers[b].bytes;
        died[p->buffers[b].last + 1] += p->buffers[b].bytes;
    }
    p->live_bytes = 0;
    for (size_t i = 0; i <= s->n_steps; i++) {
        now = now - died[i] + born[i];
        if (p->live_bytes < now)
            p->live_bytes = now;
    }
    lx_free(born);
    lx_free(died);
    return LX_OK;
}

int lx_placement_lifetimes(lx_placement *p, const lx_schedule *s, lx_error *err)
{
    int *last = lx_calloc(s->n_tensors + 1, sizeof *last), rc = LX_ENOMEM;

    *p = (lx_placement){0};
    p->buffer_of = lx_calloc(s->n_tensors + 1, sizeof *p->buffer_of);
    p->scratch_buffer_of = lx_calloc(s->n_steps + 1, sizeof *p->scratch_buffer_of);
    if (!last || !p->buffer_of || !p->scratch_buffer_of)
        goto done;
    for (size_t id = 0; id < s->n_tensors; id++)
        p->buffer_of[id] = -1;
    for (size_t i = 0; i < s->n_steps; i++)
        p->scratch_buffer_of[i] = -1;
    find_last_uses(s, last);
    rc = place_inputs(p, s);
    for (size_t i = 0; i < s->n_steps && rc == LX_OK; i++)
        rc = place_results(p, s, (int)i, last);
    if (rc == LX_OK)
        rc = measure_live(p, s);
done:
    lx_free(last);
    if (rc < 0) {
        lx_placement_release(p);
        return lx_oom(err);
    }
    return LX_OK;
}

/* ---- offsets ----------------------------------------------------------------------- */

typedef struct ranked {
    size_t key, bytes;
    int buffer;
} ranked;

static int by_rank(const void *a, const void *b)
{
    const ranked *x = a, *y = b;

    if (x->key != y->key)
        return x->key > y->key ? -1 : 1;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return x->buffer < y->buffer ? -1 : x->buffer > y->buffer;
}

/* Where a placed buffer lies, and when. */
typedef struct placed {
    int first, last;
    size_t from, to;
} placed;

typedef struct shelf {
    placed *items; /* by offset */
    size_t n;
    int *alive; /* room to list some of them */
} shelf;

/* The tightest gap among those that are alive with b, else the end. */
static size_t find_offset(const shelf *s, const lx_buffer *b)
{
    const placed *items = s->items;
    const size_t n = s->n;
    const int first = b->first, last = b->last;
    int *alive = s->alive;
    size_t end = 0, best = 0, best_gap = SIZE_MAX, n_alive = 0;

    /* Without a branch, which could not be foreseen. */
    for (size_t i = 0; i < n; i++) {
        alive[n_alive] = (int)i;
        n_alive += (size_t)((items[i].first <= last) & (first <= items[i].last));
    }
    for (size_t i = 0; i < n_alive; i++) {
        const placed *other = &items[alive[i]];
        if (other->from > end && other->from - end >= b->bytes &&
            other->from - end < best_gap) {
            best_gap = other->from - end;
            best = end;
        }
        if (end < other->to)
            end = other->to;
    }
    return best_gap == SIZE_MAX ? end : best;
}

/* Behind those of the same offset. */
static void put(shelf *s, const lx_buffer *b)
{
    size_t low = 0, high = s->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->items[middle].from > b->offset)
            high = middle;
        else
            low = middle + 1;
    }
    memmove(s->items + low + 1, s->items + low, (s->n++ - low) * sizeof *s->items);
    s->items[low] = (placed){b->first, b->last, b->offset, b->offset + b->bytes};
}

/* The bytes of all together; `limit` when they are no fewer, and then not all have an offset. */
static size_t assign(lx_buffer *buffers, size_t n, const ranked *order, shelf *s,
                     size_t limit)
{
    size_t total = 0;

    s->n = 0;
    for (size_t i = 0; i < n && total < limit; i++) {
        lx_buffer *b = &buffers[order[i].buffer];
        b->offset = find_offset(s, b);
        if (total < b->offset + b->bytes)
            total = b->offset + b->bytes;
        put(s, b);
    }
    return total < limit ? total : limit;
}

static size_t life(const lx_buffer *b)
{
    return (size_t)(b->last - b->first + 1);
}

/* p->bytes is `limit` where they are no fewer; then not all buffers have an offset. */
static int place(lx_placement *p, const lx_schedule *s, size_t limit, lx_error *err)
{
    int rc = lx_placement_lifetimes(p, s, err);
    shelf taken = {0};
    lx_buffer *second = NULL;
    ranked *order = NULL;
    size_t bytes;

    if (rc < 0)
        return rc;
    p->bytes = limit;
    if (p->live_bytes >= limit)
        return LX_OK;
    taken.items = lx_calloc(p->n_buffers + 1, sizeof *taken.items);
    taken.alive = lx_calloc(p->n_buffers + 1, sizeof *taken.alive);
    order = lx_calloc(p->n_buffers + 1, sizeof *order);
    second = lx_calloc(p->n_buffers + 1, sizeof *second);
    if (!taken.items || !taken.alive || !order || !second) {
        rc = lx_oom(err);
        goto done;
    }
    for (size_t i = 0; i < p->n_buffers; i++)
        order[i] = (ranked){p->buffers[i].bytes, p->buffers[i].bytes, (int)i};
    qsort(order, p->n_buffers, sizeof *order, by_rank);
    p->bytes = assign(p->buffers, p->n_buffers, order, &taken, limit);
    if (p->bytes > p->live_bytes) {
        memcpy(second, p->buffers, p->n_buffers * sizeof *second);
        for (size_t i = 0; i < p->n_buffers; i++)
            order[i] = (ranked){life(&second[i]), second[i].bytes, (int)i};
        qsort(order, p->n_buffers, sizeof *order, by_rank);
        bytes = assign(second, p->n_buffers, order, &taken, p->bytes);
        if (bytes < p->bytes) {
            memcpy(p->buffers, second, p->n_buffers * sizeof *second);
            p->bytes = bytes;
        }
    }
done:
    lx_free(taken.items);
    lx_free(taken.alive);
    lx_free(order);
    lx_free(second);
    if (rc < 0)
        lx_placement_release(p);
    return rc;
}

int lx_placement_init(lx_placement *p, const lx_schedule *s, lx_error *err)
{
    return place(p, s, SIZE_MAX, err);
}

int lx_placement_bytes(size_t *bytes, const lx_schedule *s, size_t limit, lx_error *err)
{
    lx_placement p;
    int rc = place(&p, s, limit, err);

    if (rc < 0)
        return rc;
    *bytes = p.bytes;
    lx_placement_release(&p);
    return LX_OK;
}
