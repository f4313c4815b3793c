/* The model itself: see step_model.h. */
#include "tests/cuda_emulation/step_model.h"
#include <math.h>
#include <stdio.h>

#include "kernels/arg.h"
#include "kernels/cuda/join.h"
#include "src/graph/plan.h"
#include "tests/cuda_emulation/control.h"

/* An RTX 3060: GA106, 28 multiprocessors at 1.777 GHz, 256 products of 16 bits with f32 sums a clock each (a
 * GeForce has half of the rate that it has with f16 sums), 128 of f32; GDDR6 at 15 Gbit/s, 192 wires. */
static const struct {
    const char *name;
    double multiprocessors, half, f32, memory; /* operations and bytes a second */
    double launch; /* seconds from the end of one to the begin of the next */
} gpu = {"RTX 3060", 28, 25.5e12, 12.7e12, 360e9, 1.5e-6};

/* What a kernel reaches of the peak of operations and of memory. */
typedef enum part {
    CONVOLUTION,
    LIBRARY_PRODUCT,
    PRODUCT,
    THIN,
    ATTENTION,
    ATTENTION_BWD,
    GROUP_NORM,
    OTHER,
    N_PARTS
} part;

static const struct {
    const char *name;
    double operations, memory;
} parts[N_PARTS] = {
    [CONVOLUTION] = {"convolutions (cuDNN)", 0.75, 0.85},
    [LIBRARY_PRODUCT] = {"products (cuBLASLt)", 0.75, 0.85},
    [PRODUCT] = {"products, LoRA, what is joined to them", 0.70, 0.85},
    [THIN] = {"gradients of factors", 0.50, 0.85},
    [ATTENTION] = {"attention, cross attentions with their queries", 0.55, 0.85},
    [ATTENTION_BWD] = {"attention, gradient", 0.50, 0.85},
    [GROUP_NORM] = {"GroupNorm, what is joined to it", 0.50, 0.70},
    [OTHER] = {"all else", 0.50, 0.85},
};

typedef struct row {
    size_t launches;
    double operations, bytes, bound, seconds;
} row;

/* ---- one group of calls -------------------------------------------------------------- */

static double bytes_of(const lx_arg *arg)
{
    return (double)lx_arg_count(arg) * lx_dtype_bits(arg->dtype) / 8;
}

static int count_reads(const lx_call *calls, size_t n, int id)
{
    int reads = 0;

    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < calls[i].n_in; k++)
            reads += lx_arg_present(&calls[i].in[k]) && calls[i].in[k].id == id;
    return reads;
}

/* Is this operand one that came earlier in the group, or is made in it? */
static bool is_known(const lx_call *calls, size_t i, int k)
{
    const int id = calls[i].in[k].id;

    for (size_t j = 0; j <= i; j++) {
        for (int o = 0; o < calls[j].n_out && j < i; o++)
            if (lx_arg_present(&calls[j].out[o]) && calls[j].out[o].id == id)
                return true;
        for (int other = 0; other < (j < i ? calls[j].n_in : k); other++)
            if (lx_arg_present(&calls[j].in[other]) && calls[j].in[other].id == id)
                return true;
    }
    return false;
}

static double bytes_of_group(const lx_call *calls, size_t n)
{
    double bytes = 0;

    for (size_t i = 0; i < n; i++) {
        for (int k = 0; k < calls[i].n_in; k++)
            if (lx_arg_present(&calls[i].in[k]) && !is_known(calls, i, k))
                bytes += bytes_of(&calls[i].in[k]);
        for (int o = 0; o < calls[i].n_out; o++) {
            const lx_arg *y = &calls[i].out[o];
            if (lx_arg_present(y) &&
                (!y->n_readers || y->n_readers > count_reads(calls, n, y->id)))
                bytes += bytes_of(y);
        }
    }
    return bytes;
}

static part part_of(const lx_call *calls, size_t n)
{
    const lx_op_id op = calls[n > 1 && (calls[0].op == LX_OP_layer_norm ||
                                        calls[0].op == LX_OP_layer_norm_dx ||
                                        calls[0].op == LX_OP_add)]
                            .op;

    if (calls[n - 1].op == LX_OP_attention) /* with its queries */
        return ATTENTION;
    switch (op) {
    case LX_OP_conv2d:
    case LX_OP_conv2d_dx:
        return CONVOLUTION;
    case LX_OP_linear:
    case LX_OP_linear_dx:
        return n > 1 ? PRODUCT : LIBRARY_PRODUCT;
    case LX_OP_linear_dw:
        return THIN;
    case LX_OP_attention:
        return ATTENTION;
    case LX_OP_attention_bwd:
        return ATTENTION_BWD;
    case LX_OP_group_norm:
    case LX_OP_group_norm_dx:
    case LX_OP_concat:
        return GROUP_NORM;
    default:
        return OTHER;
    }
}

/* What is read or written once more than it must be: the halves of a GroupNorm in three launches, y that a
 * convolution is added to. */
static double again(const lx_call *calls, size_t n, size_t launches)
{
    const lx_call *last = &calls[n - 1];
    double bytes = 0;

    if (last->op == LX_OP_group_norm)
        bytes += bytes_of(&last->in[0]);
    if (calls[0].op == LX_OP_group_norm_dx)
        bytes += bytes_of(&calls[0].in[0]) + bytes_of(&calls[0].in[1]);
    if (calls[0].op == LX_OP_conv2d && launches > 1)
        bytes += 2 * bytes_of(&calls[0].out[0]);
    return bytes;
}

/* How much longer the last round of blocks makes it: tiles of `rows` x `columns`, one a multiprocessor at a time. */
static double of_rounds(double tiles)
{
    const double rounds = tiles / gpu.multiprocessors;

    return tiles > 0 ? ceil(rounds) / rounds : 1;
}

/* Tiles of a product of ours: of all its sums. */
static double tiles_of(const lx_call *calls, size_t n)
{
    lx_cuda_sum sums[64] = {{0}};
    double tiles = 0;
    int count = 0;

    for (size_t i = 0; i < n && count < 64; i++) {
        const bool is_base =
            (calls[i].op == LX_OP_linear || calls[i].op == LX_OP_linear_dx) &&
            calls[i].in[1].is_frozen;
        if (is_base)
            sums[count++] = (lx_cuda_sum){.M = (int)lx_arg_rows(&calls[i].out[0]),
                                          .N = (int)lx_arg_width(&calls[i].out[0])};
    }
    const lx_cuda_tile tile = lx_cuda_tile_of(sums, count);
    for (int i = 0; i < count; i++)
        tiles +=
            ceil((double)sums[i].M / tile.rows) * ceil((double)sums[i].N / tile.columns);
    return tiles;
}

static double slowed(part what, const lx_call *calls, size_t n)
{
    const lx_call *c = &calls[what == ATTENTION ? n - 1 : 0];

    if (what == PRODUCT)
        return of_rounds(tiles_of(calls, n));
    if (what ==
        LIBRARY_PRODUCT) /* tiles of 64 x 64: the library cuts K where there are few */
        return of_rounds(fmax(gpu.multiprocessors / 2,
                              ceil((double)lx_arg_rows(&c->out[0]) / 64) *
                                  ceil((double)lx_arg_width(&c->out[0]) / 64)));
    if (what == ATTENTION || what == ATTENTION_BWD)
        return of_rounds(ceil((double)c->in[0].shape[1] / 64) *
                         c->attrs.attention.n_heads * (double)c->in[0].shape[0]);
    return 1;
}

static size_t launch(lx_plan *plan, lx_call *calls, size_t n)
{
    const uint64_t before = lx_emu_counts_get()->launches,
                   of_library = lx_emu_counts_get()->notes;

    if (n > 1)
        plan->dev->joining->run(plan->dev, calls, n);
    else
        plan->dev->kernels[calls[0].op].run(plan->dev, calls);
    return (size_t)(lx_emu_counts_get()->launches - before + lx_emu_counts_get()->notes -
                    of_library);
}

static void add_group(row rows[N_PARTS], lx_plan *plan, size_t i, size_t n)
{
    lx_call *calls = &plan->calls[i];
    const part what = part_of(calls, n);
    row one = {.launches = launch(plan, calls, n), .bytes = bytes_of_group(calls, n)};
    double seconds, of_memory;

    for (size_t k = i; k < i + n; k++)
        one.operations += plan->flops[k];
    const double peak =
        what <= ATTENTION_BWD && calls[0].in[0].dtype != LX_F32 ? gpu.half : gpu.f32;
    one.bound = fmax(one.operations / peak, one.bytes / gpu.memory);
    seconds = one.operations / peak / parts[what].operations * slowed(what, calls, n);
    of_memory =
        (one.bytes + again(calls, n, one.launches)) / gpu.memory / parts[what].memory;
    one.seconds = fmax(seconds, of_memory) + (double)one.launches * gpu.launch;
    rows[what].launches += one.launches;
    rows[what].operations += one.operations;
    rows[what].bytes += one.bytes;
    rows[what].bound += one.bound;
    rows[what].seconds += one.seconds;
}

/* ---- the step ------------------------------------------------------------------------- */

static void print_row(const char *name, const row *r)
{
    printf("| %s | %zu | %.1f | %.2f | %.2f | %.2f | %.0f %% |\n", name, r->launches,
           r->operations * 1e-9, r->bytes * 1e-9, r->bound * 1e3, r->seconds * 1e3,
           r->seconds > 0 ? 100 * r->bound / r->seconds : 0);
}

void lx_step_model_tell(lx_plan *plan)
{
    row rows[N_PARTS] = {{0}}, all = {0};

    for (size_t i = 0; i < plan->n_calls; i += 1 + plan->calls[i].n_joined)
        add_group(rows, plan, i, 1 + plan->calls[i].n_joined);
    printf("| %s | launches | GFLOP | GB | bound, ms | model, ms | reached "
           "|\n|---|---|---|---|---|---|---|\n",
           gpu.name);
    for (int i = 0; i < N_PARTS; i++) {
        print_row(parts[i].name, &rows[i]);
        all.launches += rows[i].launches;
        all.operations += rows[i].operations;
        all.bytes += rows[i].bytes;
        all.bound += rows[i].bound;
        all.seconds += rows[i].seconds;
    }
    print_row("all", &all);
}
