/*
 * graph/gather - steps that a device could do as one, side by side
 *
 * Products with weights are what a training of LoRA has most of. Three kinds are moved:
 *
 * (1) A frozen product, its LoRA's down and up (y = x w^T + s (x down^T) up^T) stand together as they were
 *     built. In the reverse pass their three products of dx do not: gradients of the factors are between them.
 *     The three become one unit, in the place of the last.
 * (2) Products of one x go to where x is made, if x is all that they need: keys and values of every cross
 *     attention, the projections of the time. In the reverse pass such products add up to one sum, term by
 *     term; a unit whose result only the next term reads goes to that term.
 * (3) Gradients of weights are needed by no step: they wait until there are many. What they read must be
 *     kept until then, so no more of them wait than a sixteenth of what is alive at the worst moment, and a
 *     MiB; if they are patient, also half of what has died since that moment (all of it makes holes in the
 *     arena). They do not come between the gradient of a LayerNorm and the product of that.
 *
 * The order of sums stays; only values that are rounded on their way between the three products of (1) may
 * no longer be, if the device does them as one.
 */
#include "src/graph/schedule.h"

#include <string.h>

#include "src/base/alloc.h"

enum { UNIT = 3, WAITING_SHARE = 16, WAITING_LEAST = 1 << 20 };

/* What moves as a whole. */
typedef struct unit {
    int step[UNIT]; /* in the order they run */
    int n;
    int place; /* of the last in the order they were built */
    int next; /* forward: the next one of the same x; reverse: the one that only this one needs; -1 */
    bool is_moved; /* it goes where another unit is */
} unit;

typedef struct gathering {
    lx_schedule *s;
    int *producer; /* by id of a root: step, -1 */
    int *n_uses;   /* by id of a root */
    int *reader;   /* by id of a root: the last step that reads it */
    int *unit_of;  /* by step: the unit, -1 */
    unit *units;
    size_t n_units;
    bool *is_done;   /* by step */
    bool *is_waited; /* by id of a root: kept for a waiting step */
    int *waiting;    /* steps */
    size_t n_waiting, waiting_bytes, most_bytes;
    size_t
        *dead_bytes; /* by step: of what is alive at the worst moment, what is not then */
    int *chain_at;   /* by step: the first unit of a chain whose x it makes, -1 */
    lx_node *order;
    size_t n_order;
} gathering;

static int root_of(const gathering *g, const lx_tensor *t)
{
    return lx_schedule__root(g->s, t);
}

static void find_readers(gathering *g)
{
    const lx_schedule *s = g->s;

    for (size_t id = 0; id < s->n_tensors; id++)
        g->producer[id] = g->reader[id] = -1;
    for (size_t i = 0; i < s->n_steps; i++) {
        for (int k = 0; k < s->steps[i].n_in; k++)
            if (s->steps[i].in[k]) {
                g->n_uses[root_of(g, s->steps[i].in[k])]++;
                g->reader[root_of(g, s->steps[i].in[k])] = (int)i;
            }
        for (int k = 0; k < s->steps[i].n_out; k++)
            if (s->steps[i].out[k])
                g->producer[root_of(g, s->steps[i].out[k])] = (int)i;
    }
}

/* Does only step i read t, once? */
static bool is_only_for(const gathering *g, const lx_tensor *t, int i)
{
    const int root = root_of(g, t);

    return g->n_uses[root] == 1 && g->reader[root] == i && !g->s->is_kept[root];
}

static bool is_same(const gathering *g, const lx_tensor *a, const lx_tensor *b)
{
    return a && b && root_of(g, a) == root_of(g, b);
}

static const lx_node *step_at(const gathering *g, int i)
{
    return i >= 0 && i < (int)g->s->n_steps ? &g->s->steps[i] : NULL;
}

static void new_unit(gathering *g, const int step[UNIT], int n)
{
    unit *u = &g->units[g->n_units];

    *u = (unit){.n = n, .place = step[n - 1], .next = -1};
    for (int k = 0; k < n; k++) {
        u->step[k] = step[k];
        g->unit_of[step[k]] = (int)g->n_units;
    }
    g->n_units++;
}

/* The gradient of a parameter, which no step reads. */
static bool can_wait(const lx_node *step)
{
    return step->op == LX_OP_linear_dw && !step->attrs.linear.sets;
}

/* Do only step `reader` and gradients of parameters read t? */
static bool is_only_for_weights_and(const gathering *g, const lx_tensor *t, int reader)
{
    const int root = root_of(g, t);

    for (int i = g->producer[root] + 1; i <= g->reader[root]; i++)
        for (int k = 0; k < g->s->steps[i].n_in; k++)
            if (i != reader && g->s->steps[i].in[k] &&
                root_of(g, g->s->steps[i].in[k]) == root && !can_wait(&g->s->steps[i]))
                return false;
    return !g->s->is_kept[root];
}

/* ---- forward ----------------------------------------------------------------------- */

/* Are base, down and up at i, i + 1 and i + 2? */
static bool is_adapted(const gathering *g, int i)
{
    const lx_node *base = step_at(g, i), *down = step_at(g, i + 1),
                  *up = step_at(g, i + 2);

    return down && up && i + 2 < (int)g->s->n_forward && down->op == LX_OP_linear &&
           up->op == LX_OP_linear && is_same(g, down->in[0], base->in[0]) &&
           is_same(g, up->in[0], down->out[0]) && is_same(g, up->in[3], base->out[0]) &&
           is_only_for(g, base->out[0], i + 2);
}

static void find_forward_units(gathering *g)
{
    for (int i = 0; i < (int)g->s->n_forward; i++) {
        const int step[UNIT] = {i, i + 1, i + 2};
        if (g->s->steps[i].op != LX_OP_linear)
            continue;
        new_unit(g, step, is_adapted(g, i) ? UNIT : 1);
        i += g->units[g->n_units - 1].n - 1;
    }
}

static bool is_param(const lx_tensor *t)
{
    return !t || lx_full(t)->kind == LX_TENSOR_PARAM;
}

static bool needs_only_x(const gathering *g, const unit *u)
{
    for (int k = 0; k < u->n; k++) {
        const lx_node *step = &g->s->steps[u->step[k]];
        if (!is_param(step->in[1]) || !is_param(step->in[2]))
            return false;
    }
    return !g->s->steps[u->step[0]].in[3];
}

/* Chains of units with the same x, behind what makes x; or behind the first, if that needs more. */
static void chain_forward(gathering *g, int *last_with)
{
    for (size_t id = 0; id < g->s->n_tensors; id++)
        last_with[id] = -1;
    for (size_t i = 0; i < g->n_units; i++) {
        unit *u = &g->units[i];
        const int x = root_of(g, g->s->steps[u->step[0]].in[0]);
        int *last = &last_with[x];
        if (*last >= 0 && needs_only_x(g, u)) {
            unit *before = &g->units[*last];
            const int from = g->producer[x];
            if (!before->is_moved && needs_only_x(g, before) && from >= 0 &&
                g->unit_of[from] < 0) {
                g->chain_at[from] = *last;
                before->is_moved = true;
            }
            before->next = (int)i;
            u->is_moved = true;
        }
        if (*last < 0 || u->is_moved)
            *last = (int)i;
    }
}

/* ---- reverse ----------------------------------------------------------------------- */

/* The step that made t for step i alone, if it is a linear_dx; else -1. */
static int made_by_dx(const gathering *g, const lx_tensor *t, int i)
{
    const int from = t && is_only_for(g, t, i) ? g->producer[root_of(g, t)] : -1;

    return from >= (int)g->s->n_forward && g->s->steps[from].op == LX_OP_linear_dx ? from
                                                                                   : -1;
}

/* dx of the frozen product at i, of its LoRA's down and up: false if step i is none. */
static bool find_adapted_dx(const gathering *g, int i, int step[UNIT])
{
    const lx_node *base = &g->s->steps[i];
    const int down = made_by_dx(g, base->in[2], i);
    const int up = down < 0 ? -1 : g->producer[root_of(g, g->s->steps[down].in[0])];

    if (up < (int)g->s->n_forward || g->s->steps[up].op != LX_OP_linear_dx ||
        g->s->steps[up].in[2] || !is_same(g, g->s->steps[up].in[0], base->in[0]) ||
        !is_only_for_weights_and(g, g->s->steps[up].out[0], down))
        return false;
    step[0] = up;
    step[1] = down;
    step[2] = i;
    return true;
}

static void find_reverse_units(gathering *g)
{
    for (int i = (int)g->s->n_steps - 1; i >= (int)g->s->n_forward; i--) {
        int step[UNIT] = {i};
        if (g->s->steps[i].op != LX_OP_linear_dx || g->unit_of[i] >= 0)
            continue;
        new_unit(g, step, find_adapted_dx(g, i, step) ? UNIT : 1);
    }
}

/* The step of a unit that takes the sum so far: the first that could have an `add`. */
static int adding_step(const unit *u)
{
    return u->step[u->n == UNIT ? 1 : 0];
}

static void chain_reverse(gathering *g, size_t first_unit)
{
    for (size_t i = first_unit; i < g->n_units; i++) {
        unit *u = &g->units[i];
        const int at = adding_step(u), from = made_by_dx(g, g->s->steps[at].in[2], at);
        if (from < 0 || g->unit_of[from] < 0)
            continue;
        unit *term = &g->units[g->unit_of[from]];
        if (term->step[term->n - 1] != from || term == u)
            continue;
        u->next = g->unit_of[from];
        term->is_moved = true;
    }
}

/* ---- the new order ------------------------------------------------------------------ */

static void emit(gathering *g, int step)
{
    g->order[g->n_order++] = g->s->steps[step];
    g->is_done[step] = true;
}

static void emit_unit(gathering *g, const unit *u)
{
    for (int k = 0; k < u->n; k++)
        emit(g, u->step[k]);
}

/* A term of a sum after those before it. They are few enough to be walked again and again. */
static void emit_sum(gathering *g, const unit *last)
{
    size_t n = 0;

    for (const unit *u = last; u; u = u->next < 0 ? NULL : &g->units[u->next])
        n++;
    for (; n > 0; n--) {
        const unit *u = last;
        for (size_t k = 1; k < n; k++)
            u = &g->units[u->next];
        emit_unit(g, u);
    }
}

static bool is_ready(const gathering *g, const lx_node *step)
{
    for (int k = 0; k < step->n_in; k++) {
        const int from = step->in[k] ? g->producer[root_of(g, step->in[k])] : -1;
        if (from >= 0 && !g->is_done[from])
            return false;
    }
    return true;
}

/* Units of one x, in the order they were built. */
static void emit_chain(gathering *g, int first)
{
    for (int i = first; i >= 0; i = g->units[i].next)
        emit_unit(g, &g->units[i]);
}

/* What waits and can be done, of one kind. */
static void flush_kind(gathering *g, bool is_gradient)
{
    size_t left = 0;

    for (size_t i = 0; i < g->n_waiting; i++) {
        const int step = g->waiting[i];
        if (can_wait(&g->s->steps[step]) == is_gradient &&
            is_ready(g, &g->s->steps[step]))
            emit(g, step);
        else
            g->waiting[left++] = step;
    }
    g->n_waiting = left;
}

/* Gradients of weights after what some of them need, so that they stand together. Steps whose input a unit makes
 * that is still to move wait on. */
static void flush(gathering *g)
{
    flush_kind(g, false);
    flush_kind(g, true);
    g->waiting_bytes = 0;
    memset(g->is_waited, 0, g->s->n_tensors * sizeof *g->is_waited);
}

/* Would a flush now stand between the gradient of a norm and the product of it? */
static bool is_between(const gathering *g)
{
    return g->n_order && g->order[g->n_order - 1].op == LX_OP_layer_norm_dx;
}

/* A unit whose result only gradients of weights read waits with them, but for the product of such a gradient. */
static bool unit_can_wait(const gathering *g, const unit *u)
{
    const lx_node *step = &g->s->steps[u->step[0]];

    return u->n == 1 && u->next < 0 && is_only_for_weights_and(g, step->out[0], -1) &&
           !(is_between(g) && is_same(g, g->order[g->n_order - 1].out[0], step->in[0]));
}

static void wait_with(gathering *g, int step)
{
    const lx_node *node = &g->s->steps[step];

    for (int k = 0; k < node->n_in; k++) {
        const int root = node->in[k] ? root_of(g, node->in[k]) : -1;
        if (root < 0 || g->is_waited[root])
            continue;
        g->is_waited[root] = true;
        g->waiting_bytes += lx_tensor__bytes(g->s->tensors[root]);
    }
    g->waiting[g->n_waiting++] = step;
}

static void reorder(gathering *g)
{
    const int n = (int)g->s->n_steps;

    for (int i = 0; i < n; i++) {
        const int at = g->unit_of[i];
        const unit *u = at < 0 ? NULL : &g->units[at];
        if (can_wait(&g->s->steps[i])) {
            wait_with(g, i);
        } else if (!u) {
            emit(g, i);
        } else if (i != u->place || u->is_moved) {
            continue;
        } else if (i < (int)g->s->n_forward) {
            emit_chain(g, at);
        } else if (unit_can_wait(g, u)) {
            wait_with(g, i);
        } else {
            emit_sum(g, u);
        }
        if (g->chain_at[i] >= 0)
            emit_chain(g, g->chain_at[i]);
        if (g->waiting_bytes > g->most_bytes + g->dead_bytes[i] / 2 && !is_between(g))
            flush(g);
    }
    flush(g);
    flush(g); /* what waited for a step that waited */
}

static int alloc_tables(gathering *g)
{
    const size_t n_ids = g->s->n_tensors + 1, n = g->s->n_steps + 1;

    g->producer = lx_calloc(n_ids, sizeof *g->producer);
    g->n_uses = lx_calloc(n_ids, sizeof *g->n_uses);
    g->reader = lx_calloc(n_ids, sizeof *g->reader);
    g->is_waited = lx_calloc(n_ids, sizeof *g->is_waited);
    g->unit_of = lx_calloc(n, sizeof *g->unit_of);
    g->units = lx_calloc(n, sizeof *g->units);
    g->is_done = lx_calloc(n, sizeof *g->is_done);
    g->waiting = lx_calloc(n, sizeof *g->waiting);
    g->order = lx_calloc(n, sizeof *g->order);
    g->chain_at = lx_calloc(n, sizeof *g->chain_at);
    if (!g->producer || !g->chain_at || !g->n_uses || !g->reader || !g->is_waited ||
        !g->unit_of || !g->units || !g->is_done || !g->waiting || !g->order)
        return LX_ENOMEM;
    for (size_t i = 0; i < n; i++)
        g->unit_of[i] = g->chain_at[i] = -1;
    return LX_OK;
}

static int gather(gathering *g)
{
    int *last_with = lx_calloc(g->s->n_tensors + 1, sizeof *last_with);
    size_t n_forward_units;

    if (!last_with)
        return LX_ENOMEM;
    find_readers(g);
    find_forward_units(g);
    n_forward_units = g->n_units;
    chain_forward(g, last_with);
    find_reverse_units(g);
    chain_reverse(g, n_forward_units);
    reorder(g);
    lx_assert(g->n_order == g->s->n_steps);
    memcpy(g->s->steps, g->order, g->n_order * sizeof *g->order);
    lx_free(last_with);
    return LX_OK;
}

/* What the order so far keeps alive, and how much less that is at each step. */
static int measure(gathering *g, bool is_patient, lx_error *err)
{
    lx_placement p;
    size_t now = 0;
    int rc = lx_placement_lifetimes(&p, g->s, err);

    if (rc < 0)
        return rc;
    g->most_bytes = p.live_bytes / WAITING_SHARE + WAITING_LEAST;
    if (!(g->dead_bytes = lx_calloc(g->s->n_steps + 3, sizeof *g->dead_bytes)))
        rc = lx_oom(err);
    for (size_t b = 0; b < p.n_buffers && is_patient && rc >= 0; b++) {
        g->dead_bytes[p.buffers[b].first] -= p.buffers[b].bytes; /* what changes, first */
        g->dead_bytes[p.buffers[b].last + 1] += p.buffers[b].bytes;
    }
    for (size_t i = 0; i < g->s->n_steps && is_patient && rc >= 0; i++) {
        now += g->dead_bytes[i];
        g->dead_bytes[i] = p.live_bytes + now;
    }
    lx_placement_release(&p);
    return rc;
}

int lx_schedule__gather(lx_schedule *s, bool is_patient, lx_error *err)
{
    gathering g = {.s = s};
    int rc = measure(&g, is_patient, err);

    if (rc < 0)
        return rc;
    rc = alloc_tables(&g);
    if (rc == LX_OK)
        rc = gather(&g);
    lx_free(g.dead_bytes);
    lx_free(g.chain_at);
    lx_free(g.producer);
    lx_free(g.n_uses);
    lx_free(g.reader);
    lx_free(g.is_waited);
    lx_free(g.unit_of);
    lx_free(g.units);
    lx_free(g.is_done);
    lx_free(g.waiting);
    lx_free(g.order);
    return rc < 0 ? lx_oom(err) : LX_OK;
}
