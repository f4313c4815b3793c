/*
 * graph/recompute - trade time for memory (activation checkpointing), chosen by cost
 *
 * The forward pass is cut into segments. Values that cross a cut are kept; the others can
 * be dropped and computed again when the reverse pass reaches their segment. In two
 * stages:
 *
 *   1. results of cheap ops whose operands are kept anyway (a norm, an activation, a
 *      gate);
 *   2. everything inside a segment.
 *
 * Where to cut: for a bound on what a segment holds, the cuts that keep the fewest bytes
 * are found by dynamic programming over the forward steps. What crosses a cut and was
 * made since the cut before is the price of a segment, so prices add up. On Stable
 * Diffusion the cuts fall between blocks, where only the residual stream and the skip
 * connections cross. Several bounds are tried.
 *
 * What to drop: segments in order of bytes won per operation, as few as make the arena
 * fit, which is asked of the real placement. The cheapest plan that fits is taken. Without
 * a limit on bytes there is one on operations: as many as cost a given share of a run, and
 * the smallest plan is taken.
 *
 * Source: Chen et al. 2016, arXiv:1604.06174 (segments); the choice of cuts is ours.
 */
#include "src/graph/schedule.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"

/* A result of the forward pass, by id of its root. */
typedef struct value {
    size_t bytes;
    int made, last_forward; /* steps; made -1: not one that can be dropped */
    bool is_read_back;      /* by the reverse pass */
    bool is_cheap;          /* stage 1 may drop it */
} value;

/* Drop what stage `stage` allows in segment `segment`. */
typedef struct item {
    int stage;
    size_t segment, bytes;
    double cost;
} item;

typedef struct search {
    const lx_schedule *s;
    value *values;      /* by id */
    size_t *made_by;    /* bytes by forward step: all it makes */
    size_t *held_by;    /* bytes by forward step: what the reverse pass reads of it */
    double *cost;       /* by forward step */
    size_t *end;        /* by segment: one past its last step */
    size_t *segment_of; /* by forward step */
    size_t n_segments;
    item *items;
    size_t n_items;
    bool *is_dropped; /* by id */
    /* of the dynamic program */
    size_t *price, *before;
    /* the best so far */
    bool *best;
    double best_cost;
    bool has_best;
    size_t least_bytes; /* of any plan tried */
} search;

/* ---- facts about the forward pass -------------------------------------------------- */

/* Bound by memory, not by arithmetic. */
static bool is_cheap_op(int op)
{
    switch (op) {
    case LX_OP_conv2d:
    case LX_OP_linear:
    case LX_OP_attention:
    case LX_OP_loss:
        return false;
    default:
        return true;
    }
}

/* Operations, where an element read or written counts as about twenty. */
static double cost_of(const lx_node *step)
{
    double elements = 0;
    for (int k = 0; k < step->n_in; k++)
        elements += step->in[k] ? (double)lx_tensor__count(step->in[k]) : 0;
    for (int k = 0; k < step->n_out; k++)
        elements += step->out[k] ? (double)lx_tensor__count(step->out[k]) : 0;
    return lx_op__flops(step) + 20 * elements;
}

static void read_forward(search *f)
{
    const lx_schedule *s = f->s;

    for (size_t id = 0; id < s->n_tensors; id++)
        f->values[id].made = -1;
    for (size_t i = 0; i < s->n_steps; i++)
        for (int k = 0; k < s->steps[i].n_in; k++) {
            const lx_tensor *t = s->steps[i].in[k];
            if (!t)
                continue;
            if (i < s->n_forward)
                f->values[lx_schedule__root(s, t)].last_forward = (int)i;
            else
                f->values[lx_schedule__root(s, t)].is_read_back = true;
        }
    for (size_t i = 0; i < s->n_forward; i++) {
        f->cost[i] = cost_of(&s->steps[i]);
        for (int k = 0; k < s->steps[i].n_out; k++) {
            const lx_tensor *t = s->steps[i].out[k];
            int root = t ? lx_schedule__root(s, t) : -1;
            value *v = &f->values[root < 0 ? 0 : root];
            if (root < 0 || lx_full(s->tensors[root])->kind != LX_TENSOR_ACTIVATION ||
                s->is_kept[root] || s->steps[i].op == LX_OP_loss)
                continue;
            v->made = (int)i;
            v->bytes = lx_tensor__bytes(t);
            if (v->last_forward < (int)i)
                v->last_forward = (int)i;
            f->made_by[i] += v->bytes;
            f->held_by[i] += v->is_read_back ? v->bytes : 0;
        }
    }
}

/* Whether the reverse pass finds t without anything being kept for it. */
static bool is_at_hand(const search *f, const lx_tensor *t)
{
    int root = lx_schedule__root(f->s, t);
    const value *v = &f->values[root];

    if (!lx_schedule__is_placed(f->s, root) || f->s->is_kept[root] ||
        lx_full(f->s->tensors[root])->kind == LX_TENSOR_INPUT)
        return true;
    return v->is_read_back || v->is_cheap;
}

static void find_cheap(search *f)
{
    for (size_t i = 0; i < f->s->n_forward; i++) {
        const lx_node *step = &f->s->steps[i];
        bool all = is_cheap_op(step->op);
        value *v;
        for (int k = 0; k < step->n_in && all; k++)
            all = !step->in[k] || is_at_hand(f, step->in[k]);
        v = &f->values[lx_schedule__root(f->s,
                                         step->out[0] ? step->out[0] : step->out[1])];
        v->is_cheap = all && v->made == (int)i;
    }
}

/* ---- cuts -------------------------------------------------------------------------- */

/* Lists, by the step that reads them last in the forward pass, of what can be dropped. */
static void list_ends(const search *f, size_t *first_of, size_t *next)
{
    for (size_t i = 0; i < f->s->n_forward; i++)
        first_of[i] = SIZE_MAX;
    for (size_t id = 0; id < f->s->n_tensors; id++)
        if (f->values[id].made >= 0) {
            size_t at = (size_t)f->values[id].last_forward;
            next[id] = first_of[at];
            first_of[at] = id;
        }
}

/*
 * All segments [from, to) that hold at most `bound`, relaxed in order of their beginning.
 */
static void relax(search *f, size_t bound, const size_t *first_of, const size_t *next)
{
    size_t n = f->s->n_forward;

    for (size_t i = 0; i <= n; i++)
        f->price[i] = i ? SIZE_MAX : 0;
    for (size_t from = 0; from < n; from++) {
        size_t held = 0, crossing = 0;
        for (size_t to = from + 1; to <= n; to++) {
            held += f->held_by[to - 1];
            if (held > bound && to > from + 1)
                break;
            crossing += f->made_by[to - 1];
            for (size_t id = first_of[to - 1]; id != SIZE_MAX; id = next[id])
                if (f->values[id].made >= (int)from)
                    crossing -= f->values[id].bytes;
            if (f->price[from] + crossing < f->price[to]) {
                f->price[to] = f->price[from] + crossing;
                f->before[to] = from;
            }
        }
    }
}

static void take_cuts(search *f)
{
    size_t n = f->s->n_forward, count = 0;

    for (size_t at = n; at > 0; at = f->before[at])
        count++;
    f->n_segments = count;
    for (size_t at = n; at > 0; at = f->before[at]) {
        f->end[--count] = at;
        for (size_t i = f->before[at]; i < at; i++)
            f->segment_of[i] = count;
    }
}

/* ---- what to drop ------------------------------------------------------------------ */

static bool may_drop(const search *f, const value *v, int stage)
{
    if (v->made < 0)
        return false;
    return v->is_cheap ||
           (stage == 2 && v->last_forward < (int)f->end[f->segment_of[v->made]]);
}

static int by_gain(const void *a, const void *b)
{
    const item *x = a, *y = b;
    double gx = (double)x->bytes / (x->cost + 1), gy = (double)y->bytes / (y->cost + 1);

    if (x->stage != y->stage)
        return x->stage - y->stage;
    if (gx > gy || gx < gy)
        return gx > gy ? -1 : 1;
    return x->segment < y->segment ? -1 : x->segment > y->segment;
}

static void list_items(search *f)
{
    size_t n = 0;

    for (size_t g = 0; g < f->n_segments; g++) {
        f->items[2 * g] = (item){1, g, 0, 0};
        f->items[2 * g + 1] = (item){2, g, 0, 0};
    }
    for (size_t id = 0; id < f->s->n_tensors; id++) {
        const value *v = &f->values[id];
        item *first;
        if (v->made < 0 || !v->is_read_back)
            continue;
        first = &f->items[2 * f->segment_of[v->made]];
        if (may_drop(f, v, 1)) {
            first[0].bytes += v->bytes;
            first[0].cost += f->cost[v->made];
        } else if (may_drop(f, v, 2)) {
            first[1].bytes += v->bytes;
        }
    }
    for (size_t i = 0; i < f->s->n_forward; i++)
        f->items[2 * f->segment_of[i] + 1].cost += f->cost[i];
    for (size_t k = 0; k < 2 * f->n_segments; k++)
        if (f->items[k].bytes)
            f->items[n++] = f->items[k];
    f->n_items = n;
    qsort(f->items, n, sizeof *f->items, by_gain);
}

static void drop_first(search *f, size_t n_items, int *stage_of)
{
    memset(stage_of, 0, f->n_segments * sizeof *stage_of);
    for (size_t k = 0; k < n_items; k++)
        if (stage_of[f->items[k].segment] < f->items[k].stage)
            stage_of[f->items[k].segment] = f->items[k].stage;
    for (size_t id = 0; id < f->s->n_tensors; id++) {
        const value *v = &f->values[id];
        int stage = v->made < 0 ? 0 : stage_of[f->segment_of[v->made]];
        f->is_dropped[id] = stage > 0 && may_drop(f, v, stage);
    }
}

static double cost_of_schedule(const lx_schedule *s)
{
    double sum = 0;
    for (size_t i = 0; i < s->n_steps; i++)
        sum += cost_of(&s->steps[i]);
    return sum;
}

/* What dropping the first items comes to. */
typedef struct trial {
    size_t bytes; /* of the arena */
    double cost;  /* of a whole run */
} trial;

/* How well the bytes are known: not at all, from below, or of the real placement. */
typedef enum precision { COST_ALONE, LOWER_BOUND, PLACED } precision;

/* Bytes of a placement that are no fewer than `limit` are given as `limit`. */
static int try_items(trial *t, search *f, size_t n_items, precision how, size_t limit,
                     int *stage_of, lx_error *err)
{
    lx_placement p;
    lx_schedule s;
    int rc;

    drop_first(f, n_items, stage_of);
    if ((rc = lx_schedule__without(&s, f->s, f->is_dropped, err)) < 0)
        return rc;
    *t = (trial){0, cost_of_schedule(&s)};
    if (how == PLACED)
        rc = lx_placement_bytes(&t->bytes, &s, limit, err);
    if (how == LOWER_BOUND && (rc = lx_placement_lifetimes(&p, &s, err)) == LX_OK) {
        t->bytes = p.live_bytes;
        lx_placement_release(&p);
    }
    lx_schedule_release(&s);
    return rc;
}

/*
 * The fewest items whose lower bound is at most `bytes`; all of them when none is enough.
 */
static int fewest_items(search *f, size_t bytes, size_t *n_items, int *stage_of,
                        lx_error *err)
{
    size_t low = 0, high = f->n_items;
    trial t;
    int rc;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((rc = try_items(&t, f, middle, LOWER_BOUND, 0, stage_of, err)) < 0)
            return rc;
        if (t.bytes <= bytes)
            high = middle;
        else
            low = middle + 1;
    }
    *n_items = low;
    return LX_OK;
}

/* With the present cuts: aims lower by what the placement loses, until it fits. */
static int try_cuts(search *f, size_t max_bytes, int *stage_of, lx_error *err)
{
    size_t aim = max_bytes, n;
    trial t;
    int rc;

    for (int attempt = 0; attempt < 6; attempt++) {
        if ((rc = fewest_items(f, aim, &n, stage_of, err)) < 0 ||
            (rc = try_items(&t, f, n, LOWER_BOUND, 0, stage_of, err)) < 0)
            return rc;
        if (f->has_best && t.cost >= f->best_cost)
            return LX_OK;
        if (t.bytes > max_bytes &&
            t.bytes >= f->least_bytes) /* its placement wins nothing */
            return LX_OK;
        if ((rc = try_items(&t, f, n, PLACED, SIZE_MAX, stage_of, err)) < 0)
            return rc;
        if (t.bytes < f->least_bytes)
            f->least_bytes = t.bytes;
        if (t.bytes <= max_bytes) {
            memcpy(f->best, f->is_dropped, f->s->n_tensors * sizeof *f->best);
            f->best_cost = t.cost;
            f->has_best = true;
            return LX_OK;
        }
        if (n >= f->n_items || aim <= t.bytes - max_bytes)
            return LX_OK;
        aim -= t.bytes - max_bytes;
    }
    return LX_OK;
}

static bool drops_any(const search *f)
{
    for (size_t id = 0; id < f->s->n_tensors; id++)
        if (f->is_dropped[id])
            return true;
    return false;
}

/* With the present cuts: as many items as cost at most `most`; kept if no others need less. */
static int try_cost(search *f, double most, int *stage_of, lx_error *err)
{
    size_t low = 0, high = f->n_items;
    trial t;
    int rc;

    while (low < high) {
        const size_t middle = low + (high - low + 1) / 2;
        if ((rc = try_items(&t, f, middle, COST_ALONE, 0, stage_of, err)) < 0)
            return rc;
        if (t.cost <= most)
            low = middle;
        else
            high = middle - 1;
    }
    drop_first(f, low, stage_of);
    if (!drops_any(f)) /* nothing else than there was */
        return LX_OK;
    if ((rc = try_items(&t, f, low, PLACED, f->least_bytes, stage_of, err)) < 0)
        return rc;
    if (t.bytes < f->least_bytes) {
        memcpy(f->best, f->is_dropped, f->s->n_tensors * sizeof *f->best);
        f->least_bytes = t.bytes;
        f->has_best = true;
    }
    return LX_OK;
}

/*
 * Bounds on a segment, from the whole pass down: each two thirds of the one before, or
 * four fifths where there is no limit on bytes to be met.
 */
static int try_bounds(search *f, size_t max_bytes, double spare, int *stage_of,
                      lx_error *err)
{
    size_t n = f->s->n_forward, whole = 0, largest = 0;
    size_t *first_of = lx_calloc(n + 1, sizeof *first_of);
    size_t *next = lx_calloc(f->s->n_tensors + 1, sizeof *next);
    int rc = LX_OK;

    if (!first_of || !next)
        rc = lx_oom(err);
    for (size_t i = 0; i < n; i++) {
        whole += f->held_by[i];
        if (largest < f->held_by[i])
            largest = f->held_by[i];
    }
    if (rc == LX_OK)
        list_ends(f, first_of, next);
    for (size_t bound = whole; rc == LX_OK && bound >= largest && bound > 0;
         bound = max_bytes ? bound / 3 * 2 : bound / 5 * 4) {
        relax(f, bound, first_of, next);
        take_cuts(f);
        list_items(f);
        rc = max_bytes ? try_cuts(f, max_bytes, stage_of, err)
                       : try_cost(f, (1 + spare) * cost_of_schedule(f->s), stage_of, err);
    }
    lx_free(first_of);
    lx_free(next);
    return rc;
}

static int too_large(const search *f, size_t most, size_t max_bytes, lx_error *err)
{
    return lx_fail(
        err, LX_ELIMIT,
        "activations and gradients need %zu bytes, %zu when all that can be is "
        "computed twice: %zu bytes more than the limit of %zu",
        most, f->least_bytes, f->least_bytes - max_bytes, max_bytes);
}

static void release(search *f)
{
    lx_free(f->values);
    lx_free(f->made_by);
    lx_free(f->held_by);
    lx_free(f->cost);
    lx_free(f->end);
    lx_free(f->segment_of);
    lx_free(f->items);
    lx_free(f->is_dropped);
    lx_free(f->price);
    lx_free(f->before);
    lx_free(f->best);
}

/* s becomes the schedule without f->best. */
static int apply(lx_schedule *s, const search *f, lx_error *err)
{
    lx_schedule out;
    int rc = lx_schedule__without(&out, s, f->best, err);

    if (rc < 0)
        return rc;
    lx_assert(!s->base_arena);
    out.base_arena = s->arena;
    s->arena = NULL;
    lx_schedule_release(s);
    *s = out;
    return LX_OK;
}

int lx_schedule_recompute(lx_schedule *s, size_t max_bytes, double spare, lx_error *err)
{
    size_t n = s->n_forward + 2, n_ids = s->n_tensors + 1;
    search f = {.s = s};
    int *stage_of = NULL;
    int rc = lx_placement_bytes(&f.least_bytes, s, SIZE_MAX, err);

    if (rc < 0)
        return rc;
    if (f.least_bytes <= max_bytes || s->n_forward == s->n_steps)
        return LX_OK;
    size_t most = f.least_bytes;
    f.values = lx_calloc(n_ids, sizeof *f.values);
    f.made_by = lx_calloc(n, sizeof *f.made_by);
    f.held_by = lx_calloc(n, sizeof *f.held_by);
    f.cost = lx_calloc(n, sizeof *f.cost);
    f.end = lx_calloc(n, sizeof *f.end);
    f.segment_of = lx_calloc(n, sizeof *f.segment_of);
    f.items = lx_calloc(2 * n, sizeof *f.items);
    f.is_dropped = lx_calloc(n_ids, sizeof *f.is_dropped);
    f.price = lx_calloc(n, sizeof *f.price);
    f.before = lx_calloc(n, sizeof *f.before);
    f.best = lx_calloc(n_ids, sizeof *f.best);
    stage_of = lx_calloc(n, sizeof *stage_of);
    if (!f.values || !f.made_by || !f.held_by || !f.cost || !f.end || !f.segment_of ||
        !f.items || !f.is_dropped || !f.price || !f.before || !f.best || !stage_of) {
        rc = lx_oom(err);
        goto done;
    }
    read_forward(&f);
    find_cheap(&f);
    if ((rc = try_bounds(&f, max_bytes, spare, stage_of, err)) < 0)
        goto done;
    if (f.has_best)
        rc = apply(s, &f, err);
    else if (max_bytes)
        rc = too_large(&f, most, max_bytes, err);
done:
    release(&f);
    lx_free(stage_of);
    return rc;
}
