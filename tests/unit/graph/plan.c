/*
 * Placement by brute force, results against plans that share nothing, sizes, arenas,
 * profiles.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/graph/plan.h"
#include "tests/support/random_graph.h"

enum { N_SEEDS = 60, N_OPS = 60 };

static lx_device *dev;

static int open_device(void **state)
{
    lx_error err;
    return lx_device_open_cpu(&dev, 1, &err);
}

static int close_device(void **state)
{
    lx_device_close(dev);
    return 0;
}

static lx_plan *plan_of(lx_graph *g, lx_plan_options options)
{
    lx_error err = {0};
    lx_plan *plan = NULL;
    if (lx_plan_new(&plan, g, dev, &options, &err) < 0)
        fail_msg("%s", err.text);
    return plan;
}

/* ---- liveness ---------------------------------------------------------------------- */

typedef struct range {
    const char *begin, *end;
} range;

static range bytes_of(const lx_arg *arg)
{
    size_t n = (size_t)lx_dtype_bits(arg->dtype) / 8;
    for (int i = 0; i < arg->n_dims; i++)
        n *= (size_t)arg->shape[i];
    return (range){arg->data, (const char *)arg->data + n};
}

static bool overlap(range a, range b)
{
    return a.begin < b.end && b.begin < a.end;
}

/*
 * The life of a value: from the call that wrote it to the last that reads it. No call in
 * between may write into it; the last reader may, where the contract of kernels allows
 * it.
 */
static void check_value(const lx_plan *plan, size_t born, const lx_arg *value, int root,
                        bool is_kept, uint64_t seed)
{
    const lx_schedule *s = &plan->schedule;
    range mine = bytes_of(value);
    size_t last = born;

    for (size_t i = born; i < s->n_steps; i++)
        for (int k = 0; k < s->steps[i].n_in; k++)
            if (s->steps[i].in[k] && lx_schedule__root(s, s->steps[i].in[k]) == root)
                last = i;
    if (is_kept)
        last = s->n_steps;
    for (size_t i = born + 1; i <= last && i < s->n_steps; i++) {
        const lx_call *call = &plan->calls[i];
        const lx_node *step = &s->steps[i];
        range scratch = {call->scratch,
                         (const char *)call->scratch + call->scratch_bytes};
        if (call->scratch && overlap(mine, scratch))
            fail_msg("seed %llu: scratch of call %zu in a live value",
                     (unsigned long long)seed, i);
        for (int k = 0; k < call->n_out; k++) {
            bool allowed = k == 0 && i == last && call->out[0].data == value->data;
            if (call->out[k].n_dims < 0 || !overlap(mine, bytes_of(&call->out[k])))
                continue;
            for (int from = 0; from < step->n_in; from++)
                if (step->in[from] && lx_schedule__root(s, step->in[from]) == root &&
                    !(lx_op__overwritable(step) & 1u << from))
                    allowed = false;
            if (!allowed)
                fail_msg("seed %llu: call %zu (%s) overwrites a value of call %zu",
                         (unsigned long long)seed, i, lx_op_name(call->op), born);
        }
    }
}

static void check_plan(const lx_plan *plan, uint64_t seed)
{
    const lx_schedule *s = &plan->schedule;
    const char *begin = plan->arena->memory, *end = begin + plan->memory.arena_bytes;

    for (size_t i = 0; i < plan->n_calls; i++) {
        for (int k = 0; k < s->steps[i].n_out; k++) {
            const lx_tensor *out = s->steps[i].out[k];
            range mine;
            if (!out || lx_full(out)->kind != LX_TENSOR_ACTIVATION)
                continue;
            mine = bytes_of(&plan->calls[i].out[k]);
            assert_true(mine.begin >= begin && mine.end <= end);
            assert_int_equal((uintptr_t)mine.begin % LX_ARENA_ALIGNMENT, 0);
            for (int other = 0; other < k; other++)
                if (s->steps[i].out[other])
                    assert_false(overlap(mine, bytes_of(&plan->calls[i].out[other])));
            check_value(plan, i, &plan->calls[i].out[k], lx_schedule__root(s, out),
                        s->is_kept[lx_schedule__root(s, out)], seed);
        }
    }
    for (size_t i = 0; i < plan->graph->n_inputs;
         i++) { /* as if written before the first call */
        const lx_tensor *t = plan->graph->inputs[i].tensor;
        lx_arg arg = {.dtype = t->dtype, .n_dims = t->n_dims};
        memcpy(arg.shape, t->shape, sizeof arg.shape);
        arg.data = (char *)plan->arena->memory +
                   plan->placement.buffers[plan->placement.buffer_of[t->id]].offset;
        for (size_t c = 0; c < plan->n_calls; c++)
            for (int k = 0; k < plan->calls[c].n_out; k++)
                if (plan->calls[c].out[k].n_dims >= 0)
                    assert_false(
                        overlap(bytes_of(&arg), bytes_of(&plan->calls[c].out[k])));
    }
}

static void test_graph_plan__no_live_value_is_overwritten(void **state)
{
    for (uint64_t seed = 0; seed < N_SEEDS; seed++) {
        lx_random_graph r;
        lx_plan *plan;
        lx_random_graph_init(&r, seed, N_OPS, false);
        plan = plan_of(r.graph, (lx_plan_options){0});
        check_plan(plan, seed);
        lx_plan_free(plan);
        lx_random_graph_release(&r);
    }
}

/* ---- results ----------------------------------------------------------------------- */

static void assert_same(const float *a, const float *b, size_t n, double limit,
                        uint64_t seed)
{
    double difference = 0, size = 1e-20;
    for (size_t i = 0; i < n; i++) {
        difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        size += (double)b[i] * b[i];
    }
    if (!(sqrt(difference / size) <= limit))
        fail_msg("seed %llu: relative difference %g", (unsigned long long)seed,
                 sqrt(difference / size));
}

/* Buffers that are alive together lie apart, and the bytes alone are those of the placement. */
static void test_graph_plan__buffers_lie_apart(void **state)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        static lx_random_graph r;
        lx_schedule s;
        lx_placement p;
        lx_error err = {0};
        size_t bytes, last = 0;

        lx_random_graph_init(&r, seed, N_OPS, false);
        assert_int_equal(lx_schedule_init(&s, r.graph, &err), 0);
        assert_int_equal(lx_placement_init(&p, &s, &err), 0);
        for (size_t i = 0; i < p.n_buffers; i++)
            for (size_t k = 0; k <= i; k++) {
                const lx_buffer *a = &p.buffers[i], *b = &p.buffers[k];
                bool meet = a->first <= b->last && b->first <= a->last;
                if (last < a->offset + a->bytes)
                    last = a->offset + a->bytes;
                assert_true(i == k || !meet || a->offset >= b->offset + b->bytes ||
                            b->offset >= a->offset + a->bytes);
            }
        assert_int_equal(last, p.bytes);
        assert_true(p.live_bytes <= p.bytes);
        for (size_t limit = p.live_bytes / 2; limit <= p.bytes + 64; limit += 32) {
            assert_int_equal(lx_placement_bytes(&bytes, &s, limit, &err), 0);
            assert_int_equal(bytes, limit < p.bytes ? limit : p.bytes);
        }
        lx_placement_release(&p);
        lx_schedule_release(&s);
        lx_random_graph_release(&r);
    }
}

static void test_graph_plan__sharing_and_folding_change_nothing(void **state)
{
    for (uint64_t seed = 0; seed < N_SEEDS; seed++) {
        static lx_random_graph shared, kept; /* some KiB each */
        float y[LX_RANDOM_VALUES], dx[LX_RANDOM_VALUES], y2[LX_RANDOM_VALUES],
            dx2[LX_RANDOM_VALUES];
        lx_plan *a, *b;

        lx_random_graph_init(&shared, seed, N_OPS, false);
        lx_random_graph_init(&kept, seed, N_OPS, true);
        a = plan_of(shared.graph, (lx_plan_options){0});
        b = plan_of(kept.graph, (lx_plan_options){0});
        lx_random_graph_run(&shared, a, y, dx);
        lx_random_graph_run(&kept, b, y2, dx2);
        assert_same(y, y2, LX_RANDOM_VALUES, 1e-4, seed);
        assert_same(dx, dx2, LX_RANDOM_VALUES, 1e-3, seed);
        assert_same(&shared.gradients[0][0], &kept.gradients[0][0], LX_RANDOM_PARAMS * 64,
                    1e-3, seed);
        assert_true(lx_plan_memory_of(a).arena_bytes < lx_plan_memory_of(b).arena_bytes);

        lx_random_graph_run(&shared, a, y2, dx2); /* and again: the same bytes */
        assert_memory_equal(y, y2, sizeof y);
        assert_memory_equal(dx, dx2, sizeof dx);
        lx_plan_free(a);
        lx_plan_free(b);
        lx_random_graph_release(&shared);
        lx_random_graph_release(&kept);
    }
}

static size_t count_calls(const lx_plan *plan, lx_op_id op)
{
    size_t n = 0;
    for (size_t i = 0; i < plan->n_calls; i++)
        n += plan->calls[i].op == op;
    return n;
}

/* x + LoRA(linear(x)): the residual goes into the frozen product, all in one buffer. */
static void test_graph_plan__residuals_and_forks_are_folded(void **state)
{
    float values[64] = {0}, buffers[2][64] = {{0}};
    lx_param w = {
        .name = "w", .dtype = LX_F32, .n_dims = 2, .shape = {8, 8}, .value = values};
    lx_param down = {.name = "down",
                     .dtype = LX_F32,
                     .n_dims = 2,
                     .shape = {2, 8},
                     .value = values,
                     .gradient = buffers[0]};
    lx_param up = {.name = "up",
                   .dtype = LX_F32,
                   .n_dims = 2,
                   .shape = {8, 2},
                   .value = values,
                   .gradient = buffers[1]};
    lx_graph *g = lx_graph_new();
    lx_tensor *x = lx_graph_input(g, "x", LX_F32, 2, (int64_t[]){4, 8}), *h, *y, *s;
    lx_plan *plan;
    lx_error err = {0};

    lx_graph_want_gradient(g, x);
    h = lx_op_silu(g, x);
    y = lx_op_linear(g, h, lx_graph_param(g, &w), NULL, 1);
    y = lx_op_linear_add(g, lx_op_linear(g, h, lx_graph_param(g, &down), NULL, 1),
                         lx_graph_param(g, &up), y, 1);
    y = lx_op_add(g, x, y);
    lx_graph_output(g, "y", y);
    s = lx_graph_input(g, "seed", LX_F32, 2, y->shape);
    assert_int_equal(lx_graph_backward_from(g, y, s, &err), 0);
    plan = plan_of(g, (lx_plan_options){0});
    assert_int_equal(count_calls(plan, LX_OP_linear), 3);
    /* dx = seed + silu'(..): its producer takes no addend, so this one sum is left */
    assert_int_equal(count_calls(plan, LX_OP_add), 1);
    assert_ptr_equal(plan->calls[3].in[3].data, plan->calls[3].out[0].data);
    lx_plan_free(plan);
    lx_graph_free(g);
}

static void test_graph_plan__what_nobody_reads_is_left_out(void **state)
{
    float values[8] = {0};
    lx_param w = {
        .name = "w", .dtype = LX_F32, .n_dims = 1, .shape = {8}, .value = values};
    lx_graph *g = lx_graph_new();
    lx_tensor *x = lx_graph_input(g, "x", LX_F32, 3, (int64_t[]){1, 4, 8});
    lx_tensor *tw = lx_graph_param(g, &w), *y = lx_op_layer_norm(g, x, tw, tw, 1e-5f);
    lx_plan *plan;

    lx_op_silu(g, y);
    lx_graph_output(g, "y", lx_op_attention(g, y, y, y, 2, false));
    plan = plan_of(g, (lx_plan_options){0});
    assert_int_equal(plan->n_calls, 2);
    assert_int_equal(plan->calls[0].out[1].n_dims, -1); /* stats */
    assert_int_equal(plan->calls[1].out[1].n_dims, -1); /* lse */
    lx_plan_free(plan);
    lx_graph_free(g);
}

/* A frozen chain works in one or two buffers, however long it is. */
static void test_graph_plan__a_chain_needs_no_more_than_its_widest_step(void **state)
{
    float values[64] = {0};
    lx_param w = {
        .name = "w", .dtype = LX_F32, .n_dims = 2, .shape = {8, 8}, .value = values};
    lx_graph *g = lx_graph_new();
    lx_tensor *x = lx_graph_input(g, "x", LX_F32, 2, (int64_t[]){128, 8});
    lx_plan *plan;
    lx_plan_memory m;

    for (int i = 0; i < 20; i++)
        x = lx_op_silu(g, lx_op_linear(g, x, lx_graph_param(g, &w), NULL, 1));
    lx_graph_output(g, "y", x);
    plan = plan_of(g, (lx_plan_options){.dry_run = true});
    m = lx_plan_memory_of(plan);
    assert_int_equal(m.arena_bytes - m.scratch_bytes, 3 * 128 * 8 * sizeof(float));
    lx_plan_free(plan);
    lx_graph_free(g);
}

/* ---- sizes, arenas, transfers ------------------------------------------------------ */

static void test_graph_plan__a_dry_run_knows_every_byte(void **state)
{
    for (uint64_t seed = 0; seed < 10; seed++) {
        lx_random_graph r;
        lx_plan *dry, *real;
        lx_plan_memory m;
        size_t before = dev->bytes_now;
        lx_error err = {0};

        lx_random_graph_init(&r, seed, N_OPS, false);
        dry = plan_of(r.graph, (lx_plan_options){.dry_run = true});
        m = lx_plan_memory_of(dry);
        assert_int_equal(dev->bytes_now, before);
        assert_int_equal(lx_plan_run(dry, &err), LX_EINTERNAL);
        assert_int_equal(lx_plan_set(dry, "x0", r.x[0], sizeof r.x[0], &err),
                         LX_EINTERNAL);
        real = plan_of(r.graph, (lx_plan_options){0});
        assert_int_equal(dev->bytes_now - before, m.arena_bytes + m.packed_bytes);
        assert_int_equal(lx_plan_memory_of(real).arena_bytes, m.arena_bytes);
        assert_int_equal(lx_plan_memory_of(real).packed_bytes, m.packed_bytes);
        assert_true(m.flops > 0 && m.n_calls > 0);
        lx_plan_free(real);
        lx_plan_free(dry);
        lx_random_graph_release(&r);
        assert_int_equal(dev->bytes_now, before);
    }
}

/* Each kind of call is run on memory of its own, and all of that is given back. */
static void test_graph_plan__a_dry_plan_is_timed(void **state)
{
    lx_random_graph r;
    lx_plan_timing t;
    lx_plan *dry;
    lx_error err = {0};
    size_t before;

    lx_random_graph_init(&r, 3, N_OPS, false);
    before = dev->bytes_now;
    dry = plan_of(r.graph, (lx_plan_options){.dry_run = true});
    for (int i = 0; i < 2; i++) {
        assert_int_equal(lx_plan_measure(&t, dry, i ? 0 : 60, &err), LX_OK);
        assert_true(t.n_kinds > 1 && t.n_kinds <= lx_plan_memory_of(dry).n_calls);
        assert_int_equal(t.n_timed, i ? 1 : t.n_kinds);
        assert_true(t.seconds > 0 && t.low <= t.seconds && t.seconds <= t.high);
        assert_true(i ? t.share < 1 : t.share == 1);
        assert_int_equal(dev->bytes_now, before);
    }
    lx_plan_free(dry);
    lx_random_graph_release(&r);
}

/* A weight with a source: an identity of 4, or an error. */
typedef struct given {
    lx_weight_source source;
    int n_reads;
    bool fails;
} given;

static int give(const lx_weight_source *source, void *dst, size_t first, size_t n,
                lx_error *err)
{
    given *from = (given *)(uintptr_t)source;
    float *to = dst;

    from->n_reads++;
    for (size_t i = 0; i < n; i++)
        to[i] = (first + i) % 5 ? 0 : 1;
    return from->fails ? lx_fail(err, LX_EIO, "no more of it") : LX_OK;
}

/* x w, twice over. */
static lx_graph *square_of(lx_param *w)
{
    lx_graph *g = lx_graph_new();
    lx_tensor *x = lx_graph_input(g, "x", LX_F32, 2, (int64_t[]){3, 4}),
              *weight = lx_graph_param(g, w);

    x = lx_op_linear(g, lx_op_linear(g, x, weight, NULL, 1), weight, NULL, 1);
    lx_graph_output(g, "y", x);
    return g;
}

/* It is in the device's memory once, while a plan needs it, and waits there for the next one. */
static void test_graph_plan__weights_are_there_while_they_are_read(void **state)
{
    given from = {.source.read = give};
    lx_param w = {.name = "w",
                  .dtype = LX_F32,
                  .n_dims = 2,
                  .shape = {4, 4},
                  .source = &from.source};
    lx_graph *g = square_of(&w);
    const size_t before = dev->bytes_now;
    float x[12], y[12];
    lx_plan *plans[2];
    lx_plan_memory m;
    lx_error err = {0};

    plans[0] = plan_of(g, (lx_plan_options){.dry_run = true});
    m = lx_plan_memory_of(plans[0]);
    assert_int_equal(m.weight_bytes, sizeof(float[16]));
    assert_int_equal(from.n_reads, 0);
    lx_plan_free(plans[0]);
    for (int i = 0; i < 2; i++)
        plans[i] = plan_of(g, (lx_plan_options){.arena_of = i ? plans[0] : NULL});
    assert_int_equal(from.n_reads, 1);
    assert_int_equal(dev->bytes_now - before,
                     m.arena_bytes + m.packed_bytes + m.weight_bytes);
    for (int i = 0; i < 12; i++)
        x[i] = (float)i;
    assert_int_equal(lx_plan_set(plans[1], "x", x, sizeof x, &err), 0);
    assert_int_equal(lx_plan_run(plans[1], &err), 0);
    assert_int_equal(lx_plan_get(plans[1], "y", y, sizeof y, &err), 0);
    assert_memory_equal(x, y, sizeof x);
    lx_plan_free(plans[0]);
    assert_non_null(w.value);
    lx_plan_free(plans[1]);
    assert_null(w.value);
    plans[0] = plan_of(g, (lx_plan_options){0});
    assert_int_equal(from.n_reads, 1);
    lx_plan_free(plans[0]);
    lx_pack_trim(dev);
    assert_int_equal(dev->bytes_now, before);

    from.fails = true;
    assert_int_equal(lx_plan_new(&plans[0], g, dev, &(lx_plan_options){0}, &err), LX_EIO);
    assert_non_null(strstr(err.text, "no more of it"));
    assert_int_equal(dev->bytes_now, before);
    lx_graph_free(g);
}

static void test_graph_plan__plans_share_an_arena(void **state)
{
    static lx_random_graph large, small;
    float y[LX_RANDOM_VALUES], dx[LX_RANDOM_VALUES], y2[LX_RANDOM_VALUES],
        dx2[LX_RANDOM_VALUES];
    lx_plan *a, *b, *c;
    size_t arenas;

    lx_random_graph_init(&large, 1, N_OPS, true);
    lx_random_graph_init(&small, 2, N_OPS, false);
    b = plan_of(small.graph, (lx_plan_options){0});
    lx_random_graph_run(&small, b, y, dx);
    lx_plan_free(b);
    a = plan_of(large.graph, (lx_plan_options){0});
    b = plan_of(small.graph, (lx_plan_options){.arena_of = a});
    assert_ptr_equal(a->arena, b->arena);
    lx_random_graph_run(&large, a, y2, dx2);
    lx_random_graph_run(&small, b, y2, dx2);
    assert_memory_equal(y, y2, sizeof y);
    assert_memory_equal(dx, dx2, sizeof dx);
    lx_plan_free(a); /* the arena lives on with b */
    lx_random_graph_run(&small, b, y2, dx2);
    assert_memory_equal(y, y2, sizeof y);
    lx_plan_free(b);

    b = plan_of(small.graph,
                (lx_plan_options){0}); /* too small for the other: it gets its own */
    arenas = dev->bytes_now;
    c = plan_of(large.graph, (lx_plan_options){.arena_of = b});
    assert_ptr_not_equal(b->arena, c->arena);
    assert_true(dev->bytes_now > arenas);
    lx_plan_free(c);
    lx_plan_free(b);
    lx_random_graph_release(&large);
    lx_random_graph_release(&small);
}

static void test_graph_plan__transfers_are_checked(void **state)
{
    lx_graph *g = lx_graph_new();
    lx_tensor *x = lx_graph_input(g, "x", LX_F32, 2, (int64_t[]){2, 3});
    float values[6] = {1, 2, 3, 4, 5, 6}, got[6];
    lx_error err = {0};
    lx_plan *plan;

    lx_graph_output(g, "same", lx_op_reshape(g, x, 1, (int64_t[]){6}));
    lx_graph_output(g, "twice", lx_op_scale(g, x, 2));
    plan = plan_of(g, (lx_plan_options){0});
    assert_int_equal(lx_plan_set(plan, "z", values, sizeof values, &err), LX_EINTERNAL);
    assert_string_equal(err.text, "the plan has no input z");
    assert_int_equal(lx_plan_set(plan, "x", values, 20, &err), LX_EMISMATCH);
    assert_string_equal(err.text, "input x is F32 [2, 3], 24 bytes: 20 bytes are given");
    assert_int_equal(lx_plan_set(plan, "x", values, sizeof values, &err), 0);
    for (int run = 0; run < 2; run++) { /* an input keeps its value */
        assert_int_equal(lx_plan_run(plan, &err), 0);
        assert_int_equal(lx_plan_get(plan, "same", got, sizeof got, &err), 0);
        assert_memory_equal(got, values, sizeof got);
        assert_int_equal(lx_plan_get(plan, "twice", got, sizeof got, &err), 0);
        assert_true(got[5] == 12);
    }
    assert_int_equal(lx_plan_output(plan, "same")->n_dims, 1);
    assert_null(lx_plan_output(plan, "none"));
    lx_plan_free(plan);
    lx_graph_free(g);
}

static void test_graph_plan__profile_counts_every_call(void **state)
{
    static lx_random_graph r;
    float y[LX_RANDOM_VALUES], dx[LX_RANDOM_VALUES];
    lx_profile_row rows[LX_OP_COUNT];
    size_t calls = 0;
    double flops = 0;
    lx_error err = {0};
    lx_plan *plan;

    lx_random_graph_init(&r, 3, N_OPS, false);
    plan = plan_of(r.graph, (lx_plan_options){0});
    assert_int_equal(lx_plan_profile(plan, true, &err), 0);
    lx_random_graph_run(&r, plan, y, dx);
    lx_random_graph_run(&r, plan, y, dx);
    assert_int_equal(lx_plan_profile(plan, false, &err), 0);
    lx_random_graph_run(&r, plan, y, dx);
    lx_plan_profile_by_op(plan, rows);
    for (int op = 0; op < LX_OP_COUNT; op++) {
        calls += rows[op].n_calls;
        flops += rows[op].flops;
        assert_int_equal(rows[op].n_runs, 2);
    }
    assert_int_equal(calls, plan->n_calls);
    assert_true(fabs(flops - 2 * plan->memory.flops) < 1);
    assert_string_equal(lx_plan_profile_row(plan, 0).label, plan->calls[0].label);
    lx_plan_free(plan);
    lx_random_graph_release(&r);
}

/* Every allocation of building and planning may fail; nothing leaks, nothing crashes. */
static void test_graph_plan__survives_lack_of_memory(void **state)
{
    size_t before = dev->bytes_now;

    for (size_t n = 1;; n++) {
        lx_error err = {0};
        lx_plan *plan = NULL;
        float values[16] = {0}, gradient[16] = {0};
        lx_param w = {.name = "w",
                      .dtype = LX_F32,
                      .n_dims = 2,
                      .shape = {4, 4},
                      .value = values,
                      .gradient = gradient};
        int rc = LX_ENOMEM;
        lx_graph *g;

        lx_alloc_fail_at(n, false);
        if ((g = lx_graph_new())) {
            lx_tensor *x = lx_graph_input(g, "x", LX_F32, 2, (int64_t[]){3, 4}), *y;
            lx_graph_push(g, "layer");
            y = lx_op_add(g, x, lx_op_linear(g, x, lx_graph_param(g, &w), NULL, 1));
            lx_graph_pop(g);
            y = lx_op_loss(g, y, x, NULL, NULL, LX_LOSS_L2, NULL, NULL);
            lx_graph_output(g, "loss", y);
            rc = lx_graph_backward(g, y, &err);
            if (rc == LX_OK)
                rc = lx_plan_new(&plan, g, dev, &(lx_plan_options){.max_bytes = 1 << 30},
                                 &err);
        }
        lx_alloc_fail_at(0, false);
        lx_plan_free(plan);
        lx_graph_free(g);
        assert_int_equal(dev->bytes_now, before);
        if (rc == LX_OK)
            break;
        assert_int_equal(rc, LX_ENOMEM);
        assert_true(n < 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_graph_plan__no_live_value_is_overwritten),
        cmocka_unit_test(test_graph_plan__buffers_lie_apart),
        cmocka_unit_test(test_graph_plan__sharing_and_folding_change_nothing),
        cmocka_unit_test(test_graph_plan__residuals_and_forks_are_folded),
        cmocka_unit_test(test_graph_plan__what_nobody_reads_is_left_out),
        cmocka_unit_test(test_graph_plan__a_chain_needs_no_more_than_its_widest_step),
        cmocka_unit_test(test_graph_plan__a_dry_run_knows_every_byte),
        cmocka_unit_test(test_graph_plan__a_dry_plan_is_timed),
        cmocka_unit_test(test_graph_plan__weights_are_there_while_they_are_read),
        cmocka_unit_test(test_graph_plan__plans_share_an_arena),
        cmocka_unit_test(test_graph_plan__transfers_are_checked),
        cmocka_unit_test(test_graph_plan__profile_counts_every_call),
        cmocka_unit_test(test_graph_plan__survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
